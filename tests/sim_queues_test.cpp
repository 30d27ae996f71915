// Flows through queues that drop early.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

struct Standing {
  Duration median;  ///< how long packets waited, by the sender's round trips
  std::uint64_t delivered = 0;
  device::LinkCounters link;
};

/// One flow for 30 s over 20 Mbit/s and 40 ms; the queue is looked at in the last 20 s.
Standing standing_queue(const char* words) {
  TwoHosts two{net(std::string("delay=20ms up.rate=20mbit up.queue=1000packets ") + words),
               {21, 22}};
  StreamPlan plan;
  plan.send_total = 1'000'000'000;
  plan.send_buffer = 8'000'000;
  StreamPlan reader;
  reader.receive_buffer = 8'000'000;
  Transfer transfer{two, plan, reader};
  two.world.run_for(Duration::seconds(10));
  const std::uint64_t before = transfer.accepted()->bytes_received();
  std::vector<Duration> waits;
  for (int i = 0; i < 2000; ++i) {
    two.world.run_for(Duration::millis(10));
    waits.push_back(two.a.stack().info(transfer.client->socket())->srtt - Duration::millis(40));
  }
  std::ranges::nth_element(waits, waits.begin() + 1000);
  return {waits[1000], transfer.accepted()->bytes_received() - before,
          two.attached.link->counters(device::Direction::up)};
}

constexpr std::uint64_t kHalfTheRate = 20'000'000 / 8 * 20 / 2;

TEST(Queues, CodelKeepsTheStandingQueueNearItsTarget) {
  const Standing tail = standing_queue("");
  const Standing codel = standing_queue("up.aqm=codel");
  EXPECT_GT(tail.median, Duration::millis(100));  // the bloat that there is to avoid
  EXPECT_LT(codel.median, Duration::millis(10));
  EXPECT_GT(codel.link.of(device::Impact::queue_early), 5U);
  EXPECT_EQ(codel.link.of(device::Impact::queue_full), 0U);
  EXPECT_GT(codel.delivered, kHalfTheRate * 8 / 5);
  const Standing wider = standing_queue("up.aqm=codel up.codel.target=30ms");
  EXPECT_GT(wider.median, Duration::millis(10));
  EXPECT_LT(wider.median, Duration::millis(45));
}

TEST(Queues, RedKeepsTheAverageBetweenItsEnds) {
  const Standing red = standing_queue("up.aqm=red up.red.min=20packets up.red.max=60packets");
  EXPECT_LT(red.median, Duration::millis(37));  // 60 packets
  EXPECT_GT(red.link.of(device::Impact::queue_early), 5U);
  EXPECT_EQ(red.link.of(device::Impact::queue_full), 0U);
  EXPECT_GT(red.delivered, kHalfTheRate * 8 / 5);
}

}  // namespace
}  // namespace tidewire::sim
