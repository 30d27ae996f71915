#!/usr/bin/env python3
"""Real programs as an unprivileged user under `tidewire run` with a perfect link."""
# timeout: 240
import _program_clients as clients
import _program_pairs as pairs
import _program_servers as servers
from _programs import Surroundings, main

if __name__ == "__main__":
    main([(Surroundings(), clients.SCENARIOS + servers.SCENARIOS + pairs.SCENARIOS)])
