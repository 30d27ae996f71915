#!/usr/bin/env python3
"""Real programs where a container's default filter denies pidfd_getfd, namespaces and mounts, and where the
kernel has no optional feature; what run and doctor say where something needed is denied."""
# timeout: 400
import pathlib
import subprocess

import _program_clients as clients
import _program_pairs as pairs
import _program_ports as ports
import _program_servers as servers
from _programs import AS_USER, HERE, LOSSY, PYTHON, TIDEWIRE, Surroundings, check, equal, main

FILTER = [PYTHON, str(HERE / "_container_filter.py")]
WITHOUT = "wait_killable,sync_wake_up,pidfd_thread,pidfd_getfd,unix_oob"
DEBIAN_12 = "sync_wake_up,pidfd_thread"


def filter_denies(bench):
    """The launcher denies what it says, for the user the tests run as."""
    got = bench.host([*FILTER, "--check"]).ok()
    equal(got.out.splitlines(), [f"{name} Operation not permitted" for name in
                                 ("pidfd_getfd", "unshare", "setns", "mount", "clone")], "what is denied")


def doctor_in_a_container(bench):
    """doctor says that run works, names pidfd_getfd and the option that gives it."""
    got = bench.host([*FILTER, TIDEWIRE, "doctor"])
    equal(got.wait(), 0, f"status of doctor\n{got.tail()}")
    check("`tidewire run` works here" in got.out, f"doctor said\n{got.tail(40)}")
    check("pidfd_getfd" in got.out and "SYS_PTRACE" in got.out, f"doctor said\n{got.tail(40)}")


def needed_calls_denied(bench):
    """Without seccomp(2) or process_vm_readv run says in one line what is missing and how to get it."""
    for call, word in (("seccomp", "seccomp"), ("process_vm_readv", "SYS_PTRACE")):
        launcher = [*FILTER, "--deny", call]
        got = bench.host([*launcher, TIDEWIRE, "run", "--", "true"])
        equal(got.wait(), 125, f"status of run without {call}\n{got.tail()}")
        equal(len(got.errors.splitlines()), 1, f"lines of run without {call}\n{got.tail()}")
        check(call in got.errors and word in got.errors, f"run without {call} said\n{got.tail()}")
        got = bench.host([*launcher, TIDEWIRE, "doctor"])
        equal(got.wait(), 1, f"status of doctor without {call}\n{got.tail()}")
        check("does not work here" in got.out and word in got.out, f"doctor said\n{got.tail(40)}")


SHORT = clients.SHORT + servers.SHORT + pairs.SHORT + ports.SCENARIOS
ALL = clients.SCENARIOS + servers.SCENARIOS + pairs.SCENARIOS + ports.SCENARIOS

SETS = [(Surroundings(), [filter_denies, doctor_in_a_container, needed_calls_denied]),
        (Surroundings(launcher=FILTER, label="container"), SHORT),
        (Surroundings(options=["--without", WITHOUT], label="old kernel"), ALL)]

if __name__ == "__main__":
    main(SETS)
