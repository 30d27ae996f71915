#!/usr/bin/python3
"""Corner cases of messages, errors and urgent data, of shutting sockets down and of options. As
_posix_cases.py: the output under the interception must equal the kernel's."""
import array, ctypes, errno, fcntl, os, signal, socket, struct, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _posix_cases
from _posix_cases import HOST, case, err, listener, mask, pair

_posix_cases.cases.clear()
IP_RECVERR, IPV6_RECVERR, IP_MTU_DISCOVER, IP_RECVORIGDSTADDR = 11, 25, 10, 20
SIOCATMARK, SIOCGSTAMP = 0x8905, 0x8906
DGRAM, STREAM, V4, V6 = socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.AF_INET, socket.AF_INET6


def udp(family=V4, host=HOST):
    s = socket.socket(family, DGRAM)
    s.bind((host, 0))
    return s


def closed_port(family=V4, host=HOST):
    s = udp(family, host)
    address = s.getsockname()
    s.close()
    return address


def looks(s):
    """Whether whoever polls it looks: a unix socket has no POLLERR of its own."""
    return bool({"POLLIN", "POLLERR"} & set(mask(s)))


def queued(s):
    try:
        data, controls, flags, name = s.recvmsg(200, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError as e:
        return errno.errorcode[e.errno]
    shown = []
    for level, kind, raw in controls:
        offender = raw[16:]
        family = struct.unpack("H", offender[:2])[0]
        at = {V4: slice(4, 8), V6: slice(8, 24)}.get(family)
        shown.append((level, kind, struct.unpack("=IBBBB", raw[:8]), len(raw),
                      socket.inet_ntop(family, offender[at]) if at else family))
    return data, shown, flags, name[0]


def wait_for(condition, seconds=2):
    end = time.time() + seconds
    while not condition() and time.time() < end:
        time.sleep(0.005)
    return bool(condition())


@case
def error_of_connected():
    a = udp()
    a.connect(closed_port())
    a.send(b"x")
    r = wait_for(lambda: looks(a))
    e = errno.errorcode.get(a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    return r, e, looks(a), err(a.recvfrom, 10, socket.MSG_DONTWAIT)


@case
def error_told_by_send():
    a, to = udp(), closed_port()
    a.connect(to)
    a.send(b"x")
    wait_for(lambda: looks(a))
    return err(a.sendto, b"y", to), err(a.sendto, b"y", to)


@case
def no_error_of_unconnected():
    a = udp()
    a.sendto(b"x", closed_port())
    time.sleep(0.1)
    return looks(a), err(a.recvfrom, 10, socket.MSG_DONTWAIT), queued(a)


@case
def error_queue():
    a = udp()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    a.sendto(b"hello", closed_port())
    return (wait_for(lambda: looks(a)), queued(a), looks(a), queued(a),
            err(a.recvfrom, 10, socket.MSG_DONTWAIT), a.getsockopt(socket.IPPROTO_IP, IP_RECVERR))


@case
def error_then_error_queue():
    a = udp()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    a.sendto(b"hello", closed_port())
    wait_for(lambda: looks(a))
    first = err(a.recvfrom, 10)
    return first, looks(a), err(a.recvfrom, 10, socket.MSG_DONTWAIT), queued(a), looks(a)


@case
def error_queue_of_two():
    a, to = udp(), closed_port()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    a.sendto(b"one", to)
    wait_for(lambda: looks(a))
    r = err(a.sendto, b"refused", to), err(a.sendto, b"two", to)
    time.sleep(0.1)
    r += (queued(a), looks(a), err(a.recvfrom, 10, socket.MSG_DONTWAIT), queued(a), looks(a))
    return r + (queued(a), err(a.recvfrom, 10, socket.MSG_DONTWAIT))


@case
def error_queue_with_data():
    a, b = udp(), udp()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    b.sendto(b"before", a.getsockname())
    a.sendto(b"lost", closed_port())
    time.sleep(0.1)
    b.sendto(b"after", a.getsockname())
    time.sleep(0.05)
    return (queued(a), a.recvfrom(10)[0], a.recvfrom(10)[0], looks(a),
            err(a.recvfrom, 10, socket.MSG_DONTWAIT))


@case
def error_queue_switched_off():
    a = udp()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    a.sendto(b"x", closed_port())
    wait_for(lambda: looks(a))
    a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 0)
    return queued(a), looks(a)


@case
def error_queue_v6():
    a = udp(V6, "::1")
    a.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    a.sendto(b"hello", closed_port(V6, "::1"))
    return wait_for(lambda: looks(a)), queued(a), queued(a)


@case
def error_queue_mapped():
    r = []
    for level, name in ((socket.IPPROTO_IPV6, IPV6_RECVERR), (socket.IPPROTO_IP, IP_RECVERR)):
        a = udp(V6, "::ffff:127.0.0.1")
        a.setsockopt(level, name, 1)
        a.sendto(b"hello", ("::ffff:127.0.0.1", closed_port()[1]))
        time.sleep(0.1)
        r.append(queued(a))
    return r


@case
def error_queue_too_long():
    a = udp()
    a.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    a.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 2)
    return err(a.sendto, b"z" * 65530, (HOST, 9)), queued(a)


@case
def stamps():
    a, b = udp(), udp()
    r = []
    for name in (29, 35, 63, 64):  # SO_TIMESTAMP, SO_TIMESTAMPNS, and both with 64 bits
        a.setsockopt(socket.SOL_SOCKET, name, 1)
        b.sendto(b"x", a.getsockname())
        (level, kind, raw), = a.recvmsg(10, 512)[1]
        seconds, rest = struct.unpack("qq", raw)
        r.append((level, kind, abs(seconds - time.time()) < 3, 0 <= rest < 10**9,
                  a.getsockopt(socket.SOL_SOCKET, name)))
        a.setsockopt(socket.SOL_SOCKET, name, 0)
    return r


@case
def stamp_asked_for():
    a, b = udp(), udp()
    room = bytearray(16)
    first = err(fcntl.ioctl, a, SIOCGSTAMP, room)
    b.sendto(b"x", a.getsockname())
    a.recvfrom(10)
    fcntl.ioctl(a, SIOCGSTAMP, room)
    return first, abs(struct.unpack("qq", room)[0] - time.time()) < 3


@case
def controls():
    a, b = udp(), udp()
    for name in (8, 12, 13, IP_RECVORIGDSTADDR):
        a.setsockopt(socket.IPPROTO_IP, name, 1)
    b.sendmsg([b"hi"], [(0, 2, struct.pack("i", 33)), (0, 1, struct.pack("i", 0x28))], 0,
              a.getsockname())
    data, received, flags, _ = a.recvmsg(10, 512)
    port = struct.pack("!H", a.getsockname()[1])
    return data, [(level, kind, raw.replace(port, b"PP")) for level, kind, raw in received], flags


def at_mark(s):
    answer = array.array("i", [0])
    fcntl.ioctl(s, SIOCATMARK, answer)
    return answer[0]


@case
def urgent_marks():
    c, a = pair()
    c.sendall(b"abc")
    c.send(b"!", socket.MSG_OOB)
    c.sendall(b"def")
    time.sleep(0.1)
    return [at_mark(a), a.recv(2), at_mark(a), a.recv(10), at_mark(a), mask(a),
            a.recv(1, socket.MSG_OOB), mask(a), at_mark(a), a.recv(10), at_mark(a), mask(a),
            err(a.recv, 1, socket.MSG_OOB)]


@case
def urgent_inline():
    c, a = pair()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    c.sendall(b"abc")
    c.send(b"!", socket.MSG_OOB)
    c.sendall(b"def")
    time.sleep(0.1)
    return [mask(a), at_mark(a), a.recv(100), at_mark(a), mask(a), a.recv(100), at_mark(a),
            err(a.recv, 1, socket.MSG_OOB)]


@case
def urgent_none():
    c, a = pair()
    return err(a.recv, 1, socket.MSG_OOB), mask(a), at_mark(a)


@case
def urgent_signal():
    c, a = pair()
    hits = []
    signal.signal(signal.SIGURG, lambda *_: hits.append(1))
    fcntl.fcntl(a, fcntl.F_SETOWN, os.getpid())
    c.send(b"!", socket.MSG_OOB)
    return wait_for(lambda: hits), len(hits)


@case
def stream_with_address():
    c, a = pair()
    c.sendall(b"hello")
    time.sleep(0.05)
    return a.recvfrom(2), a.recvmsg(2, 100), a.recvfrom(10, socket.MSG_PEEK), a.recvfrom(10)


@case
def stream_waits_for_all():
    c, a = pair()
    c.sendall(b"12")

    def more():
        for part in (b"345", b"6"):
            time.sleep(0.1)
            c.sendall(part)
        c.close()
    threading.Thread(target=more).start()
    return a.recvfrom(5, socket.MSG_WAITALL), a.recvfrom(50, socket.MSG_WAITALL)


@case
def stream_waits_for_all_in_vain():
    c, a = pair()
    c.sendall(b"12")
    a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100000))
    return a.recvfrom(5, socket.MSG_WAITALL), err(a.recvfrom, 5, socket.MSG_WAITALL)


@case
def stream_throws_away():
    c, a = pair()
    c.sendall(b"0123456789")
    time.sleep(0.05)
    room = bytearray(b"....")
    n = a.recv_into(room, 4, socket.MSG_TRUNC)
    libc = ctypes.CDLL(None)
    return n, bytes(room), libc.recv(a.fileno(), None, 3, socket.MSG_TRUNC), a.recv(100)


@case
def stream_error_queue():
    c, a = pair()
    return err(a.recv, 10, socket.MSG_ERRQUEUE), queued(a)


def crowd(backlog, more):
    """A listener and more connects than it takes; some stay under way."""
    l = listener(backlog)
    all = []
    for _ in range(backlog + 1 + more):
        s = socket.socket()
        s.setblocking(False)
        err(s.connect, l.getsockname())
        all.append(s)
    time.sleep(0.2)
    return l, all


@case
def backlog():
    r = []
    for n in (1, 2, 5):
        l, all = crowd(n, 4)
        l.setblocking(False)
        taken = 0
        while err(l.accept) != "EAGAIN":
            taken += 1
        r.append((n, taken, sum("POLLOUT" in mask(s) for s in all)))
    return r


@case
def shutdown_connecting():
    r = []
    for how in (socket.SHUT_RDWR, socket.SHUT_WR, socket.SHUT_RD):
        l, all = crowd(1, 3)
        s = all[-1]
        before = mask(s)
        r.append((before, err(s.shutdown, how), {"POLLERR", "POLLHUP"} <= set(mask(s)),
                  errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)),
                  err(s.getpeername), err(s.shutdown, how)))
    return r


@case
def shutdown_connecting_wakes():
    l, all = crowd(1, 3)
    s = socket.socket()
    r = []
    t = threading.Thread(target=lambda: r.append(err(s.connect, l.getsockname())), daemon=True)
    t.start()
    time.sleep(0.1)
    done = err(s.shutdown, socket.SHUT_RDWR)
    t.join(3)
    return done, r


@case
def shutdown_listener_and_again():
    r = []
    for how in (socket.SHUT_RD, socket.SHUT_RDWR):
        l = listener()
        woken = []
        t = threading.Thread(target=lambda: woken.append(err(l.accept)), daemon=True)
        t.start()
        time.sleep(0.1)
        done = err(l.shutdown, how)
        t.join(3)
        polled = bool({"POLLIN", "POLLHUP"} & set(mask(l)))
        l.setblocking(False)
        r.append((done, woken, polled, err(l.accept), err(l.shutdown, how),
                  l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), err(l.listen), mask(l),
                  l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)))
        c = socket.create_connection(l.getsockname())
        r.append((wait_for(lambda: mask(l)), l.accept()[1] == c.getsockname()))
    l = listener()
    r.append((err(l.shutdown, socket.SHUT_WR), mask(l)))
    return r


@case
def shutdown_listener_resets():
    l = listener()
    c = socket.create_connection(l.getsockname())
    time.sleep(0.05)
    l.shutdown(socket.SHUT_RD)
    l.setblocking(False)
    c.settimeout(3)
    return err(l.accept), err(c.recv, 1)


@case
def option_is_kept_by_disconnect():
    l = listener()
    s = socket.create_connection(l.getsockname())
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ctypes.CDLL(None).connect(s.fileno(), struct.pack("16x"), 16)
    s.connect(l.getsockname())
    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@case
def refusals():
    s, u = socket.socket(), udp()
    return (err(s.setsockopt, socket.IPPROTO_TCP, 31, b"tls") in ("ENOENT", "ok"),  # TCP_ULP
            err(s.setsockopt, socket.SOL_SOCKET, 27, 0),  # SO_DETACH_FILTER
            err(s.setsockopt, socket.IPPROTO_TCP, 19, 1),  # TCP_REPAIR
            err(u.setsockopt, socket.IPPROTO_IP, 19, 1),  # IP_TRANSPARENT
            err(u.setsockopt, socket.SOL_SOCKET, 32, 100000),  # SO_SNDBUFFORCE
            err(u.setsockopt, socket.SOL_SOCKET, socket.SO_PASSCRED, 1) in ("EOPNOTSUPP", "ENOTSUP",
                                                                            "ok"),
            [err(socket.socket, *kind) for kind in ((V4, socket.SOCK_RAW, 255), (V4, STREAM, 132),
                                                    (V4, 6, 33), (V4, 0, 0), (V4, 11, 0),
                                                    (socket.AF_PACKET, socket.SOCK_RAW, 3))],
            s.getsockopt(socket.IPPROTO_IP, 7), err(s.setsockopt, socket.IPPROTO_IP, 7, 1))


@case
def memory():
    c, a = pair()
    c.sendall(b"x" * 1000)
    wait_for(lambda: "POLLIN" in mask(a))
    r = struct.unpack("9I", a.getsockopt(socket.SOL_SOCKET, 55, 36))
    return r[0] >= 1000, r[1] > 0, r[3] > 0


@case
def information():
    c, a = pair()
    c.sendall(b"x" * 1000)
    time.sleep(0.1)
    raw = c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 400)
    short = c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    sent = struct.unpack_from("Q", raw, 200)[0]
    return (raw[0], len(short), raw[:8] == short[:8], len(raw) > 200, sent,
            struct.unpack_from("Q", a.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 400), 128)[0],
            listener().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))


_posix_cases.main()
