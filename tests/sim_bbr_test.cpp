// BBR between two stacks in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sim/dumbbell.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr std::uint64_t kRate = 100'000'000;  // bits per second
constexpr std::uint64_t kBytes = kRate / 8;   // bytes per second
constexpr std::uint64_t kBdp = kBytes / 25;   // at 40 ms
constexpr Duration kRtt = Duration::millis(40);

Dumbbell one_flow(std::string_view words, EcnUse ecn = EcnUse::never,
                  std::string_view name = "bbr") {
  DumbbellOptions options;
  options.bottleneck = net("rate=100mbit " + std::string(words)).down;
  options.flows = {{.congestion_control = name, .start = {}, .delay = kRtt / 2, .jitter = {}}};
  options.ecn = ecn;
  options.seed = {51, 52};
  return Dumbbell(options);
}

/// Bytes received in a stretch of time.
std::uint64_t received_in(Dumbbell& net, Duration time) {
  const std::uint64_t before = net.received(0);
  net.run_for(time);
  return net.received(0) - before;
}

/// How long packets wait at the bottleneck in a stretch of time.
Duration mean_wait(Dumbbell& net, Duration time) {
  Duration sum;
  const std::int64_t looks = time.count_millis() / 10;
  for (std::int64_t i = 0; i < looks; ++i) {
    net.run_for(Duration::millis(10));
    sum += net.queue_delay();
  }
  return sum / looks;
}

std::uint64_t share(std::uint64_t bytes, Duration time) {
  return bytes * 1000 / (kBytes * static_cast<std::uint64_t>(time.count_millis()) / 1000);
}

TEST(BbrFlow, FillsALinkThatLosesOnePercent) {
  Dumbbell net = one_flow("loss=1%");
  net.run_for(Duration::seconds(3));
  const std::uint64_t bbr = received_in(net, Duration::seconds(20));
  // 1448 of 1514 bytes of a frame are text.
  EXPECT_GE(share(bbr, Duration::seconds(20)), 900U * 1448 / 1514);
  Dumbbell other = one_flow("loss=1%", EcnUse::never, "cubic");
  other.run_for(Duration::seconds(3));
  EXPECT_LT(received_in(other, Duration::seconds(20)) * 4, bbr);  // why there is BBR
}

TEST(BbrFlow, KeepsADeepQueueShort) {
  Dumbbell net = one_flow("queue=5000KB");  // ten times what the path holds
  net.run_for(Duration::seconds(5));
  Duration longest;
  Duration sum;
  constexpr int kLooks = 2000;
  const std::uint64_t before = net.received(0);
  for (int i = 0; i < kLooks; ++i) {
    net.run_for(Duration::millis(10));
    longest = std::max(longest, net.queue_delay());
    sum += net.queue_delay();
  }
  EXPECT_LT(longest, kRtt * 3 / 2);
  EXPECT_LT(sum / kLooks, kRtt / 4);
  EXPECT_GE(share(net.received(0) - before, Duration::millis(10) * kLooks), 900U);
  EXPECT_EQ(net.info(0)->retransmits, 0U);
}

TEST(BbrFlow, AShallowQueueLosesLittle) {
  Dumbbell net = one_flow("queue=100KB");  // a fifth of what the path holds
  net.run_for(Duration::seconds(5));
  const std::uint64_t bytes = received_in(net, Duration::seconds(20));
  EXPECT_GE(share(bytes, Duration::seconds(20)), 850U);
  const SocketInfo info = *net.info(0);
  EXPECT_LT(info.bytes_retransmitted * 50, info.bytes_sent);  // below 2 %
}

// Between visits the window is two products; in one it is half of one.
TEST(BbrFlow, VisitsProbeRttEveryFiveSeconds) {
  Dumbbell net = one_flow("queue=2000KB");
  net.run_for(Duration::seconds(5));
  int visits = 0;
  int low = 0;
  bool inside = false;
  for (int i = 0; i < 3000; ++i) {
    net.run_for(Duration::millis(10));
    const bool now_low = net.info(0)->cwnd < kBdp * 3 / 5;
    if (now_low && !inside) ++visits;
    if (now_low) ++low;
    inside = now_low;
  }
  EXPECT_GE(visits, 5);
  EXPECT_LE(visits, 7);
  // 200 ms and a round trip.
  EXPECT_GE(low, 20 * visits);
  EXPECT_LE(low, 35 * visits);
}

TEST(BbrFlow, FollowsTheRateDownAndUp) {
  Dumbbell net = one_flow("queue=2000KB");
  net.run_for(Duration::seconds(5));
  net.link().set_path(device::Direction::down, {}, kRate / 2);
  net.run_for(Duration::seconds(15));
  EXPECT_GE(share(received_in(net, Duration::seconds(5)), Duration::seconds(5)), 450U);
  EXPECT_LT(mean_wait(net, Duration::seconds(5)), kRtt);
  net.link().set_path(device::Direction::down, {}, kRate);
  net.run_for(Duration::seconds(10));
  EXPECT_GE(share(received_in(net, Duration::seconds(5)), Duration::seconds(5)), 850U);
}

TEST(BbrFlow, FollowsALongerAndAShorterPath) {
  Dumbbell net = one_flow("queue=2000KB");
  net.run_for(Duration::seconds(5));
  for (const Duration more : {Duration::millis(60), Duration::zero()}) {
    net.link().set_path(device::Direction::down, more, kRate);
    net.run_for(Duration::seconds(15));
    EXPECT_GE(share(received_in(net, Duration::seconds(5)), Duration::seconds(5)), 850U);
    EXPECT_LT(mean_wait(net, Duration::seconds(5)), kRtt / 2);
  }
}

// req: RFC9768-MUST-5
TEST(BbrFlow, MarksKeepTheQueueShort) {
  for (const EcnUse ecn : {EcnUse::request, EcnUse::accurate}) {
    Dumbbell net = one_flow("queue=5000KB aqm=codel", ecn);
    net.run_for(Duration::seconds(5));
    const std::uint64_t before = net.received(0);
    EXPECT_LT(mean_wait(net, Duration::seconds(15)), Duration::millis(8)) << int(ecn);
    EXPECT_GE(share(net.received(0) - before, Duration::seconds(15)), 850U) << int(ecn);
    EXPECT_EQ(net.info(0)->retransmits, 0U) << int(ecn);
  }
}

// A transfer with pauses: what the application limits says nothing about the path.
TEST(BbrFlow, PausesDoNotLowerTheEstimate) {
  TwoHosts two{net("delay=20ms rate=100mbit"), {53, 54}};
  Stack& a = two.a.stack();
  auto& sink = two.b.add<BulkSink>(std::uint16_t{80});
  const SocketId socket = *a.open(SocketKind::tcp, Family::v4);
  ASSERT_TRUE(a.set_congestion_control(socket, "bbr", two.world.now()));
  (void)a.connect(socket, Endpoint{TwoHosts::kAddressB, 80}, two.world.now());
  (void)two.world.run_for(Duration::seconds(1));
  const std::vector<std::byte> block(65'536);
  const auto write = [&](std::uint64_t total) {
    while (total > 0) {
      const auto n = a.send(socket, Bytes{block}.first(std::min<std::size_t>(total, block.size())),
                            {}, two.world.now());
      if (n) {
        total -= *n;
      } else {
        (void)two.world.run_for(Duration::millis(1));
      }
    }
  };
  write(30'000'000);
  const std::uint64_t rate = a.info(socket)->pacing_rate;
  EXPECT_GE(rate, kBytes * 8 / 10);
  for (int i = 0; i < 60; ++i) {  // 30 kB, 100 ms of nothing
    write(30'000);
    (void)two.world.run_for(Duration::millis(100));
  }
  EXPECT_GE(a.info(socket)->pacing_rate, kBytes * 8 / 10);
  EXPECT_EQ(sink.bytes_received(), 30'000'000U + 60 * 30'000U);
}

}  // namespace
}  // namespace tidewire::sim
