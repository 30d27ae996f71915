#!/usr/bin/env python3
"""Real programs as an unprivileged user under `tidewire run` with a perfect link."""
# timeout: 240
import os

import _program_clients as clients
import _program_pairs as pairs
import _program_servers as servers
from _programs import Surroundings, main

SCENARIOS = clients.SCENARIOS + servers.SCENARIOS + pairs.SCENARIOS
SETS = [(Surroundings(), SCENARIOS)]

if __name__ == "__main__":
    if os.environ.get("TIDEWIRE_TEST_ALL"):
        SETS.append((Surroundings(mode="kernel", label="kernel sockets"), SCENARIOS))
    main(SETS)
