#!/usr/bin/env python3
# timeout: 900
"""tidewire against the Linux kernel over a TAP interface: both ways, under every kernel setting."""
import os
import socket
import struct
import subprocess
import threading
import time

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
LINK = ["--tap", "tap0", "--addr", f"{US}/24"]
PORT = 5000
BULK = 1 << 30
SOME = 4 << 20
WORST = "loss=1% reorder=1% dup=1%"


def make_tap(mtu=1500):
    peer.sh("ip link del tap0", check=False)
    peer.sh(f"ip tuntap add dev tap0 mode tap && ip link set tap0 mtu {mtu} && "
            f"ip addr add {THEM}/24 dev tap0 && ip link set tap0 up")


def serving(*options):
    server = peer.Tidewire("perf", *LINK, *options, "--serve", PORT, ready="listening")
    wait_for_carrier()
    return server


def wait_for_carrier():
    """The kernel notices up to a second late that somebody has opened the interface."""
    for _ in range(100):
        if "LOWER_UP" in peer.sh("ip link show tap0") and "state DOWN" not in peer.sh("ip link show tap0"):
            return
        time.sleep(0.02)


def sysctl(name, value):
    peer.sh(f"sysctl -qw net.ipv4.{name}={value}")


def client_of_kernel(*what, options=()):
    server = peer.Server(THEM)
    try:
        return peer.perf(*LINK, *options, THEM, server.port, *what, timeout=400)
    finally:
        server.close()


def both_roles(count, *options):
    """`count` bytes each way with us as client, then with the kernel as client."""
    for what in ("send", "receive", "both"):
        client_of_kernel(what, count, options=options)
    with serving(*options):
        peer.client_send(US, PORT, count)
        peer.client_receive(US, PORT, count)
        peer.client_both(US, PORT, count)


def bulk_both_ways():
    client_of_kernel("send", BULK)
    client_of_kernel("receive", BULK)
    client_of_kernel("both", BULK)
    with serving():
        peer.client_send(US, PORT, BULK)
        peer.client_receive(US, PORT, BULK)
        peer.client_both(US, PORT, BULK)


def impaired(words, count=SOME):
    client_of_kernel("both", count, options=["--net", words, "--seed", "5"])
    with serving("--net", words, "--seed", "6"):
        peer.client_both(US, PORT, count)


def io_uring_is_permitted():
    """What doctor says of it; where it is not, --io-uring ends with one line."""
    said = peer.tidewire("doctor", ok=False).stdout
    if "ok      io_uring" in said:
        return True
    done = peer.tidewire("nc", *LINK, "--io-uring", THEM, "9", ok=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "leave --io-uring away" in done.stderr, done.stderr
    return False


def in_batches():
    """Frames written with io_uring: bulk, requests, connections, datagrams, a bad path, no offloads."""
    io_uring = ["--io-uring"]
    client_of_kernel("both", BULK, options=io_uring)
    client_of_kernel("connect", 1000, 100, options=io_uring)
    client_of_kernel("rr", 500, 1, options=io_uring)
    both_roles(SOME, *io_uring, "--no-offload")
    both_roles(SOME, *io_uring, "--net", WORST, "--seed", "7")
    with serving(*io_uring), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((US, PORT))
        for size in (0, 1, 1472, 1473, 20_000, 65_507):
            message = peer.BLOCK[:size]
            sock.send(message)
            assert sock.recv(65_536) == message, size


def io_uring_elsewhere():
    done = peer.tidewire("nc", "--veth", "lo", "--addr", f"{US}/24", "--io-uring", THEM, "9", ok=False,
                         stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "tap:NAME and tun:NAME" in done.stderr, done.stderr
    done = peer.tidewire("nc", "--io-uring", THEM, "9", ok=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "--io-uring needs" in done.stderr, (done.returncode, done.stderr)


def many_connections():
    client_of_kernel("connect", 1000, 1)
    client_of_kernel("connect", 1000, 100)
    with serving():
        for _ in range(1000):
            peer.client_echo(US, PORT, 1)


def round_trips():
    client_of_kernel("rr", 500, 1)
    with serving():
        peer.client_echo(US, PORT, 500)
        peer.client_echo(US, PORT, 50, 10_000)


def kernel_resets():
    with serving():
        for _ in range(20):
            sock = peer.connect(US, PORT)
            sock.sendall(b"source 100000000\n")
            sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        peer.client_echo(US, PORT, 3)


def we_refuse():
    with serving():
        try:
            socket.create_connection((US, PORT + 1), timeout=5).close()
        except ConnectionRefusedError:
            return
    raise AssertionError("a closed port accepted")


def we_are_refused():
    done = peer.tidewire("nc", *LINK, THEM, "9", ok=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "connection refused" in done.stderr, done.stderr


def killed_peer_is_noticed():
    """A server that dies in the middle: the kernel's end of the link goes away, ours must end."""
    listener = socket.create_server((THEM, 0))
    with peer.Tidewire("nc", *LINK, THEM, listener.getsockname()[1], stdin=subprocess.PIPE) as nc:
        sock, _ = listener.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        nc.process.wait(10)
        assert nc.process.returncode == 1, nc.process.returncode
        assert "reset" in nc.process.stderr.read()
    listener.close()


def half_close():
    """Each side closes first, and still receives what the other sends afterwards."""
    listener = socket.create_server((THEM, 0))
    with peer.Tidewire("nc", *LINK, THEM, listener.getsockname()[1], stdin=subprocess.PIPE) as nc:
        sock, _ = listener.accept()
        nc.process.stdin.write("question")
        nc.process.stdin.close()  # our FIN
        nc.process.stdin = None
        got = b""
        while data := sock.recv(100):
            got += data
        assert got == b"question", got
        sock.sendall(b"answer")
        sock.close()
        assert nc.process.stdout.read() == "answer"
        assert nc.process.wait(10) == 0
    with peer.Tidewire("nc", *LINK, THEM, listener.getsockname()[1], stdin=subprocess.PIPE) as nc:
        sock, _ = listener.accept()
        sock.sendall(b"first")
        sock.shutdown(socket.SHUT_WR)  # the kernel's FIN
        assert nc.process.stdout.read(5) == "first"
        nc.process.stdin.write("later")
        nc.process.stdin.close()
        nc.process.stdin = None
        assert sock.recv(100) == b"later"
        sock.close()
        assert nc.process.wait(10) == 0
    listener.close()


def simultaneous_close():
    """Both FINs cross: the shutdowns are started together, many times."""
    with serving():
        for _ in range(50):
            sock = peer.connect(US, PORT)
            sock.sendall(b"both 1\n")
            sock.sendall(peer.pattern(0, 1))
            sock.shutdown(socket.SHUT_WR)
            assert peer.receive_pattern(sock) == 1
            sock.close()
        peer.client_echo(US, PORT, 1)


def pings():
    for size in (0, 1, 56, 1472, 1473, 65507):
        peer.tidewire("ping", *LINK, "-c", "3", "-i", "0.02", "-s", size, THEM)
    with serving():
        for size in (0, 56, 1472, 1473, 20000, 65507):
            done = subprocess.run(["ping", "-q", "-c", "3", "-i", "0.05", "-s", str(size), US],
                                  capture_output=True, text=True, timeout=30)
            assert " 0% packet loss" in done.stdout, done.stdout


def udp_echo_server(sock):
    while True:
        try:
            data, source = sock.recvfrom(65536)
            sock.sendto(data, source)
        except OSError:
            return


def udp_sizes():
    sizes = range(0, 65508) if peer.EVERYTHING else [*range(0, 3000), *range(3000, 65507, 97), 65507]
    with serving(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((US, PORT))
        for size in sizes:
            message = peer.BLOCK[:size]
            sock.send(message)
            assert sock.recv(65536) == message, size
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((THEM, 0))
    threading.Thread(target=udp_echo_server, args=(sock,), daemon=True).start()
    last = 65507 if peer.EVERYTHING else 4000
    peer.perf(*LINK, THEM, sock.getsockname()[1], "udp", 0, last)
    peer.perf(*LINK, THEM, sock.getsockname()[1], "udp", 65400, 65507)


def with_sysctl(name, value, default):
    sysctl(name, value)
    try:
        both_roles(SOME)
    finally:
        sysctl(name, default)


def with_offload_off(feature):
    peer.sh(f"ethtool -K tap0 {feature} off")
    both_roles(SOME)
    make_tap()


def with_mtu(mtu):
    make_tap(mtu)
    try:
        both_roles(SOME)
        both_roles(SOME // 4, "--no-offload")
    finally:
        make_tap()


def main():
    peer.enter_namespaces()
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("no /dev/net/tun here")
        raise SystemExit(77)
    make_tap()
    tally = peer.Tally()
    tally.case("ping", pings)
    tally.case("UDP sizes", udp_sizes)
    tally.case(f"{BULK >> 20} MiB one way, the other and both, both roles", bulk_both_ways)
    tally.case("round trips", round_trips)
    tally.case("without offloads", both_roles, SOME, "--no-offload")
    if io_uring_is_permitted():
        tally.case("frames written with io_uring", in_batches)
    else:
        tally.skip("frames written with io_uring", "not permitted here")
    tally.case("io_uring without a TAP device", io_uring_elsewhere)
    tally.case("1,000 connections", many_connections)
    tally.case("half-close", half_close)
    tally.case("simultaneous close", simultaneous_close)
    tally.case("the kernel resets", kernel_resets)
    tally.case("we refuse", we_refuse)
    tally.case("we are refused", we_are_refused)
    tally.case("a reset is told", killed_peer_is_noticed)
    tally.case("1 % loss", impaired, "loss=1%")
    tally.case("reordering", impaired, "reorder=2%")
    tally.case("duplication", impaired, "dup=2%")
    tally.case("all of them", impaired, "loss=1% reorder=1% dup=1% delay=1ms")
    if peer.EVERYTHING:
        tally.case(f"{BULK >> 20} MiB both ways at once, {WORST}", impaired, WORST, BULK)
    for name, value, default in (("tcp_timestamps", 0, 1), ("tcp_sack", 0, 1),
                                 ("tcp_window_scaling", 0, 1), ("tcp_ecn", 1, 2)):
        tally.case(f"kernel {name}={value}", with_sysctl, name, value, default)
    for feature in ("gro", "tso", "gso", "tx", "sg"):
        if not peer.sh("command -v ethtool", check=False):
            tally.skip(f"kernel without {feature}", "no ethtool")
        else:
            tally.case(f"kernel without {feature}", with_offload_off, feature)
    for mtu in (576, 1500, 9000):
        tally.case(f"MTU {mtu}", with_mtu, mtu)
    tally.finish()


main()
