#!/usr/bin/env python3
# timeout: 120
"""Scenarios and words for trouble, with an unmodified program and a plain user."""
import json
import os
import pathlib
import subprocess
import tempfile
import time

import lib_http
import lib_peer as peer

URL = f"http://127.0.0.1:{lib_http.serve(bytes(4_000_000))}/"


def run(folder, net, *program, status=0):
    """(report, seconds) of a program under `net`."""
    command = [peer.TIDEWIRE, "run", "--net", net, "--seed", "7", "--quiet", "--json", "report.json", "--", *program]
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", *command]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}"
    report = pathlib.Path(folder, "report.json")
    return json.loads(report.read_text()) if report.exists() else None, time.monotonic() - began, done.stderr


def fetch(folder, net, status=0, most=30):
    return run(folder, net, "curl", "-s", "-m", str(most), "-o", "/dev/null", "-w", "%{size_download}", URL, status=status)


def changes_come_and_go():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "s.toml").write_text(
            'net = "delay=5ms rate=20mbit"\n[[at]]\ntime = "300ms"\nfor = "400ms"\nlink = "down"\n'
            '[[at]]\ntime = "800ms"\nnet = "rate=40mbit"\n')
        report, seconds, _ = fetch(folder, "@s.toml")
        told = [(c["net"], c["up"]) for c in report["net_changes"]]
        assert told[:2] == [("delay=5ms rate=20mbit", False), ("delay=5ms rate=20mbit", True)], told
        assert told[2:] == [("delay=5ms rate=40mbit", True)], told
        assert seconds > 1.0, f"4 MB at 20 and 40 Mbit/s with a break took {seconds} s"


def a_trace_is_found_beside_its_scenario():
    with tempfile.TemporaryDirectory() as folder:
        inside = pathlib.Path(folder, "nets")
        inside.mkdir()
        (inside / "slow.trace").write_text("1\n2\n3\n")  # 12 Mbit/s
        (inside / "s.toml").write_text('[down]\ntrace = "slow.trace"\n')
        _, seconds, _ = fetch(folder, "@nets/s.toml")
        assert seconds > 1.9, f"4 MB at 12 Mbit/s took {seconds} s"


def a_black_hole_starves_a_download():
    with tempfile.TemporaryDirectory() as folder:
        report, _, _ = fetch(folder, "delay=1ms rate=20mbit blackhole=500ms", status=28, most=3)
        down = report["link"]["down"]
        assert down["impacts"]["blackout"] > 0, down


def lost_acks_cost_little():
    with tempfile.TemporaryDirectory() as folder:
        report, seconds, _ = fetch(folder, "delay=5ms rate=50mbit up.ack.loss=20%")
        up, down = report["link"]["up"]["impacts"], report["link"]["down"]["impacts"]
        assert up.get("lost", 0) > 0 and down.get("lost", 0) == 0, (up, down)
        assert seconds < 10, f"4 MB at 50 Mbit/s took {seconds} s"


def people_and_programs_hear_of_changes():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "s.toml").write_text('[[at]]\ntime = "500ms"\nnet = "mtu=1200"\n')
        program = ("import fcntl, socket, struct, time\n"
                   "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                   "def mtu(): return struct.unpack('16sI', fcntl.ioctl(s, 0x8921, struct.pack('16s16x', b'eth0'))[:20])[1]\n"
                   "print(mtu()); time.sleep(1.5); print(mtu())\n")
        command = [peer.TIDEWIRE, "run", "--net", "@s.toml", "--seed", "7", "--", "python3", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
        assert done.stdout.split() == ["1500", "1200"], done.stdout + done.stderr
        assert "from now on the net is 'mtu=1200'" in done.stderr, done.stderr


def links_of_this_host_refuse_changes():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "s.toml").write_text('[[at]]\ntime = "1s"\nlink = "down"\n')
        command = [peer.TIDEWIRE, "ping", "--device", "tap:none", "--addr", "192.0.2.2/24", "--net", "@s.toml", "192.0.2.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
        assert done.returncode != 0 and "--net @FILE with changes is for" in done.stderr, done.stderr


def mistakes_are_told_before_the_program_starts():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "s.toml").write_text('net = "delay=5ms"\n[up]\nrate = "5mb"\n')
        for net, wanted in (("@s.toml", "s.toml:3:1: 'up.rate=5mb' is not understood"),
                            ("@none.toml", "cannot read none.toml: No such file"),
                            ("trace=none", "cannot read none: No such file"),
                            ("@s.toml loss=1%", "--net @FILE stands alone"),
                            ("preset=dialup", "there are cafe-wifi, 3g")):
            report, _, error = run(folder, net, "true", status=125)
            assert report is None and wanted in error and error.count("\n") == 1, error


def presets_run():
    with tempfile.TemporaryDirectory() as folder:
        _, seconds, _ = run(folder, "preset=transatlantic", "curl", "-s", "-r", "0-10", "-o", "/dev/null", URL)
        assert seconds > 0.18, f"two round trips of 90 ms took {seconds} s"


def main():
    tally = peer.Tally()
    for case in (changes_come_and_go, a_trace_is_found_beside_its_scenario, a_black_hole_starves_a_download,
                 lost_acks_cost_little, people_and_programs_hear_of_changes, links_of_this_host_refuse_changes, mistakes_are_told_before_the_program_starts, presets_run):
        tally.case(case.__name__, case)
    tally.finish()


if __name__ == "__main__":
    main()
