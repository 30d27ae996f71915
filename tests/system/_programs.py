"""Helper of the programs_* tests: starts real programs as an unprivileged user, natively (`plain`), under
`tidewire run --backend kernel` (`kernel`) or on the stack (`stack`), bounded in time, and counts.

A scenario is a function that takes a Bench, does what a user would do and raises Failed if something is
wrong. The scenarios are in _program_*.py, the programs_*.py say which run in which surroundings:
    programs_clean.py [--plain|--kernel|--stack] [--only WORD] [--jobs N] [--keep]
Each scenario declares what docs/programs.md says of it (_program_rows.py); a row whose command did not run fails.
"""
import argparse
import atexit
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from _program_rows import missing

# A shell that starts the tests in the background has them ignore SIGINT, and a shell under test cannot trap
# what was ignored when it started.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

SOURCE = pathlib.Path(os.environ.get("TIDEWIRE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
TIDEWIRE = os.environ.get("TIDEWIRE", str(SOURCE / "build" / "release" / "tidewire"))
HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
LOSSY = "delay=30ms loss=2%"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
# As root the programs become nobody without any capability; others are what they are.
AS_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
           "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(got, wanted, text):
    if got != wanted:
        raise Failed(f"{text}: {got!r}, expected {wanted!r}")


def sha256(data):
    if isinstance(data, (str, pathlib.Path)):
        try:
            data = pathlib.Path(data).read_bytes()
        except FileNotFoundError:
            raise Failed(f"{data} was not written")
    return hashlib.sha256(data).hexdigest()


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=PATH):
            raise Skipped(f"{program} is not installed")


# --- ports and processes --------------------------------------------------------------------------

_ports, _port_lock = set(), threading.Lock()


def free_port():
    """A TCP and UDP port that nobody uses, below the range the kernel gives to clients."""
    for _ in range(1000):
        port = random.randint(20000, 31999)
        with _port_lock:
            if port in _ports:
                continue
            _ports.add(port)
        with contextlib.ExitStack() as stack:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                        stack.enter_context(socket.socket(family, kind)).bind((host, port))
                return port
            except OSError:
                continue
    raise Failed("no free port")


_running = set()


def _end_all(*_):
    for process in list(_running):
        process.end()


atexit.register(_end_all)


class Process:
    """A program in a session of its own; its output goes to a file."""

    def __init__(self, argv, cwd, env, stdin, name, limit):
        self.name, self.argv = name, argv
        self.log = pathlib.Path(tempfile.mkstemp(prefix=name + "-", suffix=".out", dir=cwd)[1])
        self.err = self.log.with_suffix(".err")
        self.deadline = time.monotonic() + limit
        with open(self.log, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen(AS_USER + argv, cwd=cwd, env=env, stdout=out, stderr=err,
                                          stdin=stdin or subprocess.DEVNULL, start_new_session=True)
        _running.add(self)

    @property
    def out(self):
        return self.log.read_text(errors="replace")

    @property
    def errors(self):
        return self.err.read_text(errors="replace")

    def tail(self, lines=15):
        text = (self.out.splitlines()[-lines:] + self.errors.splitlines()[-lines:])
        return "\n".join(["        $ " + " ".join(self.argv)[:300]] + ["        | " + line for line in text])

    def wait(self, limit=None):
        """The exit status; Failed if the program does not end in time."""
        until = self.deadline if limit is None else time.monotonic() + limit
        try:
            return self.popen.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            where = self.stuck_at()
            self.end()
            raise Failed(f"{self.name} did not end in time\n{self.tail()}\n{where}")

    def ok(self, limit=None):
        status = self.wait(limit)
        if status != 0:
            raise Failed(f"{self.name} ended with status {status}\n{self.tail()}")
        return self

    def stuck_at(self):
        """What the processes of this session wait for."""
        lines = []
        for pid in session_members(self.popen.pid):
            with contextlib.suppress(OSError):
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")[:90].decode()
                call = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0]
                lines.append(f"        > {pid} syscall {call} {command}")
        return "\n".join(lines)

    def alive(self):
        return self.popen.poll() is None

    def stop(self, number=signal.SIGTERM, limit=10):
        """Ends it in order and waits."""
        if self.alive():
            os.kill(self.popen.pid, number)
        try:
            self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failed(f"{self.name} does not end at signal {number}\n{self.tail()}")
        return self.popen.returncode

    def end(self):
        _running.discard(self)
        for pid in session_members(self.popen.pid) + [self.popen.pid]:
            with contextlib.suppress(OSError):
                if pid != self.popen.pid or self.alive():
                    os.kill(pid, signal.SIGKILL)
        self.popen.wait()


def session_members(session):
    """Pids of a session, by /proc; a zombie does not count."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry))
    return found


# --- the bench ------------------------------------------------------------------------------------

class Surroundings:
    """How programs are started in a set of tests."""

    def __init__(self, mode="stack", net="", options=(), launcher=(), slack=1.0, label=""):
        self.mode, self.net, self.options, self.label = mode, net, list(options), label
        self.launcher, self.slack = list(launcher), slack

    @property
    def key(self):
        """How docs/programs.md calls them."""
        return self.label or ("lossy" if self.net else "clean")


class Bench:
    """The surroundings of one scenario: an own directory, processes that end with it."""

    def __init__(self, around, name, directory):
        self.around, self.name, self.dir = around, name, directory
        self.stack = around.mode == "stack"
        self.lossy = bool(around.net) and self.stack
        self.processes = []
        self.servers = []
        self.ran = []  # (on the host?, the words of the command)
        self.env = {"PATH": PATH, "HOME": str(directory), "TMPDIR": str(directory), "LC_ALL": "C",
                    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        # Under ASan a wrong exit status says what a leak report cannot, so keep the defaults.
        self.env |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}

    # Addresses as programs of a run know them.
    @property
    def gateway(self):
        return "10.0.2.2" if self.stack else "127.0.0.1"

    @property
    def any(self):
        """What a server binds to so that it can be published."""
        return "0.0.0.0" if self.stack else "127.0.0.1"

    def limit(self, seconds):
        return seconds * self.around.slack

    def size(self, clean, lossy):
        """Bytes or counts: what is moved over the clean or the lossy link."""
        return lossy if self.lossy else clean

    def payload(self, size, name="payload"):
        path = self.dir / name
        path.write_bytes(random.randbytes(size))
        path.chmod(0o644)
        return path

    def file(self, name, text, mode=0o644):
        path = self.dir / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def command(self, argv, publish=(), options=(), seed=None, net=None):
        argv = [str(a) for a in argv]
        if self.around.mode == "plain":
            return argv
        command = self.around.launcher + [TIDEWIRE, "run", *self.around.options, *options]
        if self.around.mode == "kernel":
            return command + ["--backend", "kernel", "--", *argv]
        net = self.around.net if net is None else net
        if net:
            command += ["--net", net]
        command += ["--seed", str(seed if seed is not None else random.randint(1, 999_999))]
        for spec in publish:
            command += ["--publish", spec]
        return command + ["--", *argv]

    def run(self, argv, publish=(), options=(), limit=60, stdin=None, seed=None, net=None, name=None):
        """Starts a program under `tidewire run` (or as the mode says)."""
        self.ran.append((False, " ".join(map(str, argv))))
        return self.start(self.command(argv, publish, options, seed, net), name or "run", limit, stdin)

    def script(self, text, *args, **more):
        """A shell script under `tidewire run`, in the bench's directory."""
        return self.run(["/bin/bash", "-euc", text, "script", *args], **more)

    def host(self, argv, limit=60, stdin=None, name=None):
        """Starts a program of the host, outside of any run."""
        self.ran.append((True, " ".join(map(str, argv)).replace(TIDEWIRE, "tidewire")))
        return self.start([str(a) for a in argv], name or pathlib.Path(str(argv[0])).name, limit, stdin)

    def start(self, argv, name, limit, stdin):
        process = Process(argv, str(self.dir), self.env, stdin, name, self.limit(limit))
        self.processes.append(process)
        return process

    def publish(self, port, udp=False, tcp=True):
        """(specs, the port of the host that leads to `port` of the run)."""
        if not self.stack:
            return [], port
        outside = free_port()
        specs = [f"{outside}:{port}"] if tcp else []
        return specs + ([f"{outside}:{port}/udp"] if udp else []), outside

    def until(self, probe, limit=15, every=0.05, what="the server", process=None):
        """Repeats `probe` until it returns something true; returns that."""
        end = time.monotonic() + self.limit(limit)
        error = None
        while time.monotonic() < end:
            if process is not None and not process.alive():
                raise Failed(f"{process.name} ended with {process.popen.returncode} while {what} was awaited"
                             f"\n{process.tail()}")
            try:
                if result := probe():
                    return result
            except (OSError, EOFError) as e:
                error = e
            time.sleep(every)
        tail = process.tail() if process is not None else ""
        raise Failed(f"{what} is not there after {limit} s ({error})\n{tail}")

    def serve(self, server):
        """A server of this process, shut down with the scenario. server: socketserver's kind."""
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        left = []
        for process in self.processes:
            if self.around.mode != "plain" and process.name == "run" and not process.alive():
                # What a run started ends with it; give it the time of a scheduler's mood.
                for _ in range(40):
                    members = session_members(process.popen.pid)
                    if not members:
                        break
                    time.sleep(0.05)
                left += members
            process.end()
        return left


# --- the runner -----------------------------------------------------------------------------------

def run_scenario(scenario, around, top):
    """(verdict, text, seconds)"""
    name = scenario.__name__
    directory = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=top))
    directory.chmod(0o1777)
    bench = Bench(around, name, directory)
    began = time.monotonic()
    verdict, text = "pass", ""
    try:
        scenario(bench)
    except Skipped as e:
        verdict, text = "skip", str(e)
    except Failed as e:
        verdict, text = "FAIL", str(e)
    except Exception as e:  # a fault of a scenario must not hide the others
        import traceback
        verdict, text = "FAIL", "".join(traceback.format_exception(e))
    left = bench.close()
    if verdict == "pass" and left:
        verdict, text = "FAIL", f"processes left behind: {left}"
    if verdict == "pass" and bench.stack and (lost := missing(scenario, bench.ran)):
        verdict, text = "FAIL", f"declared, but not run: {lost}"
    return verdict, text, time.monotonic() - began


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plain", dest="mode", action="store_const", const="plain")
    parser.add_argument("--kernel", dest="mode", action="store_const", const="kernel")
    parser.add_argument("--stack", dest="mode", action="store_const", const="stack")
    parser.add_argument("--net")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def write_record(record):
    """Keeps what was run beside the build, for the test that holds docs/programs.md against it."""
    if build := os.environ.get("TIDEWIRE_BUILD"):
        directory = pathlib.Path(build, "programs-run")
        directory.mkdir(exist_ok=True)
        (directory / f"{pathlib.Path(sys.argv[0]).stem}.json").write_text(json.dumps(record, indent=1))


def main(sets):
    """sets: [(Surroundings, [scenario, ...]), ...]. Exits with the status of the test."""
    given = arguments()
    random.seed()
    top = pathlib.Path(tempfile.mkdtemp(prefix="programs-"))
    top.chmod(0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.access(TIDEWIRE, os.X_OK) and given.mode != "plain":
        print(f"{TIDEWIRE} is not built")
        sys.exit(77)
    tally = {"pass": 0, "FAIL": 0, "skip": 0}
    record = []
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        futures = {}
        for around, scenarios in sets:
            around.mode = given.mode or around.mode
            around.net = around.net if given.net is None else given.net
            for scenario in scenarios:
                if given.only in scenario.__name__:
                    futures[pool.submit(run_scenario, scenario, around, top)] = (scenario, around)
        for future in concurrent.futures.as_completed(futures):
            scenario, around = futures[future]
            verdict, text, seconds = future.result()
            if verdict == "skip" and IN_CI and os.geteuid() == 0:
                verdict, text = "FAIL", "may not be skipped here: " + text
            tally[verdict] += 1
            if around.mode == "stack":
                record.append({"scenario": scenario.__name__, "in": around.key, "verdict": verdict})
            what = scenario.__name__ + "".join(f" ({word})" for word in (around.label, around.net) if word)
            print(f"{verdict}  {what}  {seconds:.1f} s{'  ' if text else ''}{text}", flush=True)
    if given.keep:
        print(f"kept {top}")
    else:
        shutil.rmtree(top, ignore_errors=True)
    if not given.only and given.mode is None and given.net is None:
        write_record(record)
    print(f"{tally['pass']} passed, {tally['FAIL']} failed, {tally['skip']} skipped", flush=True)
    sys.exit(1 if tally["FAIL"] else 0)
