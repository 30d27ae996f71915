#!/usr/bin/env python3
# timeout: 120
"""What is left when a program is killed, or the run itself: FIN or RST as the kernel does it, and no process."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import lib_peer as peer
from lib_hosts import user, until

# Kills a child that has one end of a connection, and prints what the other end then sees. The words say whether the
# child leaves bytes unread, and whether its peer does.
CHILD_KILLED = r"""
import os, signal, socket, sys, time
unread, waits = sys.argv[1] == 'unread', sys.argv[2] == 'waits'
listener = socket.create_server(('127.0.0.1', 0))
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    listener.close()
    end = socket.create_connection(('127.0.0.1', int(os.read(ready, 8))))
    end.sendall(b'last words')
    if not unread:
        end.recv(4)
    time.sleep(60)
os.write(tell, b'%d' % listener.getsockname()[1])
peer, _ = listener.accept()
listener.close()
peer.sendall(b'ping')
seen = []
if not waits:
    seen.append(peer.recv(100).decode())
time.sleep(0.3)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
time.sleep(0.3)
for _ in range(3):
    try:
        seen.append(peer.recv(100).decode() or 'end')
    except OSError as error:
        seen.append(type(error).__name__)
for _ in range(2):
    try:
        peer.send(b'x')
        seen.append('sent')
    except OSError as error:
        seen.append(type(error).__name__)
    time.sleep(0.2)
print(seen)
"""


def killed_child():
    """The peer of a killed program sees what the kernel's sockets show it."""
    for words in (("read", "reads"), ("unread", "reads"), ("read", "waits"), ("unread", "waits")):
        command = [peer.PYTHON, "-c", CHILD_KILLED, *words]
        kernel = subprocess.run(user() + command, capture_output=True, text=True, timeout=30)
        assert kernel.returncode == 0, kernel.stderr
        ours = subprocess.run(user() + [peer.TIDEWIRE, "run", "-q", "--", *command], capture_output=True, text=True, timeout=30)
        assert ours.returncode == 0, ours.stderr
        assert ours.stdout == kernel.stdout, (words, kernel.stdout, ours.stdout)


def killed_child_seen_from_the_host():
    """The same for a peer outside, through the gateway: FIN when everything was read, else RST."""
    program = "import socket,sys,time\ns=socket.create_connection(('127.0.0.1',int(sys.argv[1])))\n" \
              "s.sendall(b'last words')\n" \
              "if sys.argv[2]=='read': s.recv(4)\n" \
              "time.sleep(60)"
    for words, expected in (("read", "end"), ("unread", "ConnectionResetError")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(20)
            run = subprocess.Popen(user() + [peer.TIDEWIRE, "run", "-q", "--", "sh", "-c", 'exec "$@" & echo $!; wait', "sh",
                                             peer.PYTHON, "-c", program, str(listener.getsockname()[1]), words],
                                   stdout=subprocess.PIPE, text=True)
            child = int(run.stdout.readline())
            outside, _ = listener.accept()
        with outside:
            outside.settimeout(20)
            outside.sendall(b"ping")
            assert outside.recv(100) == b"last words"
            time.sleep(0.3)
            os.kill(child, signal.SIGKILL)
            try:
                seen = outside.recv(100).decode() or "end"
            except OSError as error:
                seen = type(error).__name__
            assert seen == expected, (words, seen)
        run.wait(20)


def processes_with(word):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if word in text and str(os.getpid()) != path.parent.name:
            found.append((int(path.parent.name), text.split("\0")))
    return found


def killed_run():
    """A killed run takes all it started with it, daemons too, and its guard says so."""
    mark = f"soak-mark-{os.getpid()}"
    program = f"import os,socket,sys,time\nmark='{mark}'\ns=socket.create_server(('127.0.0.1',0))\n" \
              "c=socket.create_connection(s.getsockname())\na,_=s.accept()\n" \
              "if os.fork()==0:\n os.setsid()\n if os.fork()==0:\n  time.sleep(60)\n os._exit(0)\n" \
              "print('ready',flush=True)\na.recv(1)"
    for number in (signal.SIGKILL, signal.SIGSEGV):
        run = subprocess.Popen(user() + [peer.TIDEWIRE, "run", "-q", "--", peer.PYTHON, "-c", program],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stdout.readline() == "ready\n"
        assert len(processes_with(mark)) >= 3, processes_with(mark)
        run.send_signal(number)
        _, err = run.communicate(timeout=20)
        assert run.returncode == -number, run.returncode
        assert re.search(r"^tidewire: the run was killed; ending what it ran \(\d+ processes\)$", err, re.M), err
        until(lambda: not processes_with(mark), "everything to end")


if __name__ == "__main__":
    tally = peer.Tally()
    for case in (killed_child, killed_child_seen_from_the_host, killed_run):
        tally.case(case.__name__.replace("_", " "), case)
    tally.finish()
