#!/usr/bin/env python3
# timeout: 240
"""tidewire on an AF_XDP socket of one end of a veth pair, with the kernel on the other (as root)."""
import json
import os
import subprocess
import sys
import time

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
PORT = 5000
SOME = 16 << 20


def xdp_is_there():
    """Whether this kernel has it and we may use it: the program's own answer on an interface."""
    peer.sh("ip link add probe0 type veth peer name probe1 && ip link set probe0 up && ip link set probe1 up")
    done = ping("probe0", "-c", 1, "-W", "0.1")
    peer.sh("ip link del probe0")
    if "AF_XDP" in done.stderr or "CAP_BPF" in done.stderr:
        print(f"no AF_XDP here: {done.stderr.strip()}")
        sys.exit(77)


def ping(device, *words):
    return subprocess.run([peer.TIDEWIRE, "ping", "--device", f"xdp:{device}", "--addr", f"{US}/24",
                           *map(str, words), THEM], capture_output=True, text=True, timeout=30)


class Case:
    """The kernel's end is in a namespace of its own, where this process is; ours is at `home`."""

    def __init__(self, home, device):
        self.home = home
        self.device = device

    def command(self, command, *words):
        return ["nsenter", f"--net={self.home}", peer.TIDEWIRE, command, "--device", f"xdp:{self.device}",
                "--addr", f"{US}/24", *map(str, words)]

    def perf(self, *words):
        done = subprocess.run(self.command("perf", *words), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and json.loads(done.stdout)["ok"], f"{words}: {done.stdout}{done.stderr}"

    def as_client(self, options, count):
        server = peer.Server(THEM)
        for what in ("send", "receive", "both"):
            self.perf(*options, THEM, server.port, what, count)
        server.close()

    def as_server(self, options, count):
        process = subprocess.Popen(self.command("perf", *options, "--serve", PORT), stdout=subprocess.PIPE, text=True)
        try:
            assert "listening" in process.stdout.readline()
            peer.client_send(US, PORT, count)
            peer.client_receive(US, PORT, count)
            peer.client_both(US, PORT, count)
            for _ in range(20):
                peer.client_echo(US, PORT, 1)
        finally:
            process.terminate()
            process.wait(20)

    def ping(self):
        done = subprocess.run(self.command("ping", "-c", "3", "-i", "0.02", "-s", "4000", THEM),
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr

    def goes_with_the_process(self):
        show = ["nsenter", f"--net={self.home}", "ip", "link", "show", "dev", "v1"]
        process = subprocess.Popen(self.command("perf", "--serve", PORT), stdout=subprocess.PIPE, text=True)
        try:
            assert "listening" in process.stdout.readline()
            assert "xdp" in subprocess.run(show, capture_output=True, text=True, check=True).stdout
            second = subprocess.run(self.command("ping", "-c", "1", THEM), capture_output=True, text=True, timeout=30)
            assert second.returncode == 1 and "another program" in second.stderr, second.stderr
            assert len(second.stderr.splitlines()) == 1, second.stderr
        finally:
            process.kill()
            process.wait()
        for _ in range(100):  # the kernel takes it off when the last descriptor is closed
            if "xdp" not in subprocess.run(show, capture_output=True, text=True, check=True).stdout:
                return
            time.sleep(0.05)
        raise AssertionError("the program stays on the interface")


def errors():
    peer.sh("ip link add big0 type veth peer name big1 && ip link set big0 mtu 9000 && ip link set big0 up")
    for device, part in (("no-such0", "no interface"), ("big0", "MTU of 9000"), ("lo", "MTU of 65536"),
                         ("big0:x", "is no queue"), ("probe9:1", "no interface")):
        done = ping(device, "-c", 1)
        assert done.returncode == 1 and part in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    peer.sh("ip link set big0 mtu 1500")
    done = ping("big0:7", "-c", 1)
    assert done.returncode == 1 and "queue 7" in done.stderr, done.stderr
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", peer.TIDEWIRE,
               "ping", "--device", "xdp:big0", "--addr", f"{US}/24", "-c", "1", THEM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "CAP_NET_RAW" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    peer.sh("ip link del big0")


def kernel_side():
    holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
    ours = os.readlink("/proc/self/ns/net")
    for _ in range(200):
        if os.readlink(f"/proc/{holder.pid}/ns/net") != ours:
            break
        time.sleep(0.01)
    peer.sh(f"ip link add v1 type veth peer name v0 netns {holder.pid} && ip link set v1 up")
    peer.in_namespace_of(holder.pid)
    # Nobody completes checksums on the way to an AF_XDP socket.
    peer.sh("ethtool -K v0 tx off")
    peer.sh(f"ip link set lo up && ip addr add {THEM}/24 dev v0 && ip link set v0 up")
    return holder


def main():
    if os.geteuid() != 0:
        print("needs root")
        sys.exit(77)
    peer.enter_namespaces()
    peer.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", check=False)
    xdp_is_there()
    home_fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(home_fd, True)
    tally = peer.Tally()
    tally.case("errors", errors)
    holder = kernel_side()
    case = Case(f"/proc/{os.getpid()}/fd/{home_fd}", "v1")
    try:
        tally.case("ping", case.ping)
        tally.case("as client", case.as_client, [], SOME)
        tally.case("as server", case.as_server, [], SOME)
        bad = ["--net", "loss=1% reorder=1% dup=1%", "--seed", "3"]
        tally.case("a bad link as client", case.as_client, bad, SOME // 8)
        tally.case("a queue that is named", Case(case.home, "v1:0").as_client, [], SOME // 8)
        tally.case("it goes with the process", case.goes_with_the_process)
    finally:
        holder.kill()
        holder.wait()
    tally.finish()


main()
