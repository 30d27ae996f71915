#!/usr/bin/env python3
"""Counts instructions with callgrind: two stacks in memory, both ends together.

  instructions.py            measure and print, beside the committed counts
  instructions.py --check    exit status 1 if a count rose by more than 5 %, 77 if it cannot tell
  instructions.py --update   write bench/instructions.json

Each kind of work runs with two sizes; the difference divided by the difference of the units is the
count per unit, so that start-up and warm-up drop out. callgrind knows no AVX-512: this is the AVX2 path.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = TOP / "build" / "release" / "bench" / "tidewire_instructions"
COUNTS = TOP / "bench" / "instructions.json"
LIMIT = 1.05
WORK = {"data_segment": (2000, 12000), "data_segment_copied": (2000, 12000),
        "round_trip": (500, 3000), "connection": (200, 1200)}
WHAT = {"data_segment": "per segment of 1448 bytes, acknowledgements included",
        "data_segment_copied": "the same, copied in and out by the applications",
        "round_trip": "per 1-byte round trip", "connection": "per connection with a byte each way"}


def compiler():
    cache = (TOP / "build" / "release" / "CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M)[1]
    version = subprocess.run([path, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True)
    return f"{pathlib.Path(path).name} {version.stdout.split('.')[0]}"


def cannot_tell(committed, program=PROGRAM):
    """Why the counts of this machine say nothing about the committed ones, or None."""
    if not program.exists():
        return f"{program.relative_to(TOP)} is not built"
    if subprocess.run(["sh", "-c", "command -v valgrind"], capture_output=True).returncode != 0:
        return "valgrind is not installed"
    if " avx2" not in pathlib.Path("/proc/cpuinfo").read_text():
        return "this processor has no AVX2"
    if committed and committed["compiler"] != compiler():
        return f"counted with {committed['compiler']}, built with {compiler()}"
    return None


def run(kind, size, program=PROGRAM):
    """(instructions, units, allocations) of one run."""
    with tempfile.NamedTemporaryFile(prefix="callgrind.") as out:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}",
                               str(program), kind, str(size)], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{kind} {size} failed:\n{done.stdout}{done.stderr}")
        total = re.search(r"^(?:summary|totals):\s*(\d+)", pathlib.Path(out.name).read_text(), re.M)
    number = {k: int(v) for k, v in re.findall(r"^(\w+) (\d+)$", done.stdout, re.M)}
    return int(total[1]), number["units"], number["allocations"]


def measure():
    result = {}
    for kind, (small, large) in WORK.items():
        first, second = run(kind, small), run(kind, large)
        units = second[1] - first[1]
        result[kind] = {"instructions": round((second[0] - first[0]) / units),
                        "allocations": max(0.0, round((second[2] - first[2]) / units, 2))}
    return result


def compare(measured, committed):
    """Prints a table; returns what rose too far."""
    risen = []
    for kind, now in measured.items():
        before = committed.get("counts", {}).get(kind)
        line = f"{kind:14} {now['instructions']:8} instructions, {now['allocations']} allocations {WHAT[kind]}"
        if before:
            change = now["instructions"] / before["instructions"] - 1
            line += f"; committed {before['instructions']} ({change:+.1%})"
            if now["instructions"] > before["instructions"] * LIMIT:
                risen.append(f"{kind}: instructions rose from {before['instructions']} to {now['instructions']}")
            if now["allocations"] > before["allocations"] * LIMIT:
                risen.append(f"{kind}: allocations rose from {before['allocations']} to {now['allocations']}")
        print(line)
    return risen


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    committed = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    why = cannot_tell({} if args.update else committed)
    if why:
        print(why)
        return 77
    measured = measure()
    risen = compare(measured, committed)
    if args.update:
        COUNTS.write_text(json.dumps({"compiler": compiler(), "path": "AVX2", "counts": measured}, indent=2)
                          + "\n")
        print(f"wrote {COUNTS.relative_to(TOP)}")
        return 0
    if risen:
        print("\n".join(risen) + "\nIf that has a reason: ./dev bench instructions --update")
    return 1 if risen and args.check else 0


if __name__ == "__main__":
    sys.exit(main())
