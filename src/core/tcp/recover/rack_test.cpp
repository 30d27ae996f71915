#include "core/tcp/recover/rack.hpp"

#include <gtest/gtest.h>

#include "core/tcp/recover/test_flow.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = TestFlow::kMss;

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }

struct RackTest : ::testing::Test {
  void SetUp() override {
    board.reset(Seq{0});
    rtt.on_sample(Duration::millis(100), at_ms(0));
  }
  void send(std::uint32_t segment, std::int64_t ms) {
    ASSERT_TRUE(board.reserve());
    board.on_sent({{Seq{segment * kMss}, Seq{segment * kMss + kMss}}, kMss, at_ms(ms), {}, false});
  }
  Rack::Found sack(std::uint32_t segment, std::int64_t ms) {
    const SeqRange block{Seq{segment * kMss}, Seq{segment * kMss + kMss}};
    const Delivered d = board.on_ack(board.una(), {&block, 1}, {at_ms(ms), rtt.min_rtt()});
    rack.on_delivered(d, at_ms(ms));
    return rack.detect(board, rtt, kMss, false, at_ms(ms));
  }

  HeapMemory memory{1 << 20};
  Scoreboard board{memory};
  RttEstimator rtt;
  Rack rack;
};

// req: RFC8985-6.2-3, RFC8985-6.2-6, RFC8985-6.2-7
TEST_F(RackTest, WaitsAQuarterRoundTripForReorderedData) {
  for (std::uint32_t i = 0; i < 5; ++i) send(i, i);
  Rack::Found found = sack(1, 101);
  EXPECT_EQ(found.lost, 0U);
  // Sent at 0, round trip 100 ms, window 25 ms.
  EXPECT_EQ(found.look_again, at_ms(125));
  found = rack.detect(board, rtt, kMss, false, at_ms(125));
  EXPECT_EQ(found.lost, kMss);
  EXPECT_TRUE(found.look_again.is_never());
}

// req: RFC8985-3.3.2-1
TEST_F(RackTest, DoesNotWaitAfterThreeSegmentsIfNothingWasEverReordered) {
  for (std::uint32_t i = 0; i < 5; ++i) send(i, i);
  (void)sack(2, 102);
  (void)sack(3, 103);
  EXPECT_EQ(sack(4, 104).lost, 2 * kMss);
}

// req: RFC8985-6.2-4, RFC8985-3.3.2-2, RFC8985-3.3.2-3, RFC8985-6.2-5
TEST_F(RackTest, TheWindowWidensWithDuplicateReportsUpToTheRoundTrip) {
  for (std::uint32_t i = 0; i < 5; ++i) send(i, i);
  (void)sack(3, 103);
  EXPECT_FALSE(rack.reordering_seen());
  (void)sack(2, 103);
  EXPECT_TRUE(rack.reordering_seen());
  EXPECT_EQ(rack.reordering_window(rtt, 3, true), Duration::millis(25));
  rack.on_round(true, false, Seq{0}, Seq{5000});
  EXPECT_EQ(rack.reordering_window(rtt, 3, true), Duration::millis(50));
  rack.on_round(true, false, Seq{1000}, Seq{9000});  // the same round trip
  EXPECT_EQ(rack.reordering_window(rtt, 3, true), Duration::millis(50));
  for (std::uint32_t i = 1; i < 9; ++i) rack.on_round(true, false, Seq{i * 9000}, Seq{i * 9000});
  EXPECT_EQ(rack.reordering_window(rtt, 3, true), Duration::millis(100));
  for (int i = 0; i < 16; ++i) rack.on_round(false, true, Seq{100'000}, Seq{100'000});
  EXPECT_EQ(rack.reordering_window(rtt, 3, true), Duration::millis(25));
}

// req: RFC8985-6.2-2
TEST_F(RackTest, ARetransmissionAckedTooEarlyProvesNothing) {
  for (std::uint32_t i = 0; i < 3; ++i) send(i, i);
  (void)board.mark_head_lost();
  send(0, 90);
  const Delivered d = board.on_ack(Seq{kMss}, {}, {at_ms(101), rtt.min_rtt()});
  rack.on_delivered(d, at_ms(101));
  EXPECT_TRUE(d.original_answered);
  EXPECT_EQ(rack.detect(board, rtt, kMss, false, at_ms(101)).lost, 0U);
}

// Segment 0 is sent again and arrives together with 1 and 2, which are late: the round trip is
// theirs, so that 4, sent with them, still has time.
TEST_F(RackTest, TheRoundTripIsThatOfTheLastSegmentAcked) {
  for (std::uint32_t i = 0; i < 5; ++i) send(i, 0);
  (void)board.mark_head_lost();
  (void)sack(3, 100);
  send(0, 100);
  const Delivered d = board.on_ack(Seq{4 * kMss}, {}, {at_ms(220), rtt.min_rtt()});
  rack.on_delivered(d, at_ms(220));
  EXPECT_EQ(rack.round_trip(), Duration::millis(220));
  const Rack::Found found = rack.detect(board, rtt, kMss, true, at_ms(220));
  EXPECT_EQ(found.lost, 0U);
  EXPECT_EQ(found.look_again, at_ms(245));
  // A report beside it does not count.
  send(5, 230);
  send(6, 340);
  const SeqRange block{Seq{6 * kMss}, Seq{7 * kMss}};
  const Delivered both = board.on_ack(Seq{5 * kMss}, {&block, 1}, {at_ms(450), rtt.min_rtt()});
  rack.on_delivered(both, at_ms(450));
  EXPECT_EQ(rack.round_trip(), Duration::millis(450));
}

// req: RFC8985-6.3-1
TEST_F(RackTest, ATimeoutMarksTheFirstSegmentAndWhatIsOld) {
  for (std::uint32_t i = 0; i < 5; ++i) send(i, i < 3 ? 0 : 290);
  EXPECT_EQ(rack.mark_after_timeout(board, rtt, at_ms(300)), 3 * kMss);
  EXPECT_EQ(board.pipe(), 2 * kMss);
}

// What lies below the highest retransmission is not looked at each time, and yet nothing is found
// later than by looking at everything.
TEST_F(RackTest, FindsWhatALookAtEveryRunFinds) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    board.reset(Seq{0});
    rack = Rack{};
    Rng rng(RandomSeed{seed, 5});
    std::uint32_t next = 0;
    tcp::Run latest;
    bool any = false;
    std::uint64_t found = 0;
    for (std::int64_t ms = 1; ms < 3000; ++ms) {
      if (board.outstanding() < 300 * kMss && rng.below(4) != 0) send(next++, ms);
      if (const auto lost = board.next_lost(); lost && rng.below(3) == 0) {
        send(lost->start.value() / kMss, ms);
      }
      if (rng.below(400) == 0) board.undo_lost();
      const std::uint32_t first = board.una().value() / kMss;
      if (next == first || rng.below(2) == 0) continue;
      const std::uint32_t at = first + static_cast<std::uint32_t>(rng.below(next - first));
      const bool advance = rng.below(30) == 0;
      const SeqRange block{Seq{at * kMss}, Seq{at * kMss + kMss}};
      const Delivered d = advance
                              ? board.on_ack(block.end, {}, {at_ms(ms), rtt.min_rtt()})
                              : board.on_ack(board.una(), {&block, 1}, {at_ms(ms), rtt.min_rtt()});
      rack.on_delivered(d, at_ms(ms));
      if (d.rack && (!any || latest.sent_before(d.rack_sent_at, d.rack_order, d.rack_end))) {
        any = true;
        latest.sent_at = d.rack_sent_at;
        latest.order = d.rack_order;
        latest.end = d.rack_end;
      }
      const bool in_recovery = rng.below(2) == 0;
      const Duration wait =
          rack.round_trip() + rack.reordering_window(rtt, board.sacked() / kMss, in_recovery);
      std::uint64_t expected = 0;
      for (const tcp::Run& run : board.runs()) {
        if (run.sacked || (run.lost && !run.in_flight_again) || !any) continue;
        const bool before = run.sent_before(latest.sent_at, latest.order, latest.end);
        if (before && run.sent_at + wait <= at_ms(ms)) expected += run.size();
      }
      ASSERT_EQ(rack.detect(board, rtt, kMss, in_recovery, at_ms(ms)).lost, expected)
          << "seed " << seed << " at " << ms;
      found += expected;
    }
    EXPECT_GT(found, 0U);
  }
}

TEST_F(RackTest, EmissionsOfOneInstantAreToldApart) {
  send(0, 0);
  send(1, 0);
  (void)board.mark_head_lost();
  send(2, 50);
  send(0, 50);                         // after segment 2, at the same time
  EXPECT_EQ(sack(2, 150).lost, kMss);  // segment 1 only
  EXPECT_EQ(board.sent_again(), kMss);
}

// req: RFC8985-7.2-1, RFC8985-7.2-2, RFC8985-7.3-2
TEST(TailProbe, RepairsALostTailWithoutATimeout) {
  for (const std::uint32_t lost : {1U, 2U, 5U}) {
    TestFlow::Setup setup;
    setup.segments = 30;
    TestFlow flow(setup);
    flow.drop = [&](std::uint32_t ordinal, std::uint32_t) {
      return ordinal > 30 - lost && ordinal <= 30;
    };
    ASSERT_TRUE(flow.run(Duration::seconds(5)));
    EXPECT_EQ(flow.counts.timeouts, 0U) << lost;
    EXPECT_EQ(flow.counts.probes, 1U) << lost;
    EXPECT_EQ(flow.counts.again, lost);
    // One lost segment shows only with the next ACK beyond it.
    EXPECT_EQ(flow.counts.recoveries, lost == 1 ? 0U : 1U) << lost;
  }
}

// req: RFC8985-7.3-1, RFC8985-7.3-4
TEST(TailProbe, OnlyOneIsTriedBeforeTheTimeout) {
  TestFlow::Setup setup;
  setup.segments = 30;
  TestFlow flow(setup);
  flow.drop = [&](std::uint32_t ordinal, std::uint32_t) { return ordinal >= 30 && ordinal < 33; };
  ASSERT_TRUE(flow.run(Duration::seconds(5)));
  EXPECT_EQ(flow.counts.probes, 1U);
  EXPECT_EQ(flow.counts.timeouts, 2U);
}

TEST(RackFlow, ALostRetransmissionIsFoundWithoutATimeout) {
  TestFlow flow({});
  std::uint32_t times = 0;
  flow.drop = [&](std::uint32_t, std::uint32_t segment) { return segment == 100 && ++times <= 3; };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.timeouts, 0U);
  EXPECT_EQ(flow.counts.again, 3U);
  EXPECT_EQ(flow.counts.recoveries, 1U);
}

// req: RFC8985-4-3
TEST(RackFlow, ReorderingWithinTheWindowCausesNoRetransmission) {
  TestFlow::Setup setup;
  setup.segments = 5000;
  TestFlow flow(setup);
  Rng rng(RandomSeed{1, 2});
  flow.jitter = [&](std::uint32_t) {
    return Duration::micros(static_cast<std::int64_t>(rng.below(9'000)));
  };
  ASSERT_TRUE(flow.run());
  EXPECT_LE(flow.counts.again, 5U);
}

TEST(RackFlow, AMistakenTimeoutIsTakenBack) {
  TestFlow flow({});
  flow.jitter = [&](std::uint32_t) {
    const bool stalled = flow.now > at_ms(60) && flow.now < at_ms(690);
    return stalled ? at_ms(700) - flow.now : Duration::zero();
  };
  std::uint64_t before = 0;
  flow.check = [&] {
    if (flow.counts.timeouts == 0) before = flow.cc.window();
  };
  ASSERT_TRUE(flow.run());
  EXPECT_GE(flow.counts.timeouts, 1U);
  EXPECT_GE(flow.counts.spurious, 1U);
  EXPECT_GE(flow.cc.window(), before);
}

TEST(RackFlow, AMistakenFastRetransmitIsTakenBack) {
  TestFlow flow({});
  // One segment is overtaken by a whole round trip.
  flow.jitter = [](std::uint32_t ordinal) {
    return ordinal == 100 ? Duration::millis(60) : Duration::zero();
  };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_EQ(flow.counts.spurious, 1U);
}

}  // namespace
}  // namespace tidewire::tcp
