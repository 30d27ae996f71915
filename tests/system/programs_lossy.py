#!/usr/bin/env python3
"""Real programs as an unprivileged user under `tidewire run` at 2 % loss and 30 ms one way."""
# timeout: 360
import _program_clients as clients
import _program_pairs as pairs
import _program_servers as servers
from _programs import LOSSY, Surroundings, main

SETS = [(Surroundings(net=LOSSY), clients.SCENARIOS + servers.SCENARIOS + pairs.SCENARIOS)]

if __name__ == "__main__":
    main(SETS)
