#!/usr/bin/env python3
"""The model and the table of tools/fidelity.py."""
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
import fidelity  # noqa: E402


def rows(transfer=1.0, requests=1.0, stack=1.0):
    made = []
    for setting in fidelity.SETTINGS:
        for what, factor in (("transfer", transfer), ("requests", requests)):
            seconds = fidelity.model(what, setting, 0) * factor
            made.append({"what": what, "kind": "kernel", "setting": setting, "seed": 1, "seconds": seconds, "lost": 0})
            made.append({"what": what, "kind": "stack", "setting": setting, "seed": 1, "seconds": seconds * stack, "lost": 0})
    return made


class Model(unittest.TestCase):
    def test_reads_settings(self):
        self.assertEqual(fidelity.words("up.rate=40mbit down.rate=200mbit delay=15ms"), (5e6, 25e6, 0.03))
        self.assertEqual(len({fidelity.words(s) + (s,) for s in fidelity.SETTINGS}), 12)

    def test_requests(self):
        # 201 round trips, the first with SYNs of 60 bytes, the others 152 bytes each way at 6.25 MB/s.
        expected = 201 * 0.02 + 2 * 60 / 6.25e6 + 200 * 2 * 152 / 6.25e6
        self.assertAlmostEqual(fidelity.model("requests", "rate=50mbit delay=10ms", 0), expected)
        one = 0.02 + 2 * 152 / 6.25e6
        self.assertAlmostEqual(fidelity.model("requests", "rate=50mbit delay=10ms", 3), expected + 3 * (one + 0.2))

    def test_transfer(self):
        # 13,813 packets at 6.25 MB/s; windows of 10, 20, 40 and 80 leave the link idle for a part of a round trip.
        packets = -(-20_000_000 // 1448)
        expected = 0.02 + 2 * 60 / 6.25e6 + 4 * 0.02 + (packets - 150) * 1500 / 6.25e6 + 0.02
        self.assertAlmostEqual(fidelity.model("transfer", "rate=50mbit delay=10ms", 0), expected)
        self.assertEqual(fidelity.model("transfer", "rate=50mbit delay=10ms", 9), fidelity.model("transfer", "rate=50mbit delay=10ms", 0))


class Table(unittest.TestCase):
    def test_differences(self):
        lines, worst = fidelity.table(rows(transfer=1.01, requests=0.96, stack=1.08))
        self.assertAlmostEqual(worst[0], 0.04)
        self.assertAlmostEqual(worst[1], 0.08)
        self.assertEqual(sum("+1.0%" in line for line in lines), 12)
        self.assertEqual(sum("-4.0%" in line for line in lines), 12)

    def test_names_what_is_committed(self):
        text = (TOP / "docs" / "fidelity.md").read_text(encoding="utf-8")
        for setting in fidelity.SETTINGS:
            self.assertEqual(text.count(f"| `{setting}` | 5 |"), 2, setting)


unittest.main()
