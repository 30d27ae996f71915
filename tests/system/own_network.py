#!/usr/bin/env python3
# timeout: 200
"""The network namespace of a program under `tidewire run`: what it shows, who it is for, and what happens without."""
import json
import os
import shutil
import socket
import subprocess
import tempfile

import lib_peer as peer
from lib_hosts import ROOT, Place, user, wait_for_host


def run(*words, options=("-q",), prefix=(), as_user=True):
    done = subprocess.run([*prefix, *(user() if as_user else []), peer.TIDEWIRE, "run", *options, "--", *words],
                          capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, (words, done)
    return done


def interfaces(out):
    return {i["ifname"]: i for i in json.loads(out)}


def shows_the_virtual_host(as_user, options=("-q",)):
    found = interfaces(run("ip", "-j", "addr", options=options, as_user=as_user).stdout)
    assert sorted(found) == ["eth0", "lo"], found
    (address,) = found["eth0"]["addr_info"]
    assert (address["local"], address["prefixlen"], address["broadcast"]) == ("10.0.2.15", 24, "10.0.2.255"), address
    assert "UP" in found["eth0"]["flags"] and "UP" in found["lo"]["flags"], found
    assert sorted(a["local"] for a in found["lo"]["addr_info"]) == ["127.0.0.1", "::1"], found
    (route,) = [r for r in json.loads(run("ip", "-j", "route", options=options, as_user=as_user).stdout) if r["dst"] == "default"]
    assert (route["gateway"], route["dev"]) == ("10.0.2.2", "eth0"), route


def follows_the_mtu():
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--net", "mtu=1400", "--", "sh", "-c",
                           "ip -j link; read x; ip -j link")
        assert interfaces(host.stdout.readline())["eth0"]["mtu"] == 1400
        wait_for_host(place, "h")
        joined = place.call("run", "-q", "--host", "h", "--", "ip", "-j", "addr")
        assert interfaces(joined.stdout)["eth0"]["mtu"] == 1400, joined
        place.call("net", "set", "h", "mtu=1300")
        out, _ = host.communicate("\n", timeout=30)
        assert interfaces(out)["eth0"]["mtu"] == 1300, out


def keeps_the_user():
    mine = ["sh", "-c", "id -u; id -g; id -G; echo x > f && stat -c %u:%g f; grep -c . /proc/self/uid_map"]
    with Place() as place:
        here = subprocess.run([*user(), *mine], capture_output=True, text=True, cwd=place.path)
        there = subprocess.run(place.command("run", "-q", "--", *mine), capture_output=True, text=True, cwd=place.path)
        assert here.stdout == there.stdout and there.returncode == 0, (here, there)


# What ssh-agent and gpg-agent do: nobody of the same user may look into them.
HIDDEN = ("import ctypes, socket\nassert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"
          "s = socket.create_server(('127.0.0.1', 0))\nc = socket.create_connection(s.getsockname())\n"
          "a, _ = s.accept()\nc.sendall(b'seen')\nprint(a.recv(9))")


def serves_hidden_programs():
    assert run(peer.PYTHON, "-c", HIDDEN).stdout == "b'seen'\n"


def leaves_it_away():
    shows_the_virtual_host(True, ("-q", "--no-netns"))
    ns = ["readlink", "/proc/self/ns/net"]
    mine = os.readlink("/proc/self/ns/net")
    assert run(*ns, options=("-q", "--no-netns")).stdout.strip() == mine != run(*ns).stdout.strip()


def says_when_there_is_none():
    """In a user namespace that may not have network namespaces."""
    script = ("echo 0 > /proc/sys/user/max_net_namespaces; exec \"$0\" run %s -- sh -c 'readlink /proc/self/ns/net'")
    mine = os.readlink("/proc/self/ns/net")
    for options, lines in (("--seed 1", 1), ("-q", 0), ("--seed 1 --no-netns", 0)):
        done = subprocess.run([*user(), "unshare", "--user", "--map-root-user", "sh", "-c", script % options, peer.TIDEWIRE],
                              capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0 and done.stdout.strip() == mine, done
        said = [line for line in done.stderr.splitlines() if "refuses network namespaces" in line]
        assert len(said) == lines and all("--no-netns" in line for line in said), done
    done = subprocess.run([*user(), "unshare", "--user", "--map-root-user", "sh", "-c",
                           "echo 0 > /proc/sys/user/max_net_namespaces; exec \"$0\" doctor", peer.TIDEWIRE],
                          capture_output=True, text=True, timeout=60)
    assert "limited no network namespace for programs: the kernel refuses network namespaces" in done.stdout, done
    here = subprocess.run([*user(), peer.TIDEWIRE, "doctor"], capture_output=True, text=True, timeout=60)
    assert "ok      a network namespace for programs" in here.stdout, here


def abstract_sockets_are_its_own():
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0tidewire-test-%d" % os.getpid())
        listener.listen()
        connect = f"import socket\ns = socket.socket(socket.AF_UNIX)\nprint(s.connect_ex('\\0tidewire-test-{os.getpid()}'))"
        assert run(peer.PYTHON, "-c", connect).stdout == "111\n"
        assert run(peer.PYTHON, "-c", connect, options=("-q", "--no-netns")).stdout == "0\n"


LISTENER = ("import ctypes, struct\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.prctl(38, 1, 0, 0, 0)\n"
            "code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))\n"
            "program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))\n"
            "r = libc.syscall(317, 1, 8, program)\nprint(r, ctypes.get_errno())")


def says_that_a_second_listener_is_refused():
    done = run(peer.PYTHON, "-c", LISTENER, options=("--seed", "1"))
    assert done.stdout == "-1 16\n", done
    assert done.stderr.count("asks for a seccomp listener of its own: the kernel refuses it one (EBUSY)") == 1, done


def says_that_privileges_are_lost():
    with Place() as place:
        copy = place.path / "setuid-nc"
        shutil.copy(os.path.realpath(shutil.which("nc")), copy)
        os.chmod(copy, 0o4755)
        done = place.call("run", "--seed", "1", "--", copy, "-z", "127.0.0.1", "1", status=1)
        assert "setuid-nc is setuid, setgid or has capabilities: it runs without them here" in done.stderr, done


def main():
    tally = peer.Tally()
    tally.case("shows the virtual host", shows_the_virtual_host, True)
    if ROOT:
        tally.case("shows the virtual host, as root", shows_the_virtual_host, False)
        tally.case("says that privileges are lost", says_that_privileges_are_lost)
    for case in (follows_the_mtu, keeps_the_user, serves_hidden_programs, leaves_it_away, says_when_there_is_none,
                 abstract_sockets_are_its_own, says_that_a_second_listener_is_refused):
        tally.case(case.__name__.replace("_", " "), case)
    tally.finish()


main()
