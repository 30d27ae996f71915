// Goodput of one CUBIC flow over the grid of bad paths, in virtual time, against the better of the
// PFTK and CUBIC response functions (response.hpp, grid_cells.hpp).
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <thread>

#include "grid_cells.hpp"
#include "report.hpp"
#include "sim/bulk.hpp"
#include "sim/world.hpp"

namespace tidewire::bench {
namespace {

constexpr double kBar = 0.8;

constexpr const char* kUsage =
    "Usage: grid_bench [--cells WORDS] [--seeds N] [--jobs N] [--json FILE] [--list] [--curve "
    "SEED]\n"
    "  --cells WORDS  only cells that have all these words in their name: 'loss=1 rtt=20'\n"
    "  --seeds N      runs of each cell (default 5)\n"
    "  --jobs N       processes (default: one a core)\n"
    "  --json FILE    every figure of every run\n"
    "  --list         name the cells, their networks and their formulas, and run none\n"
    "  --curve SEED   one run of the first such cell, step by step\n"
    "Exit status 1 if the median of a cell is below 0.8 of the formula.\n";

struct Options {
  std::string cells;
  std::string json;
  std::uint32_t seeds = 5;
  std::uint32_t jobs = std::max(1U, std::thread::hardware_concurrency());
  bool list = false;
  std::uint32_t curve = 0;
};

/// What a run gave. Goes through a pipe as it is.
struct Result {
  std::uint32_t cell = 0, seed = 0;
  double goodput = 0;  ///< bit/s of text, after the warm-up
  double real_seconds = 0;
  // Of the whole run:
  std::uint64_t segments = 0, link_lost = 0, queue_full = 0;
  std::uint32_t retransmits = 0, recoveries = 0, timeouts = 0, spurious = 0, dsacks = 0;
};

sim::HostOptions host_of(const Cell& cell) {
  sim::HostOptions host;
  TcpConfig& tcp = host.stack.tcp;
  tcp.congestion_control = "cubic";
  tcp.send_buffer_max = tcp.receive_buffer_max = cell.buffer_bytes();
  return host;
}

struct Flow {
  Flow(const Cell& cell, std::uint32_t seed)
      : two(spec_of(cell), {seed, 2026}, {}, {}, host_of(cell), host_of(cell)),
        sink(two.b.add<sim::BulkSink>(std::uint16_t{80})),
        source(two.a.add<sim::BulkSource>()) {
    two.world.set_step_limit(UINT64_MAX);
    source.connect({sim::TwoHosts::kAddressB, 80});
  }
  static device::NetSpec spec_of(const Cell& cell) {
    const auto spec = device::parse_net_spec(cell.words());
    must(static_cast<bool>(spec), cell.words().c_str());
    return *spec;
  }
  void run(double seconds) {
    const auto nanos = static_cast<std::int64_t>(seconds * 1e9);
    const sim::Outcome outcome = two.world.run_for(Duration::nanos(nanos));
    must(outcome == sim::Outcome::time_up && source.error() == SocketError::none, "a run");
  }
  SocketInfo info() const {
    const auto info = two.a.stack().info(source.socket());
    must(info.has_value(), "the socket");
    return *info;
  }

  sim::TwoHosts two;
  sim::BulkSink& sink;
  sim::BulkSource& source;
};

Result measure(const Cell& cell, std::uint32_t index, std::uint32_t seed) {
  Result result;
  result.cell = index;
  result.seed = seed;
  result.real_seconds = seconds_of([&] {
    Flow flow(cell, seed);
    flow.run(cell.warm_up_seconds());
    const std::uint64_t before = flow.sink.bytes_received();
    const double measured = cell.seconds() - cell.warm_up_seconds();
    flow.run(measured);
    result.goodput = static_cast<double>(flow.sink.bytes_received() - before) * 8 / measured;
    const SocketInfo info = flow.info();
    result.segments = info.data_segs_out;
    result.retransmits = info.retransmits;
    result.recoveries = info.fast_retransmits;
    result.timeouts = info.timeouts;
    result.spurious = info.spurious;
    result.dsacks = info.dsacks;
    const auto& link = flow.two.attached.link->counters(device::Direction::up);
    result.link_lost = link.of(device::Impact::lost);
    result.queue_full = link.of(device::Impact::queue_full);
  });
  return result;
}

// --- processes ---

struct Pipe {
  Pipe() { must(pipe(ends) == 0, "pipe"); }
  int ends[2] = {-1, -1};
};

/// Takes runs from one pipe, writes results to the other; both in pieces that arrive whole.
[[noreturn]] void work(const std::vector<Cell>& cells, int tasks, int results) {
  std::uint32_t task[2];
  while (read(tasks, task, sizeof task) == sizeof task) {
    const Result result = measure(cells[task[0]], task[0], task[1]);
    must(write(results, &result, sizeof result) == sizeof result, "write");
  }
  _exit(0);
}

/// Each run's result, called as they come; false if some never did.
bool run_all(const std::vector<Cell>& cells, const Options& options, auto&& on_result) {
  std::vector<std::uint32_t> order(cells.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto weight = [&](std::uint32_t i) { return cells[i].formula() * cells[i].seconds(); };
  std::ranges::stable_sort(order, std::greater{}, weight);
  Pipe tasks;
  Pipe results;
  std::vector<pid_t> workers;
  for (std::uint32_t i = 0; i < options.jobs; ++i) {
    const pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
      close(tasks.ends[1]);
      close(results.ends[0]);
      work(cells, tasks.ends[0], results.ends[1]);
    }
    workers.push_back(child);
  }
  close(tasks.ends[0]);
  close(results.ends[1]);
  // A child of its own fills the pipe, which may be smaller than the list of runs.
  if (const pid_t feeder = fork(); feeder == 0) {
    close(results.ends[0]);
    for (const std::uint32_t cell : order) {
      for (std::uint32_t seed = 1; seed <= options.seeds; ++seed) {
        const std::uint32_t task[2] = {cell, seed};
        if (write(tasks.ends[1], task, sizeof task) != sizeof task) _exit(1);
      }
    }
    _exit(0);
  } else {
    workers.push_back(feeder);
  }
  close(tasks.ends[1]);
  std::size_t left = cells.size() * options.seeds;
  Result result;
  while (left > 0 && read(results.ends[0], &result, sizeof result) == sizeof result) {
    --left;
    on_result(result);
  }
  close(results.ends[0]);
  for (const pid_t worker : workers) waitpid(worker, nullptr, 0);
  return left == 0;
}

// --- answers ---

double median_goodput(const std::vector<Result>& runs) {
  std::vector<double> values;
  for (const Result& run : runs) values.push_back(run.goodput);
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void print_cell(const Cell& cell, const std::vector<Result>& runs) {
  const auto per_run = [&](auto&& field) {
    double sum = 0;
    for (const Result& run : runs) sum += static_cast<double>(field(run));
    return sum / static_cast<double>(runs.size());
  };
  const double ratio = median_goodput(runs) / cell.formula();
  std::printf("%-48s %9.3f %9.3f %6.2f %9.0f %8.0f %8.0f %6.1f %6.1f%s\n", cell.name().c_str(),
              median_goodput(runs) / 1e6, cell.formula() / 1e6, ratio,
              per_run([](const Result& r) { return r.segments; }),
              per_run([](const Result& r) { return r.link_lost + r.queue_full; }),
              per_run([](const Result& r) { return r.retransmits; }),
              per_run([](const Result& r) { return r.recoveries; }),
              per_run([](const Result& r) { return r.timeouts; }), ratio < kBar ? "  BELOW" : "");
  std::fflush(stdout);
}

void write_json(const Options& options, const std::vector<Cell>& cells,
                const std::vector<std::vector<Result>>& runs) {
  std::FILE* file = std::fopen(options.json.c_str(), "w");
  must(file != nullptr, options.json.c_str());
  std::fprintf(file, "{\"bench\": \"grid\", \"bar\": %.2f, \"cells\": [", kBar);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Cell& c = cells[i];
    std::fprintf(file,
                 "%s\n {\"cell\": \"%s\", \"net\": \"%s\", \"loss\": %g, \"reorder\": %g, "
                 "\"jitter\": %d, \"rtt_ms\": %g, \"rate_mbit\": %g, \"seconds\": %.3f,\n"
                 "  \"payload_rate\": %.0f, \"pftk\": %.0f, \"cubic\": %.0f, \"formula\": %.0f, "
                 "\"goodput\": %.0f, \"ratio\": %.4f, \"runs\": [",
                 i == 0 ? "" : ",", c.name().c_str(), c.words().c_str(), c.loss_percent,
                 c.reorder_percent, c.jitter ? 1 : 0, c.rtt_ms, c.rate_mbit, c.seconds(),
                 c.payload_rate(), c.pftk_rate(), c.cubic_rate(), c.formula(),
                 median_goodput(runs[i]), median_goodput(runs[i]) / c.formula());
    for (std::size_t k = 0; k < runs[i].size(); ++k) {
      const Result& r = runs[i][k];
      std::fprintf(file,
                   "%s\n   {\"seed\": %u, \"goodput\": %.0f, \"segments\": %llu, \"lost\": %llu, "
                   "\"queue_full\": %llu, \"retransmits\": %u, \"recoveries\": %u, "
                   "\"timeouts\": %u, \"spurious\": %u, \"dsacks\": %u, \"real_seconds\": %.2f}",
                   k == 0 ? "" : ",", r.seed, r.goodput,
                   static_cast<unsigned long long>(r.segments),
                   static_cast<unsigned long long>(r.link_lost),
                   static_cast<unsigned long long>(r.queue_full), r.retransmits, r.recoveries,
                   r.timeouts, r.spurious, r.dsacks, r.real_seconds);
    }
    std::fprintf(file, "]}");
  }
  std::fprintf(file, "\n]}\n");
  must(std::fclose(file) == 0, options.json.c_str());
}

void heading() {
  std::printf("%-48s %9s %9s %6s %9s %8s %8s %6s %6s\n", "cell (loss and reorder in %, ms, Mbit/s)",
              "goodput", "formula", "ratio", "segments", "lost", "resent", "recov.", "RTOs");
}

int run_grid(const std::vector<Cell>& cells, const Options& options) {
  std::vector<std::vector<Result>> runs(cells.size());
  heading();
  std::size_t done = 0;
  const auto began = std::chrono::steady_clock::now();
  const bool whole = run_all(cells, options, [&](const Result& result) {
    std::vector<Result>& own = runs[result.cell];
    own.push_back(result);
    if (own.size() < options.seeds) return;
    print_cell(cells[result.cell], own);
    if (++done % 10 != 0) return;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::fprintf(stderr, "-- %zu of %zu cells after %.0f s\n", done, cells.size(), took.count());
  });
  must(whole, "a worker");
  for (std::vector<Result>& own : runs) std::ranges::sort(own, {}, &Result::seed);
  if (!options.json.empty()) write_json(options, cells, runs);
  std::map<double, std::string> below;  // by ratio
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double ratio = median_goodput(runs[i]) / cells[i].formula();
    if (ratio < kBar) below[ratio] += "  " + cells[i].name() + "\n";
  }
  std::size_t count = 0;
  for (const auto& [ratio, names] : below) count += std::ranges::count(names, '\n');
  std::printf("%zu of %zu cells below %.2f of the formula\n", count, cells.size(), kBar);
  for (const auto& [ratio, names] : below) std::printf("%.2f%s", ratio, names.c_str());
  return below.empty() ? 0 : 1;
}

/// 100 steps of one run.
int show_curve(const Cell& cell, std::uint32_t seed) {
  constexpr int kSteps = 100;
  std::printf("%s: %s\n%8s %9s %9s %9s %9s %8s %7s %7s %6s %6s  %s\n", cell.name().c_str(),
              cell.words().c_str(), "s", "Mbit/s", "cwnd", "ssthresh", "flight", "srtt ms",
              "resent", "recov.", "undone", "RTOs", "limited by");
  Flow flow(cell, seed);
  std::uint64_t before = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const double seconds = cell.seconds() / kSteps;
    flow.run(seconds);
    const SocketInfo info = flow.info();
    const std::uint64_t got = flow.sink.bytes_received();
    const std::uint32_t mss = std::max(info.mss, 1U);
    std::printf(
        "%8.3f %9.3f %9u %9u %9u %8.2f %7u %7u %6u %6u  %s\n", seconds * step,
        static_cast<double>(got - before) * 8 / seconds / 1e6, info.cwnd / mss, info.ssthresh / mss,
        info.in_flight / mss, static_cast<double>(info.srtt.count_micros()) / 1e3, info.retransmits,
        info.fast_retransmits, info.spurious, info.timeouts, std::string(info.limited_by).c_str());
    before = got;
  }
  return 0;
}

int list(const std::vector<Cell>& cells) {
  std::printf("%-48s %9s %9s %9s %8s  %s\n", "cell", "payload", "PFTK", "CUBIC", "s", "network");
  for (const Cell& c : cells) {
    std::printf("%-48s %9.3f %9.3f %9.3f %8.2f  %s\n", c.name().c_str(), c.payload_rate() / 1e6,
                c.pftk_rate() / 1e6, c.cubic_rate() / 1e6, c.seconds(), c.words().c_str());
  }
  return 0;
}

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--list") {
      options.list = true;
      continue;
    }
    if (i + 1 == argc) return std::nullopt;
    const char* value = argv[++i];
    const auto number = [value] { return static_cast<std::uint32_t>(std::atoi(value)); };
    if (word == "--cells") {
      options.cells = value;
    } else if (word == "--seeds") {
      options.seeds = number();
    } else if (word == "--jobs") {
      options.jobs = number();
    } else if (word == "--json") {
      options.json = value;
    } else if (word == "--curve") {
      options.curve = number();
    } else {
      return std::nullopt;
    }
  }
  if (options.seeds == 0 || options.jobs == 0) return std::nullopt;
  return options;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  const std::optional<bench::Options> options = bench::parse(argc, argv);
  if (!options) {
    std::fputs(bench::kUsage, stderr);
    return 2;
  }
  std::vector<bench::Cell> cells;
  for (const bench::Cell& cell : bench::all_cells()) {
    if (bench::matches(cell, options->cells)) cells.push_back(cell);
  }
  if (cells.empty()) {
    std::fputs("grid_bench: no cell has these words; --list names them\n", stderr);
    return 2;
  }
  if (options->list) return bench::list(cells);
  if (options->curve != 0) return bench::show_curve(cells.front(), options->curve);
  return bench::run_grid(cells, *options);
}
