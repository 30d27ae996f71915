#!/usr/bin/env python3
# timeout: 300
"""tidewire on one end of a veth pair, as an unprivileged user in namespaces of its own."""
import os
import subprocess
import sys
import time

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
LINK = ["--veth", "v1", "--addr", f"{US}/24"]
PORT = 5000
SOME = 32 << 20


def as_nobody():
    """Starts over as a user without any privilege, who then makes the namespaces."""
    if os.geteuid() != 0 or os.environ.get("TIDEWIRE_IN_NAMESPACE"):
        return
    os.execvp("setpriv", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                          "--inh-caps=-all", peer.PYTHON, *sys.argv])


def kernel_side():
    """A second namespace holds the kernel's end, so that the kernel of ours stays out of it."""
    peer.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1", check=False)
    holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
    ours = os.readlink("/proc/self/ns/net")
    for _ in range(200):
        if os.readlink(f"/proc/{holder.pid}/ns/net") != ours:
            break
        time.sleep(0.01)
    peer.sh(f"ip link add v1 type veth peer name v0 netns {holder.pid} && ip link set v1 up")
    peer.in_namespace_of(holder.pid)
    peer.sh(f"ip link set lo up && ip addr add {THEM}/24 dev v0 && ip link set v0 up")
    return holder


class Case:
    def __init__(self, home):
        self.home = home

    def command(self, *words):
        return ["nsenter", f"--net={self.home}", peer.TIDEWIRE, *map(str, words)]

    def perf(self, *words):
        done = subprocess.run(self.command("perf", *LINK, *words), capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def as_client(self, options, count):
        server = peer.Server(THEM)
        for what in ("send", "receive", "both"):
            self.perf(*options, THEM, server.port, what, count)
        server.close()

    def as_server(self, options, count):
        process = subprocess.Popen(self.command("perf", *LINK, *options, "--serve", PORT),
                                   stdout=subprocess.PIPE, text=True)
        try:
            assert "listening" in process.stdout.readline()
            peer.client_send(US, PORT, count)
            peer.client_receive(US, PORT, count)
            peer.client_both(US, PORT, count)
            for _ in range(50):
                peer.client_echo(US, PORT, 1)
        finally:
            process.terminate()
            process.wait(20)

    def ping(self):
        done = subprocess.run(self.command("ping", *LINK, "-c", "3", "-i", "0.02", "-s", "4000", THEM),
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr


def main():
    if not os.access(peer.TIDEWIRE, os.X_OK):
        print(f"{peer.TIDEWIRE} is not there")
        sys.exit(1)
    as_nobody()
    peer.enter_namespaces()
    home_fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(home_fd, True)
    holder = kernel_side()
    case = Case(f"/proc/{os.getpid()}/fd/{home_fd}")
    tally = peer.Tally()
    try:
        tally.case("ping", case.ping)
        tally.case("as client", case.as_client, [], SOME)
        tally.case("as server", case.as_server, [], SOME)
        tally.case("without offloads as client", case.as_client, ["--no-offload"], SOME // 4)
        tally.case("without offloads as server", case.as_server, ["--no-offload"], SOME // 4)
        bad = ["--net", "loss=1% reorder=1% dup=1%", "--seed", "3"]
        tally.case("a bad link as client", case.as_client, bad, SOME // 16)
        tally.case("a bad link as server", case.as_server, bad, SOME // 16)
    finally:
        holder.kill()
        holder.wait()
    tally.finish()


main()
