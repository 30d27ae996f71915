"""Names and files over UDP from servers under `tidewire run`: dnsmasq as name server and for tftp."""
import subprocess

from _program_rows import shows
from _program_services import published
from _programs import Skipped, equal, free_port, need, sha256


def interfaces_are_told(bench):
    """dnsmasq asks netlink which interfaces there are, and wants those that its sockets know."""
    if not bench.stack:
        return
    got = bench.run(["ip", "-br", "addr"]).ok()
    if "10.0.2.15" not in got.out:
        raise Skipped("no network namespace for the programs of a run here")


def resolves(port):
    dig = ["dig", "+short", "+tries=1", "+time=1", "@127.0.0.1", "-p", str(port), "test.example"]
    return "192.0.2.7" in subprocess.run(dig, capture_output=True, text=True).stdout


def dnsmasq_command(bench, port, *more):
    return ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", f"--port={port}",
            "--listen-address=" + ("10.0.2.15,127.0.0.1" if bench.stack else "127.0.0.1"),
            "--pid-file=", "--no-poll", "--user=", "--log-facility=-", *more]


@shows("dnsmasq", ("dnsmasq --port=P", "dig -p P @127.0.0.1 D", "dig -p P @127.0.0.1 +tcp D"),
       "server and dig in two runs, over UDP and TCP; a long answer moves from UDP to TCP")
def dnsmasq_published(bench):
    """dnsmasq under run, asked by dig from another run."""
    need("dnsmasq", "dig")
    interfaces_are_told(bench)
    port = free_port()
    hosts = bench.file("names", "".join(f"192.0.2.{i} many.example\n" for i in range(1, 200)) + "192.0.2.7 test.example\n")
    server, outside = published(bench, dnsmasq_command(bench, port, "--bind-interfaces", f"--addn-hosts={hosts}",
                                                       "--local-ttl=60"), port, resolves, udp=True)
    base = f"dig +short +tries=5 +time=2 -p {outside} @127.0.0.1"
    got = bench.script(f"{base} test.example; {base} +tcp test.example; {base} +noedns many.example | grep -c 192").ok()
    found = [line for line in got.out.splitlines() if not line.startswith(";;")]
    equal(found, ["192.0.2.7", "192.0.2.7", "199"], "answers by UDP, by TCP, and long")
    server.stop()


@shows("tftp", ("dnsmasq --enable-tftp --tftp-single-port", "tftp -m binary H P -c get F"),
       "server, on port 69 of its host, and client in two runs: a file in blocks of 512 bytes")
def tftp_published(bench):
    """tftp from dnsmasq's server through a published UDP port. One socket for all interfaces, which tells the
    answers' source by IP_PKTINFO."""
    need("dnsmasq", "tftp")
    if not bench.stack:
        return  # port 69 needs privilege there
    interfaces_are_told(bench)
    payload = bench.payload(bench.size(100_000, 6_000))
    specs, outside = bench.publish(69, udp=True, tcp=False)
    server = bench.run(dnsmasq_command(bench, 0, "--enable-tftp", f"--tftp-root={bench.dir}", "--tftp-single-port"),
                       publish=specs, limit=120)
    bench.until(lambda: "TFTP root" in server.errors, process=server)
    bench.run(["tftp", "-m", "binary", "127.0.0.1", outside, "-c", "get", "payload", "got"], limit=60).ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "the file got by tftp")
    server.stop()


@shows("tftp", ("dnsmasq --enable-tftp", "tftp -m binary 127.0.0.1 -c get F"),
       "in one run: the server answers from a port of its own")
def tftp_in_one_run(bench):
    """tftp where data come from another port than the request went to."""
    need("dnsmasq", "tftp")
    if not bench.stack:
        return
    interfaces_are_told(bench)
    payload = bench.payload(100_000)
    words = " ".join(f"'{w}'" for w in dnsmasq_command(bench, 0, "--bind-interfaces", "--enable-tftp",
                                                       f"--tftp-root={bench.dir}"))
    bench.script(f"""{words} 2>server.log & server=$!
        for i in $(seq 100); do grep -q 'TFTP root' server.log && break; sleep 0.05; done
        tftp -m binary 127.0.0.1 -c get payload got
        kill $server; wait $server""").ok()
    equal(sha256(bench.dir / "got"), sha256(payload), "the file got by tftp")


SCENARIOS = [dnsmasq_published, tftp_published, tftp_in_one_run]
