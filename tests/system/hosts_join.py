#!/usr/bin/env python3
# timeout: 280
"""One virtual host for several commands: `tidewire run --host NAME` joins the one that runs."""
import ctypes
import hashlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

import lib_peer as peer
from lib_hosts import ROOT, Place, ended, until, wait_for_host

CONNECTED = """import socket,sys,time
s=socket.create_server(('127.0.0.1',7100))
print('ready',flush=True)
c,_=s.accept()
c.send(b'hello')
%s
"""


def python(text):
    return [peer.PYTHON, "-c", text]


def joined(place, count):
    until(lambda: [h["joined"] for h in place.sockets()] == [count], f"{count} joined programs")


def close_input(process):
    process.stdin.close()
    process.stdin = None


def client_and_server():
    """A web server and curl in two commands: the same loopback, listeners and ports."""
    with Place() as place:
        (place.path / "page").write_bytes(page := os.urandom(300_000))
        server = place.start("run", "-q", "--host", "h", "--", peer.PYTHON, "-m", "http.server", "8000", "--bind",
                             "127.0.0.1", cwd=place.path)
        listening = lambda: any(s["state"] == "LISTEN" for h in place.sockets("-l") for s in h["sockets"])
        until(listening, "the server")
        for address in ("127.0.0.1", "localhost"):
            done = subprocess.run(place.command("run", "--host", "h", "--", "curl", "-sS", "--max-time", "20",
                                                f"http://{address}:8000/page"), capture_output=True, timeout=30,
                                  env=place.env)
            assert done.returncode == 0 and done.stdout == page, (done.returncode, done.stderr)
            assert done.stderr == b"", done.stderr
        bind = "import socket,errno\ns=socket.socket()\ntry: s.bind(('127.0.0.1',8000))\nexcept OSError as e: print(e.errno==errno.EADDRINUSE)"
        assert place.call("run", "--host", "h", "--", *python(bind)).stdout == "True\n"
        assert "True" not in place.call("run", "-q", "--", *python(bind)).stdout, "another host has its own ports"
        server.send_signal(signal.SIGINT)
        _, err = ended(server, server.wait(timeout=30))
        assert "Keyboard interrupt received" in err or server.returncode in (0, 130), (server.returncode, err)


def two_netcats(*options):
    with Place() as place:
        data = os.urandom(2_000_000)
        copy = place.path / "copy"
        listener = place.start("run", "-q", *options, "--host", "h", "--net", "delay=1ms", "--", "sh", "-c",
                               f"nc -lN 127.0.0.1 7000 > {copy}", stdin=subprocess.DEVNULL)
        until(lambda: any(h["sockets"] for h in place.sockets("-l")), "the listener")
        done = subprocess.run(place.command("run", "--host", "h", "--", "nc", "-N", "127.0.0.1", "7000"), env=place.env,
                              input=data, capture_output=True, timeout=60)
        assert done.returncode == 0, done
        ended(listener)
        assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(data).digest()


def its_own_child():
    """Status, signals, standard input and output of a joined program are its own command's."""
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        place.call("run", "--host", "h", "--", "sh", "-c", "exit 7", status=7)
        missing = place.call("run", "--host", "h", "--", "/nonexistent/x", status=127)
        assert missing.stderr == "tidewire: cannot execute /nonexistent/x: No such file or directory; it is looked for in PATH\n", missing
        place.call("run", "--host", "h", "--", "sh", "-c", "kill -9 $$", status=137)
        member = place.start("run", "--host", "h", "--", *python(
            "import os,signal,sys\nsignal.signal(signal.SIGTERM,lambda *_:(print('term',flush=True),os._exit(3)))\n"
            "print(sys.stdin.readline(),end='',flush=True)\nsignal.pause()"))
        member.stdin.write("a line\n")
        member.stdin.flush()
        assert member.stdout.readline() == "a line\n"
        joined(place, 1)
        member.send_signal(signal.SIGTERM)
        out, err = ended(member, 3)
        assert (out, err) == ("term\n", ""), (out, err)
        joined(place, 0)
        close_input(host)
        ended(host)


def contradictions_are_refused():
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--net", "delay=1ms loss=1%", "--seed", "4", "--cc", "reno",
                           "--", "cat")
        wait_for_host(place, "h")
        for words, expected in (
                (["--net", "delay=2ms"], "there it is 'delay=1ms loss=1%', not 'delay=2ms'"),
                (["--net", ""], "there it is 'delay=1ms loss=1%', not a perfect link"),
                (["--seed", "5"], "--seed contradicts the running host: there it is 4"),
                (["--cc", "bbr"], "--cc=bbr contradicts the running host"),
                (["--no-host"], "--no-host=true contradicts"),
                (["--pcap", "/tmp/x"], "--pcap belongs to the command that started it"),
                (["--json", "/dev/null"], "--json belongs to the command that started it"),
                (["--net", "del=2"], "unknown word 'del=2'")):
            done = place.call("run", "--host", "h", *words, "--", "touch", place.path / "never", status=125)
            assert expected in done.stderr and done.stderr.count("\n") == 1, (words, done.stderr)
        assert not (place.path / "never").exists()
        place.call("run", "--host", "h", "--net", "loss=1%  delay=1000us", "--seed", "4", "--cc", "reno", "--", "true")
        place.call("net", "set", "h", "loss=2%")
        place.call("run", "--host", "h", "--net", "delay=1ms loss=1%", "--", "true", status=125)
        place.call("run", "--host", "h", "--net", "delay=1ms loss=2%", "--", "true")
        close_input(host)
        ended(host)


def publishes_later():
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        (place.path / "page").write_bytes(b"published")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = place.start("run", "--host", "h", "--publish", f"{port}:8000", "--", peer.PYTHON, "-m", "http.server", "8000",
                             cwd=place.path)
        until(lambda: any(s["state"] == "LISTEN" for s in place.sockets("-l")[0]["sockets"]), "the server")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=20) as answer:
            assert answer.read() == b"published"
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
        close_input(host)
        ended(host)


def ends_with_the_last_one():
    with Place() as place:
        host = place.start("run", "--host", "h", "--", *python(CONNECTED % "c.recv(9)"))
        assert host.stdout.readline() == "ready\n"
        member = place.start("run", "--host", "h", "--", *python(
            "import socket,sys\nc=socket.create_connection(('127.0.0.1',7100))\nprint(c.recv(9),flush=True)\n"
            "s=socket.create_server(('127.0.0.1',7101))\nc.close()\nsys.stdin.read()\nprint(s.getsockname()[1])"))
        assert member.stdout.readline() == "b'hello'\n"
        joined(place, 1)
        line = host.stderr.readline()
        while line and "goes on" not in line:
            line = host.stderr.readline()
        assert line == "tidewire: /usr/bin/python3 has ended; host h goes on for 1 joined program\n", line
        assert host.poll() is None
        close_input(member)
        assert ended(member) == ("7101\n", "")
        _, err = ended(host)
        assert "tidewire: " in err and " flow" in err, f"the summary comes at the end: {err}"


def lose_the_host(how, *options):
    """A joined program whose host goes: its sockets end, the command says so and ends as well."""
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", *options, "--", *python(CONNECTED % "sys.stdin.read()"), start_new_session=True)
        ready = host.stdout.readline()
        assert ready == "ready\n", (ready, host.stderr.read() if not ready else "")
        seen = place.path / "seen"
        member = place.start("run", "--host", "h", "--", *python(
            "import socket,sys,time\nc=socket.create_connection(('127.0.0.1',7100))\nprint(c.recv(5),flush=True)\n"
            f"try: what=repr(c.recv(9))\nexcept OSError as e: what=e.strerror\nopen({str(seen)!r},'w').write(what)\n"
            "time.sleep(60)"))
        greeting = member.stdout.readline()
        assert greeting == "b'hello'\n", (greeting, member.stderr.read() if not greeting else "")
        joined(place, 1)
        number = place.sockets()[0]["pid"]
        start = time.monotonic()
        expected = how(host)
        out, err = ended(member, 125)
        assert time.monotonic() - start < 20, f"it took {time.monotonic() - start:.1f} s"
        line = rf"^tidewire: host h has ended under /usr/bin/python3 \({expected.format(number)}\)\n$"
        assert re.search(line, err), (line, err)
        assert seen.read_text() in ("b''", "Connection reset by peer"), seen.read_text()
        host.communicate(timeout=30)
        left = subprocess.run(["pgrep", "-f", str(seen)], capture_output=True, text=True, check=False).stdout
        assert left == "", f"still there: {left}"
        for name in ("h.sock", "h.lock"):  # of a killed host
            (place.path / "tidewire" / name).unlink(missing_ok=True)


def killed(host):
    os.kill(host.pid, signal.SIGKILL)
    return "process {} was killed"


def ended_alone(host):
    close_input(host)
    return "its first program has, --wait=main"


def interrupted(host):
    close_input(host)
    time.sleep(1)
    host.send_signal(signal.SIGINT)
    return "it was interrupted"


def a_killed_member_harms_nobody():
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--", *python(
            CONNECTED % "print(c.recv(9),flush=True)\nsys.stdin.read()"))
        assert host.stdout.readline() == "ready\n"
        member = place.start("run", "--host", "h", "--", *python(
            "import socket,sys\nc=socket.create_connection(('127.0.0.1',7100))\ns=socket.create_server(('127.0.0.1',7101))\n"
            "print(c.recv(5),flush=True)\nsys.stdin.read()"))
        assert member.stdout.readline() == "b'hello'\n"
        (_, listener) = until(lambda: (lambda l: l if len(l) == 2 else None)(place.sockets("-l")[0]["sockets"]), "listeners")
        member.kill()
        member.communicate()
        assert host.stdout.readline() == "b''\n", "the peer of a killed program sees its end"
        joined(place, 0)
        until(lambda: len(place.sockets("-l")[0]["sockets"]) == 1, "the listener of the killed one to go")
        assert not os.path.exists(f"/proc/{listener['pid']}"), "its program is ended with it"
        place.call("run", "--host", "h", "--", *python("import socket\nsocket.create_server(('127.0.0.1',7101))"))
        close_input(host)
        ended(host)


def daemons():
    """What a program leaves running is ended, or with --wait=all waited for."""
    with Place() as place:
        daemon = "(setsid sh -c 'sleep 1.5; echo done > %s' &) ; exit 4"
        for host, options in (("own", []), ("other", ["--host", "h"])):
            cat = place.start("run", "-q", "--host", "h", "--", "cat")
            wait_for_host(place, "h")
            mark = place.path / host
            place.call("run", "-q", *options, "--", "sh", "-c", daemon % mark, status=4)
            time.sleep(1.7)
            assert not mark.exists(), "ended with its program"
            place.call("run", "-q", *options, "--wait=all", "--", "sh", "-c", daemon % mark, status=4)
            assert mark.read_text() == "done\n"
            close_input(cat)
            ended(cat)


def hostile_joiners():
    """Requests to join that lie keep nobody from ending, and take nobody in."""
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        version = peer.tidewire("--version").stdout.split()[1]
        for request, expected in (
                ("join version=0", "it was started by tidewire"),
                (f"join version={version}", "join needs cell=ADDRESS"),
                (f"join version={version} cell=4096 word=1", "in another process namespace"),
                (f"join version={version} pid={os.getpid()} cell=4096 word=1", "cannot be served from here"),
                ("program guard=1", "join comes first"),
                (f"join version={version} pid={os.getpid()} publish=1:2 cell=1 word=1", "cannot be served from here")):
            with place.connect("h") as sock:
                sock.sendall(request.encode() + b"\n")
                answer = sock.recv(4096).decode().replace("%20", " ").replace("%3d", "=")
                assert answer.startswith("error text=") and expected in answer, (request, answer)
        cell = ctypes.c_uint64(int.from_bytes(os.urandom(7), "little"))
        if ROOT:  # the host may not look into this process
            expected = "cannot be served from here"
        else:
            expected = "joined wait_killable="
        with place.connect("h") as sock:
            sock.sendall(f"join version={version} pid={os.getpid()} cell={ctypes.addressof(cell)} "
                         f"word={cell.value}\n".encode())
            assert expected in sock.recv(4096).decode().replace("%20", " ")
            if not ROOT:
                with open("/dev/null", encoding="ascii") as null:
                    socket.send_fds(sock, [f"program guard={os.getpid()}\n".encode()], [null.fileno()])
                assert "is%20no%20child" in sock.recv(4096).decode()
        close_input(host)
        ended(host)


def another_process_namespace_is_refused():
    probe = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not ROOT or subprocess.run([*probe, "true"], capture_output=True).returncode != 0:
        return
    with Place() as place:
        host = place.start("run", "-q", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        done = subprocess.run([*probe, *place.command("run", "--host", "h", "--", "true")], env=place.env, text=True,
                              capture_output=True, timeout=30)
        assert done.returncode == 125 and "in another process namespace" in done.stderr, done
        close_input(host)
        ended(host)


def all_at_once():
    """Whoever is first starts the host, the others join it."""
    with Place() as place:
        program = python("import socket,sys,time\ns=socket.socket()\ns.bind(('127.0.0.1',7000+int(sys.argv[1])))\ntime.sleep(1)")
        runs = [place.start("run", "--host", "h", "--", *program, i) for i in range(5)]
        texts = [ended(run)[1] for run in runs]
        hosts = [t for t in texts if " flows in " in t]
        assert len(hosts) == 1, texts
        assert all(t == "" for t in texts if t not in hosts), texts


def main():
    tally = peer.Tally()
    tally.case("client_and_server", client_and_server)
    tally.case("two_netcats", two_netcats)
    tally.case("two_netcats without copies", two_netcats, "--without", "pidfd_getfd")
    for case in (its_own_child, contradictions_are_refused, publishes_later, ends_with_the_last_one,
                 a_killed_member_harms_nobody, daemons, hostile_joiners, another_process_namespace_is_refused,
                 all_at_once):
        tally.case(case.__name__, case)
    tally.case("the host is killed", lose_the_host, killed)
    tally.case("the host ends with its program", lose_the_host, ended_alone, "--wait=main")
    tally.case("the host is interrupted", lose_the_host, interrupted)
    tally.finish()


if __name__ == "__main__":
    main()
