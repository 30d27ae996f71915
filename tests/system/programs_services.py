#!/usr/bin/env python3
"""Services that people run, as an unprivileged user under `tidewire run`, on a perfect link and at 2 % loss."""
# timeout: 400
import _program_names as names
import _program_proxies as proxies
import _program_services as services
from _programs import LOSSY, Surroundings, main

SCENARIOS = services.SCENARIOS + names.SCENARIOS + proxies.SCENARIOS
SETS = [(Surroundings(), SCENARIOS), (Surroundings(net=LOSSY), SCENARIOS)]

if __name__ == "__main__":
    main(SETS)
