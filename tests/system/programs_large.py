#!/usr/bin/env python3
"""Larger programs as an unprivileged user under `tidewire run`, on a perfect link and at 2 % loss."""
# timeout: 600
# only: all
import _program_large as large
from _programs import LOSSY, Surroundings, main

SETS = [(Surroundings(), large.SCENARIOS), (Surroundings(net=LOSSY), large.SCENARIOS)]

if __name__ == "__main__":
    main(SETS)
