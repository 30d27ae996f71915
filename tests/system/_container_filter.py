#!/usr/bin/python3
"""_container_filter.py PROGRAM ARGUMENT...: runs a program under a seccomp filter that denies what the default
filter of a container denies to a process without capabilities. `--deny CALL PROGRAM ...` denies another
call too. With --check it tells what is denied."""
import ctypes
import os
import struct
import sys

EPERM, ENOSYS = 1, 38
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
# x86-64 numbers of calls that need a capability there.
DENIED = {"pidfd_getfd": 438, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
          "move_mount": 429, "open_tree": 428, "fsopen": 430, "fsmount": 432, "mount_setattr": 442,
          "bpf": 321, "perf_event_open": 298, "kcmp": 312, "userfaultfd": 323, "keyctl": 250, "add_key": 248,
          "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_by_handle_at": 304,
          "process_madvise": 440, "quotactl": 179, "reboot": 169, "swapon": 167, "syslog": 103, "chroot": 161}
MORE = {"seccomp": 317, "process_vm_readv": 310, "pidfd_open": 434}
CLONE, CLONE3 = 56, 435


def statement(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)


def build(denied):
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    program = [statement(load, 0, 0, 4), statement(equal, 1, 0, 0xC000003E),  # AUDIT_ARCH_X86_64
               statement(give, 0, 0, ERRNO | ENOSYS), statement(load, 0, 0, 0)]
    for number in denied.values():
        program += [statement(equal, 0, 1, number), statement(give, 0, 0, ERRNO | EPERM)]
    # clone3 takes its flags in memory, so a filter cannot see them: libraries fall back to clone.
    program += [statement(equal, 0, 1, CLONE3), statement(give, 0, 0, ERRNO | ENOSYS),
                statement(equal, 0, 3, CLONE), statement(load, 0, 0, 16),
                statement(any_bit, 0, 1, NAMESPACES), statement(give, 0, 0, ERRNO | EPERM),
                statement(give, 0, 0, ALLOW)]
    return program


def install(denied):
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(build(denied))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        sys.exit("no_new_privs is refused")
    if libc.prctl(22, 2, ctypes.c_char_p(header)) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        sys.exit("the filter is refused: " + os.strerror(ctypes.get_errno()))


def tell():
    """One line for each call that must be denied; the namespaces by clone as well."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, arguments in (("pidfd_getfd", (438, -1, 0, 0)), ("unshare", (272, 0x10000000)),
                            ("setns", (308, -1, 0)), ("mount", (165, 0, 0, 0, 0, 0)),
                            ("clone", (56, 0x10000000 | 17, 0, 0, 0, 0))):
        ctypes.set_errno(0)
        if libc.syscall(*arguments) == 0 and name == "clone":
            os._exit(0)
        print(name, os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    denied = dict(DENIED)
    if sys.argv[1] == "--deny":
        denied[sys.argv[2]] = MORE[sys.argv[2]]
        del sys.argv[1:3]
    install(denied)
    if sys.argv[1] == "--check":
        tell()
    else:
        os.execvp(sys.argv[1], sys.argv[1:])
