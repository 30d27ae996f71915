#!/usr/bin/env python3
# timeout: 240
"""Running hosts: `tidewire ss`, `tidewire net`, the control socket and what it refuses."""
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time

import lib_http
import lib_peer as peer
from lib_hosts import ANYBODY, ROOT, Place, ended, until, wait_for_host

LISTEN = ("import socket,sys\ns=socket.create_server(('127.0.0.1',7777))\n"
          "c=socket.create_connection(('127.0.0.1',7777))\na,_=s.accept()\n"
          "u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nu.bind(('0.0.0.0',7778))\n"
          "c.send(b'x'*5)\nprint('ready',flush=True)\nsys.stdin.read()\n")


def ss_shows_sockets():
    with Place() as place:
        run = place.start("run", "--host", "h1", "--seed", "5", "--net", "delay=1ms", "--", peer.PYTHON, "-c", LISTEN)
        assert run.stdout.readline() == "ready\n"
        (host,) = place.sockets("-a")
        assert (host["name"], host["seed"], host["net"], host["link"]) == ("h1", 5, "delay=1ms", "up"), host
        assert host["pid"] == run.pid, host
        by_state = {}
        for s in host["sockets"]:
            by_state.setdefault((s["protocol"], s["state"]), []).append(s)
        (listener,) = by_state["tcp", "LISTEN"]
        assert (listener["local"], listener["local_port"], listener["remote_port"]) == ("127.0.0.1", 7777, 0), listener
        assert listener["program"] == "python3" and listener["pid"] > 0 and listener["fd"] >= 3, listener
        assert "cwnd" not in listener
        client, server = sorted(by_state["tcp", "ESTAB"], key=lambda s: s["local_port"] == 7777)
        assert client["remote_port"] == 7777 and server["remote_port"] == client["local_port"]
        assert client["cwnd"] >= 2 and client["rtt_us"] > 0 and client["retrans"] == 0, client
        until(lambda: [s["receive_queue"] for s in place.sockets()[0]["sockets"] if s["local_port"] == 7777] == [5],
              "the five bytes that were not read")
        (datagrams,) = by_state["udp", "UNCONN"]
        assert datagrams["local_port"] == 7778
        assert {s["state"] for s in place.sockets("-l")[0]["sockets"]} == {"LISTEN", "UNCONN"}
        assert {s["protocol"] for s in place.sockets("-au")[0]["sockets"]} == {"udp"}
        assert {s["protocol"] for s in place.sockets("-at", "h1")[0]["sockets"]} == {"tcp"}
        table = place.call("ss", "-tnpi", "h1").stdout.splitlines()
        assert table[0].split()[:5] == ["Host", "Netid", "State", "Recv-Q", "Send-Q"], table
        rows = [line.split() for line in table[1:] if not line.startswith("\t")]
        assert len(rows) == 2 and all(r[:3] == ["h1", "tcp", "ESTAB"] for r in rows), table
        assert re.search(r'users:\(\("python3",pid=\d+,fd=\d+\)\)$', table[1]), table[1]
        assert any(re.search(r"^\t cubic .*rto:[\d.]+ rtt:[\d.]+/[\d.]+ mss:\d+.* cwnd:\d+", line) for line in table)
        assert place.call("ss", "-H", "-t").stdout.count("\n") == 2
        run.stdin.close()
        run.stdin = None
        ended(run)
        done = place.call("ss")
        assert "no host is running" in done.stderr and done.stdout.startswith("Host"), done


# The process that accepted the connection ends, a child of it has the socket still, the peer resets.
RESET_ELSEWHERE = """
import os, socket, struct, sys
listener = socket.create_server(('127.0.0.1', 7777))
client = socket.create_connection(('127.0.0.1', 7777))
ready, go = os.pipe()
if os.fork() == 0:
    accepted, _ = listener.accept()
    if os.fork() != 0:
        os._exit(0)
    os.close(go)
    listener.close()
    client.close()
    os.read(ready, 1)
    try:
        print('read', accepted.recv(10), flush=True)
    except ConnectionResetError:
        print('reset', flush=True)
    os.read(ready, 1)
    os._exit(0)
os.wait()
listener.close()
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
client.close()
os.write(go, b'x')
sys.stdin.readline()
os.write(go, b'x')
sys.stdin.read()
"""


def a_reset_that_nobody_known_can_be_told():
    """The socket goes when its last owner does, though the process that accepted it was gone before the reset."""
    with Place() as place:
        run = place.start("run", "--host", "h1", "--", peer.PYTHON, "-c", RESET_ELSEWHERE)
        assert run.stdout.readline() in ("read b''\n", "reset\n")
        until(lambda: [s["state"] for s in place.sockets("-a")[0]["sockets"]] == ["UNCONN"], "the listener to be gone")
        run.stdin.write("\n")
        run.stdin.flush()
        until(lambda: not place.sockets("-a")[0]["sockets"], "the socket to be gone")
        run.stdin.close()
        run.stdin = None
        ended(run)


def net_set_changes_a_transfer():
    """Loss that starts under a transfer, a link that is down for a while; all is counted, nothing is lost."""
    body = os.urandom(3_000_000)
    port = lib_http.serve(body)
    with Place() as place, tempfile.TemporaryDirectory() as files:
        os.chmod(files, 0o777)
        recording = os.path.join(files, "run.json")
        run = place.start("run", "--host", "slow", "--seed", "7", "--net", "delay=10ms rate=8mbit", "--json", recording,
                          "--", "curl", "-sS", "--max-time", "60", "-o", os.path.join(files, "body"),
                          f"http://127.0.0.1:{port}/")
        until(lambda: any(s.get("bytes_received", 0) > 200_000 for h in place.sockets() for s in h["sockets"]),
              "the transfer")
        shown = json.loads(place.call("net", "show", "--json", "slow").stdout)
        assert shown["down"]["net"] == "delay=10ms rate=8mbit" and shown["down"]["lost"] == 0, shown
        place.call("net", "set", "slow", "down.loss=5%")
        shown = place.call("net", "show", "slow").stdout
        assert re.search(r"^  down: delay=10ms loss=5% rate=8mbit$", shown, re.M), shown
        assert re.search(r"^  up:   delay=10ms rate=8mbit$", shown, re.M), shown
        down = place.call("net", "down", "slow").stdout
        assert down.startswith("slow: link down, seed 7"), down
        time.sleep(0.7)
        before = place.sockets()[0]["sockets"][0]["bytes_received"]
        time.sleep(0.5)
        assert place.sockets()[0]["sockets"][0]["bytes_received"] == before, "nothing comes through"
        place.call("net", "up", "slow")
        _, err = ended(run)
        assert (pathlib.Path(files) / "body").read_bytes() == body
        report = json.loads(pathlib.Path(recording).read_text())
        os.unlink(recording)
    for line in ("from now on the net is 'delay=10ms down.loss=5% rate=8mbit'", "the link is down", "the link is up again"):
        assert f"tidewire: {line}\n" in err, err
    assert re.search(r"^  from [\d.]+ m?s: net 'delay=10ms down.loss=5% rate=8mbit'$", err, re.M), err
    assert re.search(r"^  from [\d.]+ m?s: net '[^']*', down$", err, re.M), err
    assert re.search(r"^  link down: .*, [\d,]+ lost", err, re.M), err
    assert [c["up"] for c in report["net_changes"]] == [True, False, True], report["net_changes"]
    assert report["link"]["down"]["impacts"]["lost"] > 10, report["link"]["down"]["impacts"]
    assert report["link"]["up"]["impacts"] == {}, report["link"]["up"]["impacts"]


def net_refuses_nonsense():
    with Place() as place:
        run = place.start("run", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        for words, status, expected in (
                (("set", "h", "los=5%"), 1, "unknown word 'los=5%'"),
                (("set", "h", "queue=3packets"), 1, "needs rate="),
                (("set", "h"), 2, "net set needs words"),
                (("down", "h", "loss=5%"), 2, "takes no words"),
                (("show", "nobody"), 1, "no host nobody is running; there are: h"),
                (("show", "../h"), 1, "is no name of a host"),
                (("explode", "h"), 2, "show,set,down,up")):
            done = place.call("net", *words, status=status)
            assert expected in done.stderr, (words, done.stderr)
            assert done.stderr.count("\n") == 1, done.stderr
        assert "is no name" in place.call("run", "--host", "a/b", "--", "true", status=125).stderr
        refused = place.call("run", "--host", "run-5", "--", "true", status=125).stderr
        assert "no host run-5 is running, and such names are those of runs without a name" in refused, refused
        run.stdin.close()
        run.stdin = None
        ended(run)


def hostile_clients_do_no_harm():
    """Garbage, endless lines, many connections and readers that do not read, while a program works."""
    with Place() as place:
        run = place.start("run", "-q", "--host", "h", "--", peer.PYTHON, "-c", LISTEN)
        assert run.stdout.readline() == "ready\n"
        control = place.path / "tidewire" / "h.sock"
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700
        for garbage in (b"\0" * 100 + b"\n", b"GET / HTTP/1.1\r\n\r\n", b"net action=explode\n", b"a" * 100_000,
                        b"net action=set words=%zz\n", b"\xff\xfe\n"):
            with place.connect("h") as sock:
                try:
                    sock.sendall(garbage)
                except BrokenPipeError:
                    pass
                answer = sock.recv(65536)
                assert answer.startswith(b"error text="), (garbage[:20], answer)
        idle = [place.connect("h") for _ in range(40)]
        refused = place.call("ss", "h", status=1).stderr
        assert "too many requests" in refused, refused
        readers = []
        for sock in idle[:32]:
            sock.sendall(b"sockets\n")
            readers.append(sock)
        until(lambda: len(place.sockets()) == 1, "an answer beside readers that do not read")
        for sock in idle:
            sock.close()
        strangers = [place.connect("h") for _ in range(20)]
        for sock in strangers:
            sock.sendall(b"sock")  # never ends
        time.sleep(2.5)
        assert all(sock.recv(100).startswith(b"error text=no%20whole%20request") for sock in strangers)
        with place.connect("h") as sock:  # descriptors that nobody asked for
            with open("/dev/null", encoding="ascii") as null:
                socket.send_fds(sock, [b"host\n"], [null.fileno()] * 3)
            assert sock.recv(4096).startswith(b"host name=h")
        number = int(place.sockets("h")[0]["pid"])
        open_files = len(os.listdir(f"/proc/{number}/fd")) if ROOT else 0
        assert open_files < 60, open_files
        run.stdin.close()
        run.stdin = None
        ended(run)


def a_killed_run_leaves_its_name():
    with Place() as place:
        run = place.start("run", "--host", "h", "--", "sleep", "60", start_new_session=True)
        wait_for_host(place, "h")
        (host,) = place.sockets()
        os.kill(host["pid"], signal.SIGKILL)
        run.communicate()
        assert (place.path / "tidewire" / "h.sock").exists()
        assert place.sockets() == []
        assert "no host h is running" in place.call("net", "show", "h", status=1).stderr
        again = place.start("run", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        assert place.sockets()[0]["pid"] != host["pid"]
        again.stdin.close()
        again.stdin = None
        ended(again)


def runs_without_a_name():
    with Place() as place:
        run = place.start("run", "-q", "--", "cat")
        (host,) = until(place.sockets, "the run")
        assert host["name"] == f"run-{host['pid']}" and host["program"] == "cat", host
        run.stdin.close()
        run.stdin = None
        ended(run)


def others_are_refused():
    """A directory of somebody else's, one that others may enter, a link in its place."""
    if not ROOT:
        return
    with Place() as place:
        os.chmod(place.path, 0o777)
        run = place.start("run", "--host", "h", "--", "cat")
        wait_for_host(place, "h")
        other = 65533
        for words, status in ((("run", "--host", "h", "--", "true"), 125), (("ss",), 1), (("net", "down", "h"), 1)):
            done = place.call(*words, status=status, uid=other)
            assert re.search(rf"/tidewire belongs to user {ANYBODY}[^,]*, not to user {other}", done.stderr), done.stderr
        # A run without a name does without.
        assert place.call("run", "-q", "--", "true", uid=other).stderr == ""
        run.stdin.close()
        run.stdin = None
        ended(run)
        os.chmod(place.path / "tidewire", 0o755)
        assert "others may enter" in place.call("ss", status=1).stderr
        os.rmdir(place.path / "tidewire")
        os.symlink("/tmp", place.path / "tidewire")
        assert "no directory (or a link to one)" in place.call("run", "--host", "h", "--", "true", status=125).stderr
        os.unlink(place.path / "tidewire")


def main():
    tally = peer.Tally()
    for case in (ss_shows_sockets, a_reset_that_nobody_known_can_be_told, net_set_changes_a_transfer,
                 net_refuses_nonsense, hostile_clients_do_no_harm, a_killed_run_leaves_its_name, runs_without_a_name,
                 others_are_refused):
        tally.case(case.__name__, case)
    tally.finish()


if __name__ == "__main__":
    main()
