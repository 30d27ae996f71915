#!/usr/bin/env python3
"""./dev bench --json, with programs that stand in for the benchmarks."""
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

import bench_rows  # noqa: E402
import figures  # noqa: E402

FIELDS = {"id", "unit", "median", "min", "max", "n", "against", "reference", "ratio"}


class Settings:
    def __init__(self, folder, runs=3, quick=False):
        self.programs, self.runs, self.seconds, self.quick = pathlib.Path(folder), runs, 0.1, quick


class Rows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def program(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)

    def count(self, name):
        """Shell text: $n is 1, 2, ... in the runs of `name`."""
        return f'echo x >>"{self.folder}/{name}.runs"; n=$(wc -l <"{self.folder}/{name}.runs")'

    def test_ratios_are_of_rounds(self):
        # Both are ten times faster in the second round: the ratios do not care.
        self.program("ours", self.count("ours") + '; case $n in 1) v=30;; 2) v=300;; *) v=15;; esac; echo "$1 $v Gbit/s"')
        self.program("theirs", self.count("theirs") + '; case $n in 2) v=100;; *) v=10;; esac; echo "$1 $v Gbit/s"')
        row, = figures.measure(bench_rows.beside("r", "ours a", "theirs b"), Settings(self.folder))
        self.assertEqual(row, {"id": "r", "unit": "Gbit/s", "median": 30, "min": 15, "max": 300, "n": 3,
                               "against": "b", "reference": 10, "ratio": 3})

    def test_the_better_reference_counts(self):
        for name, value in (("ours", 12), ("slow", 3), ("fast", 4)):
            self.program(name, f'echo "$1 {value} x/s"')
        job = bench_rows.Job(("ours o", "slow s", "fast f"), (bench_rows.Row("r", "o", ("s", "f")),))
        row, = figures.measure(job, Settings(self.folder))
        self.assertEqual((row["against"], row["reference"], row["ratio"], row["n"]), ("f", 4, 3, 3))

    def test_rows_of_one_program(self):
        self.program("both", 'echo "a 1 bytes"; echo "b 2.5 ns"; echo "$2 $3" >"${0%/*}/seen"')
        rows = figures.measure(bench_rows.one_line("both all", ("a", "b"), runs=1), Settings(self.folder))
        self.assertEqual([(r["median"], r["unit"], r["n"], r["ratio"], r["reference"]) for r in rows],
                         [(1, "bytes", 1, None, None), (2.5, "ns", 1, None, None)])
        self.assertEqual((self.folder / "seen").read_text(), "0.1 1\n")
        figures.measure(bench_rows.one_line("both all", ("a", "b"), cores=None), Settings(self.folder))
        self.assertEqual((self.folder / "seen").read_text(), "0.1 \n")

    def test_slow_rows_run_once_when_quick(self):
        self.program("slow", 'echo "a 1 x"')
        for quick, n in ((False, 3), (True, 1)):
            row, = figures.measure(bench_rows.one_line("slow a", ("a",), slow=True), Settings(self.folder, quick=quick))
            self.assertEqual(row["n"], n)

    def test_what_cannot_run_says_why(self):
        self.program("good", 'echo "$1 1 x"')
        self.program("bad", 'echo first >&2; echo "bad: needs root" >&2; exit 1')
        self.program("mute", "exit 3")
        self.program("chatty", 'echo "hello"')
        self.program("empty", 'echo "$1 nan x"')
        self.program("other", 'echo "other 1 x"')
        self.program("zero", 'echo "$1 0 x"')
        for reference, why in (("bad b", "bad b: bad: needs root"), ("mute m", "mute m: exit status 3"),
                               ("chatty c", "chatty c: no figure: hello"), ("other o", "no line o"),
                               ("empty e", "empty e: no figure: e nan x"),
                               ("zero z", "z is 0"), ("gone g", f"gone g: {self.folder}/gone is not there")):
            row, = figures.measure(bench_rows.beside("r", "good g1", reference), Settings(self.folder))
            self.assertEqual(row, {"id": "r", "error": why})

    def test_nothing_outlives_a_run(self):
        self.program("parent", f'sleep 100 >/dev/null 2>&1 & echo $! >"{self.folder}/pid"; echo "$1 1 x"')
        figures.run([str(self.folder / "parent"), "a"], 10)
        self.assert_gone(int((self.folder / "pid").read_text()))
        self.program("hangs", f'sleep 100 & echo $! >"{self.folder}/pid"; wait')
        with self.assertRaises(figures.Failed):
            figures.run([str(self.folder / "hangs"), "a"], 0.3)
        self.assert_gone(int((self.folder / "pid").read_text()))

    def assert_gone(self, pid):
        for _ in range(100):
            state = pathlib.Path(f"/proc/{pid}/stat")
            if not state.exists() or state.read_text().rsplit(")")[-1].split()[0] == "Z":
                return
            time.sleep(0.02)
        self.fail(f"process {pid} is still there")

    def stand_ins(self, without=""):
        """Every program of the table, each printing every line there is."""
        names = {name for job in bench_rows.JOBS for row in job.rows for name in (row.line, *row.against)}
        text = "\n".join(f'echo "{name} 7 things"' for name in sorted(names))
        for program in {p.split()[0] for job in bench_rows.JOBS for p in job.programs}:
            if program == without:
                continue
            if program.endswith(".py"):
                (self.folder / program).write_text("\n".join(f'print("{n} 7 things")' for n in names))
            else:
                self.program(program, text)

    def tool(self, *words):
        return subprocess.run([sys.executable, TOP / "tools" / "figures.py", "--programs", self.folder, *words],
                              capture_output=True, text=True)

    def test_the_whole_table(self):
        self.stand_ins()
        out = self.folder / "out.json"
        done = self.tool("--all", "--runs", "1", "--json", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = json.loads(out.read_text())
        for row in rows:
            self.assertEqual(set(row), FIELDS)
            self.assertIn(row["ratio"], (1.0, None))
            self.assertEqual(row["ratio"] is None, row["against"] is None)
            self.assertIn(row["id"], done.stdout)
        ids = [row["id"] for row in rows]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(ids, self.tool("--list").stdout.split())
        self.assertEqual(self.tool("--all", "--quick", "--runs", "1", "--json", out).returncode, 0)
        quick = [row["id"] for row in json.loads(out.read_text())]
        self.assertEqual(set(ids) - set(quick), {"busy_packet_ns_1000000"})

    def test_a_program_is_not_there(self):
        self.stand_ins(without="shards_bench")
        out = self.folder / "out.json"
        self.assertEqual(self.tool("--all", "--quick", "--runs", "1", "--json", out).returncode, 1)
        rows = {row["id"]: row for row in json.loads(out.read_text())}
        self.assertEqual(set(rows["two_shards"]), {"id", "error"})
        self.assertIn("shards_bench is not there", rows["two_shards"]["error"])
        self.assertEqual(rows["tap_out"]["median"], 7)

    def test_usage(self):
        self.assertEqual(self.tool("no_such_row").returncode, 2)
        self.assertEqual(self.tool("--json", self.folder / "gone" / "x.json").returncode, 2)
        self.assertEqual(self.tool("--runs", "-1").returncode, 2)

    def test_interrupted(self):
        self.stand_ins()
        self.program("link_bench", f'echo $$ >"{self.folder}/pid"; sleep 100')
        tool = subprocess.Popen([sys.executable, TOP / "tools" / "figures.py", "--programs", self.folder, "tap_out"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (self.folder / "pid").exists() or not (self.folder / "pid").read_text():
            time.sleep(0.02)
        os.kill(tool.pid, signal.SIGINT)
        self.assertEqual(tool.wait(10), 130)
        self.assert_gone(int((self.folder / "pid").read_text()))


class Plot(unittest.TestCase):
    ROWS = [{"id": "fast", "unit": "Gbit/s", "median": 30.0, "min": 15.0, "max": 300.0, "n": 3, "against": "kernel",
             "reference": 10.0, "ratio": 3.0},
            {"id": "slow", "unit": "Gbit/s", "median": 4.4, "min": 4.0, "max": 5.0, "n": 3, "against": "bare",
             "reference": 8.8, "ratio": 0.5},
            {"id": "idle", "unit": "bytes", "median": 12345.0, "min": 12345.0, "max": 12345.0, "n": 1, "against": None,
             "reference": None, "ratio": None},
            {"id": "gone", "error": "x is not there"}]

    def draw(self, rows, *words, kind="--svg"):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder) / "in.json", pathlib.Path(folder) / "out.svg"
            source.write_text(json.dumps(rows))
            done = subprocess.run([sys.executable, TOP / "tools" / "bench_plot.py", source, kind, target, *words],
                                  capture_output=True, text=True)
            return done, target.read_text() if target.exists() else None

    def test_bars_and_tables(self):
        done, text = self.draw(self.ROWS, "--markdown")
        self.assertEqual(done.returncode, 0, done.stderr)
        space = "{http://www.w3.org/2000/svg}"
        bars = xml.etree.ElementTree.fromstring(text).findall(space + "rect")[1:]
        left, right = ([float(bar.get(key)) for bar in bars] for key in ("x", "width"))
        one = left[0]
        self.assertAlmostEqual(left[1] + right[1], one, delta=0.2)  # below 1 ends where above 1 begins
        self.assertAlmostEqual(right[0] / right[1], math.log(3) / math.log(2), delta=0.02)
        self.assertIn("| `fast` | 30.0 Gbit/s (15.0 to 300) | 3 | 10.0 (kernel) | 3.00 |", done.stdout)
        self.assertIn("| `idle` | 12,345 bytes (12,345 to 12,345) | 1 |", done.stdout)
        self.assertIn("`gone` could not run: x is not there", done.stdout)

    def test_a_curve_over_connections(self):
        rows = [{"id": f"busy_packet_ns_{n}", "unit": "ns", "median": ns, "min": ns - 50, "max": ns + 50, "n": 3,
                 "against": None, "reference": None, "ratio": None} for n, ns in ((10000, 800), (100, 200), (1000, 400))]
        done, text = self.draw([*self.ROWS, *rows], kind="--curve")
        self.assertEqual(done.returncode, 0, done.stderr)
        space = "{http://www.w3.org/2000/svg}"
        line = xml.etree.ElementTree.fromstring(text).find(space + "polyline").get("points")
        places = [tuple(map(float, p.split(","))) for p in line.split()]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(places, places[1:])]
        # Ten times the connections and twice the time: a step to the right and up, as large each time.
        self.assertAlmostEqual(steps[0][0], steps[1][0], delta=0.2)
        self.assertAlmostEqual(steps[0][1], steps[1][1], delta=0.2)
        self.assertGreater(steps[0][0], 0)
        self.assertLess(steps[0][1], 0)

    def test_nothing_to_draw(self):
        for kind in ("--svg", "--curve"):
            done, text = self.draw(self.ROWS[2:], kind=kind)
            self.assertEqual((done.returncode, text), (1, None))
            self.assertIn("bench_plot: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
