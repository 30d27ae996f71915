// Who gets how much of a shared bottleneck, in virtual time: Jain's index among flows of one kind,
// BBR beside CUBIC, and how full each algorithm keeps the queue.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "report.hpp"
#include "sim/dumbbell.hpp"

namespace tidewire::bench {
namespace {

constexpr std::uint64_t kRateMbit = 40;
constexpr Duration kRtt = Duration::millis(40);
constexpr std::uint64_t kBdp = kRateMbit * 1'000'000 / 8 * 40 / 1000;  // bytes
constexpr Duration kWarm = Duration::seconds(20);
constexpr Duration kMeasured = Duration::seconds(40);

/// An exact simulator would keep in step for ever who finds the queue full. So flows start 0.3 s
/// apart, and what each sends is up to a millisecond late, in order.
sim::FlowPlan flow(std::string_view name, std::size_t i) {
  const auto n = static_cast<std::int64_t>(i);
  return {.congestion_control = name,
          .start = Duration::millis(300) * n,
          .delay = kRtt / 2,
          .jitter = Duration::millis(1)};
}

struct Measured {
  std::vector<std::uint64_t> shares;
  double mean_queue_ms = 0, p95_queue_ms = 0;
  std::uint64_t resent = 0;  // segments, all flows, the whole run
  std::uint64_t marked = 0;

  double goodput() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t s : shares) sum += s;
    return static_cast<double>(sum) * 8 / static_cast<double>(kMeasured.count_millis()) / 1000;
  }
};

Measured run(const std::vector<sim::FlowPlan>& flows, const std::string& words,
             EcnUse ecn = EcnUse::never, std::uint64_t seed = 1) {
  sim::DumbbellOptions options;
  options.seed = {seed, 2};
  const auto spec = device::parse_net_spec("rate=" + std::to_string(kRateMbit) + "mbit " + words);
  must(static_cast<bool>(spec), words.c_str());
  options.bottleneck = spec->down;
  options.flows = flows;
  options.ecn = ecn;
  sim::Dumbbell net(options);
  net.run_for(kWarm);
  Measured out;
  for (std::size_t i = 0; i < flows.size(); ++i) out.shares.push_back(net.received(i));
  std::vector<double> waits;
  for (std::int64_t ms = 0; ms < kMeasured.count_millis(); ms += 10) {
    net.run_for(Duration::millis(10));
    waits.push_back(static_cast<double>(net.queue_delay().count_micros()) / 1000);
  }
  for (const double w : waits) out.mean_queue_ms += w / static_cast<double>(waits.size());
  std::ranges::sort(waits);
  out.p95_queue_ms = waits[waits.size() * 95 / 100];
  for (std::size_t i = 0; i < flows.size(); ++i) {
    out.shares[i] = net.received(i) - out.shares[i];
    if (const auto info = net.info(i)) out.resent += info->retransmits;
  }
  out.marked = net.bottleneck().of(device::Impact::marked);
  return out;
}

std::string queue_of(std::uint64_t bdps) {
  return "queue=" + std::to_string(bdps * kBdp / 1024) + "KB";
}

/// Three seeds for each; the middle one counts.
void one_kind() {
  std::printf("Flows of one kind: Jain's index over the last 40 s of 60 s, of three seeds\n");
  std::printf("%-6s %6s %10s %8s %8s %10s %8s\n", "kind", "flows", "queue", "median", "least",
              "Mbit/s", "resent");
  for (const std::string_view name : congestion_controls()) {
    for (const std::uint64_t bdps : {1, 4}) {
      for (const std::size_t n : {2, 4, 8}) {
        std::vector<sim::FlowPlan> flows;
        for (std::size_t i = 0; i < n; ++i) flows.push_back(flow(name, i));
        std::array<std::uint32_t, 3> jain{};
        Measured m;
        for (std::size_t seed = 0; seed < jain.size(); ++seed) {
          m = run(flows, queue_of(bdps), EcnUse::never, seed + 1);
          jain[seed] = sim::jain_index(m.shares);
        }
        std::ranges::sort(jain);
        std::printf("%-6s %6zu %6llu BDP %8.3f %8.3f %10.1f %8llu\n", std::string(name).c_str(), n,
                    static_cast<unsigned long long>(bdps), jain[1] / 1000.0, jain[0] / 1000.0,
                    m.goodput(), static_cast<unsigned long long>(m.resent));
        std::fflush(stdout);
      }
    }
  }
}

void two_kinds() {
  std::printf("\nOne flow beside another: shares over the last 40 s of 60 s\n");
  std::printf("%-16s %10s %8s %8s %10s\n", "", "queue", "first", "second", "Mbit/s");
  const std::vector<std::pair<std::string_view, std::string_view>> pairs{
      {"cubic", "bbr"}, {"bbr", "cubic"}, {"reno", "bbr"}, {"cubic", "reno"}};
  for (const auto& [first, second] : pairs) {
    for (const std::uint64_t bdps : {1, 4}) {
      const Measured m = run({flow(first, 0), flow(second, 1)}, queue_of(bdps));
      const double sum = static_cast<double>(m.shares[0] + m.shares[1]);
      std::printf("%-6s + %-7s %6llu BDP %7.0f%% %7.0f%% %10.1f\n", std::string(first).c_str(),
                  std::string(second).c_str(), static_cast<unsigned long long>(bdps),
                  100 * static_cast<double>(m.shares[0]) / sum,
                  100 * static_cast<double>(m.shares[1]) / sum, m.goodput());
      std::fflush(stdout);
    }
  }
}

void queues() {
  std::printf("\nOne flow alone: the queue and the round trip it makes of 40 ms\n");
  std::printf("%-6s %-24s %8s %9s %9s %9s %9s %8s %8s\n", "kind", "queue", "ecn", "Mbit/s",
              "mean ms", "p95 ms", "RTT", "resent", "marked");
  struct Row {
    const char* words;
    EcnUse ecn;
    const char* what;
  };
  constexpr Row kRows[] = {{"", EcnUse::never, "off"},
                           {" aqm=codel", EcnUse::never, "off"},
                           {" aqm=codel", EcnUse::request, "classic"},
                           {" aqm=codel", EcnUse::accurate, "accurate"},
                           {" aqm=red", EcnUse::never, "off"},
                           {" aqm=red", EcnUse::request, "classic"},
                           {" aqm=red", EcnUse::accurate, "accurate"}};
  for (const std::string_view name : congestion_controls()) {
    for (const std::uint64_t bdps : {1, 4}) {
      for (const Row& row : kRows) {
        const Measured m = run({flow(name, 0)}, queue_of(bdps) + row.words, row.ecn);
        const std::string queue = std::to_string(bdps) + " BDP" +
                                  (*row.words != 0 ? row.words + std::strlen(" aqm=") - 1 : "");
        std::printf("%-6s %-24s %8s %9.1f %9.1f %9.1f %8.2fx %8llu %8llu\n",
                    std::string(name).c_str(), queue.c_str(), row.what, m.goodput(),
                    m.mean_queue_ms, m.p95_queue_ms, 1 + m.mean_queue_ms / 40,
                    static_cast<unsigned long long>(m.resent),
                    static_cast<unsigned long long>(m.marked));
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace tidewire::bench

int main() {
  std::printf(
      "One bottleneck of %llu Mbit/s, 40 ms, BDP %llu bytes; flows start 0.3 s apart, each "
      "with up to 1 ms of jitter\n\n",
      static_cast<unsigned long long>(tidewire::bench::kRateMbit),
      static_cast<unsigned long long>(tidewire::bench::kBdp));
  tidewire::bench::one_kind();
  tidewire::bench::two_kinds();
  tidewire::bench::queues();
}
