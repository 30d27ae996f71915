#!/usr/bin/env python3
"""Real programs as an unprivileged user under `tidewire run` with a perfect link."""
# timeout: 240
import os

import _program_clients as clients
import _program_pairs as pairs
import _program_servers as servers
from _programs import Surroundings, main

if __name__ == "__main__":
    scenarios = clients.SCENARIOS + servers.SCENARIOS + pairs.SCENARIOS
    sets = [(Surroundings(), scenarios)]
    if os.environ.get("TIDEWIRE_TEST_ALL"):
        sets.append((Surroundings(mode="kernel", label="kernel sockets"), scenarios))
    main(sets)
