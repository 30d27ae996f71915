#!/usr/bin/env python3
# CPython's own test_socket under the interception, beside the same tests with the kernel's sockets.
# A test that the kernel runs may neither fail nor turn into a skip, but for the named exceptions.
# timeout: 900
"""Usage: cpython_test_socket.py [OPTION of `tidewire run`...]"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PYTHON = "/usr/bin/python3"
EXCEPTIONS = pathlib.Path(__file__).with_name("cpython_test_socket.expected")


def as_user():
    if os.geteuid() == 0 and shutil.which("setpriv"):
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return []


def run(prefix, label):
    """Maps each test to ok, skipped or failed."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        env = {"HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        # The tests of virtual machine sockets hang where there is no hypervisor service.
        command = as_user() + prefix + [PYTHON, "-m", "test", "-v", "-i", "*VSOCK*", "test_socket"]
        done = subprocess.run(command, env=env, cwd=home, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=400)
    found = {}
    text = done.stdout
    for match in re.finditer(r"^(test\w+) \(test\.test_socket\.(\S+)\)", text, re.M):
        found.setdefault(match[2], "ok")
    for match in re.finditer(r"\(test\.test_socket\.(\S+)\)[^\n]*\.\.\. .*?skipped", text):
        found[match[1]] = "skipped"
    for match in re.finditer(r"^(?:ERROR|FAIL): \S+ \(test\.test_socket\.(\S+)\)", text, re.M):
        found[match[1]] = "failed"
    total = re.search(r"^Ran (\d+) tests? in", text, re.M)
    if total is None:
        print(text[-3000:])
        print(f"{label}: the tests did not end (status {done.returncode})")
        return None
    counts = {k: sum(v == k for v in found.values()) for k in ("ok", "skipped", "failed")}
    print(f"{label}: {total[1]} run, {counts['ok']} ok, {counts['skipped']} skipped, "
          f"{counts['failed']} failed")
    return found


def exceptions():
    named = {}
    for line in EXCEPTIONS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(maxsplit=1)
            named[name] = reason
    return named


def main():
    if not pathlib.Path("/usr/lib/python3.11/test/test_socket.py").exists():
        print("libpython3.11-testsuite is not installed")
        return 77
    tidewire = os.environ.get("TIDEWIRE", "tidewire")
    expected = run([], "the kernel")
    got = run([tidewire, "run", "--quiet", *sys.argv[1:], "--"], "tidewire")
    if expected is None or got is None:
        return 1
    named = exceptions()
    assert len(named) <= 8, "at most 8 exceptions"
    worse = []
    for test, before in expected.items():
        after = got.get(test, "missing")
        if before == "ok" and after != "ok":
            note = named.get(test)
            print(f"{test}: {after}" + (f" (excepted: {note})" if note else ""))
            if note is None:
                worse.append(test)
    passed = sum(v == "ok" for v in got.values())
    skipped = sum(v == "skipped" for v in got.values())
    print(f"{passed} passed, {len(worse)} failed, {skipped} skipped")
    return 1 if worse else 0


sys.exit(main())
