// How fast virtual time runs: simulated seconds for each real second of one
// flow at 50 Mbit/s, 40 ms round trip; median of five.
// Usage: sim_bench [simulated_speed SECONDS]: one line, of as many flows as SECONDS take.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "arguments.hpp"
#include "report.hpp"
#include "sim/apps.hpp"
#include "sim/world.hpp"

namespace tidewire::bench {
namespace {

double simulated_per_real(const char* net) {
  constexpr std::uint64_t kBytes = 62'500'000;  // ten seconds at 50 Mbit/s
  const auto spec = device::parse_net_spec(net);
  must(static_cast<bool>(spec), net);
  sim::TwoHosts two(*spec, {7, 0});
  const Instant began = two.world.now();
  auto& server = two.b.add<sim::StreamServer>(Endpoint{{}, 80}, sim::StreamPlan{});
  sim::StreamPlan plan;
  plan.send_total = kBytes;
  auto& client = two.a.add<sim::StreamPeer>(plan);
  client.connect({sim::TwoHosts::kAddressB, 80});
  const double seconds = seconds_of([&] {
    const auto arrived = [&] {
      return !server.accepted().empty() && server.accepted()[0]->bytes_received() == kBytes;
    };
    must(two.world.run_until(arrived, began + Duration::seconds(1000)) == sim::Outcome::done,
         "transfer");
  });
  const Duration simulated = two.world.now() - began;
  return static_cast<double>(simulated.count_micros()) / 1e6 / seconds;
}

constexpr const char* kPath = "delay=20ms rate=50mbit";

int simulated_speed(double seconds) {
  int runs = 0;
  double sum = 0;
  for (double spent = 0; spent < seconds; ++runs) {
    double speed = 0;
    spent += seconds_of([&] { speed = simulated_per_real(kPath); });
    sum += 1 / speed;
  }
  print_row("simulated_speed", runs / sum, "s/s");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  if (argc > 1) {
    if (std::string_view(argv[1]) != "simulated_speed") {
      std::fputs("usage: sim_bench [simulated_speed SECONDS]\n", stderr);
      return 2;
    }
    return bench::simulated_speed(bench::seconds_argument(argc, argv));
  }
  bench::report("50 Mbit/s, 40 ms, simulated time", "s/s",
                [] { return bench::simulated_per_real(bench::kPath); });
  bench::report("the same with 1 % loss", "s/s",
                [] { return bench::simulated_per_real("delay=20ms rate=50mbit loss=1%"); });
}
