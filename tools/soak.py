#!/usr/bin/env python3
"""./dev soak: connections opened and closed by many programs under one `tidewire run`, for hours.

48 servers and clients, and two programs whose connections must survive, all under one run. Programs are killed at
random, some get a signal every millisecond, with SA_RESTART and without. Every byte is checked. When nothing is under
way, early and at the end, the descriptors, the memory and the sockets of the run are counted; what
grew in between leaked. The exit status is 0 if all went well, 1 if not; the seed decides everything but the timing.
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
NOBODY = 65534
SETTLE = 4.0  # seconds in which what was closed is forgotten: TIME-WAIT and the search for dead sockets
LINGER = 75.0  # seconds in which all that a killed program left is over
# What may be more at the end: in KiB, fragments of an allocator that was in use for hours; a descriptor for each
# server that waits in accept() instead of poll(), which is as it happens.
SLACK_KIB = 8192
SLACK_DESCRIPTORS = 24


class Failed(Exception):
    """One line that says what went wrong."""


def as_user(words):
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", *words]


def names_running_program(descriptor):
    target = os.readlink(descriptor)
    if "pidfd" in target:
        return "\nPid:\t-1" not in (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text()
    return target.endswith("/comm") and os.path.exists(target)


def held_by(process):
    """How many descriptors, without those by which it knows programs that run: of these there are more or fewer."""
    count = 0
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += not names_running_program(descriptor)
    return count


class Soak:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        self.programs = []
        self.last = {}
        self.problem = ""

    def start(self, words, **more):
        process = subprocess.Popen(as_user(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.env,
                                   **more)
        self.programs.append(process)
        return process

    def end(self):
        """Closing its input ends the outside; a killed run takes its programs along."""
        for process in reversed(self.programs):
            process.stdin.close()
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self):
        args = self.args
        outside = self.start([args.churn, "outside"])
        ports = outside.stdout.readline().split()
        if len(ports) != 2:
            raise Failed("the servers of the host do not start")
        words = [args.tidewire, "run", "-q", "--host", "soak", "--seed", str(args.seed), "--time-wait", "1s"]
        words += ["--net", args.net] if args.net else []
        words += ["--preload"] if args.preload else []
        self.host = self.start([*words, "--", args.churn, "churn", str(args.connections), f"{args.seconds:g}",
                                str(args.seed), *ports])
        # Readline has no time limit of its own.
        limit = threading.Timer(args.seconds * 2 + 180, self.host.kill)
        limit.daemon = True
        limit.start()
        figures = {}
        shown = time.monotonic()
        for line in self.host.stdout:
            kind, _, rest = line.strip().partition(" ")
            if kind == "problem":
                self.problem = rest
            elif kind in ("busy", "warm", "quiet"):
                self.last = {name: int(value) for name, value in (word.split("=") for word in rest.split())}
            if kind in ("warm", "quiet"):
                time.sleep(SETTLE)
                figures[kind] = self.figures()
                # What waits for its peer, in FIN-WAIT-2 or to send again, may outlast that.
                until = time.monotonic() + LINGER
                while "warm" in figures and figures[kind]["sockets"] > figures["warm"]["sockets"]:
                    if time.monotonic() > until:
                        break
                    time.sleep(1)
                    figures[kind] = self.figures()
                self.say(f"{kind}: " + ", ".join(f"{value} {name}" for name, value in figures[kind].items()))
                self.host.stdin.write("\n")
                self.host.stdin.flush()
            elif time.monotonic() - shown > args.every:
                shown = time.monotonic()
                self.say(self.progress())
        limit.cancel()
        status = self.host.wait(30)
        self.say(self.progress())
        self.judge(status, figures)

    def figures(self):
        """Of the process that has the stack; as root of a run of another user, or as that user."""
        process = pathlib.Path("/proc") / str(self.host.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
        listed = subprocess.run(as_user([self.args.tidewire, "ss", "-a", "--json", "soak"]), env=self.env, text=True,
                                capture_output=True, timeout=60, check=True)
        sockets = json.loads(listed.stdout)["hosts"][0]["sockets"]
        self.states = collections.Counter(f"{s['protocol']} {s['state']}" for s in sockets)
        # Calls that wait hold copies, and interrupted ones come and go.
        descriptors = []
        for _ in range(20):
            descriptors.append(held_by(process))
            time.sleep(0.02)
        return {"descriptors": min(descriptors), "KiB": int(status["VmRSS"].split()[0]),
                "threads": int(status["Threads"]), "sockets": len(sockets)}

    def judge(self, status, figures):
        if self.last.get("problems", 0) or self.problem:
            raise Failed(f"{self.last['problems']} problems; the first: {self.problem}")
        if status != 0:
            raise Failed(f"the run ended with status {status}")
        if set(figures) != {"warm", "quiet"}:
            raise Failed("the run ended before it was measured")
        done = sum(self.last[name] for name in ("finished", "broken", "lost"))
        if done < min(self.args.enough or self.args.connections, 0.99 * self.args.connections):
            raise Failed(f"{done} of {self.args.connections} connections only")
        if self.last["kept_bytes"] == 0:
            raise Failed("nothing went over the connections that survive")
        for name, before in figures["warm"].items():
            after = figures["quiet"][name]
            slack = {"KiB": max(SLACK_KIB, before // 20), "descriptors": SLACK_DESCRIPTORS}.get(name, 0)
            if after > before + slack:
                states = ", ".join(f"{count} {state}" for state, count in self.states.items())
                raise Failed(f"{name}: {before} before, {after} after" + (f" ({states})" if name == "sockets" else ""))

    def progress(self):
        return ", ".join(f"{value} {name}" for name, value in self.last.items())

    def say(self, text):
        print(f"soak: {time.monotonic() - self.args.began:6.0f} s  {text}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="default: 120")
    parser.add_argument("--connections", type=int, help="default: 1,000,000 in two hours, fewer in less")
    parser.add_argument("--enough", type=int, metavar="N", help="so many will do if the machine makes no more in twice the time")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 32), help="default: drawn")
    parser.add_argument("--net", default="", metavar="WORDS", help="the network of the run, as for `tidewire run`")
    parser.add_argument("--preload", action="store_true", help="connections are accepted unseen (`tidewire run --preload`)")
    parser.add_argument("--every", type=float, default=10, metavar="SECONDS", help="between two lines (default: 10)")
    parser.add_argument("--tidewire", default=str(TOP / "build/release/tidewire"), metavar="PROGRAM")
    parser.add_argument("--churn", default=str(TOP / "build/release/tests/tidewire_churn"), metavar="PROGRAM")
    args = parser.parse_args()
    args.seconds = args.minutes * 60
    args.connections = args.connections or round(1_000_000 * args.seconds / 7200)
    if args.seconds <= 0 or args.connections < 1:
        parser.error("--minutes and --connections are greater than 0")
    args.began = time.monotonic()
    return args


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tidewire-soak-"))
    if os.geteuid() == 0:
        shutil.chown(folder, NOBODY, NOBODY)
    soak = Soak(args, folder)
    soak.say(f"seed {args.seed}: {args.connections} connections in {args.minutes:g} minutes")
    try:
        soak.run()
    except Failed as error:
        print(f"soak: failed: {error} (--seed {args.seed})", flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        soak.end()
        shutil.rmtree(folder, ignore_errors=True)
    print("soak: passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
