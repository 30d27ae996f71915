#!/usr/bin/env python3
"""The tools around the grid of bad paths: what they make of results, which cells there are."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

import grid_kernel  # noqa: E402
import grid_plot  # noqa: E402


def run(cell, pair, kind, goodput):
    return {"cell": cell.name, "pair": pair, "kind": kind, "asked_seconds": 10.0, "goodput": goodput}


class Kernel(unittest.TestCase):
    def test_cells(self):
        names = [c.name for c in grid_kernel.CELLS]
        self.assertEqual(len(names), 24)
        self.assertEqual(len(set(names)), 24)
        cell = next(c for c in grid_kernel.CELLS if c.name == "loss=1 reorder=10 jitter=0 rtt=20 rate=100")
        self.assertEqual(cell.words(),
                         "delay=10000us rate=100mbit queue=166packets loss=1% reorder=10% reorder.by=5000us")
        self.assertEqual(cell.buffer, 500_000)
        jitter = next(c for c in grid_kernel.CELLS if c.jitter)
        self.assertIn("delay=7500us", jitter.words().split())
        self.assertIn("jitter=5000us,reorder", jitter.words().split())

    def test_ratios_are_of_pairs(self):
        cell = grid_kernel.CELLS[0]
        runs = [run(cell, 1, "tidewire-kernel", 90e6), run(cell, 1, "kernel-kernel", 100e6),
                run(cell, 2, "tidewire-kernel", 30e6), run(cell, 2, "kernel-kernel", 20e6),
                run(cell, 3, "tidewire-kernel", 30e6)]
        self.assertEqual(sorted(grid_kernel.ratios(runs, cell, "tidewire-kernel", 10.0)), [0.9, 1.5])
        self.assertEqual(grid_kernel.ratios(runs, cell, "tidewire-kernel", 30.0), [])

    def test_results_resume(self):
        cell = grid_kernel.CELLS[0]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "runs.json"
            grid_kernel.Results(path).add(run(cell, 1, "kernel-kernel", 5.0))
            again = grid_kernel.Results(path)
            self.assertEqual(again.find(cell, 1, "kernel-kernel", 10.0)["goodput"], 5.0)
            self.assertIsNone(again.find(cell, 2, "kernel-kernel", 10.0))
            self.assertIsNone(again.find(cell, 1, "kernel-kernel", 30.0))


class Plot(unittest.TestCase):
    def draw(self, data):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder) / "in.json", pathlib.Path(folder) / "out.svg"
            source.write_text(json.dumps(data))
            done = subprocess.run([sys.executable, TOP / "tools" / "grid_plot.py", source, "--svg", target, "--markdown"],
                                  capture_output=True, text=True, check=True)
            svg = xml.etree.ElementTree.fromstring(target.read_text())
        space = "{http://www.w3.org/2000/svg}"
        return done.stdout, len(svg.findall(space + "rect")) - 1, [t.text for t in svg.findall(space + "text")]

    def test_virtual(self):
        cells = [{"loss": loss, "reorder": 0, "jitter": jitter, "rtt_ms": 20, "rate_mbit": rate, "ratio": 0.5 + loss}
                 for loss in (0, 1) for jitter in (0, 1) for rate in (10, 100)]
        table, rects, texts = self.draw({"bench": "grid", "cells": cells})
        self.assertEqual(rects, 8)
        self.assertEqual(texts.count("1.50"), 4)
        self.assertIn("| loss 1 %, late 0 %, jitter | 1.50 | 1.50 |", table)

    def test_kernel(self):
        cell = grid_kernel.CELLS[0]
        runs = [run(cell, pair, kind, goodput * 1e6) for pair in (1, 2, 3)
                for kind, goodput in zip(grid_kernel.KINDS, (80 + pair, 120, 100))]
        runs.append(run(cell, 4, "kernel-kernel", 1e6))  # a pair that is not whole
        table, rects, texts = self.draw({"bench": "grid-kernel", "runs": runs})
        self.assertEqual(rects, 2)
        self.assertIn("0.82", texts)
        self.assertIn("| 82.00 | 120.00 | 100.00 | 0.82 | 1.20 |", table)

    def test_colours_follow_the_scale(self):
        self.assertEqual(grid_plot.colour(0.01), grid_plot.SCALE[0][1])
        self.assertEqual(grid_plot.colour(1.0), (217, 239, 139))
        self.assertEqual(grid_plot.colour(100), grid_plot.SCALE[-1][1])


if __name__ == "__main__":
    unittest.main()
