// One CUBIC flow over a network that reorders and loses nothing but what its queue drops, in
// virtual time: goodput beside that of the same network in order, with and without the undoing of
// reductions. Median and least of several seeds; counts are of the median's run.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "report.hpp"
#include "sim/bulk.hpp"
#include "sim/world.hpp"

namespace tidewire::bench {
namespace {

constexpr std::uint32_t kMostBuffer = 64U << 20;
constexpr int kWarmRoundTrips = 50;
constexpr std::uint64_t kFirstSeed = 11;
constexpr std::uint64_t kSeeds = 5;

struct Path {
  int rtt_ms = 0;
  int mbit = 0;
  int round_trips() const { return mbit >= 1000 ? 150 : 400; }  // measured
};

sim::HostOptions host_options(bool undo) {
  sim::HostOptions options;
  options.stack.tcp.send_buffer_max = options.stack.tcp.receive_buffer_max = kMostBuffer;
  options.stack.tcp.undo = undo;
  options.memory_cap = std::size_t{1} << 30;
  return options;
}

/// A queue of one bandwidth-delay product, half of the round trip each way.
std::string words_of(const Path& path) {
  const int queue = path.mbit * path.rtt_ms * 1000 / 8 / 1500;
  return "rate=" + std::to_string(path.mbit) + "mbit queue=" + std::to_string(queue) +
         "packets delay=" + std::to_string(path.rtt_ms * 500) + "us";
}

struct Kind {
  const char* name;
  std::string (*words)(const Path&);
};
std::string late(const Path& path, const char* share) {
  return std::string(" up.reorder=") + share +
         " up.reorder.by=" + std::to_string(path.rtt_ms * 250) + "us";
}
const Kind kKinds[] = {
    {"1 % late by up to RTT/4", [](const Path& path) { return late(path, "1%"); }},
    {"10 % late by up to RTT/4", [](const Path& path) { return late(path, "10%"); }},
    {"delay RTT/2 +- RTT/4",
     [](const Path& path) {
       return " up.delay=" + std::to_string(path.rtt_ms * 250) +
              "us up.jitter=" + std::to_string(path.rtt_ms * 500) + "us,reorder";
     }},
};

struct Result {
  double mbit = 0;
  SocketInfo info;
};

Result run(const Path& path, const std::string& words, bool undo, std::uint64_t seed) {
  const auto spec = device::parse_net_spec(words);
  must(static_cast<bool>(spec), words.c_str());
  sim::TwoHosts two(*spec, {seed, 3}, {}, {}, host_options(undo), host_options(undo));
  auto& sink = two.b.add<sim::BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<sim::BulkSource>();
  source.connect({sim::TwoHosts::kAddressB, 80});
  const auto pass = [&](int round_trips) {
    (void)two.world.run_for(Duration::millis(std::int64_t{path.rtt_ms} * round_trips));
  };
  pass(kWarmRoundTrips);
  const std::uint64_t before = sink.bytes_received();
  pass(path.round_trips());
  const auto info = two.a.stack().info(source.socket());
  must(info.has_value(), "the socket");
  const double seconds = path.round_trips() * path.rtt_ms / 1e3;
  return {static_cast<double>(sink.bytes_received() - before) * 8 / 1e6 / seconds, *info};
}

void rows(const Path& path) {
  const std::string base = words_of(path);
  const double clean = run(path, base, true, kFirstSeed).mbit;
  const auto line = [&](const char* name, const std::string& words, bool undo) {
    std::vector<Result> runs;
    for (std::uint64_t n = 0; n < kSeeds; ++n) {
      runs.push_back(run(path, words, undo, kFirstSeed + n));
    }
    std::ranges::sort(runs, {}, &Result::mbit);
    const Result& r = runs[runs.size() / 2];
    std::printf("%6d %6d  %-26s %-4s %10.2f %7.3f %7.3f %8u %9u %8u %6u %6u\n", path.rtt_ms,
                path.mbit, name, undo ? "on" : "off", r.mbit, r.mbit / clean,
                runs.front().mbit / clean, r.info.retransmits, r.info.spurious_retransmits,
                r.info.fast_retransmits, r.info.spurious, r.info.timeouts);
    std::fflush(stdout);
  };
  line("in order", base, true);
  for (const Kind& kind : kKinds) {
    line(kind.name, base + kind.words(path), true);
    line(kind.name, base + kind.words(path), false);
  }
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  // With a number of megabits per second only those paths.
  const int only = argc > 1 ? std::atoi(argv[1]) : 0;
  std::printf("%6s %6s  %-26s %-4s %10s %7s %7s %8s %9s %8s %6s %6s\n", "RTT ms", "Mbit/s", "up",
              "undo", "goodput", "share", "least", "resent", "needless", "episodes", "undone",
              "RTOs");
  for (const int mbit : {10, 100, 1000}) {
    for (const int rtt_ms : {20, 100}) {
      if (only == 0 || only == mbit) bench::rows({rtt_ms, mbit});
    }
  }
}
