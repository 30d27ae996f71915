#!/usr/bin/env python3
"""Runs the system tests: tests/system/*.sh, tests/system/*.py and programs named *_system_test.

A test is a program. Exit status 0: passed; 77: skipped, the last line of its output says why;
anything else: failed. A test that counts cases of its own prints, as its last line,
`N passed, N failed, N skipped`. A comment in its first 20 lines may say
    timeout: SECONDS        (default 300)
    only: all               (runs with --all only)
Files whose name starts with `_` or `lib` are helpers, not tests.
Environment of a test: TIDEWIRE (the command, readable by every user), TIDEWIRE_SOURCE (the checkout),
TIDEWIRE_BUILD (the build directory), TIDEWIRE_TEST_ALL (1 with --all), TIDEWIRE_TEST_NAME (what selects the
tests, empty for all), TMPDIR (an own directory, empty, writable by every user, removed afterwards). Everything a test leaves running is ended with it.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")


def find(top, build):
    here = top / "tests" / "system"
    files = sorted(here.glob("*.sh")) + sorted(here.glob("*.py")) if here.is_dir() else []
    files = [f for f in files if not f.name.startswith(("_", "lib"))]
    programs = sorted(p for p in build.rglob("*_system_test") if p.is_file() and os.access(p, os.X_OK))
    return files + programs


def settings(path):
    """The `timeout:` and `only:` comments of a test."""
    found = {"timeout": 300, "only": ""}
    if path.suffix in (".sh", ".py"):
        for line in path.read_text(errors="replace").splitlines()[:20]:
            if match := re.match(r"^#\s*timeout:\s*(\d+)", line):
                found["timeout"] = int(match[1])
            if match := re.match(r"^#\s*only:\s*(\w+)", line):
                found["only"] = match[1]
    return found


def command_for(path):
    if path.suffix == ".sh":
        return ["bash", str(path)]
    if path.suffix == ".py":
        return [sys.executable, str(path)]
    return [str(path)]


def end_group(leader):
    """Ends what the test left behind: its session, first asked, then forced."""
    for sig, pause in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 0)):
        try:
            os.killpg(leader, sig)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(pause)


def run_one(path, env, timeout, log):
    """Returns (exit status or None after a time-out, last line of the output)."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command_for(path), stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, env=env, start_new_session=True)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        end_group(process.pid)
        process.wait()
    lines = log.read_text(errors="replace").strip().splitlines()
    return status, lines[-1].strip() if lines else ""


def report(tally, name, status, last, timeout, log, seconds, say):
    counts = COUNTS.match(last)
    if counts and status == 0:
        tally.passed += int(counts[1])
        tally.skipped += [(name, f"a case, see {log}")] * int(counts[3])
        say(f"pass  {name}  {last}  ({seconds:.1f} s)")
    elif status == 0:
        tally.add(name, "pass")
        say(f"pass  {name}  ({seconds:.1f} s)")
    elif status == 77:
        tally.add(name, "skip", re.sub(r"^(SKIP(PED)?|skip(ped)?):?\s*", "", last))
        say(f"skip  {name}  {last}")
    else:
        why = f"no end after {timeout} s" if status is None else f"exit status {status}"
        if counts:
            tally.passed += int(counts[1])
            why += f", {last}"
        tally.add(name, "fail", f"{why} ({log})")
        for line in log.read_text(errors="replace").splitlines()[-30:]:
            say("      " + line)


def run_all(tally, top, build, name_filter, everything, say):
    logs = build / "system-logs"
    logs.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(build / "programs-run", ignore_errors=True)  # records of the last run (programs_table.py)
    public = pathlib.Path(tempfile.mkdtemp(prefix="tidewire-test-"))
    public.chmod(0o755)
    command = public / "tidewire"
    if (build / "tidewire").exists():
        for name in ("tidewire", "tidewire-run-preload.so"):
            shutil.copy(build / name, public)
            (public / name).chmod(0o755)
    try:
        for path in find(top, build):
            name = f"system.{path.stem}"
            if name_filter and name_filter not in name:
                continue
            chosen = settings(path)
            if chosen["only"] == "all" and not everything and not name_filter:
                tally.add(name, "skip", "runs with ./dev test --all")
                continue
            own = pathlib.Path(tempfile.mkdtemp(prefix="tmp-", dir=public))
            own.chmod(0o1777)
            env = dict(os.environ, TIDEWIRE=str(command), TIDEWIRE_SOURCE=str(top),
                       TIDEWIRE_BUILD=str(build), TMPDIR=str(own),
                       TIDEWIRE_TEST_ALL="1" if everything else "", TIDEWIRE_TEST_NAME=name_filter or "")
            log = logs / f"{path.stem}.log"
            began = time.monotonic()
            status, last = run_one(path, env, chosen["timeout"], log)
            report(tally, name, status, last, chosen["timeout"], log.relative_to(top),
                   time.monotonic() - began, say)
            shutil.rmtree(own, ignore_errors=True)
    finally:
        shutil.rmtree(public, ignore_errors=True)


if __name__ == "__main__":
    print(__doc__)
