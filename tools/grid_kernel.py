#!/usr/bin/env python3
"""Goodput on bad paths beside the Linux kernel, in real time: ./dev bench grid --kernel [...]

24 cells: loss 0, 1, 3 % x 0, 1, 10 % of the packets late by up to a quarter of the RTT x RTT 20, 100 ms at
100 Mbit/s; and loss 0, 0.1, 1 % x no jitter or +-RTT/4 that reorders at 20 ms and 10 Mbit/s. CUBIC at both
ends, buffers of twice the bandwidth-delay product, a queue of one. Impairments are the same both ways.

Each pair runs three flows one after the other through the same link of tidewire's device layer:
tidewire to kernel, kernel to tidewire, kernel to kernel (two namespaces, a TAP device each). A cell's figures
are the medians of the ratios of runs side by side. Exit status 1 if the median of the cells is below 0.95 or
one cell below 0.85. Needs root: every flow is in network namespaces of its own.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading

TOP = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = TOP / "build" / "lto" / "bench" / "grid_kernel_bench"
KINDS = ("tidewire-kernel", "kernel-tidewire", "kernel-kernel")
FRAME = 1514
LEAST_QUEUE = 8  # packets
LEAST_BUFFER = 131_072  # what a stack starts with
WARM_UP = 20  # round trips
LEAST_SECONDS = 12  # of a steady state that is counted in round trips
MEDIAN_BAR, CELL_BAR = 0.95, 0.85


class Cell:
    def __init__(self, loss, reorder, jitter, rtt, rate):
        self.loss, self.reorder, self.jitter, self.rtt, self.rate = loss, reorder, jitter, rtt, rate
        self.name = f"loss={loss:g} reorder={reorder} jitter={int(jitter)} rtt={rtt} rate={rate}"
        self.bdp = rate * 1e6 / 8 * rtt / 1e3
        self.buffer = max(LEAST_BUFFER, int(2 * self.bdp))
        self.warm_up = WARM_UP * rtt / 1e3

    def steady(self, args):
        """Seconds that count: args.seconds, or so many round trips if that is less."""
        if not args.round_trips:
            return args.seconds
        return min(args.seconds, max(LEAST_SECONDS, args.round_trips * self.rtt / 1e3))

    def words(self):
        """Of the network. Jitter of +-RTT/4 is up to a quarter each way, on top of an eighth less."""
        quarter, half = self.rtt * 250, self.rtt * 500
        delay = half - quarter // 2 if self.jitter else half
        queue = max(LEAST_QUEUE, -int(-self.bdp // FRAME))
        words = [f"delay={delay}us", f"rate={self.rate}mbit", f"queue={queue}packets"]
        if self.loss:
            words.append(f"loss={self.loss:g}%")
        if self.reorder:
            words += [f"reorder={self.reorder}%", f"reorder.by={quarter}us"]
        if self.jitter:
            words.append(f"jitter={quarter}us,reorder")
        return " ".join(words)


CELLS = [Cell(loss, reorder, False, rtt, 100) for rtt in (20, 100) for loss in (0, 1, 3) for reorder in (0, 1, 10)]
CELLS += [Cell(loss, 0, jitter, 20, 10) for loss in (0, 0.1, 1) for jitter in (False, True)]


class Results:
    """Every run, on disk as soon as it is there."""

    def __init__(self, path):
        self.path = pathlib.Path(path) if path else None
        self.lock = threading.Lock()
        self.runs = []
        if self.path and self.path.exists():
            self.runs = json.loads(self.path.read_text())["runs"]

    def find(self, cell, pair, kind, seconds):
        for run in self.runs:
            if (run["cell"], run["pair"], run["kind"], run["asked_seconds"]) == (cell.name, pair, kind, seconds):
                return run
        return None

    def add(self, run):
        with self.lock:
            self.runs.append(run)
            self.write()

    def write(self):
        if not self.path:
            return
        text = ",\n ".join(json.dumps(run) for run in self.runs)
        part = self.path.with_suffix(".part")
        part.write_text(f'{{"bench": "grid-kernel", "runs": [\n {text}\n]}}\n')
        part.replace(self.path)


def first():
    """Before the shell that the children start, so that real time is kept as well as it can be."""
    try:
        os.nice(-5)
    except PermissionError:
        pass


def measure(cell, pair, kind, seconds):
    # The same for the three flows of a pair, another for each cell: chance must not favour all cells alike.
    seed = 1000 * CELLS.index(cell) + pair
    command = [str(PROGRAM), kind, cell.words(), str(seed), str(cell.buffer), str(cell.warm_up),
               str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=cell.warm_up + seconds + 60, preexec_fn=first)
    if done.returncode != 0:
        raise RuntimeError(f"{kind} {cell.name}: {done.stderr.strip() or done.returncode}")
    return {"cell": cell.name, "net": cell.words(), "pair": pair, "kind": kind, "asked_seconds": seconds,
            "load": round(os.getloadavg()[0], 2), **json.loads(done.stdout)}


def run_pair(cell, pair, args, results):
    """The three flows of a pair, one after the other."""
    figures = []
    seconds = cell.steady(args)
    for kind in KINDS:
        run = results.find(cell, pair, kind, seconds)
        if run is None:
            run = measure(cell, pair, kind, seconds)
            results.add(run)
        figures.append(run["goodput"])
    out, back, kernel = figures
    print(f"{cell.name:44} pair {pair}: tidewire-kernel {out / 1e6:8.3f}  kernel-tidewire {back / 1e6:8.3f}  "
          f"kernel-kernel {kernel / 1e6:8.3f} Mbit/s  {out / kernel:5.2f} {back / kernel:5.2f}", flush=True)


def ratios(runs, cell, kind, seconds):
    """Of the runs of `kind` to those of the kernel with itself, pair by pair."""
    of = {(r["pair"], r["kind"]): r["goodput"] for r in runs
          if r["cell"] == cell.name and r["asked_seconds"] == seconds}
    return [of[pair, kind] / of[pair, KINDS[2]] for pair in {p for p, _ in of}
            if (pair, kind) in of and of.get((pair, KINDS[2]))]


def summary(cells, args, results):
    print(f"\n{'cell':44} {'pairs':>5} {'out':>6} {'in':>6}   (ratios to kernel-kernel, medians)")
    medians = {kind: [] for kind in KINDS[:2]}
    below = []
    for cell in cells:
        text = ""
        for kind in KINDS[:2]:
            own = ratios(results.runs, cell, kind, cell.steady(args))
            if not own:
                continue
            median = statistics.median(own)
            medians[kind].append(median)
            text = text or f"{len(own):5}"
            text += f" {median:6.2f}"
            if median < CELL_BAR:
                below.append((median, kind, cell.name))
        print(f"{cell.name:44} {text}")
    good = not below
    for kind, values in medians.items():
        if values:
            median = statistics.median(values)
            good = good and median >= MEDIAN_BAR
            print(f"{kind}: median of {len(values)} cells {median:.3f}, least {min(values):.3f}")
    for median, kind, name in sorted(below):
        print(f"below {CELL_BAR}: {median:.2f} {kind} {name}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="", metavar="WORDS", help="only cells with all these words: 'loss=1 rtt=20'")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each flow's steady state, after 20 round trips")
    parser.add_argument("--round-trips", type=int, default=300, metavar="N",
                        help=f"or so many, if that is shorter (but {LEAST_SECONDS} s); 0: always --seconds")
    parser.add_argument("--jobs", type=int, default=1, help="cells at the same time, if the cores are idle enough")
    parser.add_argument("--json", metavar="FILE", help="every run, as it ends; what is there already is not run again")
    parser.add_argument("--report", action="store_true", help="only the summary of what FILE holds")
    args = parser.parse_args()
    cells = [c for c in CELLS if set(args.cells.split()) <= set(c.name.split())]
    if not cells:
        parser.error("no cell has these words: " + "; ".join(c.name for c in CELLS))
    if args.seconds <= 0 or args.round_trips < 0:
        parser.error("a flow needs some time")
    results = Results(args.json)
    if args.report:
        return 0 if summary(cells, args, results) else 1
    failed = False
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # All cells once, then again: what is there early covers the whole grid.
        tasks = [pool.submit(run_pair, cell, pair, args, results)
                 for pair in range(1, args.pairs + 1) for cell in cells]
        for task in concurrent.futures.as_completed(tasks):
            try:
                task.result()
            except (RuntimeError, subprocess.TimeoutExpired, ValueError, OSError) as error:
                print(f"could not run: {error}", file=sys.stderr, flush=True)
                failed = True
    return 0 if summary(cells, args, results) and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
