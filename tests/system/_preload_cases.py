#!/usr/bin/python3
"""Corner cases of connections that are accepted unseen. Prints one line a case; the output under `run --preload`
must equal the kernel's."""
import ctypes
import errno
import os
import select
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _posix_cases
from _posix_cases import HOST, case, err

_posix_cases.cases.clear()
RESET = struct.pack("ii", 1, 0)


def listener(backlog=64, family=socket.AF_INET, host=HOST):
    s = socket.socket(family)
    s.settimeout(10)
    s.bind((host, 0))
    s.listen(backlog)
    return s


def client(to, reset=False):
    c = socket.create_connection(to.getsockname()[:2], 10)
    if reset:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return c


@case
def address_of_the_peer():
    l = listener()
    c = client(l)
    a, told = l.accept()
    return told == c.getsockname(), a.getpeername() == told, a.getsockname() == l.getsockname(), len(told)


@case
def address_of_ipv6():
    l = listener(family=socket.AF_INET6, host="::1")
    c = socket.create_connection(l.getsockname()[:2], 10)
    a, told = l.accept()
    return told == c.getsockname(), told[2:], a.getsockname()[0]


@case
def address_of_ipv4_at_ipv6():
    l = listener(family=socket.AF_INET6, host="::")
    c = socket.create_connection((HOST, l.getsockname()[1]), 10)
    a, told = l.accept()
    return told[0], told[1] == c.getsockname()[1], a.getsockname()[0]


@case
def short_room_for_the_address():
    l = listener()
    libc = ctypes.CDLL(None, use_errno=True)
    out = []
    for room in (0, 5, 16, 64, -1):
        c = client(l)
        space = ctypes.create_string_buffer(b"\xff" * 64, 64)
        size = ctypes.c_int(room)
        fd = libc.accept4(l.fileno(), space, ctypes.byref(size), 0)
        kept = space.raw[2:4] == struct.pack("!H", c.getsockname()[1])
        out.append((fd >= 0, size.value, kept, space.raw[16:] == b"\xff" * 48,
                    "" if fd >= 0 else errno.errorcode[ctypes.get_errno()]))
        if fd >= 0:
            os.close(fd)
        c.close()
    return out


@case
def no_address():
    l = listener()
    c = client(l)
    fd = ctypes.CDLL(None).accept(l.fileno(), None, None)
    a = socket.socket(fileno=fd)
    return a.getpeername() == c.getsockname()


@case
def flags():
    l = listener()
    libc = ctypes.CDLL(None, use_errno=True)
    out = []
    for flags in (0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC):
        c = client(l)
        fd = libc.accept4(l.fileno(), None, None, flags)
        out.append((os.get_blocking(fd), os.get_inheritable(fd)))
        os.close(fd)
        c.close()
    out.append((libc.accept4(l.fileno(), None, None, 0x40000000), errno.errorcode[ctypes.get_errno()]))
    return out


@case
def not_listening():
    c = socket.socket()
    d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    l = listener()
    k = client(l)
    k.settimeout(0.2)
    return err(c.accept), err(d.accept), err(k.accept), err(lambda: socket.socket(fileno=os.dup(2)))


@case
def nothing_waits():
    l = listener()
    l.setblocking(False)
    first = err(l.accept)
    l.settimeout(0.05)
    second = err(l.accept)
    l.setblocking(True)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50000))
    return first, second, err(l.accept)


@case
def reset_before_accept():
    l = listener()
    c = client(l, reset=True)
    time.sleep(0.1)
    c.close()
    time.sleep(0.2)
    a, _ = l.accept()
    a.settimeout(5)
    return err(a.recv, 1), err(a.send, b"x")


@case
def reset_before_accept_among_others():
    l = listener()
    clients = [client(l, reset=i == 1) for i in range(4)]
    for i, c in enumerate(clients):
        if i != 1:
            c.sendall(b"%d" % i)
    time.sleep(0.1)
    clients[1].close()
    time.sleep(0.2)
    out = []
    for _ in clients:
        a, _ = l.accept()
        a.settimeout(5)
        out.append(err(a.recv, 1))
    return out


@case
def reset_after_accept():
    l = listener()
    c = client(l, reset=True)
    a, _ = l.accept()
    a.settimeout(5)
    threading.Timer(0.1, c.close).start()
    return err(a.recv, 1)


@case
def reset_after_accept_by_a_child():
    l = listener()
    r, w = os.pipe()
    c = client(l)
    pid = os.fork()
    if pid == 0:
        c.close()
        a, _ = l.accept()
        a.settimeout(5)
        os.write(w, b"1")
        os.write(w, err(a.recv, 1).encode())
        os._exit(0)
    os.read(r, 1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    c.close()
    os.waitpid(pid, 0)
    return os.read(r, 100)


@case
def closed_before_accept():
    l = listener()
    c = client(l)
    c.sendall(b"abc")
    c.close()
    time.sleep(0.1)
    a, _ = l.accept()
    a.settimeout(5)
    return a.recv(10), a.recv(10)


@case
def unread_at_close():
    l = listener()
    c = client(l)
    c.settimeout(5)
    c.sendall(b"abc")
    time.sleep(0.1)
    a, _ = l.accept()
    a.close()
    return err(c.recv, 1)


@case
def listener_closes_with_accepted_and_waiting():
    l = listener()
    accepted = client(l)
    a, _ = l.accept()
    waiting = client(l)
    time.sleep(0.1)
    l.close()
    time.sleep(0.2)
    waiting.settimeout(5)
    lost = err(waiting.recv, 1)
    accepted.sendall(b"still")
    a.settimeout(5)
    got = a.recv(10)
    a.sendall(b"there")
    return lost, got, accepted.recv(10)


@case
def listener_is_shut_down():
    l = listener()
    accepted = client(l)
    a, _ = l.accept()
    waiting = client(l)
    time.sleep(0.1)
    l.shutdown(socket.SHUT_RDWR)
    waiting.settimeout(5)
    lost = err(waiting.recv, 1)
    out = [err(l.accept) for _ in range(3)]
    accepted.sendall(b"still")
    return lost, out, a.recv(10)


@case
def shutdown_wakes_those_who_wait():
    l = listener()
    l.settimeout(None)
    out = []
    threads = [threading.Thread(target=lambda: out.append(err(l.accept))) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(0.2)
    l.shutdown(socket.SHUT_RD)
    for t in threads:
        t.join(10)
    return out, [t.is_alive() for t in threads]


@case
def listens_again():
    l = listener()
    l.shutdown(socket.SHUT_RDWR)
    first = err(l.accept)
    l.listen(8)
    c = client(l)
    a, told = l.accept()
    return first, told == c.getsockname()


@case
def many_that_say_nothing():
    out = []
    for backlog in (5, 128):
        l = listener(backlog)
        clients = []
        servers = []
        for i in range(100):
            clients.append(client(l))
            servers.append(l.accept()[0])
        for i, c in enumerate(clients):
            c.sendall(b"%02d" % i)
        out.append([s.recv(2) for s in servers] == [b"%02d" % i for i in range(100)])
    return out


@case
def many_at_once():
    l = listener(256)
    clients = [client(l) for _ in range(200)]
    names = [c.getsockname() for c in clients]
    told = [l.accept()[1] for _ in clients]
    return told == names


@case
def small_backlog():
    l = listener(1)
    out = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(l.getsockname())
        out.append(c)
    time.sleep(0.3)
    waiting = sum(1 for c in out if select.select([], [c], [], 0)[1])
    l.accept()
    return waiting


@case
def ready_and_not():
    l = listener()
    p = select.epoll()
    p.register(l, select.EPOLLIN | select.EPOLLET)
    c = client(l)
    first = [e for _, e in p.poll(5)]
    d = client(l)
    second = [e for _, e in p.poll(5)]
    l.accept()
    l.accept()
    return first, second, p.poll(0.1)


@case
def accept_right_after_connect():
    l = listener()
    l.setblocking(False)
    return sum(1 for _ in range(50) for c in [client(l)] if l.accept()[1] == c.getsockname())


@case
def all_that_wait_without_a_wait():
    out = []
    for backlog in (20, 64):
        l = listener(backlog)
        clients = [client(l) for _ in range(20)]
        l.setblocking(False)
        out.append(sum(1 for c in clients if l.accept()[1] == c.getsockname()))
    return out


@case
def many_that_are_silent_come_soon():
    l = listener(512)
    began = time.monotonic()
    clients = [client(l) for _ in range(400)]
    held = [l.accept()[0] for _ in clients]
    return len(held), time.monotonic() - began < 3


@case
def what_came_before_accept_and_a_reset_beside_it():
    l = listener()
    data = os.urandom(400_000)
    c = client(l)
    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR)))
    t.start()
    others = [client(l, reset=True) for _ in range(3)]
    time.sleep(0.2)
    for o in others:
        o.close()
    time.sleep(0.2)
    a, _ = l.accept()
    a.settimeout(5)
    got = b""
    while True:
        part = a.recv(65536)
        if not part:
            break
        got += part
    t.join(10)
    return got == data


@case
def threads_that_wait_and_resets():
    l = listener()
    l.settimeout(None)

    def serve():
        while True:
            try:
                l.accept()[0].close()
            except OSError:
                return

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for t in threads:
        t.start()
    for i in range(300):
        c = client(l, reset=i % 2 == 0)
        c.close()
    l.shutdown(socket.SHUT_RDWR)
    for t in threads:
        t.join(10)
    return [t.is_alive() for t in threads]


@case
def reset_while_it_waits_and_the_listener_closes():
    l = listener()
    clients = [client(l, reset=True) for _ in range(3)]
    for c in clients:
        c.close()
    time.sleep(0.2)
    l.close()
    return True


@case
def unix_sockets():
    path = f"/tmp/preload-{os.getpid()}"
    l = socket.socket(socket.AF_UNIX)
    l.bind(path)
    l.listen()
    c = socket.socket(socket.AF_UNIX)
    c.connect(path)
    a, told = l.accept()
    d = socket.socket(socket.AF_UNIX)
    d.bind("\0preload-%d" % os.getpid())
    d.connect(path)
    b, named = l.accept()
    os.unlink(path)
    return told, named == d.getsockname(), len(a.getsockname()) == len(path)


@case
def descriptors_run_out():
    import resource
    l = listener()
    c = client(l)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = os.dup(0)
    os.close(top)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    first = err(l.accept)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return first, l.accept()[1] == c.getsockname()


@case
def inherited_options():
    l = listener()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    c = client(l)
    a, _ = l.accept()
    c.send(b"!", socket.MSG_OOB)
    time.sleep(0.2)
    a.settimeout(5)
    return (a.recv(1), a.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE),
            a.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


@case
def prefork():
    l = listener()
    l.settimeout(None)
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(10):
                a, told = l.accept()
                a.sendall(repr(told[1]).encode())
                a.close()
            os._exit(0)
        pids.append(pid)
    ok = 0
    for _ in range(40):
        c = client(l)
        text = b""
        while True:
            part = c.recv(100)
            if not part:
                break
            text += part
        ok += text == repr(c.getsockname()[1]).encode()
    for pid in pids:
        os.waitpid(pid, 0)
    return ok


@case
def accepted_by_another_program():
    l = listener()
    l.set_inheritable(True)
    code = ("import socket,sys; l=socket.socket(fileno=int(sys.argv[1])); l.settimeout(5); a,t=l.accept();"
            "a.sendall(repr(t==a.getpeername()).encode())")
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code, str(l.fileno())])
    c = client(l)
    text = c.recv(100)
    os.waitpid(pid, 0)
    return text


@case
def raw_system_call():
    """As a program without a dynamic loader does it."""
    l = listener()
    libc = ctypes.CDLL(None, use_errno=True)
    out = []
    number = {"x86_64": 288, "aarch64": 242}[os.uname().machine]
    for _ in range(3):
        c = client(l)
        space, size = ctypes.create_string_buffer(64), ctypes.c_int(64)
        fd = libc.syscall(number, l.fileno(), space, ctypes.byref(size), 0)
        out.append((size.value, space.raw[2:4] == struct.pack("!H", c.getsockname()[1])))
        d = client(l)
        a, told = l.accept()
        out.append(told == d.getsockname())
        os.close(fd)
    return out


if __name__ == "__main__":
    _posix_cases.main()
