"""Programs that fetch something from the host: curl, wget, busybox, a static Go program, dig; ten at once."""
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

from _program_rows import shows
from _programs import (HERE, PYTHON, PATH, Failed, Skipped, check, equal, free_port, need, sha256)


class WebServer(http.server.ThreadingHTTPServer):
    """Serves the files of a directory; takes uploads and answers with their hash."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, directory, port=0, host="127.0.0.1"):
        self.directory, self.requests = pathlib.Path(directory), []
        super().__init__((host, port), WebHandler)

    def handle_error(self, *_):
        pass  # a client that goes away is judged by what it reports


class WebHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(self.path)
        body = (self.server.directory / self.path.lstrip("/")).read_bytes()
        self.answer(200, body)

    def do_POST(self):
        if self.headers.get("Expect") == "100-continue":
            pass  # the base class has answered
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, hashlib.sha256(body).hexdigest().encode())

    do_PUT = do_POST

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def web(bench, size, **more):
    """(payload, port) of a web server outside of the run."""
    payload = bench.payload(size)
    return payload, bench.serve(WebServer(bench.dir, **more))


# --- curl and wget --------------------------------------------------------------------------------

@shows("curl", "curl -o F http://localhost:P/F",
       "8 MB (0.5 MB lossy) from a server of the host; `localhost` is tried as ::1, refused at once, then 127.0.0.1")
def curl_get(bench):
    """curl -o FILE http://localhost:PORT/: localhost is tried as ::1 first and falls back to 127.0.0.1."""
    need("curl")
    payload, port = web(bench, bench.size(8_000_000, 500_000))
    bench.run(["curl", "-sS", "-o", "got", f"http://localhost:{port}/payload"]).ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "what curl got")


@shows("curl", ("curl http://10.0.2.2:P/F", "curl http://host.tidewire:P/F"),
       "the gateway's address and name are this host")
def curl_by_gateway_address(bench):
    """curl http://10.0.2.2:PORT/ and http://host.tidewire:PORT/ reach this host."""
    need("curl")
    payload, port = web(bench, 50_000)
    hosts = [bench.gateway] + (["host.tidewire"] if bench.stack else [])
    for host in hosts:
        bench.run(["curl", "-sS", "-o", "got-" + host, f"http://{host}:{port}/payload"]).ok()
        equal(sha256(bench.dir / ("got-" + host)), sha256(payload), f"what curl got from {host}")


@shows("curl", ("curl --data-binary @F U", "curl -T F U"), "uploads; the server answers with their hash")
def curl_upload(bench):
    """curl --data-binary @FILE and -T FILE: bytes towards the server."""
    need("curl")
    payload, port = web(bench, bench.size(4_000_000, 400_000))
    for how in (["--data-binary", "@payload"], ["-T", "payload", "-H", "Expect: 100-continue"]):
        got = bench.run(["curl", "-sS", *how, f"http://127.0.0.1:{port}/up"]).ok()
        equal(got.out, sha256(payload), f"hash of the upload with {how[0]}")


@shows("nc", "nc -N H P",
       "a program that writes, closes and ends at once over `rate=2mbit`: all of it arrives; a signal ends the wait")
def written_before_exit(bench):
    """A program that writes, closes and ends at once: its run delivers what was written, over a slow link too;
    a signal ends the wait."""
    need("nc")
    payload = bench.payload(600_000)
    port = bench.serve(Collector())
    with open(payload) as stdin:
        bench.run(["nc", "-N", "127.0.0.1", port], stdin=stdin, net="rate=2mbit delay=5ms").ok()
    hashes = bench.servers[-1].hashes
    bench.until(lambda: hashes, what="the end of the stream")
    equal(hashes, [sha256(payload)], "what the server got from a program that has ended")
    if bench.stack:
        program = bench.file("writer.py", f"import os, socket\ns = socket.create_connection(('127.0.0.1', {port}))\n"
                             f"s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4000000)\n"
                             f"s.sendall(bytes(1000000))\nprint('written', flush=True)\n")
        slow = bench.run([PYTHON, program], net="rate=64kbit")
        bench.until(lambda: "written" in slow.out, limit=60, process=slow)
        time.sleep(0.5)
        before = cpu_seconds(slow.popen.pid)
        time.sleep(1)
        used = cpu_seconds(slow.popen.pid) - before
        check(used < 0.2, f"run used {used:.2f} s of processor time in a second of waiting for a slow link")
        slow.stop(limit=5)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Collector:
    """Reads each connection to its end and keeps the hashes."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server_address, self.hashes = self.socket.getsockname(), []

    def serve_forever(self, poll_interval=None):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.collect, args=(connection,), daemon=True).start()

    def collect(self, connection):
        digest = hashlib.sha256()
        with connection:
            try:
                while part := connection.recv(65536):
                    digest.update(part)
            except OSError:
                return
        self.hashes.append(digest.hexdigest())

    def shutdown(self):
        self.socket.shutdown(socket.SHUT_RDWR)

    def server_close(self):
        self.socket.close()


@shows("curl", "curl -Z -o F U -o F U …", "twelve connections at once in one process")
def curl_parallel(bench):
    """curl -Z: twelve transfers at once in one process, without and with one connection kept open."""
    need("curl")
    payload, port = web(bench, bench.size(400_000, 40_000))
    names = [f"got{i}" for i in range(12)]
    pairs = [word for name in names for word in ("-o", name, f"http://127.0.0.1:{port}/payload")]
    bench.run(["curl", "-sS", "-Z", "--parallel-immediate", *pairs]).ok()
    for name in names:
        equal(sha256(bench.dir / name), sha256(payload), f"{name} of curl -Z")


@shows("curl", ("curl http://localhost:P/", "curl http://[::1]:P/"),
       "without a server: status 7 at once, over both families")
def curl_refused(bench):
    """curl to a port where nobody listens: status 7, at once, over both families of localhost."""
    need("curl")
    port = free_port()
    for host in ("localhost", "127.0.0.1", "[::1]"):
        got = bench.run(["curl", "-sS", "-m", "20", f"http://{host}:{port}/"], limit=30)
        equal(got.wait(), 7, f"status of curl to {host} without a server\n{got.tail()}")


@shows("wget", "wget -P F U U U", "three files over one connection kept open")
def wget_files(bench):
    """wget of three files over one connection that is kept open."""
    need("wget")
    payload, port = web(bench, bench.size(2_000_000, 120_000))
    for name in ("two", "three"):
        bench.payload(70_000, name)
    base = f"http://localhost:{port}"
    bench.run(["wget", "-nv", "-P", "got", f"{base}/payload", f"{base}/two", f"{base}/three"]).ok()
    for name in ("payload", "two", "three"):
        equal(sha256(bench.dir / "got" / name), sha256(bench.dir / name), f"{name} got by wget")


def is_static(path):
    """True if an ELF program names no dynamic linker (PT_INTERP)."""
    image = pathlib.Path(path).read_bytes()
    table, size, count = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    return all(struct.unpack_from("<I", image, table + i * size)[0] != 3 for i in range(count))


@shows("busybox-static", "busybox wget -O F U", "no dynamic linker in the program")
def busybox_wget(bench):
    """busybox-static: a program without a dynamic linker."""
    need("busybox")
    payload, port = web(bench, bench.size(2_000_000, 300_000))
    check(is_static(shutil.which("busybox", path=PATH)), "this busybox is not static")
    bench.run(["busybox", "wget", "-q", "-O", "got", f"http://127.0.0.1:{port}/payload"]).ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "what busybox got")


# --- a static Go program --------------------------------------------------------------------------

_go_lock = threading.Lock()
_go_program = []


def go_program(bench):
    """The path of tests/system/_programs_go, built once without C."""
    need("go")
    with _go_lock:
        if not _go_program:
            top = bench.dir.parent / "go"
            top.mkdir(mode=0o755)
            cache = pathlib.Path(os.environ.get("TIDEWIRE_BUILD", top)) / "go-cache"
            env = dict(os.environ, CGO_ENABLED="0", GO111MODULE="off", GOCACHE=str(cache), GOFLAGS="",
                       GOPATH=str(top / "path"), GOTOOLCHAIN="local")
            built = subprocess.run(["go", "build", "-o", str(top / "gonet"), str(HERE / "_programs_go/main.go")],
                                   env=env, capture_output=True, text=True, timeout=180)
            _go_program.append(str(top / "gonet") if built.returncode == 0 else Failed(built.stderr))
        if isinstance(_go_program[0], Failed):
            raise _go_program[0]
        return _go_program[0]


@shows("static Go program", "gonet get U F F F F F F F F",
       "`CGO_ENABLED=0`, eight transfers at once: epoll, non-blocking connect, goroutines")
def go_client(bench):
    """A static Go client: eight transfers at once."""
    program = go_program(bench)
    check(is_static(program), "the Go program is not static")
    payload, port = web(bench, bench.size(1_000_000, 50_000))
    names = [f"got{i}" for i in range(8)]
    bench.run([program, "get", f"http://localhost:{port}/payload", *names]).ok()
    for name in names:
        equal(sha256(bench.dir / name), sha256(payload), f"{name} of the Go client")


@shows("static Go program", "gonet echo 20 100000", "server and client in one process")
def go_echo(bench):
    """A static Go program that is server and client in one run."""
    got = bench.run([go_program(bench), "echo", "20", "100000"]).ok()
    check(got.out.startswith("20 echoes"), f"the Go program said {got.out!r}")


# --- names ----------------------------------------------------------------------------------------

def dns_server(bench):
    """(port) of a dnsmasq on the host that knows test.example, many.example and long.example."""
    need("dnsmasq")
    port = free_port()
    hosts = bench.file("hosts", "".join(f"192.0.2.{i} many.example\n" for i in range(1, 200))
                       + "192.0.2.7 test.example\n2001:db8::7 test.example\n")
    bench.host(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                f"--addn-hosts={hosts}", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces",
                "--pid-file=", "--no-poll", "--local-ttl=60", "--txt-record=long.example," + "x" * 200],
               limit=120)
    dig = ["dig", "+short", "+tries=1", "+time=1", "@127.0.0.1", "-p", str(port), "test.example"]
    bench.until(lambda: "192.0.2.7" in subprocess.run(dig, capture_output=True, text=True).stdout,
                what="dnsmasq")
    return port


def answers(text):
    """What dig +short found, without its remarks on tries that timed out."""
    return [line for line in text.splitlines() if not line.startswith(";;")]


@shows("dig", ("dig -p P @127.0.0.1 D", "dig -p P @127.0.0.1 +tcp D",
             "dig -p P @10.0.2.2 D", "dig -p P @127.0.0.1 +noedns D"),
       "a dnsmasq of the host through the gateway, UDP and TCP; a truncated answer is asked for again over TCP")
def dig_dnsmasq(bench):
    """dig over UDP, over TCP, and from UDP to TCP for an answer that is too long for UDP."""
    need("dig")
    port = dns_server(bench)
    base = ["dig", "+short", "+tries=5", "+time=2", "-p", str(port)]
    for server in {"127.0.0.1", bench.gateway}:
        for how in ([], ["+tcp"]):
            got = bench.run(base + [f"@{server}", *how, "test.example"]).ok()
            equal(answers(got.out), ["192.0.2.7"], f"dig @{server} {how}")
    got = bench.run(base + ["@127.0.0.1", "AAAA", "test.example"]).ok()
    equal(answers(got.out), ["2001:db8::7"], "dig AAAA")
    got = bench.run(base + ["@127.0.0.1", "+noedns", "many.example"]).ok()
    equal(len([w for w in got.out.split() if re.match(r"192\.0\.2\.\d+$", w)]), 199,
          "addresses in the long answer")


# --- many at once ---------------------------------------------------------------------------------

@shows("ten at once", ("curl -o F U", "wget -O F U", "busybox wget -O F U", "gonet get U F"),
       "ten programs of five kinds in one run, python3 among them")
def ten_at_once(bench):
    """Ten programs of five kinds in one run, all at the same time."""
    need("curl", "wget", "busybox", "nc")
    program = go_program(bench)
    payload, port = web(bench, bench.size(1_000_000, 100_000))
    fetch = ("import sys,urllib.request; "
             "open(sys.argv[2],'wb').write(urllib.request.urlopen(sys.argv[1]).read())")
    bench.script(f"""
        url=http://127.0.0.1:{port}/payload
        for i in 1 2 3; do curl -sS -o got$i $url & pids="${{pids:-}} $!"; done
        for i in 4 5; do wget -q -O got$i $url & pids="$pids $!"; done
        for i in 6 7; do busybox wget -q -O got$i $url & pids="$pids $!"; done
        for i in 8 9; do {program} get $url got$i & pids="$pids $!"; done
        {PYTHON} -c "{fetch}" $url got10 & pids="$pids $!"
        for pid in $pids; do wait $pid || {{ echo "one failed: $?"; exit 1; }}; done""").ok()
    for i in range(1, 11):
        equal(sha256(bench.dir / f"got{i}"), sha256(payload), f"what program {i} of ten got")


@shows("ten at once", "curl -o F U", "ten runs beside each other, each with a network of its own")
def ten_runs_at_once(bench):
    """Ten `tidewire run` beside each other, each with a network of its own."""
    need("curl")
    payload, port = web(bench, bench.size(300_000, 60_000))
    runs = [bench.run(["curl", "-sS", "-o", f"got{i}", f"http://127.0.0.1:{port}/payload"])
            for i in range(10)]
    for i, one in enumerate(runs):
        one.ok()
        equal(sha256(bench.dir / f"got{i}"), sha256(payload), f"what run {i} of ten got")


# --- what asks the way ----------------------------------------------------------------------------

@shows("ping", ("ping -c N H", "fping -c N H", "mtr -r -c N H", "tracepath H", "traceroute -I H"),
       "the gateway answers, one hop away, after twice the delay of the link; tracepath sees its MTU")
def the_way_to_the_gateway(bench):
    """ping, fping, mtr, tracepath and traceroute -I ask the gateway: answers, their times, the path's MTU."""
    if not bench.stack:
        raise Skipped("only the stack's gateway answers echo requests of everybody")
    least = 60.0 if bench.lossy else 0.0

    def answered(command, time_of, fewest=1):
        need(command[0])
        out = bench.run([*command, bench.gateway]).ok().out
        times = [float(found) for found in re.findall(time_of, out)]
        check(len(times) >= fewest and all(least <= found < least + 500 for found in times), f"{command[0]} says {out}")
        return out

    answered(["ping", "-n", "-c", "10", "-i", "0.05"], r"icmp_seq=\d+ ttl=64 time=([\d.]+) ms", 5)
    answered(["fping", "-c", "10", "-p", "100", "-t", "1000"], r"64 bytes, ([\d.]+) ms", 5)
    answered(["mtr", "-n", "-r", "-c", "3"], r"1\.\|-- 10\.0\.2\.2 +[\d.]+% +3 +[\d.]+ +([\d.]+)")
    out = answered(["tracepath", "-n"], r"10\.0\.2\.2 +([\d.]+)ms reached")
    check("pmtu 1500 hops 1" in out, f"tracepath says {out}")
    answered(["traceroute", "-n", "-I", "-q", "1", "-w", "1"], r"10\.0\.2\.2  ([\d.]+) ms")


SCENARIOS = [curl_get, written_before_exit, curl_by_gateway_address, curl_upload, curl_parallel, curl_refused, wget_files,
             busybox_wget, go_client, go_echo, dig_dnsmasq, the_way_to_the_gateway, ten_at_once, ten_runs_at_once]
SHORT = [curl_get, curl_upload, curl_refused, wget_files, busybox_wget, go_client, go_echo, dig_dnsmasq,
         ten_at_once]
