#!/usr/bin/env python3
"""Writes the table of docs/programs.md from what the tests of programs declare (tests/system/_program_rows.py).

  programs.py             write the table
  programs.py --check     exit status 1 if it is stale
  programs.py --ran DIR   hold it against the records of the last run (DIR/NAME.json of each test): everything in
                          the table was run in the surroundings named there and passed. --whole: a test that left no
                          record is an error too; --all: also those that run with `./dev test --all` only
"""
import argparse
import collections
import importlib
import json
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
TESTS = TOP / "tests" / "system"
DOCUMENT = TOP / "docs" / "programs.md"
BEGIN = "<!-- The table is written by `./dev doc` from the tests; do not edit it here. -->\n"
END = "<!-- End of the table. -->\n"
sys.path[:0] = [str(TESTS), str(TOP / "tools")]

import system_tests  # noqa: E402

Tried = collections.namedtuple("Tried", "test key only_all")


def tests():
    """(name, only with --all?, its sets of surroundings and scenarios) of each test of programs."""
    for path in sorted(TESTS.glob("programs_*.py")):
        if "\nSETS = " not in path.read_text():
            continue
        module = importlib.import_module(path.stem)
        yield path.stem, system_tests.settings(path)["only"] == "all", module.SETS


def table_rows():
    """Maps each scenario that declares rows to the places where it is tried; the keys stand in reading order."""
    found = {}
    for name, only_all, sets in tests():
        for around, scenarios in sets:
            for scenario in scenarios:
                if getattr(scenario, "rows", []):
                    found.setdefault(scenario, []).append(Tried(name, around.key, only_all))
    return dict(sorted(found.items(), key=lambda item: item[1][0].only_all))


def tried_words(places):
    words = []
    for place in places:
        word = place.key + (" (--all)" if place.only_all else "")
        if word not in words:
            words.append(word)
    return ", ".join(words)


def table(found):
    by_program = {}
    for scenario, places in found.items():
        for row in scenario.rows:
            by_program.setdefault(row.program, []).append((row, tried_words(places)))
    lines = ["| program | command | what is shown | tried |", "|---|---|---|---|"]
    for program, rows in by_program.items():
        for i, (row, tried) in enumerate(rows):
            commands = ", ".join(f"`{c}`".replace("|", "\\|") for c in row.commands)
            text = row.text.replace("|", "\\|")
            lines.append(f"| {'' if i else program} | {commands} | {text} | {tried} |")
    return "\n".join(lines) + "\n"


def document(found):
    """The whole text of docs/programs.md with its table as it should be."""
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return before + BEGIN + "\n" + table(found) + "\n" + END + after


def not_shown(found, records, everything, whole):
    """What the table says and the records of the last run do not: a line each."""
    lines, absent = [], set()
    for scenario, places in found.items():
        for place in places:
            if place.only_all and not everything:
                continue
            if place.test not in records:
                absent.add(place.test)
            elif (verdict := records[place.test].get((scenario.__name__, place.key))) != "pass":
                lines.append(f"{scenario.__name__} in {place.test} ({place.key}): {verdict or 'did not run'}")
    return lines + [f"{test} left no record" for test in sorted(absent) if whole]


def read_records(directory):
    """Maps the name of a test to the verdicts of its scenarios."""
    return {path.stem: {(one["scenario"], one["in"]): one["verdict"] for one in json.loads(path.read_text())}
            for path in pathlib.Path(directory).glob("programs_*.json")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--ran", metavar="DIR")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    found = table_rows()
    wanted = document(found)
    if not given.check and not given.ran:
        DOCUMENT.write_text(wanted)
        return 0
    status = 0
    if wanted != DOCUMENT.read_text():
        print("docs/programs.md is stale: ./dev doc writes it")
        status = 1
    if given.ran:
        for line in not_shown(found, read_records(given.ran), given.all, given.whole):
            print(line)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
