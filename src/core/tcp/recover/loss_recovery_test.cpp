#include "core/tcp/recover/loss_recovery.hpp"

#include <gtest/gtest.h>

#include "core/tcp/recover/test_flow.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = TestFlow::kMss;

TEST(LossRecovery, ACleanFlowSendsEverythingOnce) {
  TestFlow flow({});
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.again, 0U);
  EXPECT_EQ(flow.counts.timeouts, 0U);
  EXPECT_EQ(flow.rtt.srtt(), Duration::millis(40));
  EXPECT_EQ(flow.recovery.in_flight(), 0U);
}

// req: RFC5681-3.2-3, RFC5681-3.2-5, RFC9293-MUST-19
TEST(LossRecovery, OneLossIsRepairedOnceWithoutATimeout) {
  for (const bool sack : {true, false}) {
    for (const std::string_view controller : {"cubic", "reno"}) {
      TestFlow::Setup setup;
      setup.sack = sack;
      setup.controller = controller;
      setup.rack = false;
      TestFlow flow(setup);
      flow.drop = [](std::uint32_t ordinal, std::uint32_t) { return ordinal == 100; };
      ASSERT_TRUE(flow.run());
      EXPECT_EQ(flow.counts.again, 1U);
      EXPECT_EQ(flow.counts.timeouts, 0U);
      EXPECT_EQ(flow.counts.recoveries, 1U);
      EXPECT_EQ(flow.counts.causes[RetransmitCause::fast], 1U);
    }
  }
}

// req: RFC3042-2-1, RFC3042-2-2, RFC3042-2-3
TEST(LossRecovery, LimitedTransmitSendsNewDataOnTheFirstDuplicates) {
  for (const bool sack : {true, false}) {
    TestFlow::Setup setup;
    setup.sack = sack;
    setup.rack = false;
    TestFlow flow(setup);
    flow.send();
    const std::uint32_t before = flow.nxt;  // the initial window: 10
    EXPECT_EQ(before, 10U);
    for (std::uint32_t i = 1; i <= 2; ++i) {
      flow.now = Instant{} + Duration::millis(40);
      const std::uint64_t window = flow.cc.window();
      flow.take_ack(
          0, sack ? std::vector{SeqRange{flow.at(1), flow.at(1 + i)}} : std::vector<SeqRange>{});
      EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::disorder);
      EXPECT_EQ(flow.cc.window(), window);
      EXPECT_EQ(flow.recovery.allowance(window, true), kMss);
      flow.send();
    }
    EXPECT_EQ(flow.nxt, before + 2);
    EXPECT_EQ(flow.counts.again, 0U);
    if (sack) {  // the same report again lets nothing out
      flow.take_ack(0, {SeqRange{flow.at(1), flow.at(3)}});
      flow.send();
      EXPECT_EQ(flow.nxt, before + 2);
    }
    flow.take_ack(0,
                  sack ? std::vector{SeqRange{flow.at(1), flow.at(4)}} : std::vector<SeqRange>{});
    EXPECT_TRUE(flow.recovery.in_recovery());
    EXPECT_EQ(flow.recovery.next_retransmit(true)->range.start, flow.at(0));
    flow.send();
    EXPECT_EQ(flow.counts.again, 1U);  // it leaves at once, whatever PRR counts
  }
}

// It was reordering: of three segments acknowledged, two had been reported before.
// req: RFC3042-2-1
TEST(LossRecovery, WhatDuplicatesReportedDoesNotGrowTheWindowLater) {
  for (const bool sack : {true, false}) {
    TestFlow::Setup setup;
    setup.sack = sack;
    TestFlow flow(setup);
    flow.send();
    flow.now = Instant{} + Duration::millis(40);
    for (std::uint32_t i = 1; i <= 2; ++i) {
      flow.take_ack(
          0, sack ? std::vector{SeqRange{flow.at(1), flow.at(1 + i)}} : std::vector<SeqRange>{});
      flow.send();
    }
    EXPECT_EQ(flow.cc.window(), 10 * kMss);
    flow.take_ack(3, {});
    EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::open);
    EXPECT_EQ(flow.cc.window(), 11 * kMss);
    flow.take_ack(5, {});
    EXPECT_EQ(flow.cc.window(), 13 * kMss);
  }
}

// Once more than three segments were overtaken, reports say nothing of loss and grow the window at
// once; a timeout in spite of them says that this was overrated.
TEST(LossRecovery, WhereReorderingIsKnownReportsGrowTheWindow) {
  TestFlow flow({});
  const auto credit = [&](std::uint32_t cumulative, std::uint32_t first, std::uint32_t last) {
    const SeqRange block{flow.at(first), flow.at(last)};
    AckEvent event;
    event.seg_ack = flow.at(cumulative);
    if (first != last) event.sack_blocks = {&block, 1};
    event.now = flow.now;
    return flow.recovery.on_ack(event, flow.rtt).credit / kMss;
  };
  flow.send();
  flow.now += Duration::millis(40);
  EXPECT_EQ(credit(0, 3, 4), 0U);
  EXPECT_EQ(credit(4, 0, 0), 3U);  // the first arrived after the fourth: four were overtaken
  EXPECT_EQ(credit(4, 5, 6), 1U);
  EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::disorder);
  EXPECT_EQ(credit(6, 0, 0), 1U);
  EXPECT_EQ(credit(6, 7, 10), 3U);
  flow.now += Duration::millis(300);
  flow.timeout(TimerMode::rto);
  EXPECT_EQ(credit(10, 0, 0), 1U);
  EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::open);
  flow.send();
  flow.now += Duration::millis(40);
  EXPECT_EQ(credit(10, 11, 12), 0U);
}

// req: RFC5681-3.2-6, RFC6582-3.2
TEST(LossRecovery, NewRenoRepairsOneHoleARoundTrip) {
  TestFlow::Setup setup;
  setup.sack = false;
  setup.controller = "reno";
  TestFlow flow(setup);
  flow.drop = [](std::uint32_t ordinal, std::uint32_t) {
    return ordinal == 100 || ordinal == 104 || ordinal == 108 || ordinal == 112;
  };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.timeouts, 0U);
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_EQ(flow.counts.again, 4U);
  EXPECT_EQ(flow.counts.causes[RetransmitCause::fast], 1U);
  EXPECT_EQ(flow.counts.causes[RetransmitCause::partial_ack], 3U);
}

// req: RFC6675-5
TEST(LossRecovery, SackRepairsManyHolesInOneRoundTrip) {
  TestFlow::Setup setup;
  setup.rack = false;
  TestFlow flow(setup);
  flow.drop = [](std::uint32_t ordinal, std::uint32_t) {
    return ordinal >= 100 && ordinal < 160 && ordinal % 4 == 0;
  };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.timeouts, 0U);
  EXPECT_EQ(flow.counts.recoveries, 1U);
  EXPECT_EQ(flow.counts.again, 15U);
}

// req: RFC6675-4-NextSeg-4, RFC6675-4-NextSeg
TEST(LossRecovery, TheEndOfTheFlightIsRescued) {
  TestFlow::Setup setup;
  setup.segments = 20;
  setup.rack = false;
  TestFlow flow(setup);
  // The first and the last of the flight; what lies between shows the first to be lost.
  flow.drop = [](std::uint32_t ordinal, std::uint32_t) { return ordinal == 11 || ordinal == 20; };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.timeouts, 0U);
  EXPECT_EQ(flow.counts.causes[RetransmitCause::rescue], 1U);
}

// req: RFC6298-5.4-1, RFC6298-5.6-1, RFC5681-3.1-12
TEST(LossRecovery, ATimeoutRepairsATailLoss) {
  for (const bool sack : {true, false}) {
    TestFlow::Setup setup;
    setup.segments = 10;
    setup.sack = sack;
    setup.rack = false;
    TestFlow flow(setup);
    flow.drop = [](std::uint32_t ordinal, std::uint32_t) { return ordinal > 7 && ordinal < 12; };
    ASSERT_TRUE(flow.run());
    EXPECT_GE(flow.counts.timeouts, 1U);
    EXPECT_LE(flow.counts.timeouts, 3U);
    EXPECT_FALSE(flow.recovery.scoreboard().has_lost());
    EXPECT_EQ(flow.recovery.phase(), RecoveryPhase::open);
  }
}

TEST(LossRecovery, ABlackoutEndsWithBackedOffTimeouts) {
  TestFlow flow({});
  flow.drop = [&](std::uint32_t, std::uint32_t) {
    return flow.now > Instant{} + Duration::millis(100) &&
           flow.now < Instant{} + Duration::seconds(10);
  };
  ASSERT_TRUE(flow.run(Duration::seconds(60)));
  EXPECT_GE(flow.counts.timeouts, 5U);
  EXPECT_LE(flow.counts.timeouts, 8U);
}

// req: RFC6298-3-1, RFC6298-3-2, RFC6298-1-1
TEST(LossRecovery, RoundTripsAreMeasuredAllTheTimeButNotOnWhatWasSentTwice) {
  for (const bool timestamps : {true, false}) {
    TestFlow::Setup setup;
    setup.timestamps = timestamps;
    TestFlow flow(setup);
    flow.drop = [&](std::uint32_t ordinal, std::uint32_t) { return ordinal % 50 == 7; };
    flow.check = [&] {
      // 40 ms, or up to a millisecond less by the echo; never the time since an original was lost.
      if (!flow.rtt.has_sample()) return;
      ASSERT_GE(flow.rtt.latest(), Duration::millis(39));
      ASSERT_LE(flow.rtt.latest(), Duration::millis(40));
      ASSERT_GE(flow.rtt.rto(flow.config), Duration::millis(239));
    };
    ASSERT_TRUE(flow.run());
    EXPECT_GE(flow.counts.again, 20U);
  }
}

// req: RFC5681-4.3-1, RFC2018-5.1-1
TEST(LossRecovery, LossInTwoWindowsReducesTwice) {
  TestFlow::Setup setup;
  setup.controller = "reno";
  TestFlow flow(setup);
  flow.drop = [](std::uint32_t ordinal, std::uint32_t) { return ordinal == 200 || ordinal == 800; };
  std::vector<std::uint64_t> thresholds;
  flow.check = [&] {
    if (thresholds.empty() || thresholds.back() != flow.cc.ssthresh()) {
      thresholds.push_back(flow.cc.ssthresh());
    }
  };
  ASSERT_TRUE(flow.run());
  EXPECT_EQ(flow.counts.recoveries, 2U);
  ASSERT_EQ(thresholds.size(), 3U);
  EXPECT_LT(thresholds[2], thresholds[1]);
}

// What is taken to be in the network can never be more than what was sent and not acknowledged
// (twice, if it was sent again), and everything arrives whatever is lost.
TEST(LossRecovery, EverythingArrivesUnderRandomLoss) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    TestFlow::Setup setup;
    setup.sack = seed % 3 != 0;
    setup.controller = seed % 2 == 0 ? "cubic" : "reno";
    setup.segments = 2000;
    setup.timestamps = seed % 5 != 0;
    setup.rack = seed % 7 < 4;
    setup.start = Seq{static_cast<std::uint32_t>(seed * 0x13579bdf)};
    TestFlow flow(setup);
    Rng rng(RandomSeed{seed, 77});
    const std::uint64_t percent = (seed % 6) * 5;  // 0 to 25 %
    const auto chance = [&] { return rng.below(100) < percent; };
    flow.drop = [&](std::uint32_t, std::uint32_t) { return chance(); };
    flow.drop_ack = [&](std::uint32_t) { return chance(); };
    if (seed % 4 == 0) {
      flow.jitter = [&](std::uint32_t) {
        return Duration::micros(static_cast<std::int64_t>(rng.below(8'000)));
      };
    }
    flow.check = [&] {
      const Scoreboard& board = flow.recovery.scoreboard();
      ASSERT_LE(board.sacked() + board.lost(), board.outstanding());
      ASSERT_LE(board.sent_again(), board.outstanding());
      ASSERT_LE(board.outstanding(), flow.setup.window * kMss);
    };
    ASSERT_TRUE(flow.run(Duration::seconds(20'000))) << "seed " << seed;
    EXPECT_EQ(flow.received, setup.segments);
    if (percent == 0 && seed % 4 != 0) {
      EXPECT_EQ(flow.counts.again, 0U);
    }
    if (setup.sack && percent == 5 && seed % 4 != 0) {
      EXPECT_LE(flow.counts.again, flow.counts.transmissions / 8) << "seed " << seed;
      EXPECT_LE(flow.counts.timeouts, 25U) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace tidewire::tcp
