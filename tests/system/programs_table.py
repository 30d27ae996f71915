#!/usr/bin/env python3
# docs/programs.md says what the tests of programs declare, and all of it passed in this run of the tests.
# Runs after the other programs_*, whose records it reads; with a NAME it holds those that there are.
"""Usage: programs_table.py"""
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("TIDEWIRE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("TIDEWIRE_BUILD", SOURCE / "build" / "release"))


def main():
    command = [sys.executable, str(SOURCE / "tools/programs.py"), "--check", "--ran", str(BUILD / "programs-run")]
    if os.environ.get("TIDEWIRE_TEST_ALL"):
        command.append("--all")
    if not os.environ.get("TIDEWIRE_TEST_NAME"):
        command.append("--whole")
    return subprocess.run(command, timeout=60).returncode


if __name__ == "__main__":
    sys.exit(main())
