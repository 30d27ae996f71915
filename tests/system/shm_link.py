#!/usr/bin/env python3
# timeout: 120
"""Two tidewires of one host joined by shared memory, as a user without privilege."""
import hashlib
import json
import os
import pathlib
import select
import signal
import stat
import subprocess
import tempfile
import threading
import time

import lib_peer as peer

USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=-all"] if os.geteuid() == 0 else []
BODY = os.urandom(8_000_000)
HASH = hashlib.sha256(BODY).hexdigest()
HERE, THERE = "10.9.0.1", "10.9.0.2"
NAMES = iter(range(1000))


class Link:
    """A path of its own."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.gettempdir()) / f"link{next(NAMES)}"

    def start(self, command, address, *words, **options):
        return subprocess.Popen([*USER, peer.TIDEWIRE, command, "--device", f"shm:{self.path}", "--addr",
                                 f"{address}/24", *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **{"stdin": subprocess.DEVNULL, **options})

    def listen(self, *words):
        nc = self.start("nc", HERE, "-v", *words)
        wait_for(nc, b"reachable at")
        return nc


def wait_for(process, part, seconds=10):
    """Reads standard error up to a line that holds `part`; how long that took."""
    began = time.monotonic()
    seen = b""
    while part not in seen:
        left = began + seconds - time.monotonic()
        assert left > 0 and select.select([process.stderr], [], [], left)[0], f"no {part}: {seen}"
        byte = os.read(process.stderr.fileno(), 4096)
        assert byte, f"the end instead of {part}: {seen}"
        seen += byte
    return time.monotonic() - began


def end(process):
    process.kill()
    process.communicate()


def hashed_data():
    link = Link()
    server = link.listen("-l", 7000)
    assert stat.S_IMODE(link.path.stat().st_mode) == 0o600, oct(link.path.stat().st_mode)
    client = link.start("nc", THERE, HERE, 7000, stdin=subprocess.PIPE)
    feeder = threading.Thread(target=client.communicate, args=(BODY, 30))
    feeder.start()  # meanwhile somebody must take what the server writes
    out, err = server.communicate(timeout=30)
    feeder.join()
    assert hashlib.sha256(out).hexdigest() == HASH, f"{len(out)} bytes, {err}"
    assert client.returncode == 0 and server.returncode == 0
    assert not link.path.exists(), "the socket stays behind"


def one_after_the_other():
    link = Link()
    server = link.listen("-lk", 7000)
    try:
        for i in range(4):
            client = link.start("nc", THERE, HERE, 7000, stdin=subprocess.PIPE)
            client.communicate(f"line {i}\n".encode(), timeout=30)
            assert client.returncode == 0
            assert server.stdout.readline() == f"line {i}\n".encode()
    finally:
        end(server)


def perf(options):
    link = Link()
    server = link.start("perf", HERE, *options, "--serve", 7001)
    try:
        assert server.stdout.readline() == b"listening\n"
        for what in (("send", 60_000_000), ("receive", 60_000_000), ("both", 20_000_000), ("rr", 2000, 100),
                     ("connect", 300, 10), ("udp", 1, 3000)):
            client = link.start("perf", THERE, *options, HERE, 7001, *what)
            out, err = client.communicate(timeout=60)
            assert client.returncode == 0 and json.loads(out)["ok"], f"{what}: {out} {err}"
    finally:
        end(server)


def a_kill(victim_listens):
    """What is left says within a second that it is alone, and goes on with whoever comes next."""
    link = Link()
    server = link.listen("-lk", 7000)
    client = link.start("nc", THERE, HERE, 7000, stdin=subprocess.PIPE)
    client.stdin.write(b"hello\n")
    client.stdin.flush()
    assert server.stdout.readline() == b"hello\n"
    victim, other = (server, client) if victim_listens else (client, server)
    victim.send_signal(signal.SIGKILL)
    try:
        took = wait_for(other, b"nobody at the other end", 5)
        assert took < 1, f"{took:.2f} s"
        again = link.listen("-lk", 7000) if victim_listens else link.start("nc", THERE, HERE, 7000)
        wait_for(other, b"is up", 5)
        end(again)
    finally:
        end(server)
        end(client)


def a_kill_under_load():
    link = Link()
    server = link.start("perf", HERE, "--serve", 7001)
    client = link.start("perf", THERE, HERE, 7001, "send", 10**13)
    assert server.stdout.readline() == b"listening\n"
    time.sleep(0.5)
    client.kill()
    try:
        took = wait_for(server, b"nobody at the other end", 5)
        assert took < 1, f"{took:.2f} s"
    finally:
        end(server)
        end(client)


def refused():
    link = Link()
    server = link.listen("-lk", 7000)
    client = link.start("nc", THERE, HERE, 7000, stdin=subprocess.PIPE)
    client.stdin.write(b"hello\n")
    client.stdin.flush()
    assert server.stdout.readline() == b"hello\n"
    third = link.start("nc", "10.9.0.3", HERE, 7000)
    _, err = third.communicate(timeout=10)
    assert third.returncode == 1 and b"two other processes" in err and len(err.splitlines()) == 1, err
    end(server)
    end(client)
    link.path.unlink(missing_ok=True)
    link.path.write_text("a file")
    taken = link.start("nc", THERE, HERE, 7000)
    _, err = taken.communicate(timeout=10)
    assert taken.returncode == 1 and b"is no socket" in err and len(err.splitlines()) == 1, err
    assert link.path.read_text() == "a file"
    link.path.unlink()
    for what, part in (("bridge:x", b"shm:PATH"), ("shm:", b"shm:PATH"), ("tap0", b"tap:NAME")):
        wrong = subprocess.run([peer.TIDEWIRE, "nc", "--device", what, "--addr", "10.9.0.1/24", HERE, "7000"],
                               capture_output=True, timeout=10)
        assert wrong.returncode == 2 and part in wrong.stderr and len(wrong.stderr.splitlines()) == 1, wrong


def gateway():
    """A process without a network of its own reaches the host through another one's gateway."""
    link = Link()
    host = peer.Server("127.0.0.1")
    nat = link.start("gateway", "10.0.2.2")
    wait_for(nat, b"stop with Ctrl-C")
    try:
        client = link.start("perf", "10.0.2.15", "--gw", "10.0.2.2", "10.0.2.2", host.port, "both", 3_000_000)
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0 and json.loads(out)["ok"], f"{out} {err}"
        ping = link.start("ping", "10.0.2.15", "-c", 3, "-i", "0.02", "10.0.2.2")
        out, err = ping.communicate(timeout=20)
        assert ping.returncode == 0, f"{out} {err}"
    finally:
        end(nat)
        host.close()


def main():
    tally = peer.Tally()
    tally.case("hashed data", hashed_data)
    tally.case("one after the other", one_after_the_other)
    tally.case("perf", perf, [])
    tally.case("perf without offloads", perf, ["--no-offload"])
    tally.case("the listener is killed", a_kill, True)
    tally.case("who connected is killed", a_kill, False)
    tally.case("killed under load", a_kill_under_load)
    tally.case("refusals", refused)
    tally.case("a gateway", gateway)
    tally.finish()


main()
