"""Clients and servers that meet in one run or in two: nc, tidewire nc, ftp, telnet."""
import os
import pathlib
import signal
import socket
import subprocess
import threading

from _program_rows import shows
from _programs import PYTHON, TIDEWIRE, Failed, check, equal, free_port, need, sha256


def read_all(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(bench, port, data, half_close=True):
    """Connects from the host, sends, closes one half, reads to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=bench.limit(30)) as c:
        sender = threading.Thread(target=lambda: (c.sendall(data), half_close and c.shutdown(socket.SHUT_WR)))
        sender.start()
        back = read_all(c)
        sender.join()
        return back


# --- nc -------------------------------------------------------------------------------------------

@shows("nc", ("nc -lk P", "nc -N H P", "nc -lN P"), "in one run: three connections after each other, bytes both ways")
def nc_in_one_run(bench):
    """nc -lk and nc in one run: three connections one after the other, and bytes the other way."""
    need("nc")
    port, other = free_port(), free_port()
    for i in (1, 2, 3):
        bench.payload(bench.size(500_000, 200_000), f"in{i}")
    bench.script(f"""
        ready() {{ for i in $(seq 100); do nc -z 127.0.0.1 $1 && return; sleep 0.05; done; exit 9; }}
        nc -lk {port} >got & server=$!
        ready {port}
        for i in 1 2 3; do nc -N 127.0.0.1 {port} <in$i; done
        for i in $(seq 100); do [ $(stat -c %s got) -ge $(cat in1 in2 in3 | wc -c) ] && break; sleep 0.1; done
        kill $server; wait $server || true
        nc -lN {other} <in1 >back1 & server=$!
        for i in $(seq 100); do nc -d localhost {other} >back && [ -s back ] && break; sleep 0.05; done
        wait $server""").ok()
    wanted = b"".join((bench.dir / f"in{i}").read_bytes() for i in (1, 2, 3))
    equal(sha256(bench.dir / "got"), sha256(wanted), "what nc -lk got over three connections")
    equal(sha256(bench.dir / "back"), sha256(bench.dir / "in1"), "what nc got from nc -l")


@shows("nc", ("nc -u -l P", "nc -u H P"), "in one run: datagrams")
def nc_datagrams(bench):
    """nc -u and nc -u -l in one run."""
    need("nc")
    port = free_port()
    bench.payload(9_000, "in")
    bench.script(f"""
        nc -u -l {port} >got & server=$!
        sleep 0.5
        nc -u -w 1 127.0.0.1 {port} <in
        for i in $(seq 50); do [ $(stat -c %s got) -ge 9000 ] && break; sleep 0.1; done
        kill $server; wait $server || true""").ok()
    equal(sha256(bench.dir / "got"), sha256(bench.dir / "in"), "what nc -u -l got")


@shows("nc", ("nc -lk H P", "host: nc -N H P"), "published; clients of the host after each other")
def nc_published(bench):
    """nc -lk in a run; clients outside reach it through a published port, one after the other."""
    need("nc")
    port = free_port()
    specs, outside = bench.publish(port)
    server = bench.run(["nc", "-lk", bench.any, port], publish=specs)
    sent = [bench.payload(bench.size(400_000, 150_000), f"in{i}") for i in (1, 2)]
    tried = bench.until(lambda: probe(outside, b"!"), process=server)
    check(tried, "nc did not listen")
    seen = bench.until(lambda: server.log.stat().st_size, process=server)
    for payload in sent:
        with open(payload) as stdin:
            bench.host(["nc", "-N", "127.0.0.1", outside], stdin=stdin).ok()
    wanted = seen + sum(p.stat().st_size for p in sent)
    bench.until(lambda: server.log.stat().st_size >= wanted, what="the end of the data", process=server)
    got = server.log.read_bytes()[seen:]
    equal(sha256(got), sha256(b"".join(p.read_bytes() for p in sent)), "what nc -lk got from outside")
    equal(server.stop(), 143 if bench.around.mode != "plain" else -15, "status after SIGTERM")


def probe(port, data):
    """True if a connection was taken and not reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as c:
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        c.settimeout(0.4)
        try:
            return c.recv(1) == b""
        except TimeoutError:
            return True


@shows("nc", ("nc -lN H P", "nc -N H P"),
       "server and client in two runs: bytes cross two described networks, both ways")
def nc_between_runs(bench):
    """Server and client in two runs: their bytes cross both described networks."""
    need("nc")
    port = free_port()
    specs, outside = bench.publish(port)
    payload = bench.payload(bench.size(1_000_000, 200_000))
    answer = bench.payload(50_000, "answer")
    with open(answer) as stdin:
        server = bench.run(["nc", "-lN", bench.any, port], publish=specs, stdin=stdin, name="run")
    bench.until(lambda: listening(bench, server, port), process=server)
    with open(payload) as stdin:
        client = bench.run(["nc", "-N", "127.0.0.1", outside], stdin=stdin).ok()
    server.ok()
    equal(sha256(server.log), sha256(payload), "what the server got")
    equal(sha256(client.log), sha256(answer), "what the client got")


def listening(bench, server, port):
    """True once a socket of the server's run listens, seen where the mode allows it."""
    if bench.stack:
        import time
        time.sleep(0.7)  # a probe would be taken as the one connection
        return True
    return f":{port:04X} 00000000:0000 0A" in pathlib.Path("/proc/net/tcp").read_text()


@shows("nc", ("host: tidewire nc -lk P", "host: nc -N H P", "host: tidewire nc H P"),
       "`tidewire nc` as server and as client of the system's nc")
def system_nc_with_tidewire_nc(bench):
    """`tidewire nc -lk PORT` is published on the host; the system's nc talks through our TCP with it.
    And `tidewire nc` as a client of the system's nc -l."""
    need("nc")
    if not bench.stack:
        return  # the subcommand is the stack
    port, other = free_port(), free_port()
    payload = bench.payload(bench.size(800_000, 200_000))
    net = ["--net", bench.around.net] if bench.around.net else []
    server = bench.host([*bench.around.launcher, TIDEWIRE, "nc", *net, "-lk", port], name="tidewire-nc")
    bench.until(lambda: socket.create_connection(("127.0.0.1", port), 5).close() or True, process=server)
    for count in (1, 2):
        with open(payload) as stdin:
            bench.host(["nc", "-N", "127.0.0.1", port], stdin=stdin).ok()
        wanted = payload.read_bytes() * count
        bench.until(lambda: server.log.stat().st_size >= len(wanted), what="the end of the data",
                    process=server)
        equal(sha256(server.log), sha256(wanted), f"what tidewire nc -lk got from {count} clients")
    server.stop(signal.SIGINT)
    back = bench.payload(30_000, "back")
    with open(back) as stdin:
        listener = bench.host(["nc", "-lN", "127.0.0.1", other], stdin=stdin, name="nc")
    bench.until(lambda: f":{other:04X} 00000000:0000 0A" in pathlib.Path("/proc/net/tcp").read_text(),
                process=listener)
    with open(payload) as stdin:
        client = bench.host([*bench.around.launcher, TIDEWIRE, "nc", *net, "127.0.0.1", other], stdin=stdin,
                            name="tidewire-nc").ok()
    listener.ok()
    equal(sha256(listener.log), sha256(payload), "what nc -l got from tidewire nc")
    equal(sha256(client.log), sha256(back), "what tidewire nc got")


# --- ftp and telnet -------------------------------------------------------------------------------

def ftp_command(bench, port):
    (bench.dir / "ftp").mkdir(exist_ok=True)
    (bench.dir / "ftp").chmod(0o777)
    low = free_port()
    return [PYTHON, "-m", "pyftpdlib", "-i", bench.any, "-p", str(port), "-w", "-d", str(bench.dir / "ftp"),
            "-r", f"{low}-{low + 20}"]


@shows("ftp", ("python3 -m pyftpdlib -p P", "tnftp -n -v"), "in one run, passive: put, list, get")
def ftp_passive(bench):
    """tnftp and pyftpdlib in one run: listing, put, get, all passive."""
    need("tnftp")
    port = free_port()
    payload = bench.payload(bench.size(2_000_000, 300_000), "up")
    commands = bench.file("commands", "\n".join((
        f"open 127.0.0.1 {port}", "user anonymous someone@example.org", "binary", "passive on", "put up",
        "ls", "get up down", "quit", "")))
    words = " ".join(f"'{w}'" for w in ftp_command(bench, port))
    client = bench.script(f"""
        {words} 2>server.log & server=$!
        for i in $(seq 100); do nc -z 127.0.0.1 {port} && break; sleep 0.1; done
        tnftp -n -v <{commands} 2>&1
        kill $server; wait $server || true""")
    client.ok()
    check("Entering" in client.out and " up" in client.out, f"ftp said {client.out[-800:]}")
    equal(sha256(bench.dir / "ftp/up"), sha256(payload), "the file put by ftp")
    equal(sha256(bench.dir / "down"), sha256(payload), "the file got by ftp")


@shows("ftp", ("python3 -m pyftpdlib -p P", "host: curl -o F ftp://H:P/file"),
       "control and data ports published (EPSV)")
def ftp_outside(bench):
    """curl on the host fetches by ftp from a server under run, control and data ports published (EPSV)."""
    need("curl")
    port, low = free_port(), free_port()
    (bench.dir / "ftp").mkdir()
    payload = bench.payload(bench.size(1_000_000, 150_000), "ftp/file")
    specs, outside = bench.publish(port)
    if bench.stack:
        specs += [f"{low + i}:{low + i}" for i in range(4)]
    server = bench.run([PYTHON, "-m", "pyftpdlib", "-i", bench.any, "-p", port, "-d", bench.dir / "ftp",
                        "-r", f"{low}-{low + 3}"], publish=specs)
    def hello():
        with socket.create_connection(("127.0.0.1", outside), 5) as c:
            c.settimeout(5)
            return c.recv(3) == b"220"

    bench.until(hello, process=server)
    bench.host(["curl", "-sS", "-o", "got", f"ftp://127.0.0.1:{outside}/file"]).ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "the file got by ftp")
    server.stop()


@shows("telnet", ("busybox telnetd -F -p P", "busybox telnet", "inetutils-telnet"), "in one run: a dialogue over a pty")
def telnet_in_one_run(bench):
    """busybox telnetd with the clients of busybox and of inetutils in one run: a dialogue over a pty."""
    need("busybox", "inetutils-telnet")
    port = free_port()
    shell = bench.file("login", "#!/bin/sh\nstty -echo\necho welcome\nwhile read -r a b; do\n"
                                "  [ \"$a\" = quit ] && exit\n  echo \"sum=$((a + b))\"\ndone\n", 0o755)
    client = bench.script(f"""
        busybox telnetd -F -p {port} -b 127.0.0.1 -l {shell} & server=$!
        for i in $(seq 100); do nc -z 127.0.0.1 {port} && break; sleep 0.1; done
        for client in 'busybox telnet' inetutils-telnet; do
          echo "$client"
          (sleep 0.5; echo 20 22; sleep 0.5; echo 1000 337; sleep 0.5; echo quit; sleep 1) |
            $client 127.0.0.1 {port} || true
        done
        kill $server; wait $server || true""").ok()
    for part in client.out.split("inetutils-telnet"):
        check("welcome" in part and "sum=42" in part and "sum=1337" in part,
              f"the telnet dialogue was {part!r}\n{client.tail()}")


@shows("telnet", "busybox telnetd -F -p P", "published; inetutils-telnet on the host")
def telnet_published(bench):
    """The system's telnet on the host to a telnetd under run."""
    need("busybox", "inetutils-telnet")
    port = free_port()
    specs, outside = bench.publish(port)
    shell = bench.file("login", "#!/bin/sh\nstty -echo\nwhile read -r a b; do echo \"sum=$((a + b))\"; done\n",
                       0o755)
    server = bench.run(["busybox", "telnetd", "-F", "-p", port, "-b", bench.any, "-l", shell], publish=specs)

    def dialogue():
        talk = subprocess.run(["sh", "-c", f"(sleep 0.7; echo 20 22; sleep 1) | inetutils-telnet 127.0.0.1 {outside}"],
                              capture_output=True, text=True, timeout=20)
        return "sum=42" in talk.stdout

    bench.until(dialogue, limit=20, what="the telnet dialogue", process=server)
    server.stop()


SCENARIOS = [nc_in_one_run, nc_datagrams, nc_published, nc_between_runs, system_nc_with_tidewire_nc, ftp_passive,
             ftp_outside, telnet_in_one_run, telnet_published]
SHORT = [nc_in_one_run, nc_datagrams, nc_published, system_nc_with_tidewire_nc, ftp_passive, telnet_in_one_run]
