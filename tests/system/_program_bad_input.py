"""What `run` says to input that cannot work: one clear line with the way out, a status that is not 0."""
import contextlib
import os
import pathlib
import signal
import socket
import time

from _program_rows import shows
from _programs import PYTHON, TIDEWIRE, check, equal, free_port, session_members


def refused(bench, options, *wanted, status=125, argv=("true",)):
    """tidewire run OPTIONS -- true ends with `status` and one line that holds every word wanted."""
    got = bench.host([*bench.around.launcher, TIDEWIRE, "run", *options, "--", *argv], limit=20, name="run")
    equal(got.wait(), status, f"status of run {options} {argv}\n{got.tail()}")
    lines = [line for line in got.errors.splitlines() if line]
    check(len(lines) == 1, f"run {options} {argv} said {len(lines)} lines\n{got.tail()}")
    for word in wanted:
        check(word in lines[0], f"run {options} {argv}: {word!r} is not in {lines[0]!r}")
    equal(got.out, "", "standard output")


def net_words(bench):
    """Unknown words, missing units, a word twice: named, with the right form."""
    for words, *wanted in (("dealy=20ms", "dealy", "delay"), ("delay=20", "delay=20", "ms"),
                           ("loss=2", "loss=2", "%"), ("rate=50", "rate=50", "mbit"),
                           ("delay=20ms delay=30ms", "delay=30ms", "already given"), ("delay", "delay="),
                           ("loss=101%", "loss=101%"), ("mtu=10", "mtu=10"), ("side.delay=1ms", "side"),
                           ("jitter=-3ms", "jitter=-3ms"), ("loss=", "loss=")):
        refused(bench, ["--net", words], "--net", *wanted)
    for words, column in (("loss=5% delya=3ms", 9), ("delay=20ms  delay=30ms", 13), (" rate=fast", 2)):
        refused(bench, ["--net", words], f"--net: column {column}: ")


def programs_that_cannot_start(bench):
    """127 for a program that is not there, 126 for one that cannot be executed."""
    refused(bench, ["-q"], "no-such-program", status=127, argv=["no-such-program"])
    refused(bench, ["-q"], "/no/such", status=127, argv=["/no/such/program"])
    plain = bench.file("plain", "no program\n")
    refused(bench, ["-q"], "plain", status=126, argv=[plain])
    refused(bench, ["-q"], str(bench.dir), status=126, argv=[bench.dir])


def ports_already_published(bench):
    """A port of the host that is taken, privileged, or no port."""
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    refused(bench, ["--publish", f"{port}:80"], str(port), "taken", "--publish")
    twice = free_port()
    refused(bench, ["--publish", f"{twice}:80", "--publish", f"{twice}:81"], str(twice), "taken")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    refused(bench, ["--publish", f"{udp.getsockname()[1]}:53/udp"], "taken")
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 80:
        refused(bench, ["--publish", "80:80"], "privileges", "8080")
    for spec in ("80", "x:80", "8080:x", "8080:0", "8080:80/sctp", "300.1.1.1:8080:80", "8080:70000"):
        refused(bench, ["--publish", spec], spec, "HOSTPORT:PORT")
    refused(bench, ["--publish", "192.0.2.1:8080:80"], "192.0.2.1", "not an address of this host")
    holder.close()
    udp.close()


def other_options(bench):
    """Options with values that mean nothing; no program; files that cannot be written."""
    refused(bench, ["--ephemeral", "5"], "--ephemeral", "FIRST-LAST")
    refused(bench, ["--time-wait", "5"], "--time-wait", "2s")
    refused(bench, ["--memory", "1MB"], "--memory", "16MB")
    refused(bench, ["--memory", "much"], "--memory", "much")
    refused(bench, ["--cc", "reno2000"], "reno2000", "cubic")
    refused(bench, ["--json", "/no/such/directory/file"], "/no/such/directory/file")
    refused(bench, ["--pcap", "/no/such/directory/file"], "/no/such/directory/file")
    refused(bench, ["--without", "nonsense"], "nonsense")
    refused(bench, ["--backend", "kernel", "--net", "delay=1ms"], "--net", "stack")
    refused(bench, ["--backend", "kernel", "--no-host"], "--no-host", "stack")
    for words in (["run"], ["run", "--no-such-option", "--", "true"], ["run", "--seed", "x", "--", "true"],
                  ["no-such-command"]):
        got = bench.host([TIDEWIRE, *words], limit=20, name="run")
        check(got.wait() != 0 and got.errors.strip(), f"tidewire {words} said nothing\n{got.tail()}")
        if words[0] == "run":
            equal(got.wait(), 125, f"status of tidewire {words}\n{got.tail()}")


def unreachable_hosts(bench):
    """Programs learn of hosts that cannot be reached; with --no-host this host cannot be."""
    program = bench.file("reach.py", "import errno, socket, sys, time\n"
                         "began = time.monotonic()\n"
                         "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
                         "except OSError as e: print(errno.errorcode.get(e.errno, e.errno), "
                         "time.monotonic() - began < 5)\n")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    for host, options in (("127.0.0.1", ["--no-host"]), ("10.0.2.2", ["--no-host"])):
        got = bench.run([PYTHON, program, host, port], options=options).ok()
        check(got.out.split() in (["ECONNREFUSED", "True"], ["EHOSTUNREACH", "True"], ["ENETUNREACH", "True"]),
              f"connect to {host} with --no-host: {got.out!r}")
    got = bench.run([PYTHON, program, "10.0.2.99", 80]).ok()
    check(got.out.split() in (["EHOSTUNREACH", "True"], ["ENETUNREACH", "True"], ["ECONNREFUSED", "True"]),
          f"connect to a host that is not on the virtual link: {got.out!r}")
    server.close()


@shows("run itself", "sh -c …", "signals, exit status, killed, children left: passed on; 128+n; nothing is left behind")
def endings(bench):
    """The exit status is the program's, 128+n for a signal; signals are passed on; a killed run takes its
    programs along."""
    for words, status in ((["true"], 0), (["sh", "-c", "exit 42"], 42), (["sh", "-c", "kill -9 $$"], 137),
                          (["sh", "-c", "kill -TERM $$"], 143)):
        equal(bench.run(words).wait(), status, f"status of {words}")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        one = bench.script("trap 'echo got; exit 7' TERM INT HUP; echo ready; while :; do sleep 0.05; done")
        bench.until(lambda: "ready" in one.out, process=one)
        os.kill(one.popen.pid, number)
        equal((one.wait(10), "got" in one.out), (7, True), f"status after signal {number}")
    one = bench.script("(while :; do sleep 0.1; done) & echo ready; while :; do sleep 0.1; done")
    bench.until(lambda: "ready" in one.out, process=one)
    one.popen.kill()
    one.popen.wait()
    bench.until(lambda: not session_members(one.popen.pid), limit=5, what="the end of what run had started")
    one = bench.script("sleep 1000 & echo done")
    equal(one.wait(10), 0, "status of a program that leaves a child")


SOCKETS = """
import errno, os, socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
made = wrong = 0
print("ready", flush=True)
end = time.monotonic() + 3
while time.monotonic() < end:
    with socket.socket() as one:
        wrong += one.fileno() < 3
        if made % 8 == 0:
            one.connect(listener.getsockname())
            with listener.accept()[0] as other:
                wrong += other.fileno() < 3
    made += 1
print(made > 100, wrong)
"""


def stopped_and_continued(bench):
    """run is stopped and goes on, hundreds of times, while a program makes sockets: each gets its descriptor."""
    one = bench.run([PYTHON, bench.file("sockets.py", SOCKETS)])
    bench.until(lambda: "ready" in one.out, process=one)
    while one.alive():
        for number, pause in ((signal.SIGSTOP, 0.003), (signal.SIGCONT, 0.004)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.popen.pid, number)
            time.sleep(pause)
    equal(one.ok().out.split()[1:], ["True", "0"], "enough sockets, wrong descriptors")


def environment_is_kept(bench):
    """Arguments, environment, standard input and output, working directory go through unchanged."""
    payload = bench.payload(300_000)
    with open(payload, "rb") as stdin:
        got = bench.run(["sh", "-c", 'cat; printf "%s|" "$0" "$@" "$PWD" "$HOME" >&2', "a b", "", "-x"],
                        stdin=stdin, options=["-q"] if bench.around.mode != "plain" else []).ok()
    equal(got.log.read_bytes() == payload.read_bytes(), True, "bytes through standard input and output")
    equal(got.errors, f"a b||-x|{bench.dir}|{bench.dir}|", "arguments, directory and HOME")


SCENARIOS = [net_words, programs_that_cannot_start, ports_already_published, other_options, unreachable_hosts,
             endings, stopped_and_continued, environment_is_kept]
