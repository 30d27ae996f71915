#!/usr/bin/env python3
# CPython's own tests of its network modules under the interception, beside the same tests with the kernel's
# sockets, both as a plain user. A test that the kernel runs may neither fail nor turn into a skip nor be
# missing, and one that it skips may not fail, but for the exceptions that cpython_suites.expected names, at most
# eight in all suites together. A test that fails now and then with the kernel as well (cpython_suites.unsteady, with
# how often) may pass at a later try.
# timeout: 3000
"""Usage: cpython_suites.py [--all] [--only SUITE] [--times N] [--match PATTERN] [OPTION of `tidewire run`...]

Without --all (or TIDEWIRE_TEST_ALL in the environment) the suites that take long are left out.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

PYTHON = "/usr/bin/python3"
EXCEPTIONS = pathlib.Path(__file__).with_name("cpython_suites.expected")
UNSTEADY = pathlib.Path(__file__).with_name("cpython_suites.unsteady")
MOST_EXCEPTIONS = 8
TRIES = 3  # of an unsteady test, alone
# The tests of virtual machine sockets hang where there is no hypervisor service.
OPTIONS = {"test_socket": ["-i", "*VSOCK*"], "test_socketserver": ["-u", "network"]}
FAST = ["test_socket", "test_ssl", "test_asyncore", "test_asynchat", "test_ftplib", "test_epoll", "test_httplib",
        "test_httpservers", "test_poplib", "test_smtplib", "test_telnetlib", "test_urllib2_localnet", "test_socketserver"]
LONG = ["test_asyncio", "test_selectors", "test_select", "test_poll", "test_imaplib", "test_xmlrpc", "test_signal"]


def as_user():
    if os.geteuid() == 0 and shutil.which("setpriv"):
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                "--inh-caps=-all", "--bounding-set=-all"]
    return []


def run(prefix, suite, match=None):
    """Maps each test of a suite to ok, skipped or failed; the text of a run that did not end is its result."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        env = {"HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        report = pathlib.Path(home, "report.xml")
        command = [*as_user(), *prefix, PYTHON, "-m", "test", "-v", *OPTIONS.get(suite, []),
                   *(["-m", match] if match else []), "--junit-xml", str(report), suite]
        try:
            done = subprocess.run(command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
        except subprocess.TimeoutExpired as hung:
            return f"no end after 600 s\n{(hung.stdout or b'').decode(errors='replace')[-3000:]}"
        if not report.exists():
            return f"status {done.returncode}\n{done.stdout[-3000:]}"
        return results(report)


def results(report):
    """Maps the tests of a report of regrtest to (ok, skipped or failed; the last line of why)."""
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        why = [part for part in case if part.tag in ("skipped", "failure", "error")]
        word = "ok" if not why else "skipped" if why[0].tag == "skipped" else "failed"
        text = (why[0].text or why[0].get("message") or "").strip().splitlines() if why else []
        name = case.get("name").removeprefix("test.")
        if found.get(name, ("ok",))[0] != "failed":  # a subtest may have failed before
            found[name] = (word, text[-1] if text else "")
    return found


def reasons(listed):
    """Maps the tests that a list names to why."""
    named = {}
    for line in listed.read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(maxsplit=1)
            named[name] = reason
    return named


def count(found, word):
    return sum(outcome == word for outcome, _ in found.values())


def compare(suite, kernel, ours, named):
    """Prints a suite's line and each difference; the tests that are worse than with the kernel."""
    for label, found in (("with the kernel", kernel), ("under tidewire", ours)):
        if isinstance(found, str):
            print(f"{suite} {label} did not end: {found}")
            return [suite]
        print(f"{suite} {label}: {len(found)} run, {count(found, 'ok')} ok, {count(found, 'skipped')} skipped, "
              f"{count(found, 'failed')} failed", flush=True)
    worse = []
    for test, (before, _) in kernel.items():
        after, why = ours.get(test, ("missing", ""))
        if (before == "ok" and after != "ok") or (before == "skipped" and after == "failed"):
            note = named.get(test)
            print(f"    {test}: {after}: {why}" + (f" (excepted: {note})" if note else ""))
            if note is None:
                worse.append(test)
    return worse


def passes_alone(prefix, suite, test):
    """Whether an unsteady test passes at one of a few more tries."""
    for _ in range(TRIES):
        found = run(prefix, suite, f"test.{test}")
        if not isinstance(found, str) and found.get(test, ("missing",))[0] in ("ok", "skipped"):
            return True
    return False


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--all", action="store_true", default=bool(os.environ.get("TIDEWIRE_TEST_ALL")))
    parser.add_argument("--only", default="")
    parser.add_argument("--match")
    parser.add_argument("--times", type=int, default=1)
    return parser.parse_known_args()


def main():
    given, options = arguments()
    if not pathlib.Path("/usr/lib/python3.11/test/test_socket.py").exists():
        print("libpython3.11-testsuite is not installed")
        return 77
    named, unsteady = reasons(EXCEPTIONS), reasons(UNSTEADY)
    assert len(named) <= MOST_EXCEPTIONS, f"{len(named)} exceptions"
    ours = [os.environ.get("TIDEWIRE", "tidewire"), "run", "--quiet", *options, "--"]
    suites = [s for s in FAST + (LONG if given.all or given.only else []) if given.only in ("", s)]
    worse, passed, skipped = [], 0, 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for suite in suites * given.times:
            began = time.monotonic()
            both = list(pool.map(lambda prefix: run(prefix, suite, given.match), ([], ours)))
            for test in compare(suite, *both, named):
                if test in unsteady and passes_alone(ours, suite, test):
                    print(f"        passes when tried again, as with the kernel: {unsteady[test]}")
                else:
                    worse.append(test)
            print(f"    {time.monotonic() - began:.0f} s")
            if not isinstance(both[1], str):
                passed, skipped = passed + count(both[1], "ok"), skipped + count(both[1], "skipped")
    print("worse than with the kernel: " + (" ".join(worse) or "nothing"))
    print(f"{passed} passed, {len(worse)} failed, {skipped} skipped")
    return 1 if worse else 0


sys.exit(main())
