// One flow over a long fat network, 10 Gbit/s and 100 ms, in virtual time: goodput, window and
// memory second by second; and what a segment costs by the size of the window. Packets of 9000
// bytes, so that a run takes seconds.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "report.hpp"
#include "sim/bulk.hpp"
#include "sim/world.hpp"

namespace tidewire::bench {
namespace {

constexpr std::uint32_t kMtu = 9000;
constexpr std::uint32_t kMostBuffer = 400U << 20;

sim::HostOptions with_buffers(std::uint32_t most) {
  sim::HostOptions options;
  options.stack.tcp.send_buffer_max = options.stack.tcp.receive_buffer_max = most;
  options.memory_cap = std::size_t{1} << 30;
  return options;
}

sim::LinkOptions link() {
  sim::LinkOptions options;
  options.mtu = kMtu;
  return options;
}

struct Flow {
  Flow(const char* net, std::uint32_t buffers)
      : two(spec_of(net), {11, 3}, link(), {}, with_buffers(buffers), with_buffers(buffers)),
        sink(two.b.add<sim::BulkSink>(std::uint16_t{80})),
        source(two.a.add<sim::BulkSource>()) {
    source.connect({sim::TwoHosts::kAddressB, 80});
  }
  static device::NetSpec spec_of(const char* net) {
    const auto spec = device::parse_net_spec(net);
    must(static_cast<bool>(spec), net);
    return *spec;
  }
  void run(Duration time) {
    const sim::Outcome outcome = two.world.run_for(time);
    must(outcome == sim::Outcome::time_up || outcome == sim::Outcome::idle, "the run");
  }

  sim::TwoHosts two;
  sim::BulkSink& sink;
  sim::BulkSource& source;
};

double mib(std::size_t bytes) { return static_cast<double>(bytes) / (1U << 20); }

void curve(const char* net) {
  std::printf("%s, packets of %u bytes\n", net, kMtu);
  std::printf("%6s %12s %10s %12s %12s %8s\n", "s", "Gbit/s", "cwnd MiB", "sender MiB",
              "receiver MiB", "resent");
  Flow flow(net, kMostBuffer);
  std::uint64_t before = 0;
  const double took = seconds_of([&] {
    for (int second = 1; second <= 32; ++second) {
      if (second == 21) flow.source.stop();
      flow.run(Duration::seconds(1));
      const std::uint64_t got = flow.sink.bytes_received();
      const auto info = flow.two.a.stack().info(flow.source.socket());
      must(info.has_value(), "the socket");
      std::printf("%6d %12.3f %10.1f %12.1f %12.1f %8u\n", second,
                  static_cast<double>(got - before) * 8 / 1e9, mib(info->cwnd),
                  mib(flow.two.a.memory().in_use()), mib(flow.two.b.memory().in_use()),
                  info->retransmits);
      std::fflush(stdout);
      before = got;
    }
  });
  std::printf("%.1f s of real time\n", took);
}

/// Nanoseconds of real time for a data segment, both ends and the link, at a window of so many
/// bytes.
void cost(std::uint32_t window, const char* net, Duration warm, Duration measured) {
  Flow flow(net, window);
  flow.run(warm);
  const std::uint64_t before = flow.sink.bytes_received();
  const double took = seconds_of([&] { flow.run(measured); });
  const auto info = flow.two.a.stack().info(flow.source.socket());
  must(info.has_value(), "the socket");
  const double segments =
      static_cast<double>(flow.sink.bytes_received() - before) / std::max(info->mss, 1U);
  const double all = static_cast<double>(flow.sink.bytes_received()) / std::max(info->mss, 1U);
  std::printf("%12u %10.0f %10.0f %10.0f %10u  %s\n", window, all, segments, took * 1e9 / segments,
              info->retransmits, net);
  std::fflush(stdout);
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  using tidewire::Duration;
  // With the number of a row only that one runs, for counting its instructions.
  const int only = argc > 1 ? std::atoi(argv[1]) : 0;
  if (only == 0) bench::curve("rate=10gbit delay=50ms");
  std::printf("\n%12s %10s %10s %10s %10s  %s\n", "window", "segments", "measured", "ns each",
              "resent", "net");
  int row = 0;
  for (const char* loss : {"", " loss=0.001%"}) {
    const auto one = [&](std::uint32_t window, const char* base, Duration warm, Duration measured) {
      if (++row != only && only != 0) return;
      bench::cost(window, (std::string(base) + loss).c_str(), warm, measured);
    };
    one(100'000, "rate=10gbit delay=40us", Duration::millis(500), Duration::millis(800));
    one(10'000'000, "rate=10gbit delay=4ms", Duration::seconds(2), Duration::millis(800));
    one(125'000'000, "rate=10gbit delay=50ms", Duration::seconds(4), Duration::millis(1500));
  }
}
