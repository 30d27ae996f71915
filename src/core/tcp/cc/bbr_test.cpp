// BBR alone: the cases of the draft's appendix, as samples of a path.
#include "core/tcp/cc/bbr.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr std::uint64_t kRate = 10'000'000;  // bytes per second
constexpr Duration kRtt = Duration::millis(50);
constexpr std::uint64_t kBdp = 500'000;

/// Acknowledgements of a path that delivers at `rate` after `rtt`, ten for each round trip.
struct Path {
  Bbr cc{{.mss = kMss, .srtt = kRtt, .min_rtt = kRtt, .seed = 7}};
  Instant now = Instant{} + Duration::seconds(1);
  std::uint64_t delivered = 0;
  std::uint64_t rate = kRate;
  Duration rtt = kRtt;
  std::uint64_t in_flight = kBdp;
  std::uint64_t lost = 0;    // with the next ACK
  std::uint64_t marked = 0;  // of each ACK
  bool limited = false, cwnd_limited = false, recovery = false;

  std::uint64_t per_rtt() const {
    return rate * static_cast<std::uint64_t>(rtt.count_nanos()) / 1'000'000'000;
  }
  void ack() {
    const std::uint64_t piece = per_rtt() / 10;
    now += rtt / 10;
    delivered += piece;
    const std::uint64_t over_rtt = std::min(per_rtt(), delivered);
    cc.on_ack({.now = now,
               .acked = piece,
               .delivered = piece,
               .lost = lost,
               .ce_marked = marked,
               .prior_in_flight = in_flight + piece,
               .in_flight = cc.phase() == Bbr::Phase::probe_rtt ? 0 : in_flight,
               .rtt = rtt,
               .srtt = rtt,
               .min_rtt = rtt,
               .delivery_rate = rate,
               .total_delivered = delivered,
               .prior_delivered = delivered - over_rtt,
               .rate_delivered = over_rtt,
               .tx_in_flight = std::max<std::uint64_t>(in_flight, 1),
               .lost_since = lost,
               .newest_rtt = rtt,
               .app_limited = limited,
               .cwnd_limited = cwnd_limited,
               .in_recovery = recovery});
    lost = 0;
  }
  void rounds(int n) {
    for (int i = 0; i < 10 * n; ++i) ack();
  }
  template <typename F>
  bool until(F&& reached, int most_rounds) {
    for (int i = 0; i < 10 * most_rounds && !reached(); ++i) ack();
    return reached();
  }
  bool until(Bbr::Phase phase, int most_rounds = 200) {
    return until([&] { return cc.phase() == phase; }, most_rounds);
  }
  void lose(std::uint64_t bytes) {
    cc.on_loss({.now = now,
                .lost = bytes,
                .in_flight = in_flight,
                .tx_in_flight = in_flight + bytes,
                .lost_since = bytes});
    lost = bytes;
  }
  /// In CRUISE, with the pipe known.
  void settle() {
    ASSERT_TRUE(until([&] { return cc.full_bw_reached(); }, 20));
    ASSERT_TRUE(until(Bbr::Phase::cruise));
  }
};

double gain(const Path& p) {
  return static_cast<double>(p.cc.pacing_rate()) / static_cast<double>(p.cc.bw());
}

TEST(Bbr, LeavesStartupWhenThreeRoundsBringNoMore) {
  Path p;
  for (p.rate = kRate / 16; p.rate < kRate; p.rate *= 2) {
    p.rounds(1);
    EXPECT_EQ(p.cc.phase(), Bbr::Phase::startup);
    EXPECT_NEAR(gain(p), 2.77 * 0.99, 0.05);
  }
  p.rate = kRate;
  p.in_flight = 2 * kBdp;
  const std::uint32_t before = p.cc.round_count();
  ASSERT_TRUE(p.until(Bbr::Phase::drain, 10));
  EXPECT_GE(p.cc.round_count() - before, 3U);
  EXPECT_LE(p.cc.round_count() - before, 5U);
  EXPECT_EQ(p.cc.max_bw(), kRate);
  EXPECT_NEAR(gain(p), 0.5 * 0.99, 0.02);
}

TEST(Bbr, StaysInStartupWhileTheApplicationLimits) {
  Path p;
  p.limited = true;
  p.in_flight = kBdp / 10;
  p.rounds(60);  // less than the five seconds after which PROBE_RTT comes
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::startup);
  // Many losses end it all the same.
  p.recovery = true;
  for (int i = 0; i < 30 && p.cc.phase() == Bbr::Phase::startup; ++i) {
    p.lose(5 * kMss);
    p.ack();
  }
  EXPECT_TRUE(p.cc.full_bw_reached());
  EXPECT_NE(p.cc.phase(), Bbr::Phase::startup);
}

TEST(Bbr, FewLossesDoNotEndStartup) {
  Path p;
  p.limited = true;
  p.recovery = true;
  for (int i = 0; i < 40; ++i) {
    if (i % 10 == 0) p.lose(kMss);
    p.ack();
  }
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::startup);
}

TEST(Bbr, DrainsUntilTheQueueIsGoneOrForThreeRounds) {
  for (const bool drained : {true, false}) {
    Path p;
    p.in_flight = 2 * kBdp;
    ASSERT_TRUE(p.until(Bbr::Phase::drain, 20));
    const std::uint32_t before = p.cc.round_count();
    if (drained) p.in_flight = kBdp;
    ASSERT_TRUE(p.until([&] { return p.cc.phase() != Bbr::Phase::drain; }, 10));
    EXPECT_EQ(p.cc.round_count() - before, drained ? 0U : 4U);
  }
}

TEST(Bbr, CyclesThroughTheTacticsEveryTwoToThreeSeconds) {
  Path p;
  p.settle();
  EXPECT_NEAR(gain(p), 0.99, 0.01);
  const Instant cruise = p.now;
  ASSERT_TRUE(p.until(Bbr::Phase::refill));
  EXPECT_GE(p.now - cruise, Duration::millis(1900));
  EXPECT_LE(p.now - cruise, Duration::millis(3100));
  EXPECT_NEAR(gain(p), 0.99, 0.01);
  const std::uint32_t refill = p.cc.round_count();
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  EXPECT_EQ(p.cc.round_count() - refill, 1U);
  EXPECT_NEAR(gain(p), 1.25 * 0.99, 0.02);
  ASSERT_TRUE(p.until(Bbr::Phase::down));  // three rounds without more
  EXPECT_NEAR(gain(p), 0.9 * 0.99, 0.01);
  ASSERT_TRUE(p.until(Bbr::Phase::cruise));
  // Without a bound from losses the window is twice the product.
  EXPECT_NEAR(static_cast<double>(p.cc.window()), 2.0 * kBdp, 0.12 * kBdp);
}

TEST(Bbr, FindsBandwidthThatBecameFree) {
  Path p;
  p.settle();
  p.rate = 2 * kRate;  // what UP would see at once
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.rounds(2);
  EXPECT_EQ(p.cc.max_bw(), 2 * kRate);
}

TEST(Bbr, ForgetsBandwidthAfterTwoCycles) {
  Path p;
  p.settle();
  p.rate = kRate / 2;
  p.in_flight = kBdp / 2;
  p.rounds(20);
  EXPECT_EQ(p.cc.max_bw(), kRate);
  p.rounds(250);
  EXPECT_EQ(p.cc.max_bw(), kRate / 2);
}

TEST(Bbr, LossesOfAProbeBoundTheVolumeAndTheNextProbeIsCareful) {
  Path p;
  p.settle();
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.in_flight = kBdp * 6 / 5;
  p.ack();
  p.lose(kBdp / 10);
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::down);
  // Where the losses crossed 2 %: all but the lost bytes were out, and 2 % of that was tolerable.
  EXPECT_NEAR(static_cast<double>(p.cc.inflight_longterm()), 1.2 * kBdp * 1.02, 0.02 * kBdp);
  const std::uint64_t bound = p.cc.inflight_longterm();
  p.in_flight = kBdp;
  ASSERT_TRUE(p.until(Bbr::Phase::cruise));
  p.rounds(1);
  EXPECT_LE(p.cc.window(), bound - bound * 14 / 100);  // headroom of 15 %
  // The next UP stops where the last one went too far, and once that went well the one after it
  // stays.
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.in_flight = bound;
  p.ack();
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::down);
  p.in_flight = kBdp;
  const Instant down = p.now;
  ASSERT_TRUE(p.until(Bbr::Phase::refill));
  EXPECT_LE(p.now - down, kRtt * 3);
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.in_flight = bound;
  p.cwnd_limited = true;
  p.rounds(3);
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::up);
  EXPECT_GT(p.cc.inflight_longterm(), bound);  // grows by 1, 2, 4 segments a round
}

TEST(Bbr, LossesOutsideOfProbesLowerTheShortTermModel) {
  Path p;
  p.settle();
  p.rate = kRate / 2;
  p.in_flight = kBdp / 2;
  p.rounds(2);
  p.lose(kMss);
  p.rounds(3);
  EXPECT_NEAR(static_cast<double>(p.cc.bw_shortterm()), 0.7 * kRate, 0.01 * kRate);
  EXPECT_LT(p.cc.window(), kBdp * 3 / 2);
  p.lose(kMss);
  p.rounds(3);
  EXPECT_EQ(p.cc.bw_shortterm(), kRate / 2 * 103 / 100);  // never below what is delivered
  // A random loss now and then changes nothing more: what is delivered is not less than 3 % less.
  for (int i = 0; i < 10; ++i) {
    p.lose(kMss);
    p.rounds(2);
  }
  EXPECT_EQ(p.cc.bw_shortterm(), kRate / 2 * 103 / 100);
  EXPECT_EQ(p.cc.max_bw(), kRate);
  ASSERT_TRUE(p.until(Bbr::Phase::refill));
  EXPECT_EQ(p.cc.bw_shortterm(), kNoLimit);
  EXPECT_EQ(p.cc.inflight_shortterm(), kNoLimit);
}

TEST(Bbr, VisitsProbeRttAndComesBack) {
  Path p;
  p.settle();
  p.rtt = kRtt + Duration::millis(5);  // a queue: the least round trip is not seen again
  ASSERT_TRUE(p.until(Bbr::Phase::probe_rtt));
  const Instant begin = p.now;
  p.rtt = kRtt - Duration::millis(10);
  p.ack();
  EXPECT_LE(p.cc.window(), kBdp * 11 / 20);
  EXPECT_NEAR(gain(p), 0.99, 0.01);
  ASSERT_TRUE(p.until([&] { return p.cc.phase() != Bbr::Phase::probe_rtt; }, 20));
  EXPECT_GE(p.now - begin, Duration::millis(200));
  EXPECT_LE(p.now - begin, Duration::millis(320));
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::cruise);
  EXPECT_EQ(p.cc.min_rtt(), kRtt - Duration::millis(10));
  EXPECT_GT(p.cc.window(), kBdp);
  // Slower samples of that time are no reason to forget the bandwidth.
  EXPECT_EQ(p.cc.max_bw(), kRate);
}

TEST(Bbr, AnIdleTimeIsAsGoodAsProbeRtt) {
  Path p;
  p.settle();
  p.now += Duration::seconds(6);
  p.cc.on_sent({.now = p.now, .bytes = kMss, .in_flight = kMss, .app_limited = true});
  EXPECT_NEAR(gain(p), 0.99, 0.01);
  p.ack();
  EXPECT_NE(p.cc.phase(), Bbr::Phase::probe_rtt);
  p.rounds(5);
  EXPECT_NE(p.cc.phase(), Bbr::Phase::probe_rtt);
}

TEST(Bbr, ALongerRoundTripIsBelievedAfterTenSeconds) {
  Path p;
  p.settle();
  p.rtt = kRtt * 2;
  p.in_flight = 2 * kBdp;
  EXPECT_TRUE(p.until([&] { return p.cc.min_rtt() == kRtt * 2; }, 200));
}

TEST(Bbr, UndoesWhatASpuriousLossDid) {
  Path p;
  p.settle();
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  const std::uint64_t window = p.cc.window();
  p.in_flight = kBdp * 6 / 5;
  p.lose(kBdp / 10);
  p.cc.on_recovery({.now = p.now, .edge = RecoveryEdge::enter, .in_flight = p.in_flight});
  p.ack();
  ASSERT_NE(p.cc.inflight_longterm(), kNoLimit);
  ASSERT_EQ(p.cc.phase(), Bbr::Phase::down);
  p.cc.on_spurious(p.now);
  EXPECT_EQ(p.cc.inflight_longterm(), kNoLimit);
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::refill);
  EXPECT_GE(p.cc.window(), window);
  p.cc.on_rto({.now = p.now, .in_flight = p.in_flight, .first = true});
  EXPECT_EQ(p.cc.window(), kMss);
  p.cc.on_spurious(p.now);
  EXPECT_GE(p.cc.window(), window);
}

TEST(Bbr, ConservesPacketsForARoundOfRecovery) {
  Path p;
  p.settle();
  p.in_flight = kBdp / 4;
  p.lose(10 * kMss);
  p.cc.on_recovery({.now = p.now, .edge = RecoveryEdge::enter, .in_flight = p.in_flight});
  p.recovery = true;
  const std::uint64_t before = p.cc.window();
  p.ack();
  EXPECT_LE(p.cc.window(), before);
  p.rounds(2);
  p.cc.on_recovery({.now = p.now, .edge = RecoveryEdge::exit, .in_flight = p.in_flight});
  EXPECT_LE(p.cc.window(), std::max(before, p.cc.inflight_shortterm()));
}

TEST(Bbr, CountedMarksAreAnsweredByTheirShare) {
  Path p;
  p.settle();
  p.marked = p.per_rtt() / 10 / 20;  // one byte in twenty
  p.rounds(2);
  const std::uint64_t bound = p.cc.inflight_shortterm();
  EXPECT_NE(bound, kNoLimit);
  EXPECT_LT(bound, 2 * kBdp);
  EXPECT_EQ(p.cc.bw_shortterm(), kNoLimit);
  EXPECT_LT(p.cc.ecn_alpha(), 65'536U);
  p.rounds(38);
  EXPECT_LT(p.cc.ecn_alpha(), 65'536U / 5);
  EXPECT_GE(p.cc.window(), kBdp * 9 / 10);  // never below what is delivered in a round trip

  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.marked = p.per_rtt() / 10 * 3 / 4;  // more than half: the probe goes too far
  ASSERT_TRUE(p.until(Bbr::Phase::down, 4));
  EXPECT_NE(p.cc.inflight_longterm(), kNoLimit);
}

TEST(Bbr, MarksInStartupEndIt) {
  Path p;
  p.limited = true;
  p.marked = p.per_rtt() / 10;
  EXPECT_TRUE(p.until([&] { return p.cc.full_bw_reached(); }, 6));
  Path classic;
  classic.limited = true;
  for (int i = 0; i < 2; ++i) {
    classic.rounds(1);
    EXPECT_FALSE(classic.cc.full_bw_reached());
    classic.cc.on_ecn({.now = classic.now, .ce_marked = kMss, .in_flight = kBdp});
  }
  classic.rounds(1);
  EXPECT_TRUE(classic.cc.full_bw_reached());
}

// req: RFC3168-MUST-9
TEST(Bbr, EchoedMarksCountAsLosses) {
  Path p;
  p.settle();
  p.rate = kRate / 2;
  p.rounds(2);
  p.cc.on_ecn({.now = p.now, .ce_marked = kMss, .in_flight = kBdp});
  p.rounds(3);
  EXPECT_LT(p.cc.bw_shortterm(), kRate * 71 / 100);
  ASSERT_TRUE(p.until(Bbr::Phase::up));
  p.cc.on_ecn({.now = p.now, .ce_marked = kMss, .in_flight = kBdp});
  EXPECT_EQ(p.cc.phase(), Bbr::Phase::down);
  EXPECT_EQ(p.cc.inflight_longterm(), kBdp);
}

TEST(Bbr, KeepsFourSegmentsOutHoweverSlowThePath) {
  Path p;
  p.rate = 2000;  // a tenth of a segment each round trip
  p.rtt = Duration::millis(50);
  p.in_flight = 0;
  p.rounds(300);
  EXPECT_GE(p.cc.window(), 4U * kMss);
  EXPECT_LE(p.cc.window(), 12U * kMss);
  EXPECT_LE(p.cc.pacing_rate(), 6000U);
}

TEST(Bbr, AllowsForAcksThatComeInBunches) {
  Path p;
  p.settle();
  for (int i = 0; i < 20; ++i) {
    // The ACKs of half a round trip arrive at one instant.
    for (int k = 0; k < 5; ++k) {
      p.now = p.now - p.rtt / 10;
      p.ack();
    }
    p.now += p.rtt / 2;
  }
  EXPECT_GT(p.cc.extra_acked(), kBdp / 4);
  EXPECT_GT(p.cc.window(), 2 * kBdp);
}

TEST(Bbr, SurvivesExtremes) {
  Path p;
  std::uint64_t x = 88172645463325252U;
  const auto draw = [&x](std::uint64_t most) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x % most;
  };
  std::set<Bbr::Phase> seen;
  for (int i = 0; i < 200'000; ++i) {
    p.rate = draw(4) == 0 ? draw(1U << 31) * 8 : kRate;
    p.rtt = Duration::micros(static_cast<std::int64_t>(100 + draw(200'000)));
    p.in_flight = draw(1U << 28);
    p.limited = draw(3) == 0;
    p.cwnd_limited = draw(2) == 0;
    p.marked = draw(5) == 0 ? draw(1U << 20) : 0;
    p.ack();
    switch (draw(50)) {
      case 0:
        p.lose(draw(1U << 24));
        break;
      case 1:
        p.cc.on_recovery({.now = p.now,
                          .edge = draw(2) == 0 ? RecoveryEdge::enter : RecoveryEdge::exit,
                          .in_flight = p.in_flight});
        break;
      case 2:
        p.cc.on_rto({.now = p.now, .in_flight = p.in_flight, .first = draw(2) == 0});
        break;
      case 3:
        p.cc.on_spurious(p.now);
        break;
      case 4:
        p.cc.on_ecn({.now = p.now, .ce_marked = 1, .in_flight = p.in_flight});
        break;
      case 5:
        p.cc.on_mss(static_cast<std::uint32_t>(1 + draw(9000)));
        break;
      default:
        break;
    }
    seen.insert(p.cc.phase());
    ASSERT_GE(p.cc.window(), 1U);
    ASSERT_LE(p.cc.window(), std::uint64_t{1} << 31);
    ASSERT_GE(p.cc.pacing_rate(), 1U);
  }
  EXPECT_EQ(seen.size(), 7U);
  EXPECT_NE(std::string_view(p.cc.stats().phase), "");
}

}  // namespace
}  // namespace tidewire::tcp
