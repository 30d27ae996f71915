#!/usr/bin/env python3
"""Two shards beside one over TAP, by turns: tools/shards_tap.py [--runs N] [--bytes N]

tidewire on the queues of a TAP interface in a namespace of its own, as many flows as shards, 3 GiB in all; the
kernel's ends are two processes. Nothing is pinned but the shards' threads. Prints medians and extremes. Needs root.
"""
import argparse
import multiprocessing
import pathlib
import socket
import statistics
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "system"))
import lib_peer as peer  # noqa: E402

US, THEM, PORT = "192.0.2.2", "192.0.2.1", 7000
BLOCK = 1 << 20


def make_tap(queues):
    peer.sh("ip link del tap0", check=False)
    peer.sh(f"ip tuntap add dev tap0 mode tap {'multi_queue' if queues > 1 else ''} && "
            f"ip addr add {THEM}/24 dev tap0 && ip link set tap0 up")


def serve(sock):
    """`sink` and `source` of apps/perf_flow.hpp, without a look at the bytes."""
    word, _, rest = peer.receive_line(sock).strip().partition(" ")
    block = bytearray(BLOCK)
    if word == "sink":
        count = 0
        while got := sock.recv_into(block):
            count += got
        sock.sendall(f"ok {count}\n".encode())
    elif word == "source":
        left = int(rest)
        while left:
            left -= sock.send(memoryview(block)[:min(left, BLOCK)])
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
    sock.close()


def accept(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def measure(what, shards, count):
    make_tap(shards)
    more = ["--shards", shards] if shards > 1 else []
    result = peer.perf("--device", "tap:tap0", "--addr", f"{US}/24", *more, "--no-verify", THEM, PORT, what,
                       count // shards)
    return result["gbit_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=3 << 30)
    args = parser.parse_args()
    peer.enter_namespaces()
    for _ in range(2):
        listener = socket.create_server(("", PORT), reuse_port=True)
        multiprocessing.Process(target=accept, args=(listener,), daemon=True).start()
    for what in ("send", "receive"):
        pairs = [[measure(what, shards, args.bytes) for shards in (1, 2)] for _ in range(args.runs)]
        for shards, values in zip((1, 2), zip(*pairs)):
            print(f"{what:8} {shards} shard{'s' * (shards > 1):1} {statistics.median(values):8.1f} Gbit/s "
                  f"({min(values):.1f} to {max(values):.1f})")
        print(f"{what:8} ratio    {statistics.median(two / one for one, two in pairs):8.2f}", flush=True)


if __name__ == "__main__":
    main()
