#!/usr/bin/env python3
"""The table of programs is what the tests declare, and what is declared must have been run."""
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools"), str(TOP / "tests" / "system")]
import programs  # noqa: E402
from _program_rows import missing, shows  # noqa: E402


@shows("curl", ("curl -o F http://localhost:P/F", "host: nc -N H P"), "a | b")
@shows("iperf3", "iperf3 -c H", "another")
def scenario(bench):
    """Only declares."""


class Declared(unittest.TestCase):
    def lost(self, *ran):
        return missing(scenario, list(ran))

    def test_what_ran_is_found(self):
        self.assertEqual(self.lost((False, "curl -sS -o got http://localhost:8000/payload"),
                                   (True, "/usr/bin/nc -v -N 127.0.0.1 80"),
                                   (False, "x=1; 'iperf3' -J -c 10.0.2.2; wait")), [])

    def test_what_did_not_run_is_named(self):
        every = ["curl -o F http://localhost:P/F", "host: nc -N H P", "iperf3 -c H"]
        self.assertEqual(self.lost(), every)
        for other in ("curl -O got http://localhost:8000/payload", "curl http://localhost:8000/payload -o got",
                      "curl -o got http://localhost/payload", "mycurl -o got http://localhost:8000/payload"):
            self.assertIn(every[0], self.lost((False, other)), other)
        self.assertIn(every[1], self.lost((False, "nc -N 127.0.0.1 80")), "inside, but declared for the host")
        self.assertIn(every[2], self.lost((False, "iperf3 -c")), "no host")


class Table(unittest.TestCase):
    def test_document_is_up_to_date(self):
        self.assertEqual(programs.DOCUMENT.read_text(), programs.document(programs.table_rows()), "run ./dev doc")

    def test_rows_of_a_program_stand_together_with_their_surroundings(self):
        places = [programs.Tried("programs_clean", "clean", False), programs.Tried("programs_big", "lossy", True)]
        lines = programs.table({scenario: places}).splitlines()
        self.assertEqual(lines[2], "| curl | `curl -o F http://localhost:P/F`, `host: nc -N H P` | a \\| b |"
                                   " clean, lossy (--all) |")

    def test_what_was_not_run_or_failed_is_told(self):
        found = {scenario: [programs.Tried("one", "clean", False), programs.Tried("two", "lossy", True)]}
        passed = {"one": {("scenario", "clean"): "pass"}}
        self.assertEqual(programs.not_shown(found, passed, False, True), [])
        self.assertEqual(programs.not_shown(found, passed, True, True), ["two left no record"])
        self.assertEqual(programs.not_shown(found, {}, False, False), [])
        for records in ({"one": {}}, {"one": {("scenario", "lossy"): "pass"}}, {"one": {("scenario", "clean"): "skip"}}):
            self.assertEqual(len(programs.not_shown(found, records, False, True)), 1, records)


if __name__ == "__main__":
    unittest.main()
