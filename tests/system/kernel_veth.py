#!/usr/bin/env python3
# timeout: 300
"""tidewire on one end of a veth pair, as an unprivileged user in namespaces of its own."""
import os
import sys

import lib_peer as peer
import lib_veth

SOME = 32 << 20


def as_nobody():
    """Starts over as a user without any privilege, who then makes the namespaces."""
    if os.geteuid() != 0 or os.environ.get("TIDEWIRE_IN_NAMESPACE"):
        return
    os.execvp("setpriv", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                          "--inh-caps=-all", peer.PYTHON, *sys.argv])


def main():
    if not os.access(peer.TIDEWIRE, os.X_OK):
        print(f"{peer.TIDEWIRE} is not there")
        sys.exit(1)
    as_nobody()
    peer.enter_namespaces()
    tally = peer.Tally()
    with lib_veth.kernel_side() as home:
        case = lib_veth.Case(home, ["--veth", "v1"])
        tally.case("ping", case.ping)
        tally.case("as client", case.as_client, [], SOME)
        tally.case("as server", case.as_server, [], SOME)
        tally.case("without offloads as client", case.as_client, ["--no-offload"], SOME // 4)
        tally.case("without offloads as server", case.as_server, ["--no-offload"], SOME // 4)
        bad = ["--net", "loss=1% reorder=1% dup=1%", "--seed", "3"]
        tally.case("a bad link as client", case.as_client, bad, SOME // 16)
        tally.case("a bad link as server", case.as_server, bad, SOME // 16)
    tally.finish()


main()
