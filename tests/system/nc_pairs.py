#!/usr/bin/env python3
# timeout: 120
"""`tidewire nc` and the system's nc talk to each other, TCP and UDP, as a user without privilege."""
import os
import shutil
import socket
import subprocess
import threading
import time

import lib_peer as peer

USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=-all"] if os.geteuid() == 0 else []
NET = ["--net", "delay=2ms loss=1%", "--seed", "5"]
BODY = os.urandom(2_000_000)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def ours(*words, **options):
    return subprocess.Popen([*USER, peer.TIDEWIRE, "nc", *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)


def listening(*words, **options):
    """One of ours with -v, once it says that it listens."""
    process = ours("-v", *words, **options)
    line = process.stderr.readline()
    assert b"reachable at" in line, line
    return process


def theirs(*words, data=b"", timeout=30):
    return subprocess.run(["nc", *map(str, words)], input=data, capture_output=True, timeout=timeout)


def end(process):
    process.kill()
    process.communicate()


def system_client_to_our_listener():
    port = free_port()
    nc = listening("-l", port, *NET, stdin=subprocess.DEVNULL)
    theirs("-N", "127.0.0.1", port, data=BODY)
    out, err = nc.communicate(timeout=30)
    assert out == BODY, f"{len(out)} bytes {err}"
    assert nc.returncode == 0


def our_client_to_system_listener():
    port = free_port()
    server = subprocess.Popen(["nc", "-l", "127.0.0.1", str(port)], stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
    time.sleep(0.3)
    nc = ours("127.0.0.1", port, *NET, stdin=subprocess.PIPE)
    feeder = threading.Thread(target=nc.communicate, args=(BODY, 30))
    feeder.start()  # meanwhile somebody must take what the server writes
    out, _ = server.communicate(timeout=30)
    feeder.join()
    assert out == BODY, f"{len(out)} bytes"
    assert nc.returncode == 0


def keep_listening():
    port = free_port()
    nc = listening("-lk", port, stdin=subprocess.DEVNULL)
    try:
        for i in range(5):
            theirs("-N", "127.0.0.1", port, data=f"line {i}\n".encode())
            assert nc.stdout.readline() == f"line {i}\n".encode()
    finally:
        nc.terminate()
        assert nc.wait(10) == 143


def two_of_ours_through_the_host():
    port = free_port()
    server = listening("-l", port, *NET, stdin=subprocess.DEVNULL)
    client = ours("127.0.0.1", port, *NET, stdin=subprocess.PIPE)
    client.communicate(BODY[:200_000], timeout=30)
    out, _ = server.communicate(timeout=30)
    assert out == BODY[:200_000], f"{len(out)} bytes"


def conversation():
    """Both ways, line by line, as at a keyboard."""
    port = free_port()
    nc = listening("-l", port, stdin=subprocess.PIPE)
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        for i in range(20):
            sock.sendall(f"ask {i}\n".encode())
            assert nc.stdout.readline() == f"ask {i}\n".encode()
            nc.stdin.write(f"tell {i}\n".encode())
            nc.stdin.flush()
            assert sock.recv(100) == f"tell {i}\n".encode()
    nc.stdin.close()
    nc.stdin = None
    assert nc.wait(10) == 0
    nc.communicate()


def datagrams():
    port = free_port()
    nc = listening("-u", "-l", port, stdin=subprocess.PIPE)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect(("127.0.0.1", port))
    sock.send(b"question\n")
    assert nc.stdout.readline() == b"question\n"
    nc.stdin.write(b"answer\n")
    nc.stdin.flush()
    assert sock.recv(100) == b"answer\n"
    end(nc)
    sock.close()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(5)
    server.bind(("127.0.0.1", 0))
    nc = ours("-u", "-w", 2, "127.0.0.1", server.getsockname()[1], stdin=subprocess.PIPE)
    nc.stdin.write(b"hello\n")
    nc.stdin.flush()
    data, source = server.recvfrom(100)
    assert data == b"hello\n"
    server.sendto(b"back\n", source)
    assert nc.stdout.readline() == b"back\n"
    end(nc)


def errors():
    for words, part, status in ((["127.0.0.1", "9"], "connection refused", 1), (["127.0.0.1"], "host and a port", 2),
                                (["127.0.0.1", "70000"], "ports are 1 to 65535", 2),
                                (["-k", "127.0.0.1", "80"], "needs -l", 2),
                                (["--addr", "192.0.2.1/24", "192.0.2.2", "80"], "--tap", 2),
                                (["--tap", "x", "--veth", "y", "192.0.2.2", "80"], "one of", 2),
                                (["--tap", "x", "192.0.2.2", "80"], "--addr", 2),
                                (["no-such-host.invalid", "80"], "no-such-host.invalid", 1)):
        nc = ours(*words, stdin=subprocess.DEVNULL)
        _, err = nc.communicate(timeout=20)
        lines = err.decode().splitlines()
        assert nc.returncode == status and len(lines) == 1 and part in lines[0], (words, nc.returncode, err)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nc = ours("-l", taken.getsockname()[1], stdin=subprocess.DEVNULL)
        _, err = nc.communicate(timeout=20)
        assert nc.returncode == 1 and b"taken on this host" in err, err


def a_tap_without_permission():
    if not USER:
        return
    nc = ours("--tap", "no-such-tap", "--addr", "192.0.2.2/24", "192.0.2.1", "80", stdin=subprocess.DEVNULL)
    _, err = nc.communicate(timeout=20)
    assert nc.returncode == 1 and len(err.splitlines()) == 1 and b"ermi" in err, err


def ping_and_doctor():
    done = subprocess.run([*USER, peer.TIDEWIRE, "ping", "--net", "delay=5ms", "-c", "3", "-i", "0.05",
                           "host.tidewire"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and " 0.0% lost" in done.stdout, done.stdout + done.stderr
    done = subprocess.run([*USER, peer.TIDEWIRE, "ping", "--net", "loss=100%", "-c", "2", "-i", "0.05", "-W", "0.3",
                           "host.tidewire"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "100.0% lost" in done.stdout, done.stdout + done.stderr
    done = subprocess.run([*USER, peer.TIDEWIRE, "doctor"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and "`tidewire run` works here" in done.stdout, done.stdout + done.stderr


def main():
    tally = peer.Tally()
    if shutil.which("nc"):
        tally.case("the system's nc to ours", system_client_to_our_listener)
        tally.case("ours to the system's nc", our_client_to_system_listener)
        tally.case("-lk", keep_listening)
    else:
        tally.skip("the system's nc", "not installed")
    tally.case("two of ours", two_of_ours_through_the_host)
    tally.case("a conversation", conversation)
    tally.case("datagrams", datagrams)
    tally.case("errors", errors)
    tally.case("a TAP without permission", a_tap_without_permission)
    tally.case("ping and doctor", ping_and_doctor)
    tally.finish()


main()
