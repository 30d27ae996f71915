#!/usr/bin/env python3
# timeout: 120
"""What `run` prints and writes besides the program's own output: --print, the summary, --pcap, hints."""
import hashlib
import os
import re
import struct
import subprocess
import tempfile
import threading

import lib_http
import lib_peer as peer

BODY = os.urandom(400_000)
USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=-all"] if os.geteuid() == 0 else []


def run(*words, directory=None):
    done = subprocess.run([*USER, peer.TIDEWIRE, "run", *words], capture_output=True, timeout=60, cwd=directory,
                          env={**os.environ, "HOME": "/nonexistent"})
    return done.returncode, done.stdout, done.stderr.decode()


def fetch(url, *options):
    status, out, err = run(*options, "--", "curl", "-sS", "--max-time", "40", url)
    assert status == 0, (status, err[-500:])
    assert hashlib.sha256(out).digest() == hashlib.sha256(BODY).digest(), f"{len(out)} bytes"
    return err


def print_shows_everything(url):
    """Handshake, a drop, the retransmission with its cause, the close with its states."""
    lines = fetch(url, "--net", "delay=5ms loss=3%", "--seed", "11", "--print").splitlines()
    flags = [re.search(r"Flags \[([^]]*)\]", line) for line in lines]
    seen = [m[1] for m in flags if m]
    # A machine under load may send the SYN twice.
    assert seen[0] == "S" and "." in seen[seen.index("S."):], seen[:6]
    lost = [line for line in lines if "*** lost (packet " in line and "length 0" not in line]
    again = [line for line in lines if "[retransmission: " in line]
    assert lost and again, (len(lost), len(again))
    seq = re.search(r"seq (\d+):", lost[0])[1]
    assert any(f"seq {seq}:" in line for line in again), f"{seq} was lost and not marked when sent again"
    assert not any("[retransmission: unknown]" in line for line in again)
    text = "\n".join(lines)
    for change in ("CLOSED -> SYN-SENT", "SYN-SENT -> ESTABLISHED", "LAST-ACK -> CLOSED"):
        assert change in text, change
    assert sum("Flags [F" in line for line in lines) >= 2, "both FINs"
    times = [float(line.split()[0]) for line in lines if re.match(r"\d+\.\d{6} ", line)]
    assert times == sorted(times), "in order of time"


def summary_adds_up(url):
    err = fetch(url, "--net", "delay=5ms loss=3%", "--seed", "11")
    assert re.search(r"^tidewire: 1 flow in .*, seed 11, net 'delay=5ms loss=3%'$", err, re.M), err
    assert re.search(r"^  tcp 10\.0\.2\.15:\d+ > 10\.0\.2\.2:\d+ \(curl\) closed$", err, re.M), err
    assert re.search(r"received 400 kB in .* retransmissions? \(.*by ", err), err
    assert re.search(r"link down: .* lost", err), err
    assert "repeat with" not in err, "the seed was given"


def a_drawn_seed_can_be_repeated(url):
    err = fetch(url, "--net", "delay=1ms loss=2%")
    match = re.search(r"repeat with: (tidewire run --net 'delay=1ms loss=2%' --seed (\d+) -- curl .*)$", err,
                      re.M)
    assert match, err
    assert f"seed {match[2]}" in err


def quiet_is_quiet(url):
    assert fetch(url, "--net", "delay=1ms", "--quiet") == ""


def pcap_holds_the_conversation(url, directory):
    path = os.path.join(directory, "x.pcapng")
    fetch(url, "--net", "delay=2ms loss=2% up.loss=10%", "--seed", "4", "--pcap", path, "--quiet")
    with open(path, "rb") as file:
        data = file.read()
    at, kinds, packets, comments = 0, [], [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size, at
        kinds.append(kind)
        if kind == 6:
            captured = struct.unpack_from("<I", data, at + 20)[0]
            packets.append(data[at + 28:at + 28 + captured])
            comments += b"lost" in data[at + 28 + captured:at + size]
        at += size
    assert at == len(data) and kinds[0] == 0x0A0D0D0A and 1 in kinds
    assert comments > 0, "lost packets carry a comment"
    for packet in packets:
        total = sum(struct.unpack(f">{len(packet[:20]) // 2}H", packet[:20]))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF, "IP header checksum"
    payload = b"".join(p[40 + (p[32] >> 4) * 4 - 20:] for p in packets
                       if p[9] == 6 and p[12:16] == b"\x0a\x00\x02\x02")
    assert len(payload) > len(BODY)


def unpublished_listeners_are_told():
    program = "import socket; s = socket.create_server(('0.0.0.0', 8123))"
    _, _, err = run("--", "/usr/bin/python3", "-c", program)
    assert re.search(r"listens on port 8123; .*--publish 8123:8123$", err, re.M), err
    _, _, err = run("--publish", "0:8123", "--", "/usr/bin/python3", "-c", program)
    assert "listens on" not in err, err
    _, _, err = run("--quiet", "--", "/usr/bin/python3", "-c", program)
    assert err == "", err


def statuses_are_the_programs():
    for words, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137),
                          (["sh", "-c", "kill -TERM $$"], 143)):
        got, _, err = run("--quiet", "--", *words)
        assert got == status, (words, got, err)


def what_was_sent_last_arrives():
    """A program that ends at once after its last write: the bytes are still delivered."""
    server = peer.Server("127.0.0.1")
    program = ("import socket,sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
               "s.sendall(b'x' * 1000000)")
    got = []

    def take(listener):
        sock, _ = listener.accept()
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        got.append(size)
    import socket
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=take, args=(listener,))
    thread.start()
    status, _, err = run("--quiet", "--net", "delay=20ms rate=20mbit", "--", "/usr/bin/python3", "-c", program,
                         str(listener.getsockname()[1]))
    thread.join(20)
    server.close()
    assert status == 0 and got == [1_000_000], (status, got, err)


def marks_are_told(url):
    """With --ecn the queue marks, the summary says so, and the program finds the agreement in TCP_INFO."""
    queue = "delay=10ms rate=20mbit aqm=red red.min=4KB red.max=40KB red.p=20%"
    for option, kind in (("--ecn", "classic"), ("--ecn=accurate", "accurate")):
        err = fetch(url, option, "--net", queue, "--seed", "3")
        assert re.search(rf"\(curl\) closed, ECN {kind}$", err, re.M), err
        assert re.search(r"received 400 kB in .*, \d+ marked CE", err), err
        assert re.search(r"link down: .*, \d+ marked", err), err
    err = fetch(url, "--net", queue, "--seed", "3")
    assert "ECN" not in err and "marked" not in err and "queue_early" in err, err
    program = ("import socket,sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
               "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5] & 8)")
    for option, agreed in (("--ecn", b"8"), ("--ecn=off", b"0")):
        status, out, err = run(option, "--quiet", "--", "/usr/bin/python3", "-c", program,
                               url.rsplit(":", 1)[1].strip("/"))
        assert status == 0 and out.strip() == agreed, (option, status, out, err)


def a_black_hole_is_left(url):
    err = fetch(url, "--net", "delay=5ms down.hole=1300", "--seed", "3")
    assert re.search(r"link down: .*, \d+ too_big", err), err


def main():
    url = f"http://127.0.0.1:{lib_http.serve(BODY)}/"
    tally = peer.Tally()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        tally.case("--print", print_shows_everything, url)
        tally.case("summary", summary_adds_up, url)
        tally.case("a drawn seed", a_drawn_seed_can_be_repeated, url)
        tally.case("--ecn", marks_are_told, url)
        tally.case("a black hole", a_black_hole_is_left, url)
        tally.case("--quiet", quiet_is_quiet, url)
        tally.case("--pcap", pcap_holds_the_conversation, url, directory)
        tally.case("unpublished listeners", unpublished_listeners_are_told)
        tally.case("exit status", statuses_are_the_programs)
        tally.case("last bytes", what_was_sent_last_arrives)
    tally.finish()


main()
