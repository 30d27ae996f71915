#!/usr/bin/env python3
# timeout: 300
"""Three kernels behind `tidewire gateway --tap` share the address of one host."""
import errno
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import lib_peer as peer

UDP_SEGMENT = 103
GATEWAY, RESOLVER = "10.0.2.2", "10.0.2.3"
OUTSIDE = "203.0.113.1"
HOSTS = ["10.0.2.11", "10.0.2.12", "10.0.2.13"]
SIZE = (256 << 20) if peer.EVERYTHING else (16 << 20)


def build_network():
    """br0 joins tap0 and three namespaces; the kernel of the host has no address on it."""
    peer.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
            check=False)
    peer.sh("ip link add br0 type bridge && ip link set br0 up && "
            "ip tuntap add dev tap0 mode tap && ip link set tap0 master br0 up && "
            f"ip addr add {OUTSIDE}/32 dev lo && "
            "sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
    holders = []
    ours = os.readlink("/proc/self/ns/net")
    for i, address in enumerate(HOSTS):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        for _ in range(200):
            if os.readlink(f"/proc/{holder.pid}/ns/net") != ours:
                break
            time.sleep(0.01)
        peer.sh(f"ip link add h{i} type veth peer name eth0 netns {holder.pid} && "
                f"ip link set h{i} master br0 up")
        peer.sh(f"nsenter -t {holder.pid} -n sh -c 'ip link set lo up && "
                f"ip addr add {address}/24 dev eth0 && ip link set eth0 up && "
                f"ip route add default via {GATEWAY}'")
        holders.append(holder)
    return holders


def inside(holder, action, *args):
    """Runs `action` in a thread that lives in the namespace; returns a function that waits for it."""
    result = {}

    def work():
        try:
            peer.in_namespace_of(holder.pid)
            result["value"] = action(*args)
        except BaseException as error:  # handed to the waiting thread
            result["error"] = error
    thread = threading.Thread(target=work)
    thread.start()

    def wait():
        thread.join(120)
        if thread.is_alive():
            raise AssertionError("it hangs")
        if "error" in result:
            raise result["error"]
        return result.get("value")
    return wait


def all_inside(holders, action, *args):
    waits = [inside(holder, action, *args) for holder in holders]
    return [wait() for wait in waits]


def transfers(holders, address, server):
    def work():
        peer.client_send(address, server.port, SIZE)
        peer.client_receive(address, server.port, SIZE)
        peer.client_both(address, server.port, SIZE)
    all_inside(holders, work)


def one_address(holders):
    """A server outside sees the host's address, and different ports."""
    seen = []
    listener = socket.create_server((OUTSIDE, 0))

    def serve():
        for _ in HOSTS:
            sock, source = listener.accept()
            seen.append(source)
            sock.close()
    thread = threading.Thread(target=serve)
    thread.start()
    all_inside(holders, lambda: socket.create_connection((OUTSIDE, listener.getsockname()[1]), 5).close())
    thread.join(10)
    listener.close()
    assert {address for address, _ in seen} == {OUTSIDE}, seen
    assert len({port for _, port in seen}) == len(HOSTS), seen


def udp(holders, address):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address if address != GATEWAY else "127.0.0.1", 0))
    port = server.getsockname()[1]
    sources = set()

    def serve():
        while True:
            data, source = server.recvfrom(65536)
            if data == b"stop":
                return
            sources.add(source)
            server.sendto(data, source)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def work():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((address, port))
            for size in (0, 1, 100, 1472, 1473, 9000, 30_000, 65_507):
                sock.send(peer.BLOCK[:size])
                assert sock.recv(65536) == peer.BLOCK[:size], size
    all_inside(holders, work)
    server.sendto(b"stop", server.getsockname())
    thread.join(5)
    assert len(sources) == len(HOSTS), sources


def send_run(sock, data, size, *address):
    """One call of the kernel's for datagrams of `size` bytes, the last one shorter."""
    sock.sendmsg([data], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", size))], 0, *address)


def udp_runs(holders):
    """Datagrams that kernels send with one call, both ways: their number, sizes and order stay."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(5)
    server.bind((OUTSIDE, 0))

    def work(size, count):
        data = peer.BLOCK[:size * count - size // 2]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(server.getsockname())
            send_run(sock, data, size)
            for at in range(0, len(data), size):
                assert sock.recv(65536) == data[at:at + size], (size, at)

    for size, count in ((1200, 30), (2, 64), (1472, 20), (700, 1)):
        wait = inside(holders[0], work, size, count)
        got = [server.recvfrom(65536) for _ in range(count)]
        data = b"".join(part for part, _ in got)
        assert [len(part) for part, _ in got[:-1]] == [size] * (count - 1), size
        assert data == peer.BLOCK[:size * count - size // 2], size
        send_run(server, data, size, got[0][1])
        wait()
    server.close()


def failures(holders):
    def tcp(address, port):
        try:
            socket.create_connection((address, port), timeout=10).close()
        except OSError as error:
            return error.errno
        return 0
    assert all_inside(holders, tcp, OUTSIDE, 9) == [errno.ECONNREFUSED] * 3
    assert all_inside(holders[:1], tcp, "198.18.0.1", 9) == [errno.ENETUNREACH]

    def unreachable_port():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((OUTSIDE, 9))
            sock.send(b"x")
            try:
                sock.recv(10)
            except ConnectionRefusedError:
                return True
        return False
    assert all(all_inside(holders, unreachable_port))


def resets(holders):
    listener = socket.create_server((OUTSIDE, 0))

    def work():
        with socket.create_connection((OUTSIDE, listener.getsockname()[1]), 5) as sock:
            sock.send(b"x")
            try:
                sock.recv(10)
            except ConnectionResetError:
                return True
        return False
    wait = inside(holders[0], work)
    sock, _ = listener.accept()
    assert sock.recv(10) == b"x"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert wait()

    def abort():
        sock = socket.create_connection((OUTSIDE, listener.getsockname()[1]), 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    wait = inside(holders[0], abort)
    sock, _ = listener.accept()
    sock.settimeout(5)
    try:
        data = sock.recv(10)
        raise AssertionError(f"no reset but {data!r}")
    except ConnectionResetError:
        pass
    wait()
    listener.close()


def pings(holders):
    for holder in holders:
        for address in (GATEWAY, OUTSIDE):
            done = subprocess.run(["nsenter", "-t", str(holder.pid), "-n", "ping", "-q", "-c", "3", "-i",
                                   "0.05", address], capture_output=True, text=True, timeout=20)
            assert " 0% packet loss" in done.stdout, done.stdout


def host_name(holders):
    query = (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04host\x08tidewire\x00"
             b"\x00\x01\x00\x01")

    def work(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(query, (server, 53))
            return sock.recv(512)[-4:]
    assert all_inside(holders, work, RESOLVER) == [socket.inet_aton(GATEWAY)] * 3


def published(holders, port):
    ready = threading.Event()

    def serve():
        listener = socket.create_server((HOSTS[1], 80))
        ready.set()
        sock, source = listener.accept()
        with sock, listener:
            sock.sendall(sock.recv(100).upper())
        return source[0]
    wait = inside(holders[1], serve)
    assert ready.wait(5)
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"HELLO"
    assert wait() == GATEWAY


def no_host(holders):
    loopback, outside = peer.Server("127.0.0.1"), peer.Server(OUTSIDE)

    def refused(address, port):
        try:
            socket.create_connection((address, port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False
    with peer.Tidewire("gateway", "--tap", "tap0", "--no-host"):
        time.sleep(1.2)
        assert all(all_inside(holders, refused, GATEWAY, loopback.port))
        assert all(all_inside(holders, refused, OUTSIDE, outside.port)), "the host's own address too"


def main():
    peer.enter_namespaces()
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("no /dev/net/tun here")
        raise SystemExit(77)
    holders = build_network()
    tally = peer.Tally()
    gateway = peer.Tidewire("gateway", "--tap", "tap0", "--publish", f"18080:{HOSTS[1]}:80")
    time.sleep(1.2)  # the kernel opens the bridge port up to a second late
    try:
        outside, loopback = peer.Server(OUTSIDE), peer.Server("127.0.0.1")
        tally.case("ping", pings, holders)
        tally.case("one address", one_address, holders)
        tally.case("to a server outside, three at once", transfers, holders, OUTSIDE, outside)
        tally.case("to the host's loopback, three at once", transfers, holders, GATEWAY, loopback)
        tally.case("UDP outside", udp, holders, OUTSIDE)
        tally.case("UDP to the host's loopback", udp, holders, GATEWAY)
        tally.case("UDP, many datagrams with one call", udp_runs, holders)
        tally.case("failures are told as they are", failures, holders)
        tally.case("resets both ways", resets, holders)
        tally.case("host.tidewire", host_name, holders)
        tally.case("a published port", published, holders, 18080)

        def stops():
            status, _, err = gateway.stop(signal.SIGINT)
            assert status == 0 and "TCP connections" in err, (status, err)
        tally.case("SIGINT", stops)
        tally.case("--no-host", no_host, holders)
    finally:
        if gateway.process.poll() is None:
            gateway.stop(signal.SIGKILL)
        for holder in holders:
            holder.kill()
            holder.wait()
    tally.finish()


main()
