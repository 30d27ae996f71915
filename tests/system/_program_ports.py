"""Port exhaustion, taken ports, IPv6 on the loopback of the virtual host."""
import socket
import threading

from _program_rows import shows
from _programs import PYTHON, Failed, check, equal, free_port, need


def script(bench, name, text):
    return bench.file(name, "import errno, os, select, socket, struct, subprocess, sys, threading, time\n"
                      "def name(e): return errno.errorcode.get(e.errno, str(e.errno))\n" + text)


class Sink:
    """Takes connections on the host and holds them until the peer closes."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.server_address = self.socket.getsockname()

    def serve_forever(self, poll_interval=None):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.hold, args=(connection,), daemon=True).start()

    @staticmethod
    def hold(connection):
        with connection:
            try:
                while connection.recv(4096):
                    pass
            except OSError:
                pass

    def shutdown(self):
        self.socket.shutdown(socket.SHUT_RDWR)

    def server_close(self):
        self.socket.close()


EXHAUST = """
port, other, count = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
# The other program is this one with a pipe to steer it.
def fill(held):
    while True:
        s = socket.socket()
        try:
            s.connect(("127.0.0.1", port))
        except OSError as e:
            s.close()
            return name(e)
        held.append(s)
        if len(held) > 4 * count:
            return "no end"
if len(sys.argv) > 4:
    held = []
    for line in sys.stdin:
        if line == "fill\\n":
            print(fill(held), len(held), flush=True)
        elif line == "close\\n":
            [s.close() for s in held]
            print("closed", flush=True)
    sys.exit()
def ask(word):
    child.stdin.write(word + "\\n"); child.stdin.flush()
    return child.stdout.readline().split()
child = subprocess.Popen([sys.executable, *sys.argv, "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
held = []
for i in range(count // 2):
    s = socket.socket(); s.connect(("127.0.0.1", port)); held.append(s)
print("child", *ask("fill"))                      # takes the rest
print("parent", fill(held), len(held))
ports = {s.getsockname()[1] for s in held}
print("mine", len(ports), min(ports), max(ports))
s = socket.socket(); s.connect(("127.0.0.1", other)); s.close()
print("other destination ok")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", port)); s.close()
print("udp ok")
before = time.monotonic()
print(*ask("close"))
held2 = []
print("at once", fill(held2), len(held2))          # TIME-WAIT still holds them
tries = 0
while time.monotonic() - before < 20:
    fill(held2)
    if len(held2) >= count - count // 2: break
    time.sleep(0.1)
print("after", len(held2), round(time.monotonic() - before, 1))
print("again", fill(held2), len(held2))
child.stdin.close(); child.wait()
"""


@shows("python3", "python3 S",
       "with `--ephemeral 40000-40039 --time-wait 3s` two programs use up the ports to one destination: "
       "EADDRNOTAVAIL for both, another destination works, ports come back after TIME-WAIT")
def ephemeral_ports(bench):
    """Two programs use up the ports to one destination: both get EADDRNOTAVAIL, another destination still
    works, the ports come back after close and TIME-WAIT."""
    if not bench.stack:
        return  # the host's range is not ours to narrow
    port, other = bench.serve(Sink()), bench.serve(Sink())
    program = script(bench, "exhaust.py", EXHAUST)
    got = bench.run([PYTHON, program, port, other, 40],
                    options=["--ephemeral", "40000-40039", "--time-wait", "3s"]).ok()
    lines = got.out.splitlines()
    equal(lines[:6], ["child EADDRNOTAVAIL 20", "parent EADDRNOTAVAIL 20", lines[2], "other destination ok",
                      "udp ok", "closed"], "what the two programs saw")
    words = lines[2].split()
    check(words[1] == "20" and 40000 <= int(words[2]) <= int(words[3]) <= 40039, f"ports used: {lines[2]}")
    equal(lines[6], "at once EADDRNOTAVAIL 0", "connections while TIME-WAIT lasts")
    after = lines[7].split()
    check(after[1] == "20" and 2.5 <= float(after[2]) <= 10, f"ports after TIME-WAIT: {lines[7]}")
    equal(lines[8], "again EADDRNOTAVAIL 20", "the range is used up once more")


TAKEN = """
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
port, host = int(sys.argv[2]), sys.argv[3]
def attempt(address, family=socket.AF_INET, reuse=False):
    s = socket.socket(family, kind)
    if reuse: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((address, port))
        if kind == socket.SOCK_STREAM: s.listen()
        return "ok", s
    except OSError as e:
        return name(e), s
if host == "child":
    answers = [attempt("127.0.0.1"), attempt("0.0.0.0"), attempt("::", socket.AF_INET6)]
    if kind == socket.SOCK_STREAM: answers.append(attempt("127.0.0.1", reuse=True))
    answers.append(attempt("127.0.0.2"))
    print(*(a for a, _ in answers))
    sys.exit()
first, s = attempt(host)
ask = lambda: subprocess.run([sys.executable, sys.argv[0], sys.argv[1], sys.argv[2], "child"],
                             capture_output=True, text=True).stdout.strip()
print("first", first)
print("second", ask())
s.close()
print("later", ask())
"""


@shows("python3", "python3 S",
       "bind() by a second process: EADDRINUSE, for the address, the wildcards and with SO_REUSEADDR; free after "
       "close")
def taken_port(bench):
    """A second process that binds a taken port gets EADDRINUSE, until the first has closed it."""
    program = script(bench, "taken.py", TAKEN)
    for kind, host, second, later in (
            ("tcp", "127.0.0.1", "EADDRINUSE EADDRINUSE EADDRINUSE EADDRINUSE ok",
             "ok EADDRINUSE EADDRINUSE EADDRINUSE ok"),
            ("udp", "127.0.0.1", "EADDRINUSE EADDRINUSE EADDRINUSE ok", "ok EADDRINUSE EADDRINUSE ok"),
            ("tcp", "0.0.0.0", "EADDRINUSE EADDRINUSE EADDRINUSE EADDRINUSE EADDRINUSE",
             "ok EADDRINUSE EADDRINUSE EADDRINUSE ok")):
        got = bench.run([PYTHON, program, kind, free_port(), host]).ok()
        equal(got.out.splitlines(), ["first ok", "second " + second, "later " + later], f"{kind} {host}")


IPV6 = """
import hashlib
cases = []
def case(f): cases.append(f); return f
def server(family=socket.AF_INET6, host="::1", v6only=None):
    l = socket.socket(family, socket.SOCK_STREAM)
    if v6only is not None: l.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    l.bind((host, 0)); l.listen(); l.settimeout(10)
    return l
def exchange(l, address, size=300000):
    data = os.urandom(size)
    c = socket.create_connection(address, 10)
    names = c.getsockname()[0], c.getpeername()[0], c.family.name
    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))); t.start()
    a, peer = l.accept(); a.settimeout(10)
    got = b""
    while part := a.recv(65536): got += part
    t.join()
    answer = hashlib.sha256(got).digest(); a.sendall(answer); a.close()
    assert got == data and c.recv(100) == answer
    return peer[0], *names
@case
def tcp_on_v6_loopback():
    l = server()
    return exchange(l, ("::1", l.getsockname()[1]))
@case
def mapped_peer_of_a_dual_stack_listener():
    l = server(host="::", v6only=0)
    return exchange(l, ("127.0.0.1", l.getsockname()[1])), exchange(l, ("::1", l.getsockname()[1]))
@case
def connect_to_a_mapped_address():
    l = server(socket.AF_INET, "127.0.0.1")
    c = socket.socket(socket.AF_INET6); c.settimeout(10)
    c.connect(("::ffff:127.0.0.1", l.getsockname()[1]))
    a, peer = l.accept()
    return peer[0], c.getsockname()[0], c.getpeername()[0]
@case
def v6_only_listener_refuses_v4():
    l = server(host="::", v6only=1)
    try:
        socket.create_connection(("127.0.0.1", l.getsockname()[1]), 10)
    except OSError as e:
        return name(e), exchange(l, ("::1", l.getsockname()[1]))
@case
def both_families_share_a_port():
    for attempt in range(20):
        l = server(host="::", v6only=1)
        m = socket.socket()
        try:
            m.bind(("0.0.0.0", l.getsockname()[1]))
            break
        except OSError:  # where others use this machine's ports, too
            if attempt == 19: raise
    m.listen(); m.settimeout(10)
    return exchange(l, ("::1", l.getsockname()[1])), exchange(m, ("127.0.0.1", l.getsockname()[1]))
@case
def refused_at_once():
    l = server(); port = l.getsockname()[1]; l.close()
    began = time.monotonic()
    try:
        socket.create_connection(("::1", port), 10)
    except OSError as e:
        return name(e), time.monotonic() - began < 1
@case
def localhost_falls_back():
    l = server(socket.AF_INET, "127.0.0.1")
    return exchange(l, ("localhost", l.getsockname()[1]))
@case
def udp_on_v6_loopback():
    a = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); a.bind(("::1", 0)); a.settimeout(10)
    b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); b.settimeout(10)
    for size in (0, 1, 1400, 9000, 65000):
        data = os.urandom(size)
        b.sendto(data, a.getsockname())
        got, peer = a.recvfrom(70000)
        a.sendto(got, peer)
        assert got == data and b.recv(70000) == data, size
    return peer[0]
@case
def udp_dual_stack_with_control_messages():
    a = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    a.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    a.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    a.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    a.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    a.bind(("::", 0)); a.settimeout(10); port = a.getsockname()[1]
    seen = []
    b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    b.sendmsg([b"six"], [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", 33)),
                         (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("i", 8))], 0, ("::1", port))
    data, control, flags, peer = a.recvmsg(100, 1000)
    for level, kind, value in sorted(control):
        if kind == socket.IPV6_PKTINFO: value = socket.inet_ntop(socket.AF_INET6, value[:16])
        else: value = struct.unpack("i", value)[0]
        seen.append((level, kind, value))
    c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    c.sendto(b"four", ("127.0.0.1", port))
    data4, control4, flags4, peer4 = a.recvmsg(100, 1000)
    return data, peer[0], flags, seen, data4, peer4[0]
for case in cases:
    try:
        result = case()
    except Exception as e:
        result = repr(e)
    print(case.__name__, result, flush=True)
"""


@shows("python3", "python3 S",
       "::1 by TCP and UDP, dual-stack listeners, mapped addresses, IPV6_V6ONLY, packet info, hop limit and traffic "
       "class: the same output as with kernel sockets")
def ipv6_loopback(bench):
    """::1 by TCP and UDP, dual-stack listeners, IPV6_V6ONLY, control messages: as with the kernel's sockets."""
    program = script(bench, "six.py", IPV6)
    expected = bench.host([PYTHON, program]).ok().out
    got = bench.run([PYTHON, program]).ok().out
    for want, have in zip(expected.splitlines(), got.splitlines()):
        equal(have, want, "a case")
    equal(len(got.splitlines()), len(expected.splitlines()), "cases that ran")
    check("Error" not in expected, f"the kernel itself: {expected}")


SCENARIOS = [ephemeral_ports, taken_port, ipv6_loopback]
