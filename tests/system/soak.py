#!/usr/bin/env python3
# timeout: 120
"""Half a minute of ./dev soak: connections opened and closed by programs that are killed and interrupted."""
import os
import pathlib
import shutil
import sys

SOURCE = pathlib.Path(os.environ["TIDEWIRE_SOURCE"])
BUILT = pathlib.Path(os.environ["TIDEWIRE_BUILD"]) / "tests" / "tidewire_churn"

if not BUILT.exists():
    print("tidewire_churn is not built")
    sys.exit(77)
# Where every user may execute it.
churn = pathlib.Path(os.environ["TMPDIR"]) / "churn"
shutil.copy(BUILT, churn)
churn.chmod(0o755)
os.execv(sys.executable, [sys.executable, str(SOURCE / "tools" / "soak.py"), "--minutes", "0.25", "--connections", "2500", "--enough", "300",
                          "--every", "2", "--tidewire", os.environ["TIDEWIRE"], "--churn", str(churn)])
