#!/usr/bin/env python3
# timeout: 200
"""With --no-host nothing under `tidewire run` reaches a port of this host, whatever way it is tried."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import lib_peer as peer
from lib_hosts import user

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = "import signal\nsignal.alarm(4)\n"  # what leads nowhere has no answer

# Each prints "through" if it has reached the port. 10.0.2.2 is this host, seen from inside.
STREAM = LIMIT + """
import socket, sys
for address in ('127.0.0.1', '10.0.2.2', '::1', sys.argv[2]):
    try:
        socket.create_connection((address, int(sys.argv[1])), timeout=0.7).close()
        print('through', address)
    except OSError as e:
        print(address, e)
"""
DATAGRAM = LIMIT + """
import socket, sys
for address in ('127.0.0.1', '10.0.2.2', sys.argv[2]):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5)
    try:
        s.sendto(b'knock', (address, int(sys.argv[1])))
        print('through', s.recv(10))
    except OSError as e:
        print(address, e)
"""
FORKED = "import os\nif os.fork() == 0:\n os.setsid()\n" + "".join(
    " " + line + "\n" for line in STREAM.splitlines()) + " os._exit(0)\nos.wait()\n"
# A SYN by hand, and a look at what passes on this host's loopback.
RAW = LIMIT + """
import socket, struct, sys, time
def total(data):
    words = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while words >> 16: words = (words & 0xffff) + (words >> 16)
    return ~words & 0xffff
port, a = int(sys.argv[1]), socket.inet_aton('127.0.0.1')
tcp = struct.pack('!HHIIBBHHH', 4444, port, 1, 0, 0x50, 2, 65535, 0, 0)
tcp = tcp[:16] + struct.pack('!H', total(a + a + struct.pack('!HH', 6, 20) + tcp)) + tcp[18:]
ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 1, 0, 64, 6, 0, a, a)
ip = ip[:10] + struct.pack('!H', total(ip)) + ip[12:]
for kind in ('raw', 'packet'):
    try:
        if kind == 'raw':
            s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            s.sendto(ip + tcp, ('127.0.0.1', 0))
        else:
            s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
            s.bind(('lo', 0x800))
        s.settimeout(1)
        until = time.monotonic() + 1  # whatever else goes over this loopback
        while time.monotonic() < until:
            answer = s.recv(100)
            if answer[20:24] == struct.pack('!HH', port, 4444) and answer[33] == 0x12: print('through', kind)
            if b'for nobody else' in answer: print('through', kind)
    except OSError as e:
        print(kind, e)
"""
SMC = LIMIT + """
import socket, sys
try:
    s = socket.socket(43, socket.SOCK_STREAM)
    s.connect(('127.0.0.1', int(sys.argv[1])))
    print('through')
except OSError as e:
    print(e)
"""


class Port:
    """TCP and UDP on every address of this host; knows who has come."""

    def __init__(self):
        self.tcp = socket.create_server(("", 0))
        self.number = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", self.number))
        self.came = []
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.receive, daemon=True).start()

    def accept(self):
        while True:
            sock, address = self.tcp.accept()
            self.came.append(("tcp", address))
            sock.close()

    def receive(self):
        while True:
            data, address = self.udp.recvfrom(100)
            self.came.append(("udp", address))
            self.udp.sendto(data, address)


class Whisper:
    """Datagrams between two sockets of this host, as long as it lasts."""

    def __enter__(self):
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.talk)
        self.thread.start()

    def talk(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not self.over.wait(0.05):
                sock.sendto(b"for nobody else", self.sink.getsockname())

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.sink.close()


def own_address():
    """An address of this host that is not loopback's, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
            return sock.getsockname()[0]
        except OSError:
            return "127.0.0.2"


class Ways:
    def __init__(self, port, folder):
        self.port = port
        self.address = own_address()
        self.uring = str(folder / "uring.py")
        shutil.copy(HERE / "_uring.py", self.uring)

    def words(self, name):
        port = str(self.port.number)
        if name == "curl":
            return ["curl", "-sS", "--max-time", "3", *(f"http://{a}:{port}/" for a in ("localhost", "10.0.2.2", "host.tidewire", self.address))]
        if name == "uring":
            return ["timeout", "4", peer.PYTHON, self.uring, "127.0.0.1", port]
        return [peer.PYTHON, "-c", {"stream": STREAM, "datagram": DATAGRAM, "forked": FORKED, "raw": RAW, "smc": SMC}[name],
                port, self.address]

    def run(self, name, *options, as_user=True):
        self.port.came.clear()
        start = user() if as_user else []
        with Whisper():
            return self.finish(start, name, options)

    def finish(self, start, name, options):
        done = subprocess.run([*start, peer.TIDEWIRE, "run", *options, "--", *self.words(name)], capture_output=True,
                              text=True, timeout=60, cwd="/")
        return done.stdout + done.stderr

    def nobody_comes(self, name, *options, as_user=True):
        out = self.run(name, "-q", "--no-host", *options, as_user=as_user)
        assert "through" not in out and "connected" not in out and not self.port.came, (out, self.port.came)

    def all_can_come(self, name, *options):
        """The same way without --no-host does lead there: the test would see it."""
        out = self.run(name, "-q", *options)
        assert self.port.came, out


def raw_can_come(ways):
    """Bare of any run, as root: the script sees the answers."""
    with Whisper():
        done = subprocess.run(ways.words("raw"), capture_output=True, text=True, timeout=30)
    assert "through raw" in done.stdout and "through packet" in done.stdout, done


def needs_a_namespace(ways):
    out = ways.run("uring", "--no-host", "--io-uring", "--no-netns")
    assert "--no-host with --io-uring needs a network namespace" in out and not ways.port.came, out


def says_that_io_uring_is_not_covered(ways):
    out = ways.run("uring", "--io-uring")
    assert "uses io_uring: sockets that it makes or connects through it lead nowhere" in out, out
    out = ways.run("uring", "--io-uring", "--no-netns")
    assert "uses io_uring: sockets that it makes through it are this host's" in out, out


def has_uring():
    done = subprocess.run([*user(), peer.PYTHON, str(HERE / "_uring.py"), "127.0.0.1", "1"], capture_output=True, text=True)
    return done.stdout == "errno 111\n"  # refused: the ring works


def main():
    tally = peer.Tally()
    port = Port()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.chmod(folder, 0o755)
        ways = Ways(port, folder)
        for way in ("curl", "stream", "datagram", "forked"):
            tally.case(f"{way} without --no-host", ways.all_can_come, way)
        for way in ("curl", "stream", "datagram", "forked", "raw", "smc", "uring"):
            for options in ([], ["--no-netns"]):
                tally.case(f"{way} {' '.join(options)}", ways.nobody_comes, way, *options)
        if os.geteuid() == 0:
            tally.case("raw without run", raw_can_come, ways)
            for way in ("curl", "raw", "smc"):
                tally.case(f"{way} as root", lambda way=way: ways.nobody_comes(way, as_user=False))
        tally.case("needs a namespace", needs_a_namespace, ways)
        if has_uring():
            tally.case("uring --io-uring", ways.nobody_comes, "uring", "--io-uring")
            tally.case("uring --io-uring --no-netns without --no-host", ways.all_can_come, "uring", "--io-uring", "--no-netns")
            tally.case("says that io_uring is not covered", says_that_io_uring_is_not_covered, ways)
        else:
            tally.skip("io_uring", "this user has none")
    tally.finish()


main()
