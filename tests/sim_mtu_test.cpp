// Paths that drop long packets and say nothing.
#include <gtest/gtest.h>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

HostOptions probing(MtuProbing use) {
  HostOptions options;
  options.stack.tcp.mtu_probing = use;
  return options;
}

struct Result {
  bool complete = false;
  Duration took;
  std::uint32_t mss = 0;
  std::uint32_t timeouts = 0;
};

Result transfer_through(const char* words, MtuProbing use, std::uint64_t bytes) {
  TwoHosts two{net(words), {41, 42}, {}, {}, probing(use)};
  StreamPlan plan;
  plan.send_total = bytes;
  Transfer transfer{two, plan, {}};
  const Instant begin = two.world.now();
  Result result;
  (void)two.world.run_until(
      [&] {
        if (const auto info = two.a.stack().info(transfer.client->socket())) {
          if (info->mss != 0) result.mss = info->mss;
          result.timeouts = info->timeouts;
        }
        return transfer.finished();
      },
      begin + Duration::seconds(120));
  result.complete = transfer.complete();
  result.took = two.world.now() - begin;
  return result;
}

// req: RFC4821-SHLD-2 RFC8899-MUST-1
TEST(BlackHole, IsFoundAndTheSegmentsGrowAgain) {
  const Result r =
      transfer_through("delay=10ms rate=100mbit hole=1400", MtuProbing::black_hole, 20'000'000);
  EXPECT_TRUE(r.complete);
  EXPECT_LT(r.took, Duration::seconds(20));
  EXPECT_GE(r.timeouts, 3U);
  EXPECT_LE(r.mss, 1348U);  // 1400 - 40 - 12
  EXPECT_GE(r.mss, 1340U);
}

TEST(BlackHole, NeedsNoTimeoutIfProbedAlways) {
  for (const char* hole : {"hole=1200", "hole=1400", "hole=1500"}) {
    const std::string words = std::string("delay=10ms rate=100mbit ") + hole;
    const Result r = transfer_through(words.c_str(), MtuProbing::always, 20'000'000);
    EXPECT_TRUE(r.complete) << hole;
    EXPECT_EQ(r.timeouts, 0U) << hole;
    const auto fits = static_cast<std::uint32_t>(std::stoul(hole + 5)) - 52;
    EXPECT_LE(r.mss, fits) << hole;
    EXPECT_GE(r.mss + 8, fits) << hole;
  }
}

TEST(BlackHole, HangsWithoutProbing) {
  EXPECT_FALSE(transfer_through("delay=10ms hole=1400", MtuProbing::never, 1'000'000).complete);
}

TEST(BlackHole, ProbesCostLittleOnACleanPath) {
  const char* words = "delay=10ms rate=50mbit";
  const Result with = transfer_through(words, MtuProbing::always, 20'000'000);
  const Result without = transfer_through(words, MtuProbing::never, 20'000'000);
  EXPECT_LT(with.took, without.took * 11 / 10);
}

TEST(BlackHole, JumboFrames) {
  const Result r =
      transfer_through("delay=5ms mtu=9000 hole=4000 rate=200mbit", MtuProbing::always, 40'000'000);
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(r.timeouts, 0U);
  EXPECT_LE(r.mss, 3948U);
  EXPECT_GE(r.mss, 3930U);
}

TEST(BlackHole, AnOutageIsNoBlackHoleForLong) {
  device::NetSpec spec = net("delay=10ms rate=50mbit");
  spec.up.blackouts = {{Duration::seconds(3), Duration::seconds(40)}};
  TwoHosts two{spec, {43, 44}, {}, {}, probing(MtuProbing::black_hole)};
  StreamPlan plan;
  plan.send_total = 60'000'000;
  Transfer transfer{two, plan, {}};
  std::uint32_t mss = 0;
  EXPECT_EQ(two.world.run_until(
                [&] {
                  const auto info = two.a.stack().info(transfer.client->socket());
                  if (info && info->mss != 0) mss = info->mss;
                  return transfer.finished();
                },
                two.world.now() + Duration::seconds(200)),
            Outcome::done);
  EXPECT_TRUE(transfer.complete()) << transfer.violation();
  EXPECT_GE(mss, 1440U);
}

}  // namespace
}  // namespace tidewire::sim
