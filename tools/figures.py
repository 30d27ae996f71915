#!/usr/bin/env python3
"""Measures one flow over TAP beside the kernel: ./dev bench figures [--json FILE] [--runs N] [ROW...]

Each row runs tidewire and its reference by turns, RUNS times each, and takes medians; ratios are of
runs side by side, because these machines are noisy. Needs root (each run has a network namespace of
its own). Exit status 1 if a row could not run.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BENCH = TOP / "build" / "release" / "bench"

# id, program and case, reference program and case or None, cores
ROWS = [
    ("tap_out", "link_bench tap_out", "link_bench veth_out", 1),
    ("tap_out_copy", "link_bench tap_out_copy", "link_bench veth_out", 1),
    ("tap_in", "link_bench tap_in", "link_bench veth_in", 1),
    ("tap_in_copy", "link_bench tap_in_copy", "link_bench veth_in", 1),
    ("tap_plain_out", "link_bench tap_plain_out", "link_bench veth_plain_out", 2),
    ("tap_plain_in", "link_bench tap_plain_in", "link_bench veth_plain_in", 2),
    ("tap_round_trips", "link_bench tap_round_trips", "link_bench veth_round_trips", 1),
    ("tap_connections", "link_bench tap_connections", "link_bench veth_connections", 1),
]


def run(what, seconds, cores):
    """(value, unit) of one run."""
    program, case = what.split()
    command = [str(BENCH / program), case, str(seconds), str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 5 * seconds)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1] if done.stderr or done.stdout
                           else f"{what}: status {done.returncode}")
    name, value, unit = done.stdout.strip().split(maxsplit=2)
    return float(value), unit


def measure(row, runs, seconds):
    ident, ours, reference, cores = row
    values, references, unit = [], [], ""
    for _ in range(runs):
        value, unit = run(ours, seconds, cores)
        values.append(value)
        if reference:
            references.append(run(reference, seconds, cores)[0])
    result = {"id": ident, "unit": unit, "median": statistics.median(values), "min": min(values),
              "max": max(values), "n": runs, "against": reference.split()[1] if reference else None,
              "reference": statistics.median(references) if references else None, "ratio": None}
    if references:
        result["ratio"] = statistics.median(v / r for v, r in zip(values, references))
    return result


def line(r):
    if "error" in r:
        return f"{r['id']:20} could not run: {r['error']}"
    text = f"{r['id']:20} {r['median']:12.2f} {r['unit']:14} ({r['min']:.2f} to {r['max']:.2f})"
    if r["ratio"] is not None:
        text += f"  {r['ratio']:.2f} x {r['against']} ({r['reference']:.2f})"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose id contains ROW")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    args = parser.parse_args()
    wanted = [r for r in ROWS if not args.rows or any(part in r[0] for part in args.rows)]
    if not wanted:
        parser.error("no row is called like that: " + ", ".join(r[0] for r in ROWS))
    results = []
    for row in wanted:
        try:
            result = measure(row, args.runs, args.seconds)
        except (RuntimeError, subprocess.TimeoutExpired, ValueError, OSError) as error:
            result = {"id": row[0], "error": str(error)}
        results.append(result)
        print(line(result), flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=2) + "\n")
    return 1 if any("error" in r for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
