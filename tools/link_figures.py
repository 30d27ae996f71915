#!/usr/bin/env python3
"""Measures link_bench five times, the kernel's own cases in between, and prints a table of medians.

Usage: link_figures.py [--rounds N] [--seconds S] [--cores LIST]    (as root: makes network namespaces)
"""
import argparse
import pathlib
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = TOP / "build" / "release" / "bench" / "link_bench"
PAIRS = [("tap_out", "veth_out"), ("tap_in", "veth_in"), ("tap_out_copy", "veth_out"),
         ("tap_in_copy", "veth_in"), ("tap_plain_out", "veth_plain_out"),
         ("tap_plain_in", "veth_plain_in"), ("tap_round_trips", "veth_round_trips"),
         ("tap_connections", "veth_connections")]


def measure(case, seconds, cores):
    command = [str(PROGRAM), case, str(seconds)] + ([cores] if cores else [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * seconds)
    words = done.stdout.split()
    if done.returncode != 0 or len(words) < 3:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return float(words[1]), " ".join(words[2:])


def shown(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--cores", default="")
    args = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit("link_bench is not built: run it through ./dev bench link")
    values, units = {}, {}
    for _ in range(args.rounds):
        for case in dict.fromkeys(name for pair in PAIRS for name in pair):
            value, units[case] = measure(case, args.seconds, args.cores)
            values.setdefault(case, []).append(value)
    print(f"| case | tidewire over TAP | kernel over veth | ratio | unit |\n|---|---:|---:|---:|---|")
    for ours, kernels in PAIRS:
        cells = [f"{shown(statistics.median(v))} ({shown(min(v))} to {shown(max(v))})"
                 for v in (values[ours], values[kernels])]
        ratio = statistics.median(values[ours]) / statistics.median(values[kernels])
        print(f"| {ours} | {cells[0]} | {cells[1]} | {ratio:.2f} | {units[ours]} |")


if __name__ == "__main__":
    main()
