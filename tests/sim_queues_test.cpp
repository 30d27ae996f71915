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

HostOptions asks_for_ecn(EcnUse use = EcnUse::request) {
  HostOptions options;
  options.stack.tcp.ecn = use;
  return options;
}

// req: RFC3168-MUST-9
TEST(Queues, MarksReplaceLosses) {
  for (const char* queue : {"up.aqm=codel", "up.aqm=red"}) {
    const std::string words = std::string("delay=20ms up.rate=20mbit up.queue=300packets ") + queue;
    TwoHosts two{net(words), {31, 32}, {}, {}, asks_for_ecn()};
    StreamPlan plan;
    plan.send_total = 25'000'000;
    Transfer transfer{two, plan, {}};
    const Instant begin = two.world.now();
    ASSERT_EQ(transfer.run(Duration::seconds(60)), Outcome::done) << transfer.state();
    EXPECT_TRUE(transfer.complete()) << transfer.violation();
    const auto& link = two.attached.link->counters(device::Direction::up);
    EXPECT_GT(link.of(device::Impact::marked), 5U) << queue;
    EXPECT_EQ(link.dropped(), 0U) << queue;
    const Counters& counters = two.a.stack().counters();
    EXPECT_EQ(counters.tcp_retransmits, 0U) << queue;
    // 25 MB are 10 s at this rate.
    EXPECT_LT(transfer.accepted()->finished_at() - begin, Duration::seconds(13)) << queue;
  }
}

TEST(Queues, OffloadsAndMarksGoTogether) {
  // The sender's frames stand for many packets; each is marked alone, and CWR comes once.
  LinkOptions options;
  options.offload = true;
  TwoHosts two{net("delay=5ms up.rate=50mbit up.aqm=codel"), {33, 34}, options, {}, asks_for_ecn()};
  StreamPlan plan;
  plan.send_total = 10'000'000;
  Transfer transfer{two, plan, plan};
  ASSERT_EQ(transfer.run(Duration::seconds(60)), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation();
  EXPECT_GT(two.attached.link->counters(device::Direction::up).of(device::Impact::marked), 0U);
}

// req: RFC9768-MUST-5
TEST(Queues, AccurateFeedbackCountsEveryMark) {
  for (const char* loss : {"", " down.loss=5%", " up.loss=0.02% down.reorder=2%"}) {
    const std::string words = std::string("delay=20ms up.rate=20mbit up.aqm=red") + loss;
    const HostOptions accurate = asks_for_ecn(EcnUse::accurate);
    TwoHosts two{net(words), {35, 36}, {}, {}, accurate, accurate};
    StreamPlan plan;
    plan.send_total = 20'000'000;
    Transfer transfer{two, plan, {}};
    SocketInfo sender, receiver;
    ASSERT_EQ(two.world.run_until(
                  [&] {
                    const auto s = two.a.stack().info(transfer.client->socket());
                    if (s && s->bytes_acked != 0) sender = *s;
                    if (const StreamPeer* peer = transfer.accepted()) {
                      const auto r = two.b.stack().info(peer->socket());
                      if (r && r->bytes_received != 0) receiver = *r;
                    }
                    return transfer.finished();
                  },
                  two.world.now() + Duration::seconds(100)),
              Outcome::done);
    EXPECT_TRUE(transfer.complete()) << transfer.violation();
    EXPECT_EQ(sender.ecn, EcnMode::accurate);
    EXPECT_EQ(receiver.ecn, EcnMode::accurate);
    const std::uint64_t marked = receiver.ce_received * std::uint64_t{1448};
    EXPECT_GT(receiver.ce_received, 10U);
    EXPECT_GT(sender.ce_reported, marked * 9 / 10) << words;
    EXPECT_LT(sender.ce_reported, marked * 11 / 10) << words;
  }
}

TEST(Queues, EveryMixOfEcnWorks) {
  for (const EcnUse a : {EcnUse::never, EcnUse::request, EcnUse::accept, EcnUse::accurate}) {
    for (const EcnUse b : {EcnUse::never, EcnUse::request, EcnUse::accept, EcnUse::accurate}) {
      TwoHosts two{net("delay=5ms rate=20mbit aqm=codel"),
                   {37, 38},
                   {},
                   {},
                   asks_for_ecn(a),
                   asks_for_ecn(b)};
      StreamPlan plan;
      plan.send_total = 2'000'000;
      Transfer transfer{two, plan, plan};
      EXPECT_EQ(transfer.run(Duration::seconds(60)), Outcome::done) << transfer.state();
      EXPECT_TRUE(transfer.complete()) << transfer.violation();
      const auto& up = two.attached.link->counters(device::Direction::up);
      const bool on = b != EcnUse::never && (a == EcnUse::request || a == EcnUse::accurate);
      EXPECT_EQ(up.of(device::Impact::marked) > 0, on) << int(a) << ' ' << int(b);
    }
  }
}

}  // namespace
}  // namespace tidewire::sim
