#!/usr/bin/env python3
# timeout: 120
"""The demo works for a user without any privilege, within its time, and leaves nothing behind."""
import os
import subprocess
import sys
import tempfile
import time

import lib_peer as peer

USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=-all"] if os.geteuid() == 0 else []


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        start = time.monotonic()
        done = subprocess.run([*USER, peer.TIDEWIRE, "demo"], capture_output=True, text=True, timeout=110,
                              env={**os.environ, "TMPDIR": directory})
        took = time.monotonic() - start
        left = os.listdir(directory)
    sys.stdout.write(done.stdout + done.stderr)
    assert done.returncode == 0, f"status {done.returncode}"
    assert "Everything arrived intact." in done.stdout
    assert done.stdout.count("equal") == 3
    for part in ("the three-way handshake:", "[retransmission: ", "the four-way close:", "the same ones"):
        assert part in done.stdout, part
    assert not left, left
    print(f"took {took:.0f} s")


main()
