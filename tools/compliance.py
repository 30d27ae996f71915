#!/usr/bin/env python3
"""Writes docs/compliance.md: every RFC requirement that is claimed, beside the tests that name it.

Inputs: docs/requirements.tsv (id, rfc, level, section, requirement), docs/excused.tsv (id, reason; at
most 10 MUST rows), docs/deviations.md (text taken over), comments `req: ID[, ID...]` in tests and
citations `//= RFC n §s` in the sources.

  compliance.py            write docs/compliance.md
  compliance.py --check    exit status 1 if it is stale, names an unknown id or excuses too much
  compliance.py --missing  print the MUST rows that no test names and nothing excuses
                           (--missing RFC1122 only that RFC's; --missing ALL also SHOULD and MAY)
"""
import argparse
import collections
import pathlib
import re
import sys

import source_text

MAX_EXCUSED = 10
REQ = re.compile(r"(?://|#)\s*req:\s*(.+)")
CONTINUED = re.compile(r"^\s*(?://|#)\s+(RFC\d+-.*)$")
TEST = re.compile(r"^\s*(?:TEST|TEST_F|TEST_P|TYPED_TEST)\s*\(\s*(\w+)\s*,\s*(\w+)")
PY_TEST = re.compile(r"^\s*def\s+(test\w*|check\w*)")
CITATION = re.compile(r"//=\s*RFC\s*(\d+)\s*§\s*([\w.]+)")
TITLES = {"RFC9293": "Transmission Control Protocol", "RFC768": "User Datagram Protocol",
          "RFC791": "Internet Protocol", "RFC815": "IP datagram reassembly",
          "RFC826": "Address Resolution Protocol", "RFC1122": "Requirements for Internet hosts",
          "RFC1191": "Path MTU discovery", "RFC2018": "TCP selective acknowledgment",
          "RFC2883": "Duplicate SACK", "RFC3042": "Limited transmit",
          "RFC5681": "TCP congestion control", "RFC5961": "Robustness against blind attacks",
          "RFC6298": "Retransmission timer", "RFC7323": "Window scale, timestamps, PAWS",
          "RFC9438": "CUBIC", "RFC6675": "SACK-based loss recovery", "RFC6582": "NewReno",
          "RFC6528": "Initial sequence numbers", "RFC6191": "TIME-WAIT and timestamps",
          "RFC6928": "Initial window of 10", "RFC6056": "Ephemeral ports",
          "RFC8985": "RACK-TLP", "RFC4987": "SYN flooding attacks and cookies",
          "RFC5482": "User timeout option", "RFC7413": "TCP Fast Open",
          "RFC3168": "Explicit congestion notification", "RFC9768": "Accurate ECN feedback",
          "RFC4821": "Packetisation layer path MTU discovery",
          "RFC8899": "Datagram packetisation layer path MTU discovery",
          "RFC3522": "Eifel detection", "RFC4015": "Eifel response", "RFC5682": "F-RTO",
          "RFC6937": "Proportional rate reduction", "RFC9406": "HyStart++",
          "RFC3708": "Spurious retransmissions by duplicate SACK"}


def read_table(path):
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [line.split("\t") for line in lines[1:] if line.strip()]


def ids_in(text):
    return re.findall(r"RFC\d+-[\w.\-]*\w", text)


def test_sites(path, text):
    """Yields (id, test name) for every `req:` comment: the test it stands in or before."""
    lines = text.splitlines()
    pattern = PY_TEST if path.suffix == ".py" else TEST
    names, current = [], None
    for line in lines:
        if match := pattern.match(line):
            current = ".".join(match.groups())
        names.append(current)
    i = 0
    while i < len(lines):
        if not (match := REQ.search(lines[i])):
            i += 1
            continue
        found, first = ids_in(match[1]), i
        while i + 1 < len(lines) and (more := CONTINUED.match(lines[i + 1])):
            found += ids_in(more[1])
            i += 1
        indented = lines[first][:1].isspace() or not lines[first].lstrip().startswith(("//", "#"))
        name = names[first] if indented else None
        if name is None:
            name = next((".".join(m.groups()) for line in lines[i + 1:i + 12]
                         if (m := pattern.match(line))), names[first])
        yield from ((identifier, name) for identifier in found)
        i += 1


def collect(top):
    """({id: [(file, test)]}, {(rfc, section): [file]})"""
    tests, citations = collections.defaultdict(list), collections.defaultdict(set)
    for path in source_text.tracked("*.cpp", "*.hpp", "tests/*.py", "tests/*.sh", top=top):
        text = (top / path).read_text(errors="replace")
        if path.parts[:2] == ("tests", "tools"):
            continue
        if path.name.endswith("_test.cpp") or path.parts[0] in ("tests", "fuzz"):
            for identifier, name in test_sites(path, text):
                if (path, name) not in tests[identifier]:
                    tests[identifier].append((path, name))
        else:
            for rfc, section in CITATION.findall(text):
                citations[f"RFC{rfc}", section.rstrip(".")].add(path)
    return tests, citations


def short(path):
    return path.as_posix().removeprefix("src/")


def evidence(identifier, level, tests, excused):
    if identifier in tests:
        by_file = collections.defaultdict(list)
        for path, name in tests[identifier]:
            by_file[short(path)].append(name or "")
        shown = [f"`{f}`: {', '.join(dict.fromkeys(n for n in names if n))}".rstrip(": ")
                 for f, names in sorted(by_file.items())]
        return "; ".join(shown)
    if identifier in excused:
        return f"excused: {excused[identifier]}"
    return "**missing**" if level.startswith("MUST") else "not tested"


def totals(rows, tests, excused):
    must = [r for r in rows if r[2].startswith("MUST")]
    tested = sum(r[0] in tests for r in must)
    out = sum(r[0] in excused and r[0] not in tests for r in must)
    other = [r for r in rows if not r[2].startswith("MUST")]
    return len(must), tested, out, len(must) - tested - out, sum(r[0] in tests for r in other), len(other)


def render(top, rows, tests, citations, excused):
    by_rfc = collections.OrderedDict()
    for row in rows:
        by_rfc.setdefault(row[1], []).append(row)
    text = ["# Compliance", "",
            "Generated by `./dev doc` from docs/requirements.tsv and the tests; do not edit.", "",
            "A MUST row counts as tested when a test names it in a `req:` comment. Rows of other levels",
            "are listed for information (STEP: a step of an algorithm, where the RFC uses no key word).",
            "Where Linux differs from a SHOULD, Linux was followed; see [Deviations](#deviations).", "",
            "| RFC | MUST rows | tested | excused | missing | other rows tested |",
            "|---|---:|---:|---:|---:|---:|"]
    for rfc, group in by_rfc.items():
        must, tested, out, missing, other, others = totals(group, tests, excused)
        text.append(f"| [{rfc}](#{rfc.lower()}) {TITLES.get(rfc, '')} | {must} | {tested} | {out} | "
                    f"{missing} | {other} of {others} |")
    must, tested, out, missing, other, others = totals(rows, tests, excused)
    text.append(f"| all | {must} | {tested} | {out} | {missing} | {other} of {others} |")
    text += ["", "## Deviations", ""]
    deviations = top / "docs" / "deviations.md"
    if deviations.exists():
        text.append(deviations.read_text().strip())
    text += ["", "## Excused", "", "| id | requirement | reason |", "|---|---|---|"]
    wording = {r[0]: r[4] for r in rows}
    text += [f"| {i} | {wording.get(i, '?')} | {why} |" for i, why in excused.items()]
    for rfc, group in by_rfc.items():
        text += ["", f"## {rfc}", "", TITLES.get(rfc, ""), "",
                 "| id | level | requirement | tests |", "|---|---|---|---|"]
        for identifier, _, level, section, wording_, *_ in group:
            wording_ = wording_.replace("|", "\\|")
            text.append(f"| {identifier} | {level} | §{section} {wording_} | "
                        f"{evidence(identifier, level, tests, excused)} |")
        cited = sorted({short(p) for (r, _), paths in citations.items() if r == rfc for p in paths})
        if cited:
            text += ["", "Cited in " + ", ".join(f"`{c}`" for c in cited) + "."]
    return "\n".join(text) + "\n"


def problems(rows, tests, excused):
    known = {r[0] for r in rows}
    found = [f"{short(p)}: unknown requirement {i}" for i, sites in sorted(tests.items())
             for p, _ in sites if i not in known]
    found += [f"docs/excused.tsv: unknown requirement {i}" for i in excused if i not in known]
    found += [f"docs/excused.tsv: {i} is tested, so needs no excuse" for i in excused if i in tests]
    must = {r[0] for r in rows if r[2].startswith("MUST")}
    count = len(must & excused.keys())
    if count > MAX_EXCUSED:
        found.append(f"docs/excused.tsv: {count} MUST rows, at most {MAX_EXCUSED} may be excused")
    return found


def missing(rows, tests, excused, which):
    for identifier, rfc, level, section, wording, *_ in rows:
        if identifier in tests or identifier in excused:
            continue
        if which == "ALL" or (level.startswith("MUST") and which in ("MUST", rfc)):
            yield f"{identifier}\t{level}\t{section}\t{wording}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=source_text.TOP)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--missing", nargs="?", const="MUST", metavar="RFC|ALL")
    args = parser.parse_args()
    docs = args.top / "docs"
    rows = read_table(docs / "requirements.tsv")
    excused = {r[0]: r[1] for r in read_table(docs / "excused.tsv")}
    tests, citations = collect(args.top)
    if args.missing:
        print("\n".join(missing(rows, tests, excused, args.missing)))
        return 0
    text = render(args.top, rows, tests, citations, excused)
    found = problems(rows, tests, excused)
    target = docs / "compliance.md"
    if not args.check:
        target.write_text(text)
    elif not target.exists() or target.read_text() != text:
        found.append("docs/compliance.md is stale: run ./dev doc")
    print("\n".join(found) if found else f"{target.relative_to(args.top)} is up to date")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
