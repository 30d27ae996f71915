"""A user with running hosts, for the tests of them."""
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import lib_peer as peer

ROOT = os.geteuid() == 0
ANYBODY = 65534


def user(uid=ANYBODY):
    if not ROOT:
        return []
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]


class Place:
    """A runtime directory of a user."""

    def __init__(self, uid=ANYBODY):
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)
        self.uid = uid if ROOT else os.geteuid()
        if ROOT:
            os.chown(self.path, uid, uid)
        self.started = []
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.path), "HOME": "/nonexistent"}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        left = sorted(p.name for p in (self.path / "tidewire").glob("*"))
        self.directory.cleanup()
        assert kind is not None or not left, f"left behind: {left}"

    def command(self, *words, uid=None):
        return [*user(self.uid if uid is None else uid), peer.TIDEWIRE, *map(str, words)]

    def call(self, *words, status=0, uid=None):
        done = subprocess.run(self.command(*words, uid=uid), capture_output=True, text=True, timeout=60, env=self.env)
        assert done.returncode == status, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *words, **options):
        options = {"text": True, "stdin": subprocess.PIPE, **options}
        process = subprocess.Popen(self.command(*words), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   **options)
        self.started.append(process)
        return process

    def sockets(self, *words):
        found = json.loads(self.call("ss", "--json", *words).stdout)
        assert found["schema"] == "tidewire-ss" and found["schema_version"] == 1
        return found["hosts"]

    def connect(self, name):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.path / "tidewire" / f"{name}.sock"))
        sock.settimeout(20)
        return sock


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def wait_for_host(place, name):
    until(lambda: any(h["name"] == name for h in place.sockets()), f"host {name}")


def ended(process, status=0):
    out, err = process.communicate(timeout=40)
    assert process.returncode == status, f"status {process.returncode}: {out}{err}"
    return out, err
