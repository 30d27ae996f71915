#!/usr/bin/env python3
"""What a program costs under `tidewire run`, beside the same on the kernel's sockets, for tools/figures.py.

Usage: run_bench.py CASE SECONDS      prints `CASE VALUE UNIT`, for some cases several such lines
       run_bench.py --list

A case ends in `_kernel` for the kernel's loopback. One end is under `run`, the other a process of this host:
HTTP servers and redis are published, iperf3 and the ping-pong are clients of a server of the host. All as a user
without privileges (as root: nobody). TIDEWIRE in the environment is another command to measure.
"""
import contextlib
import csv
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build" / "lto"
CALLS = BUILD / "bench" / "socket_calls"
NOBODY = 65534
CLIENTS = 32  # of the HTTP cases


def as_user(words):
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", *words]


def on_one_core(words):
    return ["taskset", "-c", str(min(os.sched_getaffinity(0))), *words]


def run_prefix(*options):
    return [os.environ.get("TIDEWIRE", str(BUILD / "tidewire")), "run", "-q", *options, "--"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def started(words, **more):
    """A program with all that it starts, ended afterwards."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(as_user(words), stdin=subprocess.DEVNULL, stderr=log, process_group=0,
                                   **{"stdout": log, **more})
        try:
            yield process
            if process.poll() not in (None, 0):
                log.seek(0)
                raise SystemExit(f"{words[0]} ended: {(log.read().splitlines() or ['no word'])[-1]}")
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(3)


def output(words):
    done = subprocess.run(as_user(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise SystemExit(f"{words[0]}: {said[-1]}")
    return done.stdout


@contextlib.contextmanager
def server(kernel, words_of, *options):
    """A server on a port of this host, published if it is under `run`; `words_of(port)` starts it."""
    port = free_port()
    words = words_of(port) if kernel else run_prefix("--publish", f"127.0.0.1:{port}:{port}", *options) + words_of(port)
    with started(words) as process:
        end = time.monotonic() + 10
        while True:
            with socket.socket() as s:
                # A published port is open before the program listens: only an answer counts.
                s.settimeout(1)
                try:
                    s.connect(("127.0.0.1", port))
                    s.sendall(b"PING\r\n\r\n")
                    if s.recv(1):
                        break
                except OSError:
                    pass
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{words[0]} does not answer on port {port}")
            time.sleep(0.05)
        yield port


NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; {more} keepalive_requests 100000000; root {folder};
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 10.0.2.15:{port} backlog=4096; }}
}}
"""


def http(kernel, seconds, headers=(), more="", options=()):
    """Requests of one page; nginx as it is without a configuration, with one worker."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o777)
        (folder / "index.html").write_text("tidewire\n" * 68)

        def nginx(port):
            text = NGINX.format(folder=folder, port=port, more=more)
            if kernel:
                text = text.replace(f"listen 10.0.2.15:{port} backlog=4096;", "")
            (folder / "nginx.conf").write_text(text)
            return ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]

        with server(kernel, nginx, *options) as port:
            text = output(["wrk", "-t1", f"-c{CLIENTS}", f"-d{max(1, round(seconds))}s", *headers,
                           f"http://127.0.0.1:{port}/"])
    errors = re.search(r"(Socket errors|Non-2xx).*", text)
    if errors:
        raise SystemExit(f"wrk: {errors[0]}")
    return [("", float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1]), "requests/s")]


def http_nopush(kernel, seconds):
    """As Debian configures it: two socket calls a request, to hold back and let go of the headers."""
    return http(kernel, seconds, more="sendfile on; tcp_nopush on;")


def http_connections(kernel, seconds):
    """A connection a request: accepted by the program alone, as whoever has many of them will have it."""
    return http(kernel, seconds, ("-H", "Connection: close"), options=("--preload",))


def http_connections_plain(kernel, seconds):
    return http(kernel, seconds, ("-H", "Connection: close"))


def iperf(kernel, seconds, *options):
    port = free_port()
    with started(["iperf3", "-s", "-1", "-p", str(port)]) as server_process:
        words = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-J", "-t", str(max(1, round(seconds))), *options]
        end = time.monotonic() + 5
        while str(port) not in {line.split()[1].rpartition(":")[2] for line in listening()}:
            if time.monotonic() > end or server_process.poll() is not None:
                raise SystemExit("iperf3 does not listen")
            time.sleep(0.02)
        told = json.loads(output(words if kernel else run_prefix() + words))
    return [("", told["end"]["sum_received"]["bits_per_second"] / 1e9, "Gbit/s")]


def listening():
    """Lines of listening sockets, their port in decimal."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                yield f"{words[0]} x:{int(words[1].rpartition(':')[2], 16)}"


def bulk_out(kernel, seconds):
    return iperf(kernel, seconds)


def bulk_in(kernel, seconds):
    return iperf(kernel, seconds, "-R")


def redis(kernel, seconds):
    with server(kernel, lambda port: ["redis-server", "--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no",
                                      "--save", "", "--appendonly", "no"]) as port:
        text = output(["redis-benchmark", "-p", str(port), "-t", "set,get", "-n", str(max(1000, round(seconds * 20_000))),
                       "--csv"])
    rows = {row["test"]: float(row["rps"]) for row in csv.DictReader(io.StringIO(text))}
    return [("_set", rows["SET"], "requests/s"), ("_get", rows["GET"], "requests/s")]


def round_trip(kernel, seconds):
    with started(on_one_core([str(CALLS), "echo"]), stdout=subprocess.PIPE, text=True) as echo:
        port = echo.stdout.readline().strip()
        words = [str(CALLS), "ping", port, f"{seconds:g}"]
        text = output(on_one_core(words if kernel else run_prefix() + words))
    return [("", float(text.split()[1]), "us")]


def calls(kernel, seconds):
    words = [str(CALLS), "calls", f"{seconds:g}"]
    text = output(words if kernel else run_prefix() + words)
    return [("_" + line.split()[0], float(line.split()[1]), "ns") for line in text.splitlines()]


CASES = {"run_" + f.__name__: f for f in (http, http_nopush, http_connections, http_connections_plain, bulk_out, bulk_in, redis, round_trip, calls)}


def main():
    names = [name + end for name in CASES for end in ("", "_kernel")]
    if sys.argv[1:] == ["--list"]:
        print("\n".join(names))
        return 0
    if len(sys.argv) != 3 or sys.argv[1] not in names:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    case = sys.argv[1].removesuffix("_kernel")
    kernel = sys.argv[1].endswith("_kernel")
    for what, value, unit in CASES[case](kernel, float(sys.argv[2])):
        print(f"{case}{what}{'_kernel' if kernel else ''} {value:.6g} {unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
