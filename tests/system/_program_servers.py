"""Servers under `tidewire run`, used from the host through published ports: http.server, nginx, redis, iperf3."""
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import threading
import urllib.request

from _program_clients import go_program
from _program_rows import shows
from _programs import PYTHON, TIDEWIRE, Failed, check, equal, free_port, need, sha256


def fetch(port, path="/payload", limit=60):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=limit).read()


def fetch_many(bench, port, count, path="/payload", at_once=6):
    """`count` transfers over connections of their own, some at a time; their bodies."""
    bodies, errors, lock = [], [], threading.Lock()
    todo = list(range(count))

    def worker():
        while True:
            with lock:
                if not todo:
                    return
                todo.pop()
            try:
                body = fetch(port, path, bench.limit(60))
                with lock:
                    bodies.append(body)
            except (OSError, http.client.HTTPException) as e:
                with lock:
                    errors.append(repr(e))

    threads = [threading.Thread(target=worker) for _ in range(at_once)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check(not errors, f"{len(errors)} of {count} transfers failed: {errors[:3]}")
    return bodies


@shows("python3", ("python3 -m http.server --bind H P", "host: curl -o F U"),
       "published; fetched from the host, file and listing")
def python_http_server(bench):
    """python3 -m http.server, published, fetched from the host by curl; directory listing and a file."""
    need("curl")
    payload = bench.payload(bench.size(4_000_000, 300_000))
    port = free_port()
    specs, outside = bench.publish(port)
    server = bench.run([PYTHON, "-m", "http.server", "--bind", bench.any, port], publish=specs)
    bench.until(lambda: b"payload" in fetch(outside, "/"), process=server)
    bench.host(["curl", "-sS", "-o", "got", f"http://127.0.0.1:{outside}/payload"]).ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "what the host got")
    server.stop()


@shows("python3", "python3 -m http.server P",
       "over `rate=1500kbit`: what was written before close() arrives whole, however long it takes")
def close_with_a_full_buffer(bench):
    """http.server shuts down and closes while much of its answer waits behind a slow link: all of it arrives."""
    payload = bench.payload(400_000)
    port = free_port()
    specs, outside = bench.publish(port)
    server = bench.run([PYTHON, "-m", "http.server", "--bind", bench.any, port], publish=specs,
                       net="rate=1500kbit delay=5ms")
    bench.until(lambda: b"payload" in fetch(outside, "/"), process=server)
    for body in fetch_many(bench, outside, 2):
        equal(sha256(body), sha256(payload), "what came over the slow link")
    server.stop()


@shows("python3", "python3 -m http.server 80", "a plain user may bind port 80 of the virtual host")
def privileged_port(bench):
    """A plain user may bind port 80 of the virtual host; -15 at the end is the signal it was sent."""
    if not bench.stack:
        return  # kernel sockets do not allow it
    payload = bench.payload(20_000)
    specs, outside = bench.publish(80)
    server = bench.run([PYTHON, "-m", "http.server", "80"], publish=specs)
    bench.until(lambda: fetch(outside) == payload.read_bytes(), process=server)
    status = server.stop()
    equal(status, 128 + 15, f"exit status of run after SIGTERM\n{server.tail()}")


@shows("nginx", ("nginx -c F -p D", "host: curl -o F U -o F U"),
       "published; two workers, sendfile, tcp_nopush: a large file six times, keep-alive; with `reuseport` both "
       "workers get connections")
def nginx_two_workers(bench):
    """nginx with two workers, sendfile and tcp_nopush: one shared listener and one with reuseport, where
    both workers must get connections; a large file; keep-alive."""
    need("nginx", "curl")
    payload = bench.payload(bench.size(6_000_000, 300_000))
    shared, spread = free_port(), free_port()
    paths = "".join(f"{kind}_temp_path {bench.dir}/{kind};" for kind in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = bench.file("nginx.conf", f"""daemon off; worker_processes 2; pid {bench.dir}/pid;
        error_log {bench.dir}/error.log warn; events {{ worker_connections 256; }}
        http {{ access_log off; {paths} sendfile on; tcp_nopush on;
          server {{ listen {bench.any}:{shared}; location / {{ root {bench.dir}; }} }}
          server {{ listen {bench.any}:{spread} reuseport; location / {{ return 200 "worker $pid\\n"; }} }} }}""")
    (specs, outside), (more, outside_spread) = bench.publish(shared), bench.publish(spread)
    server = bench.run(["nginx", "-c", conf, "-p", bench.dir, "-e", bench.dir / "error.log"],
                       publish=specs + more, limit=90)
    bench.until(lambda: fetch(outside_spread, "/"), process=server)
    for body in fetch_many(bench, outside, 6):
        equal(sha256(body), sha256(payload), "what nginx sent")
    workers = set(fetch_many(bench, outside_spread, 40))
    check(len(workers) == 2 and all(re.match(rb"worker \d+\n", w) for w in workers),
          f"workers that answered on the port with reuseport: {workers}")
    both = [w for name in ("a", "b") for w in ("-o", name, f"http://127.0.0.1:{outside}/payload")]
    got = bench.host(["curl", "-sS", "-w", "%{num_connects}\n", *both]).ok()
    equal(got.out.split(), ["1", "0"], "new connections of the first and second transfer")
    equal([sha256(bench.dir / n) for n in "ab"], [sha256(payload)] * 2, "transfers with keep-alive")
    server.stop()


@shows("static Go program", "gonet serve H:P F", "published; `http.ServeFile` (sendfile), six transfers")
def go_server(bench):
    """A static Go server with sendfile, published."""
    payload = bench.payload(bench.size(3_000_000, 200_000))
    port = free_port()
    specs, outside = bench.publish(port)
    server = bench.run([go_program(bench), "serve", f"{bench.any}:{port}", payload], publish=specs)
    bench.until(lambda: fetch(outside, "/"), process=server)
    for body in fetch_many(bench, outside, 6):
        equal(sha256(body), sha256(payload), "what the Go server sent")
    server.stop()


# --- redis ----------------------------------------------------------------------------------------

def redis_command(bench, port):
    return ["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", bench.dir,
            "--bind", bench.any, "--protected-mode", "no", "--daemonize", "no"]


def redis_ask(port, *words, stdin=None, limit=30):
    done = subprocess.run(["redis-cli", "-p", str(port), *words], input=stdin, capture_output=True,
                          timeout=limit)
    return done.stdout


def benchmark_ok(process, tests):
    text = process.ok().out
    rates = re.findall(r"^(\w[^:\n]*): ([\d.]+) requests per second", text.replace("\r", "\n"), re.M)
    check(len(rates) >= tests and all(float(rate) > 0 for _, rate in rates),
          f"redis-benchmark reported {rates}\n{process.tail()}")


@shows("redis", ("redis-server --port P", "host: redis-benchmark -p P -t set,get,lpush,mset"),
       "published; a value of 1 MB comes back through redis-cli; the benchmark is of the host")
def redis_published(bench):
    """redis-server published, redis-cli and redis-benchmark on the host: a value of 1 MB comes back equal."""
    need("redis-server", "redis-benchmark", "redis-cli")
    port = free_port()
    specs, outside = bench.publish(port)
    server = bench.run(redis_command(bench, port), publish=specs, limit=90)
    bench.until(lambda: redis_ask(outside, "ping") == b"PONG\n", what="redis", process=server)
    value = random.randbytes(bench.size(1_000_000, 150_000))
    equal(redis_ask(outside, "-x", "set", "key", stdin=value), b"OK\n", "set of a large value")
    equal(sha256(redis_ask(outside, "--raw", "get", "key")[:-1]), sha256(value), "the value that came back")
    requests = bench.size(3000, 200)
    load = bench.host(["redis-benchmark", "-p", outside, "-q", "-n", requests, "-c", "10", "-t",
                       "set,get,lpush,mset"])
    benchmark_ok(load, 4)
    server.stop()


@shows("redis", ("redis-server --port P", "redis-benchmark -h localhost -p P -c 20", "redis-benchmark -p P -P 16"),
       "in one run; 20 clients; pipelines of 16")
def redis_in_one_run(bench):
    """redis-server and redis-benchmark in one run, over the loopback of the virtual host."""
    need("redis-server", "redis-benchmark", "redis-cli")
    port = free_port()
    words = " ".join(f"'{w}'" for w in redis_command(bench, port))
    load = bench.script(f"""
        {words} >redis.log & server=$!
        for i in $(seq 100); do redis-cli -p {port} ping | grep -q PONG && break; sleep 0.1; done
        redis-benchmark -h localhost -p {port} -q -n 5000 -c 20 -t set,get
        redis-benchmark -p {port} -q -n 5000 -P 16 -t set,get
        kill $server; wait $server""")
    benchmark_ok(load, 4)


# --- iperf3 ---------------------------------------------------------------------------------------

def iperf_result(process):
    status = process.wait()
    try:
        result = json.loads(process.out)
    except ValueError:
        raise Failed(f"iperf3 ended with {status} and without a result\n{process.tail()}")
    check(status == 0 and "error" not in result,
          f"iperf3 ended with {status}: {result.get('error')}\n{process.tail()}")
    return result["end"]


def iperf_moved(end, how):
    """The receiver counts until the sender is done writing, so what is on its way then is missing."""
    sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
    check(sent >= 200_000 and received > 50_000, f"iperf3 {how}: {sent} bytes sent, {received} received")


def iperf_server(bench, start, port, **more):
    """A server that is ready for its first test."""
    server = start(["iperf3", "-s", "-p", port, "--forceflush", *more.pop("words", ())], limit=120, **more)
    bench.until(lambda: "Server listening" in server.out, what="iperf3", process=server)
    return server


@shows("iperf3", ("iperf3 -c H -p P", "iperf3 -c H -p P -R", "iperf3 -c H -p P -P 4"), "server on the host")
def iperf_client(bench):
    """iperf3 -c to a server on the host: forwards, backwards, four streams."""
    need("iperf3")
    port = free_port()
    iperf_server(bench, bench.host, port, words=["-B", "127.0.0.1"])
    amount = bench.size(["-n", "40M"], ["-t", "3"])
    for how in ([], ["-R"], ["-P", "4"]):
        end = iperf_result(bench.run(["iperf3", "-c", "127.0.0.1", "-p", port, *amount, "-J", *how], limit=90))
        iperf_moved(end, how)


@shows("iperf3", ("iperf3 -s -p P", "host: iperf3 -c H -p P -R"),
       "published; client on the host, also `--bidir` on the clean link")
def iperf_published(bench):
    """iperf3 -s published, the client on the host; both ways at once on the clean link."""
    need("iperf3")
    port = free_port()
    specs, outside = bench.publish(port, udp=True)
    server = iperf_server(bench, bench.run, port, publish=specs)
    amount = bench.size(["-n", "30M"], ["-t", "3"])
    # --bidir tells its two connections apart by the order of accept(), which a lost SYN changes.
    for how in ([], ["-R"]) if bench.lossy else ([], ["-R"], ["--bidir"]):
        end = iperf_result(bench.host(["iperf3", "-c", "127.0.0.1", "-p", outside, *amount, "-J", *how], limit=90))
        iperf_moved(end, how)
    server.stop()


@shows("iperf3", ("iperf3 -c H -p P -u", "iperf3 -c H -p P -u -R"),
       "nothing lost on the clean link, 0.5 to 5 % on the lossy one")
def iperf_udp(bench):
    """iperf3 -u: nothing is lost on the clean link, about 2 % on the lossy one, in both directions."""
    need("iperf3")
    port = free_port()
    iperf_server(bench, bench.host, port, words=["-B", "127.0.0.1"])
    for how in ([], ["-R"]):
        # iperf3 does not repeat its first datagram and gives up when that or its answer is lost.
        for seed in (7, 8, 9):
            try:
                end = iperf_result(bench.run(["iperf3", "-c", "127.0.0.1", "-p", port, "-u", "-b", "4M", "-l",
                                              "1000", "-t", "4", "-J", *how], seed=seed))
                break
            except Failed as why:
                if seed == 9 or not bench.lossy or "unable to read from stream socket" not in str(why):
                    raise
        lost, packets = end["sum"]["lost_packets"], end["sum"]["packets"]
        check(packets > 1500, f"iperf3 {how} sent {packets} datagrams")
        least, most = (packets // 200, packets // 20) if bench.lossy else (0, 0 if bench.stack else 5)
        check(least <= lost <= most, f"iperf3 -u {how}: {lost} of {packets} datagrams lost, "
                                     f"expected {least} to {most}")


@shows("python3", "python3 S P 600",
       "600 datagrams of 4 to 1472 bytes, echoed: each that arrives is intact; loss as described")
def udp_intact(bench):
    """Datagrams of many sizes to a server on the host and back: what arrives is intact, what is lost fits."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind(("127.0.0.1", 0))
    seen = []

    def echo():
        while True:
            data, peer = server.recvfrom(65536)
            if data == b"end":
                return
            seen.append(data)
            server.sendto(data, peer)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    count = 600
    program = bench.file("udp.py", UDP_CLIENT)
    got = bench.run([PYTHON, program, server.getsockname()[1], count]).ok()
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"end", server.getsockname())
    thread.join(10)
    server.close()
    sent = got.out.split()[:-1]
    back, broken = (int(w) for w in got.out.split()[-1].split("/"))
    hashes = set(sent)
    check(len(sent) == count and all(hashlib.sha256(d).hexdigest() in hashes for d in seen),
          "a datagram arrived that was not sent")
    equal(broken, 0, "datagrams that came back changed")
    if bench.lossy:
        check(count * 0.90 <= len(seen) < count, f"{len(seen)} of {count} datagrams arrived at 2 % loss")
        check(count * 0.85 <= back < len(seen), f"{back} of {len(seen)} came back at 2 % loss")
    else:
        equal((len(seen), back), (count, count), "datagrams that arrived and came back")


UDP_CLIENT = """
import hashlib, os, random, socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", port))
s.setblocking(False)
sent, back, broken = set(), 0, 0
def take():
    global back, broken
    try:
        while True:
            d = s.recv(65536)
            back += 1
            broken += hashlib.sha256(d).hexdigest() not in sent
    except BlockingIOError:
        pass
for i in range(count):
    data = i.to_bytes(4, "big") + os.urandom(random.choice((0, 1, 100, 508, 1000, 1400, 1468)))
    sent.add(hashlib.sha256(data).hexdigest())
    print(hashlib.sha256(data).hexdigest())
    s.send(data)
    time.sleep(0.002)
    take()
end = time.time() + 1.5
while back < count and time.time() < end:
    time.sleep(0.01)
    take()
print(f"{back}/{broken}")
"""


SCENARIOS = [python_http_server, close_with_a_full_buffer, privileged_port, nginx_two_workers, go_server, redis_published, redis_in_one_run,
             iperf_client, iperf_published, iperf_udp, udp_intact]
SHORT = [python_http_server, nginx_two_workers, go_server, redis_published, redis_in_one_run, iperf_client,
         iperf_udp, udp_intact]
