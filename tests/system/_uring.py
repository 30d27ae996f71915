"""Makes a socket and connects it through io_uring alone: no socket call that a filter could see.

Usage: _uring.py ADDRESS PORT; prints `connected`, or the errno of what failed.
"""
import ctypes
import mmap
import os
import socket
import struct
import sys

SETUP, ENTER = 425, 426
OP_CONNECT, OP_SEND, OP_SOCKET = 16, 26, 45
libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    def __init__(self):
        self.params = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(SETUP, 4, self.params)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        sq = struct.unpack_from("10I", self.params, 40)  # offsets: head tail mask entries flags dropped array
        cq = struct.unpack_from("10I", self.params, 80)  # offsets: head tail mask entries overflow cqes
        entries = struct.unpack_from("2I", self.params, 0)
        size = max(sq[6] + entries[0] * 4, cq[5] + entries[1] * 16)
        self.rings = mmap.mmap(self.fd, size, offset=0)
        self.sqes = mmap.mmap(self.fd, entries[0] * 64, offset=0x10000000)
        self.sq, self.cq = sq, cq

    def word(self, at, value=None):
        if value is not None:
            struct.pack_into("I", self.rings, at, value & 0xffffffff)
        return struct.unpack_from("I", self.rings, at)[0]

    def ask(self, op, fd, offset, address, length):
        """One request and its result."""
        tail = self.word(self.sq[1])
        slot = tail & self.word(self.sq[2])
        struct.pack_into("BBHiQQIIQ", self.sqes, slot * 64, op, 0, 0, fd, offset, address, length, 0, 1)
        self.word(self.sq[6] + slot * 4, slot)
        self.word(self.sq[1], tail + 1)
        if libc.syscall(ENTER, self.fd, 1, 1, 1, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head = self.word(self.cq[0])
        result = struct.unpack_from("Qi", self.rings, self.cq[5] + (head & self.word(self.cq[2])) * 16)[1]
        self.word(self.cq[0], head + 1)
        return result


def main():
    try:
        ring = Ring()
    except OSError as error:
        print("errno", error.errno)
        return
    made = ring.ask(OP_SOCKET, socket.AF_INET, socket.SOCK_STREAM, 0, 0)
    if made < 0:
        print("errno", -made)
        return
    target = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(int(sys.argv[2])), socket.inet_aton(sys.argv[1]))
    buffer = ctypes.create_string_buffer(target, 16)
    done = ring.ask(OP_CONNECT, made, 16, ctypes.addressof(buffer), 0)
    print("connected" if done == 0 else f"errno {-done}")
    os.close(made)


main()
