// Tail-loss probes and what RACK-TLP shares with the rest of loss recovery (RFC 8985 §4, §7 to §9).
#include "core/tcp/recover/tail_probe.hpp"

#include <gtest/gtest.h>

#include "core/tcp/recover/test_flow.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = TestFlow::kMss;

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }

TEST(TailProbe, AnAckBeyondARetransmittedProbeMeansALoss) {
  TailProbe probe;
  probe.on_sent(Seq{5000}, true);
  EXPECT_FALSE(probe.may_probe());
  EXPECT_FALSE(probe.on_ack(Seq{4000}, false, false));
  EXPECT_FALSE(probe.on_ack(Seq{5000}, false, false));
  EXPECT_TRUE(probe.on_ack(Seq{6000}, false, false));
  EXPECT_FALSE(probe.outstanding());
  probe.on_sent(Seq{7000}, true);
  EXPECT_FALSE(probe.on_ack(Seq{8000}, true, false));  // reported as a duplicate
  probe.on_sent(Seq{9000}, true);
  EXPECT_FALSE(probe.on_ack(Seq{9000}, false, true));  // a duplicate ACK for it
  EXPECT_FALSE(probe.on_ack(Seq{9999}, false, false));
  probe.on_sent(Seq{12'000}, false);
  EXPECT_FALSE(probe.on_ack(Seq{13'000}, false, false));  // new data repairs nothing
}

// req: RFC8985-7.1-1
TEST(TailProbe, StateOfOneEndsWithARecoveryAndATimeout) {
  for (const bool timeout : {false, true}) {
    TestFlow::Setup setup;
    setup.segments = 10;
    TestFlow flow(setup);
    flow.rtt.on_sample(Duration::millis(40), {});
    flow.send();
    EXPECT_EQ(flow.recovery.timer(flow.rtt, flow.config).mode, TimerMode::tail_probe);
    flow.now = at_ms(90);
    flow.timeout(TimerMode::tail_probe);
    flow.send();  // the last segment again
    ASSERT_EQ(flow.counts.again, 1U);
    if (timeout) {
      flow.now = at_ms(700);
      flow.timeout(TimerMode::rto);
      flow.send();
    } else {
      flow.now = at_ms(130);
      flow.take_ack(0, {SeqRange{flow.at(5), flow.at(9)}});
      ASSERT_TRUE(flow.recovery.in_recovery());
    }
    const std::uint32_t before = flow.counts.recoveries;
    flow.setup.segments = 12;
    flow.now += Duration::millis(40);
    flow.take_ack(10, {});
    flow.send();
    flow.now += Duration::millis(40);
    flow.take_ack(12, {});  // beyond the probe: it is not taken for its loss
    EXPECT_EQ(flow.counts.recoveries, before);
  }
}

// req: RFC8985-7.3-3
TEST(TailProbe, IsATransmissionLikeOthers) {
  TestFlow::Setup setup;
  setup.segments = 10;
  TestFlow flow(setup);
  flow.rtt.on_sample(Duration::millis(40), {});
  flow.send();
  flow.now = at_ms(90);
  flow.timeout(TimerMode::tail_probe);
  flow.send();
  const tcp::Run* run = flow.recovery.scoreboard().run_at(flow.at(9));
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->sent_at, at_ms(90));
  EXPECT_EQ(run->transmissions, 2);
  // What it delivers shows that all the others are lost.
  flow.now = at_ms(130);
  flow.take_ack(0, {SeqRange{flow.at(9), flow.at(10)}});
  EXPECT_TRUE(flow.recovery.in_recovery());
  EXPECT_EQ(flow.recovery.scoreboard().lost(), 9U * kMss);
}

// req: RFC8985-7.4.2-1, RFC8985-7.4.2-2
TEST(TailProbe, WhatItRepairsReducesTheWindow) {
  TestFlow::Setup setup;
  setup.segments = 30;
  TestFlow flow(setup);
  flow.drop = [](std::uint32_t n, std::uint32_t) { return n == 30; };
  ASSERT_TRUE(flow.run(Duration::seconds(5)));
  ASSERT_EQ(flow.counts.probes, 1U);
  const std::uint64_t window = flow.cc.window();
  EXPECT_EQ(flow.counts.recoveries, 0U);
  flow.setup.segments = 35;
  ASSERT_TRUE(flow.run(Duration::seconds(5)));
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_LT(flow.cc.ssthresh(), window);
  EXPECT_EQ(flow.counts.timeouts, 0U);
}

// req: RFC8985-4-1, RFC8985-4-4
TEST(RackFlow, IsNotUsedWithoutSackAndProbesNotWithoutRack) {
  for (const bool sack : {true, false}) {
    TestFlow::Setup setup;
    setup.sack = sack;
    setup.rack = !sack;
    TestFlow flow(setup);
    flow.check = [&] {
      const TimerMode mode = flow.recovery.timer(flow.rtt, flow.config).mode;
      ASSERT_TRUE(mode == TimerMode::none || mode == TimerMode::rto);
    };
    flow.drop = [](std::uint32_t n, std::uint32_t) { return n % 97 == 0; };
    ASSERT_TRUE(flow.run());
    EXPECT_EQ(flow.counts.causes[RetransmitCause::rack], 0U);
    EXPECT_EQ(flow.counts.causes[RetransmitCause::tail_probe], 0U);
    EXPECT_GT(flow.counts.causes[RetransmitCause::fast], 0U);
  }
}

// req: RFC8985-4-2
TEST(RackFlow, EachSegmentKnowsWhenItWasSentLast) {
  TestFlow flow({});
  flow.now = Instant::from_nanos(1);
  flow.transmit({flow.at(0), flow.at(1)});
  flow.now = Instant::from_nanos(2);
  flow.transmit({flow.at(1), flow.at(2)});
  const Scoreboard& board = flow.recovery.scoreboard();
  EXPECT_EQ(board.run_at(flow.at(0))->sent_at, Instant::from_nanos(1));
  EXPECT_EQ(board.run_at(flow.at(1))->sent_at, Instant::from_nanos(2));
  flow.now = at_ms(1);
  flow.transmit({flow.at(0), flow.at(1)});
  EXPECT_EQ(board.run_at(flow.at(0))->sent_at, at_ms(1));
}

// req: RFC8985-8-1
TEST(RackFlow, OneTimerStandsForOneThing) {
  TestFlow flow({});
  EXPECT_EQ(flow.recovery.timer(flow.rtt, flow.config).mode, TimerMode::none);
  flow.rtt.on_sample(Duration::millis(40), {});
  flow.send();
  EXPECT_EQ(flow.recovery.timer(flow.rtt, flow.config).mode, TimerMode::tail_probe);
  flow.now = at_ms(40);
  flow.take_ack(0, {SeqRange{flow.at(2), flow.at(3)}});  // two segments may be overtaken
  TimerPlan plan = flow.recovery.timer(flow.rtt, flow.config);
  EXPECT_EQ(plan.mode, TimerMode::reordering);
  EXPECT_EQ(plan.at, at_ms(50));
  flow.now = plan.at;
  flow.timeout(plan.mode);
  flow.send();
  plan = flow.recovery.timer(flow.rtt, flow.config);
  EXPECT_EQ(plan.mode, TimerMode::rto);  // no probe in recovery
  flow.now = plan.at;
  flow.timeout(plan.mode);
  EXPECT_EQ(flow.recovery.timer(flow.rtt, flow.config).mode, TimerMode::rto);
}

// req: RFC8985-9.2-1
TEST(RackFlow, NothingIsSentAgainThatIsNotDeemedLost) {
  for (const bool rack : {true, false}) {
    TestFlow::Setup setup;
    setup.segments = 60;
    setup.rack = rack;
    TestFlow flow(setup);
    flow.drop = [](std::uint32_t n, std::uint32_t) { return n > 20 && n < 50 && n % 3 == 0; };
    ASSERT_TRUE(flow.run());
    const std::uint32_t speculative = flow.counts.causes[RetransmitCause::speculative] +
                                      flow.counts.causes[RetransmitCause::rescue];
    if (rack) {
      EXPECT_EQ(speculative, 0U);
    }
    EXPECT_GT(flow.counts.causes[rack ? RetransmitCause::rack : RetransmitCause::fast], 5U);
  }
}

}  // namespace
}  // namespace tidewire::tcp
