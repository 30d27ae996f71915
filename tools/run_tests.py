#!/usr/bin/env python3
"""Runs every test of a built tree and counts them.

The parts, in order: the unit and cross-layer tests (ctest on build/release), the tests of the tools,
the consumer project against an installed tree, the instruction counts, the unit tests once more under
the sanitizers, the same world built four ways, and the system tests with real programs
(tests/system). The last line reads `N passed, N failed, N skipped`; the exit status is 0 only if
nothing failed.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import system_tests  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build" / "release"
SANITIZED = ["base", "wire", "core", "device", "sim"]  # what peer bytes reach first
SANITIZED_ALL = SANITIZED + ["runtime", "gateway", "posix", "report"]


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, name, outcome, detail=""):
        if outcome == "pass":
            self.passed += 1
        elif outcome == "skip":
            self.skipped.append((name, detail or "no reason given"))
        else:
            self.failed.append((name, detail))
            say(f"FAIL  {name}  {detail}")


def say(text):
    print(text, flush=True)


def run(command, timeout, log, env=None):
    """Runs a command with its output in `log`; returns its exit status, or None after a time-out."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        try:
            done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=timeout, env=env)
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


def tail(log, lines=30):
    text = log.read_text(errors="replace").splitlines()
    return "\n".join("      " + line for line in text[-lines:])


def step(tally, name, command, timeout, env=None, detail_lines=30):
    """One command that counts as one test; exit status 77 means skipped, its last line says why."""
    log = BUILD / "test-logs" / (re.sub(r"[^A-Za-z0-9_.-]+", "_", name) + ".log")
    status = run(command, timeout, log, env)
    last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
    if status == 0:
        tally.add(name, "pass")
    elif status == 77:
        tally.add(name, "skip", last)
    else:
        why = f"no end after {timeout} s" if status is None else f"exit status {status}"
        tally.add(name, "fail", f"{why} ({log.relative_to(TOP)})")
        say(tail(log, detail_lines))
    return status


def part_unit(tally, args):
    report = BUILD / "ctest.xml"
    report.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", str(BUILD), "-j", str(args.jobs), "--timeout", "300",
               "--output-junit", str(report), "--output-on-failure", "--no-tests=ignore"]
    if args.name:
        command += ["-R", re.escape(args.name)]
    log = BUILD / "test-logs" / "ctest.log"
    run(command, 1500, log)
    if not report.exists():
        if "No tests were found" not in log.read_text(errors="replace"):
            tally.add("ctest", "fail", f"wrote no report ({log.relative_to(TOP)})")
        return
    for case in xml.parse(report).getroot().iter("testcase"):
        name, status = case.get("name"), case.get("status")
        output = case.findtext("system-out") or ""
        if status == "run":
            tally.add(name, "pass")
        elif status in ("notrun", "disabled") or case.find("skipped") is not None:
            tally.add(name, "skip", skip_reason(output))
        else:
            tally.add(name, "fail")
            say("\n".join("      " + line for line in output.splitlines()[-40:]))


def skip_reason(output):
    """GoogleTest prints `file:line: Skipped` and then the message."""
    lines = output.splitlines()
    for i, line in enumerate(lines):
        if line.rstrip().endswith("Skipped"):
            text = [l.strip() for l in lines[i + 1:i + 3] if l.strip() and not l.startswith("[")]
            return " ".join(text) or "no reason given"
    return "no reason given"


def part_tools(tally, args):
    for path in sorted((TOP / "tests" / "tools").glob("*_test.py")):
        step(tally, f"tools.{path.stem}", [sys.executable, str(path)], 120)


def part_consumer(tally, args):
    script = TOP / "tests" / "consumer" / "check.sh"
    if script.exists():
        step(tally, "consumer", ["bash", str(script), str(BUILD)], 600)


def part_instructions(tally, args):
    if (TOP / "bench" / "instructions.json").exists():
        step(tally, "instructions", [sys.executable, "tools/instructions.py", "--check"], 600)


def part_sanitized(tally, args):
    """The unit tests once more, each library's in one process, with address and UB sanitizers."""
    say("==> building the sanitized unit tests")
    log = BUILD / "test-logs" / "asan-build.log"
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if have("ccache") else []
    if run(["cmake", "--preset", "asan", "-DTIDEWIRE_TESTS=ON"] + launcher, 300, log) != 0:
        tally.add("asan.configure", "fail", str(log.relative_to(TOP)))
        return
    known = subprocess.run(["cmake", "--build", "build/asan", "--target", "help"], cwd=TOP,
                           capture_output=True, text=True).stdout
    parts = SANITIZED_ALL if args.all else SANITIZED
    targets = [f"tidewire_{part}_test" for part in parts if f"tidewire_{part}_test:" in known]
    if "tidewire_cross_test:" in known and args.all:
        targets.append("tidewire_cross_test")
    if not targets:
        return
    if run(["cmake", "--build", "build/asan", "-j", str(args.jobs), "--target"] + targets, 1500,
           log) != 0:
        tally.add("asan.build", "fail", str(log.relative_to(TOP)))
        say(tail(log))
        return
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0",
               UBSAN_OPTIONS="print_stacktrace=1")
    for target in targets:
        gtest_program(tally, f"asan.{target}", find_program(TOP / "build" / "asan", target), env)


def gtest_program(tally, name, program, env):
    """Runs a GoogleTest program in one process and counts its cases."""
    report = BUILD / "test-logs" / f"{name}.json"
    report.unlink(missing_ok=True)
    log = BUILD / "test-logs" / f"{name}.log"
    status = run([str(program), "--gtest_brief=1", f"--gtest_output=json:{report}"], 900, log, env)
    if not report.exists():
        tally.add(name, "fail", f"ended early, status {status} ({log.relative_to(TOP)})")
        say(tail(log))
        return
    failed_before = len(tally.failed)
    for suite in json.loads(report.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            label = f"{name}.{suite['name']}.{case['name']}"
            if case.get("failures"):
                tally.add(label, "fail", case["failures"][0]["failure"].splitlines()[0])
            elif case.get("result") == "SKIPPED":
                tally.add(label, "skip", "as in the release build")
            elif case.get("status") == "RUN":
                tally.add(label, "pass")
    if status != 0 and len(tally.failed) == failed_before:
        tally.add(name, "fail", f"status {status} after its last test ({log.relative_to(TOP)})")
        say(tail(log))


def part_same_everywhere(tally, args):
    script = TOP / "tools" / "same_everywhere.sh"
    if (TOP / "tests" / "world_hash.cpp").exists():
        step(tally, "same_everywhere", ["bash", str(script), "--jobs", str(args.jobs)], 1200)


def part_system(tally, args):
    system_tests.run_all(tally, TOP, BUILD, args.name, args.all, say)


def have(program):
    return subprocess.run(["sh", "-c", f"command -v {program}"], capture_output=True).returncode == 0


def find_program(build, name):
    return next(path for path in build.rglob(name) if path.is_file() and os.access(path, os.X_OK))


PARTS = [("unit", "unit and cross-layer tests", part_unit),
         ("tools", "tests of the tools", part_tools),
         ("consumer", "a project built against the installed tree", part_consumer),
         ("instructions", "instruction counts", part_instructions),
         ("asan", "unit tests under the sanitizers", part_sanitized),
         ("same", "one world, two compilers, debug and release", part_same_everywhere),
         ("system", "real programs", part_system)]


def summary(tally):
    if tally.skipped:
        say("\nskipped:")
        for name, why in tally.skipped:
            say(f"  {name}: {why}")
    if tally.failed:
        say("\nfailed:")
        for name, why in tally.failed:
            say(f"  {name}  {why}")
    say(f"\n{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true",
                        help="also the long ones (system tests marked `only: all`)")
    parser.add_argument("--part", action="append", choices=[p[0] for p in PARTS],
                        help="only this part; may be given several times")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("name", nargs="?", help="only tests whose name contains this")
    args = parser.parse_args()
    wanted = args.part or (["unit", "system"] if args.name else [p[0] for p in PARTS])
    tally = Tally()
    for key, title, function in PARTS:
        if key not in wanted:
            continue
        say(f"==> {title}")
        began = time.monotonic()
        before = (tally.passed, len(tally.failed), len(tally.skipped))
        function(tally, args)
        after = (tally.passed, len(tally.failed), len(tally.skipped))
        done = [b - a for a, b in zip(before, after)]
        say(f"    {done[0]} passed, {done[1]} failed, {done[2]} skipped in "
            f"{time.monotonic() - began:.0f} s")
    summary(tally)
    if args.name and tally.passed + len(tally.failed) + len(tally.skipped) == 0:
        say(f"no test is called like '{args.name}'")
        return 2
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
