"""A veth pair with tidewire on v1, in the namespace where the test began, and the kernel on v0 in another."""
import contextlib
import os
import subprocess
import time

import lib_peer as peer

US, THEM = "192.0.2.2", "192.0.2.1"
PORT = 5000


@contextlib.contextmanager
def kernel_side(before_up=""):
    """Moves this process to the kernel's end, so that the kernel of ours stays out of it, and tells the path of ours.

    `before_up` is a command for v0 before it has an address.
    """
    peer.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", check=False)
    home_fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(home_fd, True)
    ours = os.readlink("/proc/self/ns/net")
    holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
    try:
        for _ in range(200):
            if os.readlink(f"/proc/{holder.pid}/ns/net") != ours:
                break
            time.sleep(0.01)
        peer.sh(f"ip link add v1 type veth peer name v0 netns {holder.pid} && ip link set v1 up")
        peer.in_namespace_of(holder.pid)
        peer.sh(f"{before_up or 'true'} && ip link set lo up && ip addr add {THEM}/24 dev v0 && ip link set v0 up")
        yield f"/proc/{os.getpid()}/fd/{home_fd}"
    finally:
        holder.kill()
        holder.wait()


class Case:
    """What tidewire does in the namespace `home` on the interface that the words `link` name."""

    def __init__(self, home, link):
        self.home = home
        self.link = link

    def command(self, command, *words):
        return ["nsenter", f"--net={self.home}", peer.TIDEWIRE, command, *self.link, "--addr", f"{US}/24", *map(str, words)]

    def perf(self, *words):
        """Returns what it printed."""
        done = subprocess.run(self.command("perf", *words), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

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
            for _ in range(50):
                peer.client_echo(US, PORT, 1)
        finally:
            process.terminate()
            process.wait(20)

    def ping(self):
        done = subprocess.run(self.command("ping", "-c", "3", "-i", "0.02", "-s", "4000", THEM), capture_output=True,
                              text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
