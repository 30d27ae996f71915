#!/usr/bin/env python3
"""What `run` says to bad input, and how it ends."""
# timeout: 120
import _program_bad_input as bad_input
from _programs import Surroundings, main

SETS = [(Surroundings(), bad_input.SCENARIOS)]

if __name__ == "__main__":
    main(SETS)
