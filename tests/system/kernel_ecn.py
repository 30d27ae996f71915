#!/usr/bin/env python3
# timeout: 300
"""ECN between tidewire and the Linux kernel over a TAP interface, through queues that mark."""
import os
import socket
import struct
import threading

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
LINK = ["--tap", "tap0", "--addr", f"{US}/24"]
PORT = 5000
COUNT = 6 << 20
OPT_ECN, OPT_ECN_SEEN = 8, 16


def counters():
    """IpExt of this namespace: packets that the kernel received, by their ECN field."""
    with open("/proc/net/netstat", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith("IpExt:")]
    return dict(zip(lines[0][1:], map(int, lines[1][1:])))


def tcp_options(sock):
    return struct.unpack_from("6B", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))[5]


def kernel_ecn(value):
    peer.sh(f"sysctl -qw net.ipv4.tcp_ecn={value}")


def kernel_asks():
    """The kernel opens and sends; then we send: its packets and ours are marked, not dropped."""
    kernel_ecn(1)
    before = counters()
    net = "rate=50mbit delay=5ms aqm=codel"
    server = peer.Tidewire("perf", *LINK, "--net", net, "--seed", 1, "--serve", PORT, ready="listening")
    with server, peer.connect(US, PORT) as sock:
        sock.sendall(f"both {COUNT}\n".encode())
        got = peer.both(sock, COUNT)
        options = tcp_options(sock)
    assert got == COUNT, f"{got} of {COUNT} bytes"
    assert options & OPT_ECN, "the kernel did not get the agreement"
    assert options & OPT_ECN_SEEN, "the kernel saw no ECN-capable packet of ours"
    seen = counters()
    assert seen["InECT0Pkts"] > before["InECT0Pkts"] + 100, seen
    assert seen["InCEPkts"] > before["InCEPkts"], "no packet of ours arrived marked"


def we_ask(extra, agreed):
    """We open with --ecn; what the kernel agreed to is in its TCP_INFO."""
    kernel_ecn(2)
    listener = socket.create_server((THEM, 0))
    found = []

    def serve():
        sock, _ = listener.accept()
        with sock:
            assert peer.receive_line(sock).startswith("both")
            peer.both(sock, COUNT)
            found.append(tcp_options(sock))

    thread = threading.Thread(target=serve)
    thread.start()
    before = counters()
    peer.perf(*LINK, *extra, "--net", "rate=50mbit delay=5ms aqm=red", "--seed", 2, THEM,
              listener.getsockname()[1], "both", COUNT)
    thread.join()
    listener.close()
    assert bool(found[0] & OPT_ECN) == agreed, found
    marked = counters()["InCEPkts"] - before["InCEPkts"]
    assert (marked > 0) == agreed, f"{marked} packets of ours arrived marked"


def main():
    peer.enter_namespaces()
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("no /dev/net/tun here")
        raise SystemExit(77)
    peer.sh("ip tuntap add dev tap0 mode tap && ip addr add 192.0.2.1/24 dev tap0 && ip link set tap0 up")
    tally = peer.Tally()
    tally.case("the kernel asks", kernel_asks)
    tally.case("we ask", we_ask, ["--ecn"], True)
    # A kernel before 6.19 takes the accurate request for a plain one.
    tally.case("we ask for accurate feedback", we_ask, ["--ecn=accurate"], True)
    tally.case("nobody asks", we_ask, [], False)
    tally.finish()


main()
