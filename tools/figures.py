#!/usr/bin/env python3
"""Measures the rows of docs/perf.md, beside their references where they have one.

  ./dev bench --json FILE            every row (below an hour on two cores)
  ./dev bench quick [--json FILE]    every row, shorter and fewer runs (five minutes)
  ./dev bench run                    programs under `tidewire run` (eight minutes)
  ./dev bench figures [ROW...]       one flow over TAP, or the rows whose id contains ROW
  ./dev bench figures --list         the ids

Each round runs tidewire and the references of a row one after the other; a ratio is the median of those of
the rounds, because these machines are noisy. Most rows need root (each run has network namespaces of its
own). FILE becomes a JSON list of objects `id`, `unit`, `median`, `min`, `max`, `n`, `against`, `reference`,
`ratio` (the last three null without a reference); a row that could not run has `id` and `error`, and then
the exit status is 1. Progress goes to stderr, the table to stdout.
"""
import argparse
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench_rows import JOBS  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent
BENCH = TOP / "build" / "lto" / "bench"


class Failed(Exception):
    """One line that says why a program gave no figures."""


def command(program, folder, seconds, cores):
    name, *words = program.split()
    path = folder / name
    if name.endswith(".py"):
        if not path.exists():
            path = TOP / "tools" / name
        return [sys.executable, str(path), *words, f"{seconds:g}"]
    if not os.access(path, os.X_OK):
        shown = path.relative_to(TOP) if path.is_relative_to(TOP) else path
        raise Failed(f"{shown} is not there")
    return [str(path), *words, f"{seconds:g}", *([] if cores is None else [str(cores)])]


def run(words, timeout):
    """What a program prints. It leads a process group, of which nothing outlives the call."""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", process_group=0) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {timeout:g} s") from None
        finally:
            end_group(process)
    if process.returncode != 0:
        said = (err or out).strip().splitlines()
        raise Failed(said[-1] if said else f"exit status {process.returncode}")
    return out


def end_group(process):
    """SIGTERM first, so that a program can end what is not of its group; then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(2 if number == signal.SIGTERM else None)
        except subprocess.TimeoutExpired:
            pass


def lines(text):
    """{name: (value, unit)} of lines `NAME VALUE UNIT`."""
    found = {}
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        try:
            found[words[0]] = (float(words[1]), words[2])
            if not math.isfinite(float(words[1])):
                raise ValueError
        except (IndexError, ValueError):
            raise Failed(f"no figure: {line}") from None
    return found


def measure(job, settings):
    """The results of the rows of `job`, in order."""
    programs, rounds, errors = list(job.programs), [], {}
    for _ in range(1 if settings.quick and job.slow else job.runs or settings.runs):
        rounds.append({})
        for program in programs:
            if program in errors:
                continue
            try:
                words = command(program, settings.programs, settings.seconds, job.cores)
                rounds[-1].update(lines(run(words, job.timeout + 5 * settings.seconds)))
            except (Failed, OSError) as error:
                errors[program] = f"{program}: {error}"
        programs.reverse()  # whoever comes first does so in every second round only
    why = next(iter(errors.values()), "")
    return [summary(row, rounds, why) for row in job.rows]


def summary(row, rounds, why):
    needed = (row.line, *row.against)
    if any(name not in done for done in rounds for name in needed):
        missing = next(name for name in needed if any(name not in done for done in rounds))
        return {"id": row.ident, "error": why or f"no line {missing}"}
    values = [done[row.line][0] for done in rounds]
    result = {"id": row.ident, "unit": rounds[0][row.line][1], "median": statistics.median(values),
              "min": min(values), "max": max(values), "n": len(values),
              "against": None, "reference": None, "ratio": None}
    if row.against:
        medians = {name: statistics.median(done[name][0] for done in rounds) for name in row.against}
        best = max(medians, key=medians.get)
        if any(done[best][0] <= 0 for done in rounds):
            return {"id": row.ident, "error": f"{best} is 0"}
        result["against"], result["reference"] = best, medians[best]
        result["ratio"] = statistics.median(done[row.line][0] / done[best][0] for done in rounds)
    return result


def number(value):
    return f"{value:.2f}" if value < 10_000 else f"{value:.0f}"


def line(r):
    if "error" in r:
        return f"{r['id']:28} could not run: {r['error']}"
    text = (f"{r['id']:28} {number(r['median']):>12} {r['unit']:16} "
            f"({number(r['min'])} to {number(r['max'])})")
    if r["ratio"] is not None:
        text += f"  {r['ratio']:.2f} x {r['against']} ({number(r['reference'])})"
    return text


def chosen(args):
    """The jobs asked for."""
    if args.all:
        return [job for job in JOBS if not (args.quick and job.full)]
    if not args.rows:
        return [job for job in JOBS if job.group == ("run" if args.run else "tap")]
    return [job for job in JOBS if any(part in row.ident for part in args.rows for row in job.rows)]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench figures", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose id contains ROW")
    parser.add_argument("--run", action="store_true", help="programs under `tidewire run`")
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.3 s each")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path)
    parser.add_argument("--runs", type=int, help="rounds (default: 5)")
    parser.add_argument("--seconds", type=float, help="of each run (default: 2)")
    parser.add_argument("--programs", type=pathlib.Path, default=BENCH, metavar="FOLDER",
                        help="where the programs are (default: build/lto/bench)")
    parser.add_argument("--list", action="store_true", help="print the ids and end")
    args = parser.parse_args()
    args.runs = args.runs or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.3 if args.quick else 2.0)
    if args.runs < 1 or args.seconds <= 0:
        parser.error("--runs and --seconds are greater than 0")
    if args.rows and not chosen(args):
        parser.error("no row is called like that; --list tells what there is")
    if args.json and (args.json.is_dir() or not os.access(args.json.parent, os.W_OK)):
        parser.error(f"{args.json} cannot be written")
    return args


def main():
    args = arguments()
    jobs = chosen(args) if not args.list or args.rows else list(JOBS)
    if args.list:
        print("\n".join(row.ident for job in jobs for row in job.rows))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results, began = [], time.monotonic()
    for i, job in enumerate(jobs):
        print(f"[{i + 1}/{len(jobs)}, {time.monotonic() - began:.0f} s] "
              f"{', '.join(row.ident for row in job.rows)}", file=sys.stderr, flush=True)
        results += measure(job, args)
        if args.json:  # what is there is kept, whatever happens later
            args.json.write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(line(r) for r in results), flush=True)
    return 1 if any("error" in r for r in results) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
