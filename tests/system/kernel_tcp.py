#!/usr/bin/env python3
# timeout: 300
"""`tidewire run --tcp kernel`: the program on the kernel's TCP, the same network, gateway, recording and control."""
import json
import os
import socket
import subprocess
import threading
import urllib.request

import lib_http
import lib_peer as peer
from lib_hosts import ROOT, Place, until, user, wait_for_host

BODY = os.urandom(2_000_000)


def run(*words, options=(), status=0, as_user=True, text=True):
    command = [*(user() if as_user else []), peer.TIDEWIRE, "run", "--tcp", "kernel", "--seed", "5", *options, "--", *words]
    done = subprocess.run(command, capture_output=True, text=text, timeout=90, cwd="/")
    assert done.returncode == status, (command, done.returncode, done.stdout[-300:], done.stderr[-2000:])
    return done


def fetches(port, as_user, *options):
    for name in ("10.0.2.2", "host.tidewire"):
        done = run("curl", "-sS", "--max-time", "60", f"http://{name}:{port}/", options=["-q", *options], as_user=as_user,
                   text=False)
        assert done.stdout == BODY, (len(done.stdout), done.stderr)


def is_the_kernel():
    """The sockets are the kernel's, and its interface is the virtual host's."""
    out = run("sh", "-c", "nc -l 127.0.0.1 7 & for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; ss -Htln | grep -q :7 && break; done;"
              "ss -Htln; ip -4 -o addr show eth0; ip route; cat /etc/resolv.conf; kill $!", options=["-q"]).stdout
    for text in ("127.0.0.1:7", "10.0.2.15/24", "default via 10.0.2.2 dev eth0", "nameserver 10.0.2.3"):
        assert text in out, (text, out)


def is_delayed():
    connect = ("import socket,sys,time\nbest=9\nfor _ in range(5):\n t=time.monotonic()\n"
               " socket.create_connection(('10.0.2.2',int(sys.argv[1]))).close()\n best=min(best,time.monotonic()-t)\nprint(best)")
    port = lib_http.serve(BODY)
    took = [float(run(peer.PYTHON, "-c", connect, str(port), options=["-q", *o]).stdout) for o in ([], ["--net", "delay=100ms"])]
    assert took[0] < 0.2 <= took[1] < 0.4, took  # the fastest of five: the machine may be busy


def is_recorded(port):
    with Place() as place:
        report, capture = place.path / "run.json", place.path / "run.pcapng"
        done = run("curl", "-sS", "--max-time", "60", "-o", "/dev/null", f"http://10.0.2.2:{port}/",
                   options=["--net", "delay=5ms down.lose=40-45,300", "--json", report, "--pcap", capture, "--print"])
        found = json.loads(report.read_text())
        assert found["backend"] == "kernel tcp" and found["link"]["down"]["dropped"] > 0, found
        (flow,) = [f for f in found["flows"] if f["protocol"] == "tcp"]
        assert flow["received"]["bytes"] >= len(BODY) and flow["received"]["retransmitted_packets"] > 0, flow
        assert 60 < flow["sent"]["bytes"] < 400 and flow["state"] == "CLOSED" and not flow["aborted"], flow
        assert "lost" in done.stderr and "[retransmission" in done.stderr and " closed" in done.stderr, done.stderr[-2000:]
        assert capture.stat().st_size > len(BODY)


def publishes():
    with Place() as place, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        (place.path / "page").write_bytes(BODY)
        server = place.start("run", "-q", "--tcp", "kernel", "--publish", f"{port}:8000", "--net", "delay=1ms", "--",
                             peer.PYTHON, "-m", "http.server", "8000", cwd=place.path)

        def page():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=20) as answer:
                    return answer.read()
            except OSError:
                return None
        assert until(page, "the published page") == BODY
        server.terminate()
        server.communicate(timeout=30)
        assert server.returncode == 143, server.returncode


def delivers_what_is_left():
    """A program that ends with its data still in the kernel."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def take():
        sock, _ = listener.accept()
        while data := sock.recv(65536):
            got.append(len(data))
    thread = threading.Thread(target=take)
    thread.start()
    send = ("import socket,sys\nc=socket.create_connection(('10.0.2.2',int(sys.argv[1])))\n"
            "c.setsockopt(socket.SOL_SOCKET,socket.SO_SNDBUF,1<<20)\nc.sendall(bytes(400_000))")
    run(peer.PYTHON, "-c", send, str(listener.getsockname()[1]), options=["-q", "--net", "rate=4mbit delay=20ms"])
    thread.join(20)
    assert sum(got) == 400_000, sum(got)


def reaches_no_host(port):
    done = run("curl", "-sS", "--max-time", "5", f"http://10.0.2.2:{port}/", options=["-q", "--no-host"], status=7)
    assert "Couldn't connect" in done.stderr, done


def changes_under_way():
    with Place() as place:
        host = place.start("run", "--tcp", "kernel", "--host", "k", "--net", "mtu=1400", "--", "sh", "-c",
                           "ip -j link show eth0; read x; ip -j link show eth0; exit 9")
        assert json.loads(host.stdout.readline())[0]["mtu"] == 1400
        wait_for_host(place, "k")
        refused = place.call("run", "--host", "k", "--", "true", status=125)
        assert "its programs are on the kernel's TCP" in refused.stderr, refused
        place.call("net", "set", "k", "delay=7ms", "mtu=1300")
        assert "delay=7ms" in place.call("net", "show", "k").stdout
        assert place.sockets("-a")[0]["sockets"] == []
        out, err = host.communicate("\n", timeout=30)
        assert json.loads(out)[0]["mtu"] == 1300 and host.returncode == 9, (out, host.returncode)
        assert "from now on the net is 'delay=7ms mtu=1300'" in err, err


def joins_no_stack():
    with Place() as place:
        host = place.start("run", "-q", "--host", "s", "--", "cat")
        wait_for_host(place, "s")
        refused = place.call("run", "--tcp", "kernel", "--host", "s", "--", "true", status=125)
        assert "--tcp kernel belongs to the command that started it" in refused.stderr, refused
        host.communicate(timeout=30)


def takes_settings():
    show = "cd /proc/sys/net/ipv4; cat tcp_ecn tcp_congestion_control ip_local_port_range tcp_fastopen"
    out = run("sh", "-c", show, options=["-q", "--ecn", "--cc", "reno", "--ephemeral", "40000-40999", "--fast-open", "3"]).stdout
    assert out.split() == ["1", "reno", "40000", "40999", "3"], out


def refuses_what_makes_no_sense():
    for options, text in ((["--no-netns"], "takes a network namespace"), (["--io-uring"], "io_uring always works"),
                          (["--backend", "kernel"], "no described network"), (["--time-wait", "2s"], "TIME-WAIT lasts 60 s")):
        done = run("true", options=options, status=125)
        assert text in done.stderr and done.stderr.count("\n") == 1, done
    done = subprocess.run([*user(), "unshare", "--user", "--map-root-user", "sh", "-c",
                           "echo 0 > /proc/sys/user/max_net_namespaces; exec \"$0\" run --tcp kernel -- true", peer.TIDEWIRE],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 125 and "--tcp kernel is not possible here: the kernel refuses network namespaces" in done.stderr, done


def main():
    tally = peer.Tally()
    port = lib_http.serve(BODY)
    tally.case("fetches", fetches, port, True)
    tally.case("fetches over a bad link", fetches, port, True, "--net", "delay=10ms loss=1% rate=50mbit")
    if ROOT:
        tally.case("fetches, as root", fetches, port, False)
        tally.case("fetches over a bad link, as root", fetches, port, False, "--net", "delay=10ms loss=1%")
    tally.case("is recorded", is_recorded, port)
    tally.case("reaches no host", reaches_no_host, port)
    for case in (is_the_kernel, is_delayed, publishes, delivers_what_is_left, changes_under_way, joins_no_stack,
                 takes_settings, refuses_what_makes_no_sense):
        tally.case(case.__name__.replace("_", " "), case)
    tally.finish()


main()
