#!/usr/bin/env python3
"""Ports that are used up or taken, and IPv6 on loopback, as programs see them."""
# timeout: 120
import _program_ports as ports
from _programs import LOSSY, Surroundings, main

SETS = [(Surroundings(), ports.SCENARIOS), (Surroundings(net=LOSSY), ports.SCENARIOS)]

if __name__ == "__main__":
    main(SETS)
