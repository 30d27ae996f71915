#!/usr/bin/env python3
# timeout: 240
"""tidewire on an AF_XDP socket of one end of a veth pair, with the kernel on the other (as root)."""
import json
import os
import subprocess
import sys
import time

import lib_peer as peer
import lib_veth
from lib_veth import PORT, THEM, US

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


class Case(lib_veth.Case):
    def __init__(self, home, device):
        super().__init__(home, ["--device", f"xdp:{device}"])

    def perf(self, *words):
        assert json.loads(super().perf(*words))["ok"]

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


def main():
    if os.geteuid() != 0:
        print("needs root")
        sys.exit(77)
    peer.enter_namespaces()
    xdp_is_there()
    tally = peer.Tally()
    tally.case("errors", errors)
    # Nobody completes checksums on the way to an AF_XDP socket.
    with lib_veth.kernel_side("ethtool -K v0 tx off") as home:
        case = Case(home, "v1")
        tally.case("ping", case.ping)
        tally.case("as client", case.as_client, [], SOME)
        tally.case("as server", case.as_server, [], SOME)
        bad = ["--net", "loss=1% reorder=1% dup=1%", "--seed", "3"]
        tally.case("a bad link as client", case.as_client, bad, SOME // 8)
        tally.case("a queue that is named", Case(home, "v1:0").as_client, [], SOME // 8)
        tally.case("it goes with the process", case.goes_with_the_process)
    tally.finish()


main()
