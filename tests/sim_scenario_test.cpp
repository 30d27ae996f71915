// A scenario in virtual time: the same file as in real time, exactly when it says.
#include <gtest/gtest.h>

#include "device/scenario.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr std::string_view kOutage = R"(
net = "delay=10ms rate=8mbit"
[[at]]
time = "1s"
for = "500ms"
link = "down"
[[at]]
time = "2s"
net = "rate=80mbit"
)";

StreamPlan plan_for(std::uint64_t bytes) {
  StreamPlan plan;
  plan.send_total = bytes;
  return plan;
}

Duration time_of(std::uint64_t bytes, std::string_view text) {
  TwoHosts two{{}, {3, 1}};
  const auto scenario = device::parse_scenario(text, "test");
  EXPECT_TRUE(scenario) << (scenario ? "" : scenario.error());
  if (scenario) two.world.play(two.attached.link, *scenario);
  Transfer transfer(two, plan_for(bytes), {});
  EXPECT_EQ(transfer.run(Duration::seconds(30)), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.state();
  return two.world.now() - Instant::from_nanos(0);
}

TEST(SimScenario, AnOutageAndAnotherRate) {
  // 1 MB a second but for the outage; ten times that from second 2 on, as the window grows.
  const Duration whole = time_of(8'000'000, kOutage);
  EXPECT_GT(whole, Duration::millis(2600));
  EXPECT_LT(whole, Duration::seconds(6));
  EXPECT_GT(time_of(8'000'000, "net = \"delay=10ms rate=8mbit\""), Duration::seconds(8));
  EXPECT_EQ(time_of(8'000'000, kOutage), whole);
}

TEST(SimScenario, APeerThatIsGoneIsNoticedInTheEnd) {
  TwoHosts two{{}, {3, 1}};
  two.world.play(
      two.attached.link,
      *device::parse_scenario("net=\"delay=1ms\"\n[[at]]\ntime=\"20ms\"\nnet=\"loss=100%\"", "t"));
  Transfer transfer(two, plan_for(100'000'000), {});
  const auto noticed = [&] { return transfer.client->error() != SocketError::none; };
  EXPECT_EQ(two.world.run_until(noticed, Instant::from_nanos(0) + Duration::seconds(3600)),
            Outcome::done)
      << transfer.state();
}

}  // namespace
}  // namespace tidewire::sim
