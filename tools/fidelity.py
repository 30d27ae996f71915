#!/usr/bin/env python3
"""How true described links are: completion times beside a model of the link, on the kernel's TCP and on this stack's.

Usage: ./dev bench fidelity [--repeat N] [--jobs N] [--only transfer|requests] [--settings N,N] [--keep FILE]
       ./dev bench fidelity --table FILE...

For each of 12 settings of delay, rate and loss a program under `tidewire run` sends 20 MB through the gateway to a
server of this host, and makes 200 requests of 100 bytes, one after the other on one connection. Both are timed by the
program, from before connect() to the last answer, with --tcp kernel and with the stack, by turns. The model knows the
setting, the sizes of packets, and Linux's initial window and least time-out, and nothing of either implementation.
Printed are medians. Exit status 1: --tcp kernel is 5 % or more away from the model somewhere, or the stack 10 % or more
away from --tcp kernel.

--keep appends every measurement to FILE, a JSON object a line; --table makes the table from such files alone.
--jobs runs so many programs at once (4): each needs little of a core.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parent.parent
TIDEWIRE = os.environ.get("TIDEWIRE", str(TOP / "build" / "lto" / "tidewire"))
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

SETTINGS = [
    "rate=50mbit delay=10ms",
    "rate=50mbit delay=20ms",
    "rate=50mbit delay=40ms",
    "rate=100mbit delay=10ms",
    "rate=100mbit delay=20ms",
    "rate=100mbit delay=30ms",
    "rate=200mbit delay=10ms",
    "up.rate=40mbit down.rate=200mbit delay=15ms",
    "rate=30mbit delay=25ms",
    "rate=20mbit delay=10ms loss=0.05%",
    "rate=20mbit delay=10ms up.lose=50,100,150",
    "rate=20mbit delay=10ms down.lose=50,100,150",
]
TRANSFER = 20_000_000
REQUESTS, REQUEST = 200, 100
KINDS = ("kernel", "stack")

# Packets: IP and TCP headers with timestamps.
HEADERS, MTU, ACK = 52, 1500, 52
INITIAL_WINDOW = 10
LEAST_TIMEOUT = 0.2  # beyond the round trip (Linux, RFC 6298 has 1 s)

CLIENT = """
import socket, sys, time
kind, port = sys.argv[1], int(sys.argv[2])
start = time.monotonic()
sock = socket.create_connection(("10.0.2.2", port))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if kind == "transfer":
    sock.sendall(bytes(%d))
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(2) == b"ok"
else:
    for _ in range(%d):
        sock.sendall(bytes(%d))
        got = 0
        while got < %d: got += len(sock.recv(4096))
print(time.monotonic() - start)
""" % (TRANSFER, REQUESTS, REQUEST, REQUEST)


def serve(answer):
    """A port of this host's 127.0.0.1 whose connections `answer` serves."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(sock,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def take_all(sock):
    with sock:
        while sock.recv(1 << 18):
            pass
        sock.sendall(b"ok")


def answer_requests(sock):
    with sock:
        got = 0
        while data := sock.recv(4096):
            got += len(data)
            while got >= REQUEST:
                got -= REQUEST
                sock.sendall(bytes(REQUEST))


def measure(what, kind, setting, seed, port):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "run.json")
        command = [TIDEWIRE, "run", "-q", "--tcp", kind, "--net", SETTINGS[setting], "--seed", str(seed), "--json", report,
                   "--", PYTHON, "-c", CLIENT, what, str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise SystemExit(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        with open(report, encoding="utf-8") as file:
            link = json.load(file)["link"]
        lost = sum(link[d]["impacts"].get(why, 0) for d in ("up", "down") for why in ("lost", "lost_listed"))
    return {"what": what, "kind": kind, "setting": SETTINGS[setting], "seed": seed, "seconds": float(done.stdout), "lost": lost}


def words(setting):
    """(rate up, rate down, round trip) in bytes a second and seconds."""
    delay = float(re.search(r"delay=(\d+)ms", setting)[1]) / 1000
    rate = {d: float(re.search(rf"(?:^|\s)(?:{d}\.)?rate=(\d+)mbit", setting)[1]) * 1e6 / 8 for d in ("up", "down")}
    return rate["up"], rate["down"], 2 * delay


def model(what, setting, lost):
    """Seconds, from the description of the link alone; of requests also from how many packets were lost."""
    up, down, trip = words(setting)
    handshake = trip + (ACK + 8) / up + (ACK + 8) / down
    if what == "requests":
        one = trip + (REQUEST + HEADERS) / up + (REQUEST + HEADERS) / down
        # A lost packet stands alone: its time-out is the round trip and the least beyond it.
        return handshake + REQUESTS * one + lost * (one + LEAST_TIMEOUT)
    # Rounds that double until the link is full; from then on it stays so.
    left = -(-TRANSFER // (MTU - HEADERS))
    window, seconds = INITIAL_WINDOW, handshake
    while left > window and window * MTU / up < trip:
        seconds += trip
        left -= window
        window *= 2
    return seconds + left * MTU / up + trip


def measure_all(args):
    ports = {"transfer": serve(take_all), "requests": serve(answer_requests)}
    chosen = [int(n) - 1 for n in args.settings.split(",")] if args.settings else range(len(SETTINGS))
    wanted = [args.only] if args.only else list(ports)
    rows = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(measure, what, kind, setting, args.seed + i, ports[what])
                for what in wanted for i in range(args.repeat) for setting in chosen for kind in KINDS]
        for job in jobs:
            rows.append(job.result())
            if args.keep:
                with open(args.keep, "a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    return rows


def table(rows):
    """Markdown, and the worst differences from model and kernel."""
    lines, worst = [], [0.0, 0.0]
    for what, title in (("transfer", "20 MB"), ("requests", "200 requests")):
        lines += [f"| {title} | runs | model s | kernel s | of the model | stack s | of the kernel |", "|---|---|---|---|---|---|---|"]
        for setting in SETTINGS:
            of = {k: [r for r in rows if (r["what"], r["setting"], r["kind"]) == (what, setting, k)] for k in KINDS}
            if not all(of.values()):
                continue
            # Each run beside the model of its own losses; then the median of the quotients.
            expected = statistics.median(model(what, setting, r["lost"]) for r in of["kernel"])
            kernel, stack = (statistics.median(r["seconds"] for r in of[k]) for k in KINDS)
            by_model = statistics.median(r["seconds"] / model(what, setting, r["lost"]) for r in of["kernel"]) - 1
            by_kernel = stack / kernel - 1
            worst = [max(worst[0], abs(by_model)), max(worst[1], abs(by_kernel))]
            lines.append(f"| `{setting}` | {len(of['kernel'])} | {expected:.3f} | {kernel:.3f} | {by_model:+.1%} | {stack:.3f} | "
                         f"{by_kernel:+.1%} |")
        lines.append("")
    return lines, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("transfer", "requests"))
    parser.add_argument("--settings")
    parser.add_argument("--keep")
    parser.add_argument("--table", nargs="+")
    args = parser.parse_args()
    if args.table:
        rows = [json.loads(line) for name in args.table for line in open(name, encoding="utf-8")]
    else:
        rows = measure_all(args)
    lines, worst = table(rows)
    print("\n".join(lines))
    print(f"kernel from model at most {worst[0]:.1%} (limit 5 %), stack from kernel at most {worst[1]:.1%} (limit 10 %)")
    sys.exit(0 if worst[0] < 0.05 and worst[1] < 0.10 else 1)


if __name__ == "__main__":
    main()
