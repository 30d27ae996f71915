"""The other end of `tidewire perf`, on kernel sockets; and namespaces for tests that need a link.

Protocol: see apps/perf_flow.hpp.
"""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

SOURCE = pathlib.Path(os.environ.get("TIDEWIRE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
TIDEWIRE = os.environ.get("TIDEWIRE", str(SOURCE / "build" / "release" / "tidewire"))
# One that every user may execute.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
EVERYTHING = os.environ.get("TIDEWIRE_TEST_ALL") == "1"
PERIOD = 65521
BLOCK = bytes((k * k + k // 8 + 7) & 255 for k in range(PERIOD)) * 2
CHUNK = 65521


def enter_namespaces():
    """Runs this script again in a network namespace of its own, as root of it if need be."""
    if os.environ.get("TIDEWIRE_IN_NAMESPACE") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    options = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    probe = subprocess.run(["unshare", *options, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        print(f"no network namespaces here: {probe.stderr.strip()}")
        sys.exit(77)
    os.environ["TIDEWIRE_IN_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", *options, "--kill-child", sys.executable, *sys.argv])


def sh(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True).stdout


def pattern(offset, size):
    at = offset % PERIOD
    return BLOCK[at:at + size]


def send_pattern(sock, count):
    sent = 0
    while sent < count:
        sent += sock.send(pattern(sent, min(CHUNK, count - sent)))


def receive_pattern(sock):
    """Reads to the end; returns the number of bytes, or raises at the first wrong one."""
    got = 0
    while data := sock.recv(CHUNK):
        if data != pattern(got, len(data)):
            raise AssertionError(f"wrong bytes near {got}")
        got += len(data)
    return got


def receive_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line.decode()


def both(sock, count):
    sender = threading.Thread(target=lambda: (send_pattern(sock, count), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    got = receive_pattern(sock)
    sender.join()
    return got


def serve_one(sock):
    with sock:
        word, _, rest = receive_line(sock).strip().partition(" ")
        if word == "echo":
            while data := sock.recv(CHUNK):
                sock.sendall(data)
        elif word == "sink":
            try:
                answer = f"ok {receive_pattern(sock)}\n"
            except AssertionError as error:
                answer = f"bad {error}\n"
            sock.sendall(answer.encode())
        elif word == "source":
            send_pattern(sock, int(rest))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)
        elif word == "both":
            both(sock, int(rest))


class Server:
    """Serves the protocol on a kernel socket, a thread for each connection."""

    def __init__(self, address, port=0):
        self.listener = socket.create_server((address, port), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    @staticmethod
    def serve(sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve_one(sock)
        except OSError:
            pass

    def close(self):
        self.listener.close()


def connect(address, port, timeout=20):
    sock = socket.create_connection((address, port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def client_send(address, port, count):
    with connect(address, port) as sock:
        sock.sendall(b"sink\n")
        send_pattern(sock, count)
        sock.shutdown(socket.SHUT_WR)
        answer = receive_line(sock)
    assert answer == f"ok {count}\n", answer


def client_receive(address, port, count):
    with connect(address, port) as sock:
        sock.sendall(f"source {count}\n".encode())
        got = receive_pattern(sock)
    assert got == count, f"{got} of {count} bytes"


def client_both(address, port, count):
    with connect(address, port) as sock:
        sock.sendall(f"both {count}\n".encode())
        got = both(sock, count)
    assert got == count, f"{got} of {count} bytes"


def client_echo(address, port, rounds, size=1):
    with connect(address, port) as sock:
        sock.sendall(b"echo\n")
        for i in range(rounds):
            message = bytes([i & 255]) * size
            sock.sendall(message)
            got = b""
            while len(got) < size:
                got += sock.recv(size - len(got))
            assert got == message


class Tidewire:
    """A tidewire command in the background."""

    def __init__(self, *words, ready=None, **options):
        self.process = subprocess.Popen([TIDEWIRE, *map(str, words)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **options)
        if ready:
            line = self.process.stdout.readline()
            if ready not in line:
                self.process.kill()
                raise AssertionError(f"{words}: {line!r} {self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"it did not stop: {out} {err}")
        return self.process.returncode, out, err


def tidewire(*words, timeout=120, ok=True, **options):
    """Runs a command to its end."""
    done = subprocess.run([TIDEWIRE, *map(str, words)], capture_output=True, text=True, timeout=timeout,
                          **options)
    if ok:
        assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def perf(*words, timeout=120):
    """The JSON line of a `tidewire perf` client."""
    done = tidewire("perf", *words, timeout=timeout)
    result = json.loads(done.stdout)
    assert result["ok"], done.stdout
    return result


class Tally:
    """Runs cases, prints a line for each and the counts the test runner reads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def case(self, name, action, *args):
        start = time.monotonic()
        try:
            action(*args)
        except Exception as error:  # a test must go on after any failure
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {name} ({time.monotonic() - start:.2f} s)", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip   {name}: {why}", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


def in_namespace_of(pid):
    """Moves this thread into the network namespace of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", encoding="ascii") as file:
        if libc.setns(file.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
