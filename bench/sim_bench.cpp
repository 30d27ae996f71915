// How fast virtual time runs: simulated seconds for each real second of one
// flow at 50 Mbit/s, 40 ms round trip; median of five.
#include <cstdint>

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

}  // namespace
}  // namespace tidewire::bench

int main() {
  namespace bench = tidewire::bench;
  bench::report("50 Mbit/s, 40 ms, simulated time", "s/s",
                [] { return bench::simulated_per_real("delay=20ms rate=50mbit"); });
  bench::report("the same with 1 % loss", "s/s",
                [] { return bench::simulated_per_real("delay=20ms rate=50mbit loss=1%"); });
}
