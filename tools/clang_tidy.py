#!/usr/bin/env python3
"""Runs clang-tidy-19 in parallel over the project's own sources of a compilation database.

Usage: clang_tidy.py BUILD_DIR [--jobs N] [--changed] [FILE...]
A file that was clean is not looked at again until it, a header it includes, the configuration or its
command line changes (build/.tidy-clean). Prints the findings; exit status 1 if there is one.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
CLEAN = TOP / "build" / ".tidy-clean"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def changed_files():
    """Files that differ from the branch point with main, and uncommitted ones."""
    def lines(*command):
        out = subprocess.run(["git", *command], cwd=TOP, capture_output=True, text=True).stdout
        return out.splitlines()
    base = lines("merge-base", "HEAD", "main") or lines("rev-parse", "HEAD~1")
    names = lines("diff", "--name-only", *base) + lines("ls-files", "-o", "--exclude-standard")
    return {TOP / n for n in names}


def closure(path, seen):
    """The project headers a file reaches, itself included."""
    if path in seen or not path.is_file():
        return seen
    seen.add(path)
    for include in INCLUDE.findall(path.read_text(errors="replace")):
        closure(TOP / "src" / include, seen)
        closure(path.parent / include, seen)
    return seen


def one_entry_each(build):
    """The database with one entry for each of our files: clang-tidy reads a file once for every entry.

    Returns the folder of the new one, and its entries as pairs of path and entry.
    """
    first = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if path.is_relative_to(TOP) and not path.is_relative_to(TOP / "build"):
            first.setdefault(path, entry)
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    (folder / "compile_commands.json").write_text(json.dumps(list(first.values())))
    return folder, list(first.items())


def fingerprint(entry, files):
    digest = hashlib.sha256((TOP / ".clang-tidy").read_bytes())
    digest.update(entry.get("command", "").encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def tidy(binary, build, path):
    done = subprocess.run([binary, "-p", str(build), "--quiet", str(path)], cwd=TOP,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    findings = re.sub(r"\d+ warnings? generated\.$\n?", "", done.stdout, flags=re.M)
    failed = done.returncode != 0 or re.search(r": (warning|error):", findings)
    return path, (findings + (done.stderr if not findings else "") if failed else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--binary", default="clang-tidy-19")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    database, entries = one_entry_each(args.build)
    chosen = {f.resolve() for f in args.files} or (changed_files() if args.changed else None)
    CLEAN.mkdir(parents=True, exist_ok=True)
    work, clean = [], 0
    for path, entry in entries:
        files = closure(path, set())
        if chosen is not None and not (files & chosen):
            continue
        mark = CLEAN / fingerprint(entry, files)
        if mark.exists():
            clean += 1
        else:
            work.append((path, mark))
    print(f"clang-tidy: {len(work)} files to read, {clean} known to be clean", flush=True)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(tidy, args.binary, database, p): m for p, m in work}
        for count, run in enumerate(concurrent.futures.as_completed(runs), 1):
            path, findings = run.result()
            if findings:
                bad += 1
                print(findings, flush=True)
            else:
                runs[run].touch()
            if count % 20 == 0:
                print(f"clang-tidy: {count} of {len(work)}", flush=True)
    print(f"clang-tidy: {bad} files with findings" if bad else "clang-tidy: nothing found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
