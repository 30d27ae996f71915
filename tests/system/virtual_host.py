#!/usr/bin/env python3
# timeout: 200
"""What diagnosis programs see of the virtual host: an unmodified ping, and `ip` and `ss` where no network namespace
of its own answers them."""
import json
import re
import subprocess

import lib_peer as peer
from lib_hosts import ROOT, user

DELAY = 20  # milliseconds, each way


def run(*words, options=(), status=0, prefix=(), seconds=60):
    command = [*prefix, *user(), peer.TIDEWIRE, "run", "--quiet", *options, "--", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd="/")
    assert done.returncode == status, (words, done)
    return done


def ping(*words, status=0, options=("--net", f"delay={DELAY}ms"), prefix=()):
    done = run("ping", *words, options=options, status=status, prefix=prefix)
    assert "WARNING" not in done.stderr, done
    return done.stdout


def round_trips(text):
    return [float(t) for t in re.findall(r"time=([0-9.]+) ms", text)]


def measures_the_way_to_the_gateway():
    text = ping("-c", 3, "-i", 0.2, "10.0.2.2")
    times = round_trips(text)
    assert len(times) == 3 and all(2 * DELAY <= t < 2 * DELAY + 100 for t in times), text
    assert text.count("ttl=64") == 3 and "3 received, 0% packet loss" in text, text


def reaches_its_own_addresses():
    for words in (["10.0.2.15"], ["127.0.0.1"], ["-6", "::1"]):
        times = round_trips(ping("-c", 1, *words))
        assert len(times) == 1 and times[0] < 2 * DELAY, (words, times)


def sends_long_echoes_in_fragments():
    assert len(round_trips(ping("-c", 1, "-s", 4000, "10.0.2.2"))) == 1
    text = run("ping", "-c", 1, "-s", 4000, "-M", "do", "10.0.2.2", status=1)
    assert "message too long, mtu=1500" in text.stderr + text.stdout, text


def hears_of_loss_and_refusal():
    text = ping("-c", 3, "-i", 0.2, "-w", 1, "10.0.2.2", status=1, options=("--net", "blackhole=0s"))
    assert ", 0 received" in text, text
    text = ping("-c", 1, "-t", 1, "192.0.2.1", status=1)
    assert "From 10.0.2.2 icmp_seq=1 Time to live exceeded" in text, text


IN_NAMESPACE = ["unshare", "--net", "sh", "-c",
                "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && "
                "echo '%s' > /proc/sys/net/ipv4/ping_group_range && exec \"$@\"", "sh"]


def reaches_beyond_the_gateway():
    """As far as this host lets ordinary users send echo requests."""
    allowed, denied = ([*IN_NAMESPACE[:4], IN_NAMESPACE[4] % groups, "sh"] for groups in ("0 2147483647", "1 0"))
    times = round_trips(ping("-c", 2, "-i", 0.2, "192.0.2.1", prefix=allowed))
    assert len(times) == 2 and all(2 * DELAY <= t < 2 * DELAY + 100 for t in times), times
    text = ping("-c", 1, "192.0.2.1", status=1, prefix=denied)
    assert "From 10.0.2.2 icmp_seq=1 Packet filtered" in text, text


def lists_interfaces_and_routes():
    plain = ("--no-netns",)
    names = run(peer.PYTHON, "-c", "import socket; print(socket.if_nameindex())", options=plain).stdout
    assert names == "[(1, 'lo'), (2, 'eth0')]\n", names
    (way,) = json.loads(run("ip", "-j", "route", "get", "192.0.2.1", options=plain).stdout)
    assert (way["gateway"], way["dev"], way["prefsrc"]) == ("10.0.2.2", "eth0", "10.0.2.15"), way
    missing = run("ip", "link", "show", "nope", options=plain, status=1)
    assert "does not exist" in missing.stderr, missing
    refused = run("ip", "addr", "add", "192.0.2.9/32", "dev", "eth0", options=plain, status=2)
    assert "Operation not permitted" in refused.stderr, refused


SERVER = """
import socket, subprocess
s = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(s.getsockname())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("0.0.0.0", 0))
print(s.getsockname()[1], c.getsockname()[1], u.getsockname()[1])
for words in (["-Htan"], ["-Huan"]):
    print(subprocess.run(["ss", *words], capture_output=True, text=True).stdout, end="--\\n")
"""


def lists_the_sockets_of_the_run():
    for options in ((), ("--no-netns",)):
        out = run(peer.PYTHON, "-c", SERVER, options=options).stdout
        first, rest = out.split("\n", 1)
        listening, connected, datagrams = first.split()
        tcp, udp = [[line.split() for line in part.splitlines()] for part in rest.split("--\n")[:2]]
        assert sorted((line[0], line[3]) for line in tcp) == sorted((
            ("LISTEN", f"127.0.0.1:{listening}"), ("ESTAB", f"127.0.0.1:{listening}"),
            ("ESTAB", f"127.0.0.1:{connected}"))), out
        assert [(line[0], line[3]) for line in udp] == [("UNCONN", f"0.0.0.0:{datagrams}")], out


REFUSED = """
import errno, fcntl, socket, struct
def said(call, *words):
    try:
        call(*words)
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
s = socket.socket()
SO_ZEROCOPY, SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, IPPROTO_MPTCP, TCP_ULP = 60, 26, 50, 51, 262, 31
print(said(s.setsockopt, socket.SOL_SOCKET, SO_ZEROCOPY, 1),
      said(s.setsockopt, socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(16)),
      said(s.setsockopt, socket.SOL_SOCKET, SO_ATTACH_BPF, 3),
      said(s.setsockopt, socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, bytes(16)),
      said(socket.socket, socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP),
      said(s.setsockopt, socket.IPPROTO_TCP, TCP_ULP, b"tls"))
"""


def refuses_what_programs_can_do_without():
    """Each goes on the usual way then: copies, filters of its own, plain TCP."""
    out = run(peer.PYTHON, "-c", REFUSED).stdout.split()
    assert out == ["ENOPROTOOPT"] * 4 + ["EPROTONOSUPPORT", "ENOENT"], out


INTERFACE = """
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def ask(number, name=b"eth0"):
    return fcntl.ioctl(s, number, struct.pack("16s24x", name))
SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFINDEX, SIOCGIFNAME = 0x8915, 0x891b, 0x8913, 0x8921, 0x8933, 0x8910
for number in (SIOCGIFADDR, SIOCGIFNETMASK): print(socket.inet_ntoa(ask(number)[20:24]))
print(struct.unpack("H", ask(SIOCGIFFLAGS)[16:18])[0] & 1, struct.unpack("i", ask(SIOCGIFMTU)[16:20])[0])
index = struct.unpack("i", ask(SIOCGIFINDEX)[16:20])[0]
print(fcntl.ioctl(s, SIOCGIFNAME, struct.pack("16si20x", b"", index))[:4].decode())
print(" ".join(sorted(name for _, name in socket.if_nameindex())))
"""


def answers_questions_about_interfaces():
    for options in ((), ("--no-netns",)):
        out = run(peer.PYTHON, "-c", INTERFACE, options=options).stdout.split("\n")
        assert out[:5] == ["10.0.2.15", "255.255.255.0", "1 1500", "eth0", "eth0 lo"], (options, out)


def main():
    tally = peer.Tally()
    cases = [measures_the_way_to_the_gateway, reaches_its_own_addresses, sends_long_echoes_in_fragments,
             hears_of_loss_and_refusal, lists_interfaces_and_routes, lists_the_sockets_of_the_run, refuses_what_programs_can_do_without,
             answers_questions_about_interfaces]
    if ROOT:
        cases.append(reaches_beyond_the_gateway)
    for case in cases:
        tally.case(case.__name__.replace("_", " "), case)
    tally.finish()


main()
