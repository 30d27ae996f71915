#!/usr/bin/env python3
# timeout: 400
"""`run --preload`: connections that programs accept unseen are the kernel's in everything that a program can tell."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import lib_peer as peer
from lib_hosts import Place, user

HERE = pathlib.Path(__file__).resolve().parent
BUILT = pathlib.Path(os.environ["TIDEWIRE_BUILD"]) / "tests" / "tidewire_cancelled"
PYTHON = "/usr/bin/python3"


class Folder:
    """Files where every user may read them."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)
        self.path.chmod(0o755)

    def put(self, file):
        to = self.path / pathlib.Path(file).name
        shutil.copy(file, to)
        to.chmod(0o755)
        return str(to)


def output(words, status=0, timeout=120, **options):
    done = subprocess.run([*user(), *words], capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == status, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if status == 0 else done.stderr


def run(*words, **options):
    return output([peer.TIDEWIRE, "run", "-q", *words], **options)


def same_as_kernel(words, *options):
    expected, got = output(words), run(*options, "--", *words)
    assert expected.count("\n") > 4 and "FAILED" not in expected, expected
    assert got == expected, f"kernel:\n{expected}\nunder run {options}:\n{got}"


# Accepts with a limit of time, and says who came.
SERVER = """
import socket, sys
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(64); l.settimeout(1)
import os
print(os.fstat(l.fileno()).st_ino, flush=True)
sys.stdin.readline()
for _ in range(2):
    try:
        a, told = l.accept()
        print("accepted", told, flush=True)
    except TimeoutError:
        print("nobody", flush=True)
    c = socket.create_connection(l.getsockname())
    a, told = l.accept()
    print("accepted its own", told == c.getsockname(), flush=True)
    sys.stdin.readline()
"""


def strangers_are_not_let_in():
    """Whoever finds the name of the twin can connect to it; the program must not take that for a connection."""
    with subprocess.Popen([*user(), peer.TIDEWIRE, "run", "-q", "--preload", "--", PYTHON, "-c", SERVER],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        inode = process.stdout.readline().strip()
        lines = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()]
        names = [words[7] for words in lines if words[6] == inode]
        assert len(names) == 1 and names[0].startswith("@"), names
        twin = "\0" + names[0][1:]
        address = b"\x02\x00\x12\x34\x0a\x00\x02\x63" + bytes(8)
        for round_of in range(2):
            strangers = []
            for i in range(4):
                s = socket.socket(socket.AF_UNIX)
                # As our own do it; the last has no name.
                if i < 3:
                    s.bind(b"\0tidewire-%d-%d\0a" % (process.pid + i, 900 + 4 * round_of + i) + address)
                s.connect(twin)
                strangers.append(s)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "nobody\n"
            assert process.stdout.readline() == "accepted its own True\n"
            for s in strangers:
                s.settimeout(5)
                assert s.recv(1) == b"", "a stranger is still connected"
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(20) == 0


HOLDER = """
import socket, sys
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(64)
c = [socket.create_connection(l.getsockname()) for _ in range(5)]
a = [l.accept()[0] for _ in c]
print("ready", flush=True)
sys.stdin.readline()
"""


def ss_names_the_holder():
    with Place() as place:
        process = place.start("run", "-q", "--preload", "--host", "held", "--", PYTHON, "-c", HOLDER)
        assert process.stdout.readline() == "ready\n"
        told = json.loads(place.call("ss", "-a", "--json", "held").stdout)["hosts"][0]["sockets"]
        established = [s for s in told if s["state"] == "ESTAB"]
        assert len(established) == 10, told
        for s in established:
            assert s["program"].startswith("python") and s["pid"] > 0 and s["fd"] > 2, s
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(20) == 0


def joined_programs():
    with Place() as place:
        first = place.start("run", "-q", "--preload", "--host", "both", "--", PYTHON, "-c", HOLDER)
        assert first.stdout.readline() == "ready\n"
        done = place.call("run", "-q", "--preload", "--host", "both", "--", PYTHON, "-c",
                          "import os; print(os.environ['LD_PRELOAD'])")
        assert "tidewire-run-preload.so" in done.stdout, done.stdout
        first.stdin.write("\n")
        first.stdin.close()
        assert first.wait(20) == 0
        plain = place.start("run", "-q", "--host", "plain", "--", PYTHON, "-c", HOLDER)
        assert plain.stdout.readline() == "ready\n"
        refused = place.call("run", "-q", "--preload", "--host", "plain", "--", "true", status=125)
        assert "was started without --preload" in refused.stderr, refused.stderr
        plain.stdin.write("\n")
        plain.stdin.close()
        assert plain.wait(20) == 0


def the_users_own_comes_first():
    environment = {**os.environ, "LD_PRELOAD": "/nonexistent/first.so"}
    told = run("--preload", "--", "/bin/sh", "-c", "echo $LD_PRELOAD", env=environment)
    first, _, ours = told.strip().partition(":")
    assert first == "/nonexistent/first.so" and ours.endswith("/tidewire-run-preload.so"), told
    assert run("--", "/bin/sh", "-c", "echo $LD_PRELOAD") == "\n"


def what_it_needs(folder):
    alone = folder.put(peer.TIDEWIRE)
    told = output([alone, "run", "-q", "--preload", "--", "true"], status=125)
    assert "there is neither" in told and str(folder.path) in told, told
    told = run("--preload", "--without", "pidfd_getfd", "--", "true", status=125)
    assert "--preload needs pidfd_getfd" in told, told
    told = run("--preload", "--tcp", "kernel", "--", "true", status=125)
    assert "--tcp kernel and --preload" in told, told


def ends_at_once():
    """Connections that were reset before anybody took them are not waited for."""
    code = """
import socket, struct, time
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(64)
for _ in range(5):
    c = socket.create_connection(l.getsockname())
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
time.sleep(0.2)
"""
    began = time.monotonic()
    run("--preload", "--", PYTHON, "-c", code)
    assert time.monotonic() - began < 5


def killed_with_connections_that_wait():
    """Peers are told, whether the connection was accepted or not."""
    code = """
import os, signal, socket
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(64)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    held = [l.accept()[0] for _ in range(3)]
    os.write(w, b"1")
    signal.pause()
c = [socket.create_connection(l.getsockname(), 5) for _ in range(6)]
os.read(r, 1)
l.close()
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
out = []
for s in c:
    try:
        out.append(s.recv(1))
    except ConnectionResetError:
        out.append("reset")
print(out)
"""
    expected = output([PYTHON, "-c", code])
    assert run("--preload", "--", PYTHON, "-c", code) == expected == "[b'', b'', b'', 'reset', 'reset', 'reset']\n"


def main():
    tally = peer.Tally()
    folder = Folder()
    folder.put(HERE / "_posix_cases.py")
    cases = folder.put(HERE / "_preload_cases.py")
    for backend in ("stack", "kernel"):
        tally.case(f"cases on {backend}", same_as_kernel, [PYTHON, "-B", cases], "--preload", "--backend", backend)
    cancelled = folder.put(BUILT)
    tally.case("cancelled threads", same_as_kernel, [cancelled], "--preload")
    tally.case("strangers", strangers_are_not_let_in)
    tally.case("ss", ss_names_the_holder)
    tally.case("joined", joined_programs)
    tally.case("LD_PRELOAD of the user", the_users_own_comes_first)
    tally.case("killed", killed_with_connections_that_wait)
    tally.case("ends", ends_at_once)
    tally.case("needs", what_it_needs, folder)
    tally.finish()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main()
