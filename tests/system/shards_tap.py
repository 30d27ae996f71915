#!/usr/bin/env python3
# timeout: 300
"""Shards: two stacks with one address on the queues of a TAP interface, the Linux kernel on the other end."""
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
DEVICE = ["--device", "tap:tap0", "--addr", f"{US}/24"]
PORT = 5000
SOME = 2 << 20


def make_tap(queues=True):
    peer.sh("ip link del tap0", check=False)
    peer.sh(f"ip tuntap add dev tap0 mode tap {'multi_queue' if queues else ''} && "
            f"ip addr add {THEM}/24 dev tap0 && ip link set tap0 up")


def wait_for_carrier():
    for _ in range(200):
        link = peer.sh("ip link show tap0")
        if "LOWER_UP" in link and "state DOWN" not in link:
            return
        time.sleep(0.02)


class Serving:
    """A server of so many shards; `result` is what it says at its end."""

    def __init__(self, shards=2):
        self.server = peer.Tidewire("perf", *DEVICE, "--shards", shards, "--serve", PORT, ready="listening")
        wait_for_carrier()
        self.result = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        status, out, err = self.server.stop()
        if kind is None:
            assert status == 0, f"status {status}: {out} {err}"
            self.result = json.loads(out.splitlines()[-1])
            check(self.result)


def check(result):
    assert result["ok"], result
    assert sum(shard["ring_full"] for shard in result["shards"]) == 0, result
    handed = sum(shard["handed_over"] for shard in result["shards"])
    taken = sum(shard["taken_over"] for shard in result["shards"])
    # What came in the last turn of all, an ACK of a FIN or ARP, may still lie in a ring.
    assert taken <= handed <= taken + 5, result


def at_once(count, action, *args):
    """Runs `action` in so many threads; the first failure comes out."""
    failures = []

    def one():
        try:
            action(*args)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def every_shard_served(result, connections):
    counts = [shard["count"] for shard in result["shards"]]
    assert sum(counts) == connections, counts
    # Each is a coin's toss: so few would come once in thousands of years.
    assert min(counts) >= connections / len(counts) / 4, counts


def bulk_in():
    with Serving() as serving:
        for action in (peer.client_send, peer.client_receive, peer.client_both):
            at_once(24, action, US, PORT, SOME)
    every_shard_served(serving.result, 72)
    # The kernel cannot know whose a flow is before it was answered: half of the SYNs are handed over.
    assert sum(shard["handed_over"] for shard in serving.result["shards"]) > 10, serving.result


def single_bytes_in():
    with Serving() as serving:
        for _ in range(10):
            at_once(20, peer.client_echo, US, PORT, 20)
    every_shard_served(serving.result, 200)


def more_shards_than_cores():
    with Serving(5) as serving:
        at_once(60, peer.client_both, US, PORT, SOME // 8)
    every_shard_served(serving.result, 60)


def client(*what):
    server = peer.Server(THEM)
    try:
        result = peer.perf(*DEVICE, "--shards", 2, THEM, server.port, *what, timeout=100)
    finally:
        server.close()
    check(result)
    return result


def bulk_out():
    for what in ("send", "receive", "both"):
        result = client(what, 16 * SOME)
        assert result["bytes"] == 2 * 16 * SOME, result


def connections_out():
    result = client("connect", 1000, 30)
    assert [shard["count"] for shard in result["shards"]] == [1000, 1000], result
    result = client("rr", 1000, 1)
    assert result["count"] == 2000, result


def datagrams_and_fragments():
    """Sizes up to many fragments, from sockets of the kernel on many ports, and pings."""
    with Serving() as serving:
        for _ in range(20):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.connect((US, PORT))
                for size in (0, 1, 1472, 1473, 3000, 9000, 30_000):
                    sock.send(peer.BLOCK[:size])
                    assert sock.recv(65536) == peer.BLOCK[:size], size
        for size in (56, 1473, 20_000):
            done = subprocess.run(["ping", "-q", "-c", "3", "-i", "0.05", "-s", str(size), US],
                                  capture_output=True, text=True, timeout=30)
            assert " 0% packet loss" in done.stdout and "DUP" not in done.stdout, done.stdout
    assert sum(shard["fragments"] for shard in serving.result["shards"]) > 20 * 10, serving.result


def datagrams_out():
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((THEM, 0))

    def answer():
        try:
            while True:
                data, source = echo.recvfrom(65536)
                echo.sendto(data, source)
        except OSError:
            pass

    threading.Thread(target=answer, daemon=True).start()
    try:
        result = peer.perf(*DEVICE, "--shards", 2, THEM, echo.getsockname()[1], "udp", 1400, 1600)
    finally:
        echo.close()
    check(result)
    assert result["intact"] == 2 * 201, result


def path_mtu():
    """A router's error about the MTU behind it reaches the shard whose flow it quotes."""
    far = "198.51.100.1"
    with subprocess.Popen(["unshare", "--net", "sleep", "100"]) as host:
        try:
            while os.readlink(f"/proc/{host.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
                time.sleep(0.01)
            inside = f"nsenter --net --target {host.pid} ip"
            peer.sh(f"ip link add v0 mtu 600 type veth peer name v1 netns {host.pid} && "
                    "ip addr add 198.51.100.2/24 dev v0 && ip link set v0 up && "
                    "sysctl -qw net.ipv4.ip_forward=1 && "
                    f"{inside} addr add {far}/24 dev v1 && {inside} link set v1 mtu 1500 up && "
                    f"{inside} route add default via 198.51.100.2")
            ready = []

            def serve():
                peer.in_namespace_of(host.pid)
                ready.append(peer.Server(far))

            threading.Thread(target=serve).start()
            while not ready:
                time.sleep(0.01)
            result = peer.perf(*DEVICE, "--gw", THEM, "--shards", 2, far, ready[0].port, "send", SOME)
            check(result)
            # Who never hears of it finds the MTU by probing, after timeouts that double each time.
            assert result["seconds"] < 1.5, result
        finally:
            host.kill()
            peer.sh("ip link del v0", check=False)


def refused(*words):
    done = peer.tidewire("perf", *words, ok=False)
    assert done.returncode != 0 and done.stderr.count("\n") == 1, (done.returncode, done.stderr)
    return done.stderr


def refusals():
    server = ["--serve", PORT]
    assert "from 1 to 64" in refused(*DEVICE, "--shards", 0, *server)
    assert "from 1 to 64" in refused(*DEVICE, "--shards", 65, *server)
    assert "--device tap:NAME" in refused("--shards", 2, *server)
    for device in ("veth:tap0", "shm:/nowhere", "xdp:tap0"):
        error = refused("--device", device, "--addr", f"{US}/24", "--shards", 2, *server)
        assert "one queue" in error, error
    assert "leave out --shards" in refused(*DEVICE, "--shards", 2, "--net", "loss=1%", *server)
    assert "leave out --shards" in refused(*DEVICE, "--shards", 2, "--once", *server)
    make_tap(queues=False)
    assert "no tap device of several queues" in refused(*DEVICE, "--shards", 2, *server)
    make_tap()
    assert "no tap device of one queue" in refused(*DEVICE, *server)


def main():
    if os.geteuid() != 0 or not pathlib.Path("/dev/net/tun").exists():
        print("a TAP interface needs root and /dev/net/tun")
        raise SystemExit(77)
    peer.enter_namespaces()
    make_tap()
    tally = peer.Tally()
    for case in (bulk_in, single_bytes_in, more_shards_than_cores, bulk_out, connections_out,
                 datagrams_and_fragments, datagrams_out, path_mtu, refusals):
        tally.case(case.__name__, case)
    tally.finish()


if __name__ == "__main__":
    main()
