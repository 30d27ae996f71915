#!/usr/bin/env python3
"""Runs packetdrill's scripts against tidewire-packetdrill.so, in virtual time, and prints a table.

  packetdrill.py --packetdrill BINARY --scripts DIR [--folder NAME]... [--ip ipv4|mapped|ipv6]

packetdrill and its scripts are not part of this tree; docs/packetdrill.md says where they come from.
BINARY is the program, DIR the folder that holds the folders of scripts (gtests/net/tcp). Every script
runs in a process of its own. The commands that scripts call (sysctl, ip, tc, nstat, ethtool, and the
Python helper that writes to /proc/sys) are replaced by stubs which only write into a file that the
object reads: settings of this machine stay as they are. As root the whole run also happens in a mount
and network namespace of its own, in which /proc/sys cannot be written.

Exit status 0 if every script passed, 1 if one did not, 2 for a wrong call, 77 if packetdrill is absent.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
TRACE = re.compile(r"^\d+\.\d{6} [<>] ")
NOISE = re.compile(r"^(Traceback|  File|\s+assert|\S*/code_\w+|sysctl:|RTNETLINK|$)")

ADDRESSES = {
    "ipv4": {"local": "192.168.0.1", "gateway": "192.168.0.1", "netmask": "255.255.0.0",
             "remote": "192.0.2.1", "mtu": "1500"},
    "ipv6": {"local": "fd3d:0a0b:17d6::1", "gateway": "fd3d:0a0b:17d6:8888::1",
             "remote": "fd3d:fa7b:d17d::1", "mtu": "1520"},
}
ADDRESSES["mapped"] = ADDRESSES["ipv4"]
VERSION = {"ipv4": "ipv4", "mapped": "ipv4-mapped-ipv6", "ipv6": "ipv6"}
DEFINES = {
    "ipv4": {"TFO_COOKIE": "3021b9d889017eeb", "CODE": "host_unreachable",
             "CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR"},
    "mapped": {"TFO_COOKIE": "3021b9d889017eeb", "CODE": "host_unreachable",
               "CMSG_LEVEL_IP": "SOL_IPV6", "CMSG_TYPE_RECVERR": "IPV6_RECVERR"},
    "ipv6": {"TFO_COOKIE": "c1d1e9742a47a9bc", "CMSG_LEVEL_IP": "SOL_IPV6",
             "CMSG_TYPE_RECVERR": "IPV6_RECVERR"},
}

# Each writes what it is told into the file of settings, or nothing. `net/ipv4/x` is `net.ipv4.x`.
# nstat says by how much the counters that the object writes have grown since it was called last.
STUBS = {
    "sysctl": r"""
for word; do
  case $word in
    -*) ;;
    *=*) printf '%s\n' "$word" >>"$TIDEWIRE_SYSCTLS" ;;
    *) sed -n "s|^$word=||p" "$TIDEWIRE_SYSCTLS" | tail -n 1 ;;
  esac
done
""",
    "tc": r"""
kind=none
for word; do
  case $word in pfifo | fq) kind=$word ;; esac
  [ "${last-}" != limit ] || kind="$kind $word"
  last=$word
done
case " $* " in *" qdisc "*) printf 'link.qdisc=%s\n' "$kind" >>"$TIDEWIRE_SYSCTLS" ;; esac
""",
    "ip": r"""
case " $* " in
  *" route "*)
    for word; do
      case ${last-} in advmss) printf 'route.advmss=%s\n' "$word" >>"$TIDEWIRE_SYSCTLS" ;; esac
      case ${before-} in mtu) printf 'route.mtu=%s\n' "$word" >>"$TIDEWIRE_SYSCTLS" ;; esac
      before=${last-} last=$word
    done ;;
  *" tcp_metrics flush "*) printf 'tcp_metrics.flush=1\n' >>"$TIDEWIRE_SYSCTLS" ;;
esac
""",
    "python3": r"""
case ${1-} in
  *set_sysctls.py)
    shift
    restore=/tmp/sysctl_restore_$PACKETDRILL_PID.sh
    printf '#!/bin/sh\n' >"$restore"
    for word; do
      key=${word%%=*}
      key=$(printf '%s' "${key#/proc/sys/}" | tr / .)
      old=$(sysctl "$key")
      [ -z "$old" ] || printf 'sysctl "%s"="%s"\n' "$key" "$old" >>"$restore"
      sysctl "$key=${word#*=}"
    done
    chmod u+x "$restore" ;;
  *) exec @PYTHON@ "$@" ;;
esac
""",
    "nstat": r"""
touch "$TIDEWIRE_COUNTERS" "$TIDEWIRE_COUNTERS.seen"
awk 'FILENAME == ARGV[1] { seen[$1] = $2; next }
     $2 != seen[$1] { printf "%-32s%-16d   0.0\n", $1, $2 - seen[$1] }' \
  "$TIDEWIRE_COUNTERS.seen" "$TIDEWIRE_COUNTERS"
cp "$TIDEWIRE_COUNTERS" "$TIDEWIRE_COUNTERS.seen"
""",
    "python": 'exec python3 "$@"\n', "ethtool": "", "ifconfig": "", "modprobe": "",
}


def write_stubs(folder):
    folder.mkdir()
    for name, body in STUBS.items():
        path = folder / name
        path.write_text("#!/bin/sh\n" + body.replace("@PYTHON@", sys.executable))
        path.chmod(0o755)


def protect(argv):
    """As root: starts this program again where /proc/sys is read-only and no interface is reachable."""
    if os.geteuid() != 0 or os.environ.get("TIDEWIRE_PACKETDRILL_INSIDE"):
        return
    inside = ("mount --make-rprivate / && mount --bind /proc/sys /proc/sys && "
              "mount -o remount,bind,ro /proc/sys && exec \"$@\"")
    try:
        done = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", inside, "sh", "true"],
                              capture_output=True, text=True)
        refused = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        refused = "there is no unshare"
    if refused:
        sys.exit("packetdrill.py: as root this needs a mount namespace, so that no script can change "
                 f"settings of this machine ({refused}); run it as another user")
    os.environ["TIDEWIRE_PACKETDRILL_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--net", "sh", "-c", inside, "sh",
                          sys.executable, __file__, *argv])


def reason(status, text):
    """One line that says why a script failed."""
    lines = [line for line in text.splitlines() if not TRACE.match(line)]
    where = next((line.split(": error in Python")[0] for line in lines if "error in Python" in line), None)
    if where:
        what = next((line for line in lines if "Error" in line and "error in Python" not in line), "")
        code = next((line.strip() for line in lines if line.strip().startswith("assert ")), "")
        return f"{where}: {code} {what}".strip()
    if status is None:
        return "timed out"
    telling = [line.strip() for line in lines if not NOISE.match(line)]
    if telling:
        return telling[0] + (f" [{telling[1]}]" if telling[0].endswith(":") and len(telling) > 1 else "")
    return f"exit status {status}"


class Runner:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        write_stubs(folder / "bin")

    def command(self, script, settings, trace):
        flags = {**ADDRESSES[self.args.ip], "sysctl_file": str(settings),
                 "counters_file": str(settings.with_name("counters"))}
        if trace:
            flags["trace"] = "1"
        version = self.args.ip
        command = [self.args.packetdrill, "--send_omit_free", f"--ip_version={VERSION[version]}",
                   f"--so_filename={self.args.object}",
                   "--so_flags=" + ",".join(f"{key}={value}" for key, value in flags.items())]
        command += [f"--{key}_ip={ADDRESSES[version][key]}" for key in ("local", "gateway", "remote")]
        if "netmask" in ADDRESSES[version]:
            command.append(f"--netmask_ip={ADDRESSES[version]['netmask']}")
        else:
            command.append("--mtu=1520")
        for key, value in DEFINES[version].items():
            command += ["-D", f"{key}={value}"]
        return [*command, script.name]

    def once(self, script, trace):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            settings = pathlib.Path(folder) / "sysctls"
            settings.touch()
            environment = {**os.environ, "LD_PRELOAD": str(self.args.preload),
                           "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                           "TIDEWIRE_SYSCTLS": str(settings),
                           "TIDEWIRE_COUNTERS": str(settings.with_name("counters"))}
            process = subprocess.Popen(self.command(script, settings, trace), cwd=script.parent,
                                       env=environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       start_new_session=True, text=True, errors="replace")
            try:
                text, _ = process.communicate(timeout=self.args.timeout)
                status = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text, _ = process.communicate()
                status = None
            pathlib.Path(f"/tmp/sysctl_restore_{process.pid}.sh").unlink(missing_ok=True)
            return status, text.replace(folder, "")

    def run(self, script):
        status, text = self.once(script, self.args.twice or self.args.trace)
        result = {"script": str(script.relative_to(self.args.scripts)), "passed": status == 0}
        if status != 0:
            result["reason"] = reason(status, text)
        if self.args.twice:
            _, again = self.once(script, True)
            packets = [[line for line in t.splitlines() if TRACE.match(line)] for t in (text, again)]
            result["same"] = packets[0] == packets[1]
        if self.args.trace:
            result["output"] = text
        return result


def find_scripts(args):
    """The scripts of the chosen folders that are meant for the chosen version of IP."""
    other = "v6.pkt" if args.ip != "ipv6" else "v4.pkt"
    folders = args.folder or sorted(p.name for p in args.scripts.iterdir() if p.is_dir())
    for folder in folders:
        there = args.scripts / folder
        if not there.exists():
            sys.exit(f"packetdrill.py: no folder {folder} in {args.scripts}")
        found = [there] if there.is_file() else sorted(there.rglob("*.pkt"))
        yield from (path for path in found if not path.name.endswith(other))


def report(results, args):
    table = {}
    for result in results:
        table.setdefault(result["script"].split("/")[0], []).append(result)
    width = max(map(len, table), default=0)
    print(f"{'folder':{width}}  passed  of")
    for folder, rows in table.items():
        print(f"{folder:{width}}  {sum(r['passed'] for r in rows):6}  {len(rows):2}")
    passed = sum(result["passed"] for result in results)
    print(f"{'all':{width}}  {passed:6}  {len(results):2}")
    for result in results:
        if not result["passed"]:
            print(f"FAIL {result['script']}: {result['reason']}")
        if args.trace:
            print(result["output"], end="")
    if args.twice:
        for result in results:
            if not result["same"]:
                print(f"DIFFERS {result['script']}: two runs sent different packets")
        print(f"{sum(r['same'] for r in results)} of {len(results)} scripts: two runs are the same, "
              "packet for packet")
    return passed == len(results) and all(result.get("same", True) for result in results)


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 2)[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packetdrill", default=os.environ.get("PACKETDRILL"), metavar="BINARY",
                        help="the program (default: $PACKETDRILL, or packetdrill on PATH)")
    parser.add_argument("--scripts", type=pathlib.Path, default=os.environ.get("PACKETDRILL_SCRIPTS"),
                        metavar="DIR", help="folders of scripts (default: $PACKETDRILL_SCRIPTS)")
    parser.add_argument("--folder", action="append", metavar="NAME",
                        help="only this folder or script below DIR; can be repeated")
    parser.add_argument("--ip", choices=VERSION, default="ipv4")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="of one script")
    parser.add_argument("--twice", action="store_true", help="compare the packets of two runs")
    parser.add_argument("--trace", action="store_true", help="print packets and output of every script")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results there")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build" / "release", metavar="DIR",
                        help="where tidewire-packetdrill.so is")
    args = parser.parse_args(argv)
    args.packetdrill = shutil.which(args.packetdrill or "packetdrill")
    if args.packetdrill is None or args.scripts is None or not args.scripts.is_dir():
        print("packetdrill or its scripts are not there: give --packetdrill and --scripts")
        sys.exit(77)
    args.packetdrill = os.path.abspath(args.packetdrill)
    args.scripts = args.scripts.resolve()
    args.object = (args.build / "tidewire-packetdrill.so").resolve()
    args.preload = (args.build / "tidewire-packetdrill-preload.so").resolve()
    for file in (args.object, args.preload):
        if not file.exists():
            parser.error(f"{file} is not built: ./dev build")
    return args


def main(argv):
    args = arguments(argv)
    protect(argv)
    with tempfile.TemporaryDirectory(prefix="tidewire-packetdrill.") as folder:
        runner = Runner(args, pathlib.Path(folder))
        with concurrent.futures.ThreadPoolExecutor(max(args.jobs or 1, 1)) as pool:
            results = list(pool.map(runner.run, find_scripts(args)))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if report(results, args) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
