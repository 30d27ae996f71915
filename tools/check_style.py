#!/usr/bin/env python3
"""Checks what the compiler and clang-format do not: length of files and functions, floating point and
macros where none may be, and words that do not belong into a released tree.

Usage: check_style.py [--top DIR] [FILE...]
Prints one line per finding; exit status 1 if there is one.
"""
import argparse
import pathlib
import re
import sys

import source_text

FILE_LINES = 500
FUNCTION_LINES = 70  # about 60, with some tolerance
NO_FLOAT = ("src/base/", "src/core/", "src/wire/", "src/sim/")
NO_MACROS = ("src/core/", "src/wire/", "src/base/")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|for now|not implemented|placeholder)\b")
# Paths and hosts of one machine; brackets keep this file from finding itself.
MACHINE = re.compile(r"/wor[k]/|/roo[t]/|/hom[e]/\w+/|bash_job[s]|\bartifactor[y]\b|\bnexu[s]\b|"
                     r"\w+\.\w+\.interna[l]\b")
TEXTS = ("*.cpp", "*.hpp", "*.py", "*.sh", "*.md", "*.txt", "*.cmake", "*.1", "*.json", "*.tsv", "dev",
         ".ci/run")


def check_text(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        if match := MACHINE.search(line):
            yield f"{name}:{number}: names this machine: {match[0]}"
        if name.endswith((".cpp", ".hpp")) and (match := UNFINISHED.search(line)):
            yield f"{name}:{number}: sounds unfinished: {match[0]}"


def check_code(name, text):
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield f"{name}:1: {len(lines)} lines, the limit is {FILE_LINES}"
    for first, last, what in source_text.functions(text):
        if last - first + 1 > FUNCTION_LINES:
            yield f"{name}:{first}: {what} has {last - first + 1} lines, the limit is {FUNCTION_LINES}"
    is_test = name.endswith("_test.cpp")
    for number, line in enumerate(source_text.code_only(text).splitlines(), 1):
        if name.startswith(NO_FLOAT) and not is_test:
            if match := re.search(r"\b(float|double)\b|(?<![\w.])\d+\.\d+|(?<![\w.])\d[\d_]*[eE]-?\d", line):
                yield f"{name}:{number}: floating point: {match[0]}"
        if name.startswith(NO_MACROS) and not is_test:
            if match := re.match(r"\s*#\s*(if\w*|elif|define|undef)\b", line):
                yield f"{name}:{number}: no macros and no conditional code here: #{match[1]}"
        if name.startswith("src/core/") and not is_test and re.match(
                r"\s*(static|thread_local)\s+(?!constexpr|const\b|inline\s+constexpr|_assert)[\w:<>,\s]+[={;]",
                line) and "(" not in line.split("=")[0]:
            yield f"{name}:{number}: mutable static state"


def check(top, paths):
    findings = []
    for path in paths:
        name = path.as_posix()
        text = (top / path).read_text(errors="replace")
        findings += check_text(name, text)
        if name.endswith((".cpp", ".hpp")):
            findings += check_code(name, text)
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=source_text.TOP)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    findings = check(args.top, args.files or source_text.tracked(*TEXTS, top=args.top))
    print("\n".join(findings) if findings else "style holds", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
