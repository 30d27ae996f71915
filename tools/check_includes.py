#!/usr/bin/env python3
"""Checks who includes whom, by the table in ARCHITECTURE.md.

Usage: check_includes.py [--top DIR] [FILE...]
Prints one line for every include that breaks a rule; exit status 1 if there is one.
"""
import argparse
import pathlib
import re
import sys

import source_text

STANDARD = set("""
algorithm any array atomic barrier bit bitset charconv chrono compare complex concepts condition_variable
coroutine deque exception execution expected filesystem format forward_list fstream functional future
initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory
memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex
scoped_allocator semaphore set shared_mutex source_location span sstream stack stdexcept stop_token
streambuf string string_view syncstream system_error thread tuple type_traits typeindex typeinfo
unordered_map unordered_set utility valarray variant vector version cassert cctype cerrno cfenv cfloat
cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime
cuchar cwchar cwctype
""".split())
# Headers that bring a clock, a thread, a lock, a file, a locale, randomness or floating point.
WORLD = set("""
thread mutex shared_mutex atomic random chrono future condition_variable semaphore barrier latch
stop_token fstream iostream filesystem cmath cfenv ctime csignal cstdio cerrno complex numbers
sstream ostream istream locale regex syncstream
""".split())
COMPILER_HEADERS = {"immintrin.h", "cpuid.h"}  # processor instructions, for the checksum


class Rule:
    """What the files under `prefix` may include. `own` are path prefixes below src/; of those,
    `but_not` are taken out again. `world`: standard headers that touch the outside are allowed."""

    def __init__(self, prefix, own, but_not=(), world=False, system=False, boost=(), other=()):
        self.prefix = prefix
        self.own = tuple(own)
        self.but_not = tuple(but_not)
        self.world = world
        self.system = system
        self.boost = tuple(boost)
        self.other = tuple(other)


CORE_PUBLIC = r"core/[^/]+\.hpp$"  # headers directly in core/ are its public face
KERNEL_DEVICES = r"device/backends/(?!sim_link|loopback)"  # the factory opens those
OUTER = ["base/", "wire/address", "wire/frame", CORE_PUBLIC]

# The first rule whose prefix fits counts.
RULES = [
    Rule("src/base/", ["base/"]),
    Rule("src/wire/", ["base/", "wire/"]),
    Rule("src/core/tcp/cc/", ["base/", "core/tcp/seq", "core/tcp/cc/", "core/tcp/recover/"]),
    Rule("src/core/tcp/recover/", ["base/", "core/tcp/seq", "core/tcp/recover/", "core/tcp/cc/"]),
    Rule("src/core/", ["base/", "wire/", "core/"],
         boost=["boost/unordered", "boost/intrusive", "boost/container_hash"]),
    Rule("src/device/backends/", ["base/", "wire/", "device/"], world=True, system=True),
    Rule("src/device/scenario.cpp", ["base/", "device/"], world=True, other=["toml++/"]),
    Rule("src/device/", ["base/", "wire/", "device/"], but_not=["device/backends/"], world=True),
    Rule("src/sim/", ["base/", "wire/", "device/", "sim/", CORE_PUBLIC], world=True),
    Rule("src/runtime/", ["base/", "wire/", "device/", "runtime/", CORE_PUBLIC], world=True,
         system=True),
    Rule("src/front/gateway/", [*OUTER, "device/device", "runtime/", "sim/", "front/gateway/", "front/async/"], world=True,
         system=True),
    Rule("src/front/async/", [*OUTER, "runtime/", "sim/", "front/async/"], world=True, system=True),
    Rule("src/front/control/", [*OUTER, "runtime/", "front/control/"], world=True, system=True),
    Rule("src/front/abi/", [*OUTER, "front/abi/"], world=True, system=True),
    Rule("src/front/posix/", [*OUTER, "runtime/", "sim/", "front/posix/", "front/abi/"], world=True,
         system=True),
    Rule("src/front/packetdrill/", [*OUTER, "wire/pretty", "device/wrap/materialise",
                                    "front/packetdrill/", "front/abi/"], world=True, system=True),
    Rule("src/report/", [*OUTER, "wire/", "runtime/", "sim/", "report/"], world=True, system=True),
    Rule("apps/", [*OUTER, "wire/", "device/", "sim/", "runtime/", "front/", "report/", "apps/"],
         but_not=[KERNEL_DEVICES], world=True, system=True, other=["fmt/", "CLI/"]),
    Rule("examples/", [*OUTER, "core/tcp/cc/controller", "device/", "sim/", "runtime/", "front/", "report/"],
         but_not=["device/backends/"], world=True, system=True, other=["fmt/"]),
]
TEST_HEADERS = ("gtest/", "gmock/")


def fits(path, prefixes):
    return any(re.match(p, path) for p in prefixes)


def broken(rule, include, quoted, is_test):
    """Why this include breaks the rule, or None."""
    if quoted:
        if "/" not in include:
            return "include paths start at src/"
        if not fits(include, rule.own) or (fits(include, rule.but_not) and not is_test):
            return f"{rule.prefix} may not know {include}"
        return None
    if include in STANDARD:
        if include in WORLD and not rule.world and not is_test:
            return f"{rule.prefix} may not use <{include}>"
        return None
    if include in COMPILER_HEADERS or include.startswith(rule.boost or ("\0",)):
        return None
    if is_test and include.startswith(TEST_HEADERS):
        return None
    if include.startswith(rule.other or ("\0",)):
        return None
    if not rule.system and not is_test:
        return f"{rule.prefix} may not use <{include}>"
    if include.startswith("boost/"):
        return f"{rule.prefix} may not use <{include}>"
    return None


def check(top, paths):
    findings = []
    for path in paths:
        name = path.as_posix()
        rule = next((r for r in RULES if name.startswith(r.prefix)), None)
        if rule is None:
            continue
        is_test = name.endswith("_test.cpp") or "/testing/" in name
        lines = (top / path).read_text(errors="replace").splitlines()
        if name.endswith(".hpp") and not any(line.startswith("#pragma once") for line in lines):
            findings.append(f"{name}:1: no #pragma once")
        for number, line in enumerate(lines, 1):
            match = re.match(r'^\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if match and (why := broken(rule, match[2], match[1] == '"', is_test)):
                findings.append(f"{name}:{number}: {why}")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=source_text.TOP)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    paths = args.files or source_text.tracked("*.cpp", "*.hpp", top=args.top)
    findings = check(args.top, paths)
    print("\n".join(findings) if findings else "include rules hold", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
