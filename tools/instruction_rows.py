#!/usr/bin/env python3
"""The instruction counts as lines for tools/figures.py, of the build that is installed. Usage: instruction_rows.py

An argument is ignored: tools/figures.py says how long to measure, and a count takes what it takes.
"""
import sys

import instructions

PROGRAM = instructions.TOP / "build" / "lto" / "bench" / "tidewire_instructions"


def per_unit(kind):
    """(instructions, allocations) of one unit of work, as tools/instructions.py counts them."""
    small, large = (instructions.run(kind, size, PROGRAM) for size in instructions.WORK[kind])
    units = large[1] - small[1]
    return round((large[0] - small[0]) / units), max(0.0, round((large[2] - small[2]) / units, 2))


def main():
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    why = instructions.cannot_tell({}, PROGRAM)
    if why:
        sys.exit(why)
    segment, trip = per_unit("data_segment"), per_unit("round_trip")
    print(f"instructions_per_segment {segment[0]} instructions")
    print(f"instructions_per_round_trip {trip[0]} instructions")
    print(f"allocations_per_segment {segment[1]} allocations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
