"""Proxies and loads: nginx as a reverse proxy, haproxy, socat, ab, wrk. The proxy's run publishes its port, what is
behind it is of the host, the load comes from a run of its own."""
import re

from _program_rows import shows
from _program_services import answers, published, serves_http
from _programs import check, equal, free_port, need, sha256


def nginx_conf(bench, name, body):
    """A configuration of nginx whose every file is in the bench's directory."""
    paths = "".join(f"{kind}_temp_path {bench.dir}/{name}-{kind};" for kind in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return bench.file(name, f"""daemon off; worker_processes 2; pid {bench.dir}/{name}.pid;
        error_log {bench.dir}/{name}.log warn; events {{ worker_connections 512; }}
        http {{ access_log off; {paths} {body} }}""")


def nginx_command(bench, conf):
    return ["nginx", "-c", conf, "-p", bench.dir, "-e", bench.dir / "error.log"]


def backend(bench):
    """The port of an nginx of the host that serves the directory and logs which connection each request came by."""
    need("nginx")
    port = free_port()
    conf = nginx_conf(bench, "backend.conf", f"""log_format connection '$connection $uri';
        server {{ listen 127.0.0.1:{port}; keepalive_requests 100000; access_log {bench.dir}/connections connection;
          location /small {{ return 200 "small\\n"; }} location / {{ root {bench.dir}; }} }}""")
    server = bench.host(nginx_command(bench, conf), limit=120, name="backend")
    bench.until(lambda: serves_http(port), process=server)
    return port


def connections(bench, path):
    """(requests, connections they came by) that the backend saw for a path."""
    lines = [line.split() for line in (bench.dir / "connections").read_text().splitlines()]
    used = [number for number, uri in lines if uri == path]
    return len(used), len(set(used))


def ab_result(process, requests):
    """Every request of ab was answered in full; how many were kept alive."""
    text = process.ok().out
    def number(label):
        found = re.search(rf"^{label}:\s+(\d+)", text, re.M)
        return int(found[1]) if found else 0
    equal((number("Complete requests"), number("Failed requests"), number("Non-2xx responses")), (requests, 0, 0),
          f"complete, failed and refused requests of ab\n{text[-1500:]}")
    return number("Keep-Alive requests")


@shows("nginx", ("nginx -c F -p D", "ab -k -n N -c N http://H:P/small", "ab -n N -c N http://H:P/small"),
       "a reverse proxy between two runs and the host, over connections kept open, as the backend counts them, "
       "and over one connection a request")
@shows("ab", ("ab -k -n N -c N U", "ab -n N -c N U"),
       "against that proxy: every request is answered, with keep-alive and with a connection a request")
def nginx_proxy(bench):
    """nginx in front of nginx: with and without upstream keep-alive, loaded by ab; a large file through it."""
    need("nginx", "ab", "curl")
    payload = bench.payload(bench.size(3_000_000, 200_000))
    back, kept, single = backend(bench), free_port(), free_port()
    conf = nginx_conf(bench, "proxy.conf", f"""
        upstream back {{ server 127.0.0.1:{back}; keepalive 16; keepalive_requests 100000; }}
        server {{ listen {bench.any}:{kept}; keepalive_requests 100000;
          location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
        server {{ listen {bench.any}:{single}; keepalive_timeout 0;
          location / {{ proxy_pass http://127.0.0.1:{back}; }} }}""")
    specs, outside = bench.publish(single)
    server, outside_kept = published(bench, nginx_command(bench, conf), kept, serves_http, more_specs=specs)
    requests, at_once = bench.size(500, 150), 16
    (bench.dir / "connections").write_text("")
    load = bench.run(["ab", "-q", "-k", "-n", requests, "-c", at_once, f"http://127.0.0.1:{outside_kept}/small"], limit=90)
    equal(ab_result(load, requests), requests, "requests of ab with keep-alive")
    asked, used = connections(bench, "/small")
    equal(asked, requests, "requests that the backend saw")
    check(used <= 4 * at_once, f"{used} connections to the backend for {asked} requests with keep-alive")
    (bench.dir / "connections").write_text("")
    load = bench.run(["ab", "-q", "-n", requests, "-c", at_once, f"http://127.0.0.1:{outside}/small"], limit=90)
    equal(ab_result(load, requests), 0, "requests of ab without keep-alive that were kept alive")
    equal(connections(bench, "/small"), (requests, requests), "requests and connections that the backend saw")
    for port in (outside_kept, outside):
        bench.run(["curl", "-sS", "-o", f"got{port}", f"http://127.0.0.1:{port}/payload"]).ok()
        equal(sha256(bench.dir / f"got{port}"), sha256(payload), "the file through the proxy")
    server.stop()


@shows("wrk", "wrk -t2 -c8 -d2s U", "nginx in one run, wrk in another: no socket error, no bad answer")
def wrk_load(bench):
    """wrk with two threads and eight connections for two seconds."""
    need("nginx", "wrk")
    port = free_port()
    conf = nginx_conf(bench, "nginx.conf", f"""server {{ listen {bench.any}:{port};
        location / {{ return 200 "small\\n"; }} }}""")
    server, outside = published(bench, nginx_command(bench, conf), port, serves_http)
    got = bench.run(["wrk", "-t2", "-c8", "-d2s", f"http://127.0.0.1:{outside}/"]).ok()
    found = re.search(r"^\s*(\d+) requests in", got.out, re.M)
    check(found and int(found[1]) >= bench.size(500, 30), f"wrk said\n{got.out}")
    check("Socket errors" not in got.out and "Non-2xx" not in got.out, f"wrk said\n{got.out}")
    server.stop()


@shows("haproxy", ("haproxy -db -f F", "curl -o F -o F U U", "ab -k -n N -c N U"),
       "in front of two servers of the host, as proxy of http and of bytes: both get requests, health checks see "
       "that one ends")
def haproxy_balance(bench):
    """haproxy in http and tcp mode, round robin over two servers, one of which ends."""
    need("haproxy", "curl", "ab", "nginx")
    payload = bench.payload(bench.size(2_000_000, 150_000))
    ports, front, raw = [free_port(), free_port()], free_port(), free_port()
    servers = []
    for i, port in enumerate(ports):
        conf = nginx_conf(bench, f"back{i}.conf", f"""server {{ listen 127.0.0.1:{port};
            location /who {{ return 200 "server{i}\\n"; }} location / {{ root {bench.dir}; }} }}""")
        servers.append(bench.host(nginx_command(bench, conf), limit=120, name=f"back{i}"))
        bench.until(lambda: serves_http(port), process=servers[-1])
    lines = "\n".join(f" server s{i} 127.0.0.1:{port} check inter 300ms fall 2 rise 1" for i, port in enumerate(ports))
    conf = bench.file("haproxy.cfg", f"""global
 maxconn 500
defaults
 timeout connect 5s
 timeout client 30s
 timeout server 30s
 retries 3
 option redispatch
listen web
 mode http
 bind {bench.any}:{front}
{lines}
listen raw
 mode tcp
 bind {bench.any}:{raw}
{lines}
""")
    specs, outside_raw = bench.publish(raw)
    server, outside = published(bench, ["haproxy", "-db", "-f", conf], front,
                                lambda p: answers(p, b"GET /who HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"), more_specs=specs)
    who = f"http://127.0.0.1:{outside}/who"
    got = bench.run(["curl", "-sS", *[who] * 8]).ok()
    equal(sorted(set(got.out.split())), ["server0", "server1"], "servers that answered")
    bench.run(["curl", "-sS", "-o", "one", "-o", "two", f"http://127.0.0.1:{outside}/payload",
               f"http://127.0.0.1:{outside_raw}/payload"]).ok()
    equal([sha256(bench.dir / n) for n in ("one", "two")], [sha256(payload)] * 2, "the file through both proxies")
    requests = bench.size(1000, 150)
    ab_result(bench.run(["ab", "-q", "-k", "-l", "-n", requests, "-c", "10", who], limit=90), requests)
    servers[0].stop()
    bench.until(lambda: "web/s0 is DOWN" in server.errors + server.out, process=server, what="the failed check")
    got = bench.run(["curl", "-sS", *[who] * 6]).ok()
    equal(set(got.out.split()), {"server1"}, "servers that answered when one had ended")
    server.stop()


@shows("socat", ("socat TCP-LISTEN:P,fork,reuseaddr EXEC:cat", "socat -t5 - TCP:H:P",
                 "socat UDP-LISTEN:P,fork EXEC:cat", "socat -t2 - UDP:H:P"),
       "two runs: an echo through a child of the server, with a half close; datagrams")
def socat_echo(bench):
    """socat as an echo server of TCP and UDP, one child a connection."""
    need("socat")
    payload = bench.payload(bench.size(1_000_000, 100_000))
    port, plain = free_port(), free_port()
    server, outside = published(bench, ["socat", f"TCP-LISTEN:{port},fork,reuseaddr", "EXEC:cat"], port,
                                lambda p: answers(p, b"hello", b"hello"))
    with open(payload) as stdin:
        got = bench.run(["socat", "-t5", "-", f"TCP:127.0.0.1:{outside}"], stdin=stdin).ok()
    equal(sha256(got.log), sha256(payload), "what came back")
    specs, udp = bench.publish(plain, udp=True, tcp=False)
    datagrams = bench.run(["socat", f"UDP-LISTEN:{plain},fork", "EXEC:cat"], publish=specs, limit=120)
    text = bench.file("text", "a datagram\n")

    def echoed():
        with open(text) as stdin:
            return bench.run(["socat", "-t2", "-", f"UDP:127.0.0.1:{udp}"], stdin=stdin).wait() == 0 and \
                bench.processes[-1].out == "a datagram\n"

    bench.until(echoed, process=datagrams, what="the datagram's way back")
    server.stop()
    datagrams.stop()


SCENARIOS = [nginx_proxy, wrk_load, haproxy_balance, socat_echo]
