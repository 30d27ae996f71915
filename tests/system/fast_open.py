#!/usr/bin/env python3
"""TCP Fast Open of unmodified programs: the socket options, MSG_FASTOPEN, connect that waits."""
# timeout: 120
import os
import subprocess
import sys
import textwrap

TIDEWIRE = os.environ.get("TIDEWIRE", "build/release/tidewire")

PROGRAM = textwrap.dedent("""
    import http.server, select, shutil, socket, subprocess, sys, threading
    FASTOPEN, CONNECT, KEY, NO_COOKIE = 23, 30, 33, 34
    MSG_FASTOPEN = 0x20000000
    TCP = socket.IPPROTO_TCP

    def check(name, good):
        print(("ok " if good else "FAILED ") + name, flush=True)

    server = socket.socket()
    server.setsockopt(TCP, KEY, bytes(range(32)))
    check("key", server.getsockopt(TCP, KEY, 64) == bytes(range(32)))
    server.setsockopt(TCP, FASTOPEN, 16)
    check("queue length", server.getsockopt(TCP, FASTOPEN) == 16)
    server.bind(("127.0.0.1", 0))
    server.listen(16)
    where = server.getsockname()

    def serve():
        while True:
            peer, _ = server.accept()
            data = b""
            while not data.endswith(b"\\n"):
                got = peer.recv(65536)
                if not got:
                    break
                data += got
            peer.sendall(b"<" + data[:-1] + b">")
            peer.close()
    threading.Thread(target=serve, daemon=True).start()

    def rest(s):
        data = b""
        while got := s.recv(65536):
            data += got
        s.close()
        return data

    for turn in ("first", "second"):
        s = socket.socket()
        n = s.sendto(b"hello\\n", MSG_FASTOPEN, where)
        taken = s.getsockopt(TCP, socket.TCP_INFO, 104)[5] & 32 != 0  # TCPI_OPT_SYN_DATA
        check(turn + " sendto", n == 6 and rest(s) == b"<hello>")
        if "server" in sys.argv:
            check("with the SYN: " + turn, taken == (turn == "second"))
    long = b"x" * 50000 + b"\\n"
    s = socket.socket()
    n = s.sendto(long, MSG_FASTOPEN, where)
    s.sendall(long[n:])
    check("more than a SYN holds", rest(s) == b"<" + long[:-1] + b">")
    s = socket.socket()
    n = s.sendmsg([b"in ", b"parts\\n"], [], MSG_FASTOPEN, where)
    check("sendmsg", n == 9 and rest(s) == b"<in parts>")
    s = socket.socket()
    s.setblocking(False)
    try:
        n = s.sendto(b"later\\n", MSG_FASTOPEN, where)
    except BlockingIOError:
        n = 0
    select.select([], [s], [], 10)
    s.setblocking(True)
    s.sendall(b"later\\n"[n:])
    check("without blocking", rest(s) == b"<later>")
    try:
        s = socket.create_connection(where)
        s.sendto(b"x", MSG_FASTOPEN, where)
        check("connected already", False)
    except OSError as e:
        check("connected already", e.errno == 106)
    for turn in ("first", "second"):
        s = socket.socket()
        s.setsockopt(TCP, CONNECT, 1)
        s.connect(where)
        s.sendall(b"deferred\\n")
        check(turn + " deferred connect", rest(s) == b"<deferred>")
    if shutil.which("curl"):
        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"page")
            def log_message(self, *args):
                pass
        pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        pages.socket.setsockopt(TCP, FASTOPEN, 5)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/" % pages.server_port
        got = subprocess.run(["curl", "-sS", "--tcp-fastopen", url, url], capture_output=True)
        check("curl " + got.stderr.decode(), got.stdout == b"pagepage")
    s = socket.socket()
    s.setsockopt(TCP, NO_COOKIE, 1)
    check("no cookie", s.getsockopt(TCP, NO_COOKIE) == 1)
    gone = socket.socket()
    gone.bind(("127.0.0.1", 0))
    s = socket.socket()
    try:
        s.sendto(b"x", MSG_FASTOPEN, gone.getsockname())
        check("refused", False)
    except ConnectionRefusedError:
        check("refused", True)
""")


def run(options, *words):
    done = subprocess.run([TIDEWIRE, "run", *options, "--", sys.executable, "-c", PROGRAM, *words],
                          capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stdout.splitlines() if line]
    bad = [line for line in lines if not line.startswith("ok ")]
    print(f"{' '.join(options) or 'default'}: {len(lines)} checks, status {done.returncode}")
    for line in bad:
        print(line)
    if done.returncode != 0 or bad or len(lines) < 12 + 2 * len(words):
        print(done.stdout, done.stderr)
        return len(bad) + 1
    return 0


def main():
    failed = run([]) + run(["--fast-open=3"], "server")
    print(f"{2 - min(failed, 2)} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
