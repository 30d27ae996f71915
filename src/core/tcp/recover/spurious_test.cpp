// Seeing that data was sent again for nothing: the detector, and flows over links that delay.
#include "core/tcp/recover/spurious.hpp"

#include <gtest/gtest.h>

#include "core/tcp/recover/test_flow.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = TestFlow::kMss;

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }
SeqRange segment(std::uint32_t i) { return {Seq{i * kMss}, Seq{i * kMss + kMss}}; }

// req: RFC3522-3.2-3
TEST(SpuriousDetector, AnAckOfTheOriginalHasAnEarlierStampThanTheRetransmission) {
  for (const std::int64_t echoed : {39, 40, 41}) {
    SpuriousDetector detector;
    detector.start();
    detector.on_retransmit(segment(0), true, at_ms(100));
    // The stamp echoed is of 101, 100 or 99 ms.
    EXPECT_EQ(detector.on_progress(Duration::millis(echoed), at_ms(140)), echoed > 40) << echoed;
  }
}

// req: RFC3522-3.2-1, RFC3522-3.2-2
TEST(SpuriousDetector, OnlyTheFirstAckAfterTheFirstRetransmissionIsJudged) {
  SpuriousDetector detector;
  detector.start();
  EXPECT_FALSE(detector.on_progress(Duration::millis(60), at_ms(140)));  // nothing was sent again
  detector.on_retransmit(segment(0), true, at_ms(150));
  detector.on_retransmit(segment(5), false, at_ms(180));  // does not begin it anew
  EXPECT_FALSE(detector.on_progress(Duration::millis(20), at_ms(190)));
  EXPECT_FALSE(detector.on_progress(Duration::millis(90), at_ms(200)));
  SpuriousDetector without_timestamps;
  without_timestamps.start();
  without_timestamps.on_retransmit(segment(0), true, at_ms(150));
  EXPECT_FALSE(without_timestamps.on_progress({}, at_ms(190)));
  SpuriousDetector further_up;
  further_up.start();
  further_up.on_retransmit(segment(3), false, at_ms(150));
  EXPECT_FALSE(further_up.on_progress(Duration::millis(60), at_ms(190)));
}

TEST(SpuriousDetector, EveryRetransmissionMustBeReported) {
  SpuriousDetector detector;
  detector.start();
  detector.on_retransmit({Seq{0}, Seq{3 * kMss}}, true, at_ms(0));
  detector.on_retransmit(segment(3), false, at_ms(0));
  EXPECT_FALSE(detector.on_dsack(segment(2)).all);
  EXPECT_FALSE(detector.on_dsack(segment(0)).all);
  const SpuriousDetector::Report other = detector.on_dsack(segment(9));  // doubled by the network
  EXPECT_FALSE(other.ours);
  EXPECT_FALSE(detector.on_dsack(segment(3)).all);
  EXPECT_TRUE(detector.on_dsack(segment(1)).all);
  EXPECT_FALSE(detector.on_dsack(segment(1)).ours);
}

TEST(SpuriousDetector, OfVeryManyOnlyTheSumIsKnown) {
  SpuriousDetector detector;
  detector.start();
  for (std::uint32_t i = 0; i < 100; ++i) detector.on_retransmit(segment(2 * i), i == 0, at_ms(0));
  EXPECT_FALSE(detector.on_dsack(segment(1000)).ours);
  for (std::uint32_t i = 0; i < 100; ++i) {
    const SpuriousDetector::Report report = detector.on_dsack(segment(2 * (99 - i)));
    EXPECT_TRUE(report.ours);
    EXPECT_EQ(report.all, i == 99) << i;
  }
}

TEST(SpuriousDetector, WhatWasSentBeforeTheEpisodeDoesNotCountForIt) {
  SpuriousDetector detector;
  detector.on_retransmit(segment(0), true, at_ms(0));
  detector.start();
  detector.on_retransmit(segment(7), true, at_ms(50));
  const SpuriousDetector::Report early = detector.on_dsack(segment(0));
  EXPECT_TRUE(early.ours);
  EXPECT_FALSE(early.all);
  EXPECT_TRUE(detector.on_dsack(segment(7)).all);
}

/// One segment is overtaken by more than a round trip.
TestFlow::Setup late_setup(bool timestamps) {
  TestFlow::Setup setup;
  setup.timestamps = timestamps;
  return setup;
}
void delay(TestFlow& flow, std::uint32_t ordinal, Duration by) {
  flow.jitter = [ordinal, by](std::uint32_t n) { return n == ordinal ? by : Duration::zero(); };
}

// req: RFC9438-4.9-2, RFC4015-3.1-7
TEST(Undo, AMistakenFastRetransmissionChangesNothing) {
  for (const bool timestamps : {true, false}) {
    TestFlow flow(late_setup(timestamps));
    delay(flow, 100, Duration::millis(timestamps ? 15 : 60));
    std::uint64_t before = 0;
    std::uint64_t least = ~std::uint64_t{0};
    flow.check = [&] {
      if (flow.counts.recoveries == 0) before = flow.cc.window();
      if (flow.counts.recoveries == 1) least = std::min(least, flow.cc.window());
      if (flow.counts.spurious == 0) return;
      EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::open);
      EXPECT_EQ(flow.recovery.scoreboard().lost(), 0U);
      EXPECT_EQ(flow.cc.ssthresh(), kNoLimit);
      flow.check = {};
    };
    ASSERT_TRUE(flow.run());
    EXPECT_EQ(flow.counts.recoveries, 1U);
    EXPECT_EQ(flow.counts.spurious, 1U);
    EXPECT_LT(least, before);
    EXPECT_GE(flow.cc.window(), before);
    const SpuriousBy by = timestamps ? SpuriousBy::timestamps : SpuriousBy::dsack;
    EXPECT_EQ(flow.counts.spurious_by[by], 1U) << timestamps;
    EXPECT_EQ(flow.counts.duplicated, kMss);
  }
}

TEST(Undo, CanBeSwitchedOff) {
  TestFlow::Setup setup = late_setup(true);
  setup.undo = false;
  TestFlow flow(setup);
  delay(flow, 100, Duration::millis(15));
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_EQ(flow.counts.spurious, 0U);
  EXPECT_NE(flow.cc.ssthresh(), kNoLimit);
  EXPECT_EQ(flow.counts.duplicated, kMss);  // it is still counted
}

TEST(Undo, WorksForMoreRetransmissionsThanAreRemembered) {
  TestFlow::Setup setup = late_setup(false);
  setup.segments = 2000;
  setup.rack = false;
  TestFlow flow(setup);
  // Every third segment of a flight takes a detour of three round trips.
  flow.jitter = [&](std::uint32_t n) {
    return n >= 300 && n < 420 && n % 3 == 0 ? Duration::millis(120) : Duration::zero();
  };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_GE(flow.counts.again, 40U);
  EXPECT_EQ(flow.counts.duplicated, flow.counts.again * kMss);
  EXPECT_EQ(flow.counts.spurious_by[SpuriousBy::dsack], 1U);
}

// The same losses, but one of the segments was lost: nothing is taken back.
TEST(Undo, OneLossAmongManyMistakesKeepsTheReduction) {
  TestFlow::Setup setup = late_setup(false);
  setup.rack = false;
  TestFlow flow(setup);
  flow.jitter = [&](std::uint32_t n) {
    return n >= 300 && n < 360 && n % 3 == 0 ? Duration::millis(120) : Duration::zero();
  };
  flow.drop = [&](std::uint32_t n, std::uint32_t) { return n == 330; };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_EQ(flow.counts.spurious, 0U);
}

// req: RFC3522-3.2-4
TEST(Undo, TheLastAckProvesNothingUnlessThePeerReportsDuplicates) {
  TestFlow flow(late_setup(true));
  flow.send();
  flow.now = at_ms(40);
  flow.take_ack(0, {SeqRange{flow.at(1), flow.at(4)}}, Instant{});
  ASSERT_TRUE(flow.recovery.in_recovery());
  flow.transmit({flow.at(0), flow.at(1)});
  flow.now = at_ms(45);
  flow.take_ack(flow.nxt, {}, Instant{});  // everything, with the stamp of the first flight
  EXPECT_EQ(flow.counts.spurious, 0U);
}

/// The network stands still from 60 to 690 ms.
void stall(TestFlow& flow) {
  flow.jitter = [&flow](std::uint32_t) {
    const bool stalled = flow.now > at_ms(60) && flow.now < at_ms(690);
    return stalled ? at_ms(700) - flow.now : Duration::zero();
  };
}

// req: RFC9438-4.9-1, RFC4015-3.1-5, RFC4015-3.1-7, RFC5682-3.1-2, RFC5682-3.1-4
TEST(Undo, AMistakenTimeoutIsSeenByTimestampsOrByForwardAcknowledgements) {
  for (const bool rack : {true, false}) {
    for (const bool timestamps : {true, false}) {
      TestFlow::Setup setup = late_setup(timestamps);
      setup.rack = rack;
      TestFlow flow(setup);
      stall(flow);
      std::uint64_t before = 0;
      flow.check = [&] {
        if (flow.counts.timeouts == 0) before = flow.cc.window();
      };
      ASSERT_TRUE(flow.run());
      EXPECT_GE(flow.counts.timeouts, 1U);
      const SpuriousBy by = timestamps ? SpuriousBy::timestamps : SpuriousBy::frto;
      EXPECT_EQ(flow.counts.spurious_by[by], 1U) << rack << timestamps;
      EXPECT_GE(flow.cc.window(), before);
      // The rest of the window is not sent again: only the probe and the timeouts were.
      EXPECT_LE(flow.counts.again, flow.counts.timeouts + 1U) << rack << timestamps;
    }
  }
}

TEST(Undo, WithoutForwardAcknowledgementsTheWindowIsSentAgain) {
  TestFlow::Setup setup = late_setup(false);
  setup.frto = false;
  TestFlow flow(setup);
  stall(flow);
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.spurious_by[SpuriousBy::frto], 0U);
  EXPECT_GT(flow.counts.again, flow.counts.timeouts + 1U);
}

// req: RFC5682-3.1-1, RFC5682-3.1-3
TEST(Undo, ARealTimeoutIsNotTakenBack) {
  for (const bool timestamps : {true, false}) {
    TestFlow::Setup setup = late_setup(timestamps);
    TestFlow flow(setup);
    flow.drop = [&](std::uint32_t, std::uint32_t) {
      return flow.now > at_ms(60) && flow.now < at_ms(400);
    };
    ASSERT_TRUE(flow.run());
    EXPECT_GE(flow.counts.timeouts, 1U);
    EXPECT_EQ(flow.counts.spurious, 0U) << timestamps;
    EXPECT_NE(flow.cc.ssthresh(), kNoLimit);
  }
}

// req: RFC4015-3.1-0, RFC4015-3.1-9
TEST(Undo, AfterAMistakenTimeoutTheTimerIsMoreConservative) {
  TestFlow flow(late_setup(true));
  // From 60 ms on a way takes 600 ms instead of 20.
  flow.jitter = [&](std::uint32_t) {
    return flow.now > at_ms(60) ? Duration::millis(580) : Duration::zero();
  };
  Duration after;
  Duration variance;
  std::uint32_t first_after = 0;
  flow.check = [&] {
    if (flow.counts.spurious == 0) {
      first_after = flow.nxt;
    } else if (after == Duration::zero() && flow.rtt.srtt() >= Duration::millis(600)) {
      after = flow.rtt.srtt();
      variance = flow.rtt.rttvar();
    }
  };
  ASSERT_TRUE(flow.run());
  EXPECT_GE(flow.counts.spurious, 1U);
  EXPECT_GE(after, Duration::millis(619));  // max(SRTT, sample), not a mean of both
  EXPECT_GE(variance, Duration::millis(309));
  EXPECT_LE(flow.counts.timeouts, 3U);
}

// A mistake and a loss that the same ACK shows: the first is taken back, the second is not.
TEST(Undo, WhatIsFoundLostInTheSameAckIsALossOfItsOwn) {
  TestFlow flow(late_setup(false));
  flow.send();  // 10 segments at 0 ms
  flow.now = at_ms(40);
  flow.take_ack(0, {SeqRange{flow.at(1), flow.at(4)}});
  ASSERT_TRUE(flow.recovery.in_recovery());
  const std::uint64_t whole = 10 * kMss;
  flow.send();
  flow.now = at_ms(60);
  flow.take_ack(4, {});  // the original of segment 0; then new data leaves
  flow.transmit({flow.at(flow.nxt), flow.at(flow.nxt + 3)});
  flow.nxt += 3;
  flow.now = at_ms(120);
  flow.take_ack(
      4, {SeqRange{flow.at(0), flow.at(1)}, SeqRange{flow.at(flow.nxt - 3), flow.at(flow.nxt)}});
  EXPECT_EQ(flow.counts.spurious_by[SpuriousBy::dsack], 1U);
  EXPECT_EQ(flow.counts.recoveries, 2U);
  EXPECT_TRUE(flow.recovery.in_recovery());
  EXPECT_LT(flow.cc.window(), whole * 7 / 10);
}

// A loss that a timer finds has no ACK that would pay for its retransmission.
TEST(Undo, ALossFoundByTheTimerIsSentAgainAtOnce) {
  TestFlow flow(late_setup(false));
  flow.send();
  flow.now = at_ms(40);
  flow.take_ack(0, {SeqRange{flow.at(5), flow.at(6)}});  // reordering, so that a window is kept
  flow.take_ack(0, {SeqRange{flow.at(4), flow.at(6)}});
  flow.send();
  TimerPlan plan = flow.recovery.timer(flow.rtt, flow.config);
  ASSERT_EQ(plan.mode, TimerMode::reordering);
  flow.now = plan.at;
  flow.timeout(plan.mode);
  ASSERT_TRUE(flow.recovery.in_recovery());
  flow.send();
  EXPECT_GT(flow.counts.again, 0U);
  // More of it: sent later, so due later.
  flow.now = plan.at + Duration::millis(30);
  flow.take_ack(
      0, {SeqRange{flow.at(flow.nxt - 1), flow.at(flow.nxt)}, SeqRange{flow.at(4), flow.at(6)}});
  flow.send();
  plan = flow.recovery.timer(flow.rtt, flow.config);
  if (plan.mode != TimerMode::reordering) GTEST_FAIL() << "no more is waited for";
  flow.now = plan.at;
  flow.timeout(plan.mode);
  EXPECT_TRUE(flow.recovery.scoreboard().has_lost());
  EXPECT_GE(flow.recovery.allowance(flow.cc.window(), true), kMss);
}

}  // namespace
}  // namespace tidewire::tcp
