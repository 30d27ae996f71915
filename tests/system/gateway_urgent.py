#!/usr/bin/env python3
# timeout: 120
"""Urgent data crosses the gateway, both ways: no octet is lost, and the mark stays where it was."""
import socket
import subprocess
import time

import lib_peer as peer
from lib_hosts import user

# What both ends do, here and under `run`. A reader tells how many octets came and before which of them the mark lay.
ENDS = """
import array, fcntl, select, socket, sys, time

def at_mark(s):
    answer = array.array('i', [0])
    fcntl.ioctl(s, 0x8905, answer)  # SIOCATMARK
    return answer[0] != 0

def write(s, before=1000, after=1000):
    s.sendall(b'a' * before)
    s.send(b'Z', socket.MSG_OOB)
    s.sendall(b'b' * after)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)

def read(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    got, marks = b'', []
    while True:
        select.select([s], [], [], 20)
        mark = at_mark(s)
        octet = s.recv(1)
        if not octet: break
        if mark: marks.append(len(got))
        got += octet
    return f'{len(got)} octets, Z at {got.find(b"Z")}, mark at {marks}'

def read_apart(s):
    select.select([], [], [s], 20)
    urgent, got = s.recv(1, socket.MSG_OOB), b''
    while data := s.recv(100): got += data
    return f'{got!r} and {urgent!r}'

def end(what, s):
    kind, _, sizes = what.partition(' ')
    if kind == 'write': return write(s, *map(int, sizes.split()))
    print(read(s), flush=True)
"""
EXPECTED = "2001 octets, Z at 1000, mark at [1000]"
exec(ENDS)  # for this end

CONNECTS = ENDS + "end(sys.argv[1], socket.create_connection((sys.argv[2], int(sys.argv[3]))))\n"
ACCEPTS = ENDS + """
l = socket.create_server(('0.0.0.0', int(sys.argv[3])))
print('listens', flush=True)
if LATE: time.sleep(0.3)
end(sys.argv[1], l.accept()[0])
"""
APART = ENDS + "print(read_apart(socket.create_connection((sys.argv[2], int(sys.argv[3])))))\n"


def under_run(script, what, port, *options):
    words = [*user(), peer.TIDEWIRE, "run", "-q", *options, "--", peer.PYTHON, "-c", script, what, "10.0.2.2", str(port)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")


def to_the_host(what, *options, script=CONNECTS, writer=None):
    """The program connects to a server of this host; returns what the reader says."""
    reads = what.startswith("write")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        program = under_run(script, what, listener.getsockname()[1], *options)
        with listener.accept()[0] as ours:
            said = read(ours) if reads else (writer or write)(ours)
        out = program.communicate(timeout=20)[0]
    assert program.returncode == 0, out
    return (said or out).strip()


def published(what, late=False):
    """A client of this host connects to the program, which accepts it at once or late."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = under_run(f"LATE = {late}\n{ACCEPTS}", what, port, "--publish", f"{port}:{port}")
    assert program.stdout.readline() == "listens\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as ours:
        said = read(ours) if what == "write" else write(ours)
    out = program.communicate(timeout=20)[0]
    assert program.returncode == 0, out
    return (said or out).strip()


def expect(said, expected=EXPECTED):
    assert said == expected, said


def slow(s):
    """Each write has come before the next one."""
    for data, flags in ((b"ab", 0), (b"!", socket.MSG_OOB), (b"cd", 0)):
        s.send(data, flags)
        time.sleep(0.1)
    s.shutdown(socket.SHUT_WR)


def main():
    tally = peer.Tally()
    for turn in range(3):
        tally.case(f"from a program, {turn}", lambda: expect(to_the_host("write")))
        tally.case(f"to a program, {turn}", lambda: expect(to_the_host("read")))
    tally.case("from a program over a described network", lambda: expect(to_the_host("write", "--net", "delay=20ms")))
    tally.case("to a program over a described network", lambda: expect(to_the_host("read", "--net", "delay=20ms")))
    for turn in range(10):
        tally.case(f"the first octet, {turn}", lambda: expect(to_the_host("write 0 9"), "10 octets, Z at 0, mark at [0]"))
        tally.case(f"the last octet, {turn}", lambda: expect(to_the_host("write 9 0"), "10 octets, Z at 9, mark at [9]"))
        tally.case(f"the first octet to a program, {turn}", lambda: expect(
            to_the_host("read", writer=lambda s: write(s, 0, 9)), "10 octets, Z at 0, mark at [0]"))
        tally.case(f"the last octet to a program, {turn}", lambda: expect(
            to_the_host("read", writer=lambda s: write(s, 9, 0)), "10 octets, Z at 9, mark at [9]"))
    tally.case("from a published program", lambda: expect(published("write")))
    tally.case("to a published program", lambda: expect(published("read")))
    tally.case("to a published program that accepts it late", lambda: expect(published("read", late=True)))
    tally.case("apart from the stream",
                lambda: expect(to_the_host("read", script=APART, writer=slow), "b'abcd' and b'!'"))
    tally.finish()


if __name__ == "__main__":
    main()
