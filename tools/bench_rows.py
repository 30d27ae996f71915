"""The rows of ./dev bench --json, and which programs they come from.

A program is called `PROGRAM CASE SECONDS [CORES]` and prints lines `NAME VALUE UNIT`; a row takes the line
that bears its name (or `case`).
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    ident: str
    case: str = ""       # name of the line; "" is that of the row
    against: tuple = ()  # names of reference lines; the one with the best median counts

    @property
    def line(self):
        return self.case or self.ident


@dataclasses.dataclass(frozen=True)
class Job:
    """Programs that run by turns in each round, and the rows that come of what they print."""
    programs: tuple      # of "PROGRAM CASE"
    rows: tuple
    cores: int | None = 1  # that everything is pinned to; 0: no pinning; None: the program is not told
    runs: int = 0        # rounds, where repeating says nothing; 0: as asked for
    slow: bool = False   # one round will do in a quick run
    full: bool = False   # not in a quick run
    timeout: float = 60  # seconds for one program, beside five times the length of a run
    group: str = ""      # `figures` without a word measures the group "tap", with --run "run"


def beside(ident, ours, reference, **more):
    """A row of one program's case, as a multiple of another's."""
    return Job((ours, reference), (Row(ident, ours.split()[1], (reference.split()[1],)),), **more)


def plain(way, case):
    """Without offloads: beside a bare loop on the same device, and beside the kernel."""
    ours = f"tap_plain_{way}"
    return Job((f"link_bench {case}", f"bare_bench bare_{way}", f"link_bench veth_plain_{way}"),
               (Row(ours, case, (f"bare_{way}",)), Row(ours + "_kernel", case, (f"veth_plain_{way}",))),
               cores=2, group="tap")


def gateway(what, peers, cores):
    """A row of a guest behind tidewire's gateway, as a multiple of the better of others."""
    cases = [f"{who}_{what}" for who in ("gateway", *peers)]
    return Job(tuple(f"gateway_bench {case}" for case in cases), (Row(cases[0], against=tuple(cases[1:])),), cores=cores)


def under_run(*idents, case=""):
    """Rows of programs under `tidewire run`, beside the same on the kernel's sockets."""
    case = case or idents[0]
    return Job((f"run_bench.py {case}", f"run_bench.py {case}_kernel"),
               tuple(Row(i, against=(i + "_kernel",)) for i in idents), cores=None, timeout=120, group="run")


def one_line(program, idents, **more):
    """Rows without a reference, all of one run of one program."""
    return Job((program,), tuple(Row(i) for i in idents), **more)


# Over TAP with --io-uring, but for the rows where it measures no better.
JOBS = (
    beside("tap_out", "link_bench tap_out_uring", "link_bench veth_out", group="tap"),
    beside("tap_out_copy", "link_bench tap_out_copy_uring", "link_bench veth_out", group="tap"),
    beside("tap_in", "link_bench tap_in_uring", "link_bench veth_in", group="tap"),
    beside("tap_in_copy", "link_bench tap_in_copy", "link_bench veth_in", group="tap"),
    plain("out", "tap_plain_out_uring"),
    plain("in", "tap_plain_in"),
    beside("tap_round_trips", "link_bench tap_round_trips", "link_bench veth_round_trips", group="tap"),
    beside("tap_connections", "link_bench tap_connections_uring", "link_bench veth_connections", group="tap"),
    beside("tap_connections_32", "link_bench tap_connections_32_uring", "link_bench veth_connections_32", cores=0,
           group="tap"),
    Job(("memory_bench memory_super",), (Row("memory_super", against=("memory_super_memcpy",)),)),
    Job(("memory_bench memory_1500",), (Row("memory_1500", against=("memory_1500_memcpy",)),)),
    one_line("instruction_rows.py",
             ("instructions_per_segment", "instructions_per_round_trip", "allocations_per_segment"),
             runs=1, slow=True, timeout=600),
    one_line("million_bench idle_connection_bytes", ("idle_connection_bytes",), runs=1),
    one_line("million_bench million_connections",
             ("million_connections_mib", "million_connect_ns_1k", "million_connect_ns_1m"),
             runs=3, slow=True, timeout=300),
    one_line("busy_bench busy_100", ("busy_packet_ns_100",)),
    one_line("busy_bench busy_1000", ("busy_packet_ns_1000",)),
    one_line("busy_bench busy_10000", ("busy_packet_ns_10000",)),
    one_line("busy_bench busy_100000", ("busy_packet_ns_100000", "busy_100k"), runs=3, slow=True, timeout=300),
    one_line("busy_bench busy_1000000", ("busy_packet_ns_1000000",), runs=1, full=True, timeout=900),
    one_line("sim_bench simulated_speed", ("simulated_speed",)),
    gateway("out", ("slirp4netns", "pasta"), cores=0),
    gateway("in", ("slirp4netns",), cores=0),
    gateway("round_trips", ("slirp4netns", "pasta"), cores=1),
    gateway("connections", ("slirp4netns", "pasta"), cores=1),
    beside("shm", "shm_bench shm", "shm_bench shm_kernel", cores=None),
    beside("xdp_out", "xdp_bench xdp_out", "xdp_bench xdp_out_bare", cores=None),
    beside("xdp_in", "xdp_bench xdp_in", "xdp_bench xdp_in_bare", cores=None),
    under_run("run_http"),
    under_run("run_http_nopush"),
    under_run("run_http_connections"),
    under_run("run_http_connections_plain"),
    under_run("run_bulk_out"),
    under_run("run_bulk_in"),
    under_run("run_redis_set", "run_redis_get", case="run_redis"),
    under_run("run_round_trip"),
    Job(("run_bench.py run_calls",),
        tuple(Row(f"run_calls_{i}", against=("run_calls_getppid",)) for i in ("getsockname", "setsockopt", "socket_close")),
        cores=None, group="run"),
    beside("two_shards", "shards_bench shards_2", "shards_bench shards_1", cores=None),
)
