#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/tcp/cc/cubic.hpp"
#include "core/tcp/cc/newreno.hpp"
#include "core/tcp/cc/registry.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr ControllerConfig kConfig{.mss = kMss};
/// Those whose window follows losses; BBR has a test of its own.
constexpr std::array<std::string_view, 2> kLossBased{"cubic", "reno"};

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }

/// A path that delivers one window each round trip, an ACK for every second segment.
template <typename C>
struct Path {
  C cc;
  Duration rtt = Duration::millis(100);
  Instant now = {};
  std::uint64_t una = 0;
  bool limited = true;

  void round(std::uint64_t window = 0) {
    const std::uint64_t total = window != 0 ? window : cc.window();
    const std::uint64_t nxt = una + total;
    const auto acks = static_cast<std::int64_t>(std::max<std::uint64_t>(total / (2 * kMss), 1));
    const Instant begin = now;
    for (std::int64_t i = 0; i < acks; ++i) {
      const std::uint64_t acked = std::min<std::uint64_t>(2 * kMss, nxt - una);
      una += acked;
      now = begin + rtt * (i + 1) / acks;
      cc.on_ack({.now = now,
                 .acked = acked,
                 .delivered = acked,
                 .credit = acked,
                 .in_flight = total,
                 .rtt = rtt,
                 .srtt = rtt,
                 .min_rtt = rtt,
                 .snd_una_offset = una,
                 .snd_nxt_offset = una + total,
                 .cwnd_limited = limited});
    }
  }
  void loss() {
    cc.on_recovery({.now = now, .edge = RecoveryEdge::enter, .in_flight = cc.window()});
    cc.on_recovery({.now = now, .edge = RecoveryEdge::exit, .in_flight = cc.ssthresh()});
  }
};

// req: RFC9293-MUST-19, RFC5681-3.1-1, RFC5681-3.1-6, RFC5681-3.1-5
TEST(NewReno, DoublesInSlowStartThenGrowsByOneSegment) {
  Path<NewReno> path{NewReno(kConfig)};
  EXPECT_EQ(path.cc.window(), 10U * kMss);
  path.round();
  EXPECT_EQ(path.cc.window(), 20U * kMss);
  path.round();
  path.round();
  EXPECT_EQ(path.cc.window(), 80U * kMss);
  path.loss();
  EXPECT_EQ(path.cc.window(), 40U * kMss);
  EXPECT_EQ(path.cc.ssthresh(), 40U * kMss);
  for (int i = 0; i < 10; ++i) path.round();
  // req: RFC5681-3.1-8
  EXPECT_LE(path.cc.window(), 50U * kMss);
  EXPECT_GE(path.cc.window(), 49U * kMss);
}

// req: RFC5681-3.1-9, RFC5681-3.1-10, RFC5681-3.1-11, RFC5681-3.1-12
TEST(NewReno, ATimeoutGoesToOneSegmentAndBackInSlowStart) {
  Path<NewReno> path{NewReno(kConfig)};
  for (int i = 0; i < 3; ++i) path.round();
  path.cc.on_rto({.now = path.now, .in_flight = 80U * kMss, .first = true});
  EXPECT_EQ(path.cc.window(), kMss);
  EXPECT_EQ(path.cc.ssthresh(), 40U * kMss);
  path.cc.on_rto({.now = path.now, .in_flight = kMss, .first = false});
  EXPECT_EQ(path.cc.ssthresh(), 40U * kMss);
  for (int i = 0; i < 6; ++i) path.round();
  EXPECT_GE(path.cc.window(), 40U * kMss);
  EXPECT_LE(path.cc.window(), 42U * kMss);
}

TEST(NewReno, DoesNotGrowUnusedAndRestartsAfterIdle) {
  Path<NewReno> path{NewReno(kConfig)};
  for (int i = 0; i < 3; ++i) path.round();
  path.limited = false;
  path.round();
  EXPECT_EQ(path.cc.window(), 80U * kMss);
  // req: RFC5681-4.1-1
  path.cc.on_idle_restart({.now = path.now, .idle = Duration::seconds(5)});
  EXPECT_EQ(path.cc.window(), 10U * kMss);
}

TEST(Controllers, UndoAMistakenReduction) {
  const ControllerRegistry registry;
  for (const std::string_view name : kLossBased) {
    Path<AnyController> path{*registry.make(name, kConfig)};
    for (int i = 0; i < 3; ++i) path.round();
    const std::uint64_t before = path.cc.window();
    path.loss();
    EXPECT_LT(path.cc.window(), before) << name;
    path.cc.on_spurious(path.now);
    EXPECT_EQ(path.cc.window(), before) << name;
    path.cc.on_rto({.now = path.now, .in_flight = before, .first = true});
    path.cc.on_spurious(path.now);
    EXPECT_EQ(path.cc.window(), before) << name;
    for (int i = 0; i < 3; ++i) path.round();
    EXPECT_GE(path.cc.window(), before) << name;
  }
}

// req: RFC9438-4.6-1
TEST(Cubic, OfTenSegmentsExactlySevenAreLeft) {
  for (const std::uint32_t mss : {536U, 1000U, 1448U, 8960U}) {
    ControllerConfig config = kConfig;
    config.mss = mss;
    Cubic cc{config};
    cc.on_recovery({.edge = RecoveryEdge::enter, .in_flight = 10 * std::uint64_t{mss}});
    EXPECT_EQ(cc.ssthresh(), 7 * std::uint64_t{mss});
  }
}

// req: RFC9438-4.2-2, RFC9438-5.1-1
TEST(Cubic, TheCurveHasItsPlateauAtWMax) {
  // W_max = 1000 segments, down to 700: K = cbrt(300 / 0.4) = 9.0856 s
  const Duration k = Cubic::plateau_time(1000 * kMss, 700 * kMss, kMss);
  EXPECT_EQ(k, Duration::millis(9085));
  const auto segments = [&](std::int64_t seconds) {
    return Cubic::curve(1000 * kMss, k, Duration::seconds(seconds), kMss) / kMss;
  };
  EXPECT_EQ(segments(0), 700U);
  EXPECT_EQ(segments(9), 1000U);
  EXPECT_EQ(segments(18), 1283U);  // 1000 + 0.4 · 8.915³
  std::uint64_t last = 0;
  for (std::int64_t ms = 0; ms < 40'000; ms += 10) {
    const std::uint64_t w = Cubic::curve(1000 * kMss, k, Duration::millis(ms), kMss);
    ASSERT_GE(w, last);
    last = w;
  }
  EXPECT_EQ(Cubic::plateau_time(5, 10, kMss), Duration::zero());
  EXPECT_EQ(Cubic::curve(10, Duration::seconds(900), Duration::zero(), kMss), 0U);
}

// req: RFC9438-4.6-1, RFC9438-4.6-2, RFC9438-4.4-1, RFC9438-4.5-1
TEST(Cubic, ReducesToSeventyPercentAndComesBackAlongTheCurve) {
  // A long fat path, where the curve and not the Reno estimate rules.
  Path<Cubic> path{Cubic({.mss = kMss, .initial_window = 1000 * kMss, .initial_ssthresh = 1})};
  path.loss();
  const std::uint64_t low = path.cc.window();
  EXPECT_GE(low, 699U * kMss);
  EXPECT_LE(low, 700U * kMss);
  const Instant start = path.now;
  std::vector<std::uint64_t> windows;
  for (int i = 0; i < 150; ++i) {
    path.round();
    windows.push_back(path.cc.window());
  }
  EXPECT_GE(path.now - start, Duration::seconds(14));
  ASSERT_TRUE(std::is_sorted(windows.begin(), windows.end()));
  // At K the old window is reached; before it growth slows, after it growth speeds up.
  EXPECT_NEAR(static_cast<int>(windows[90] / kMss), 1000, 5);
  EXPECT_GT(windows[20] - windows[10], windows[80] - windows[70]);
  EXPECT_GT(windows[149] - windows[139], windows[100] - windows[90]);
  EXPECT_NEAR(static_cast<int>(windows[149] / kMss), 1000 + 84, 15);  // 0.4 · 5.9³
}

// req: RFC9438-4.3-1, RFC9438-4.3-2
TEST(Cubic, IsAtLeastAsFastAsRenoOnShortPaths) {
  Path<Cubic> cubic{Cubic({.mss = kMss, .initial_window = 20 * kMss, .initial_ssthresh = 1})};
  cubic.rtt = Duration::millis(5);
  cubic.loss();
  EXPECT_NEAR(static_cast<int>(cubic.cc.window()), 14'000, 20);
  for (int i = 0; i < 40; ++i) cubic.round();
  // α = 9/17 until the old window (6 segments: 11 to 12 round trips), then 1.
  EXPECT_NEAR(static_cast<int>(cubic.cc.window() / kMss), 20 + 28, 2);
}

// req: RFC9438-4.7-1
TEST(Cubic, FastConvergenceGivesUpMoreAfterASecondLoss) {
  Path<Cubic> path{Cubic({.mss = kMss, .initial_window = 1000 * kMss, .initial_ssthresh = 1})};
  path.loss();
  path.loss();  // at 700: W_max becomes 0.85 · 700
  for (int i = 0; i < 61; ++i) path.round();
  // Plateau at 595 instead of 700 segments.
  EXPECT_NEAR(static_cast<int>(path.cc.window() / kMss), 595, 10);
}

// req: RFC9438-4.8-1, RFC9438-4.8-2, RFC9438-4.10-1
TEST(Cubic, ATimeoutStartsOverWithTheReducedThreshold) {
  Path<Cubic> path{Cubic(kConfig)};
  for (int i = 0; i < 3; ++i) path.round();
  path.cc.on_rto({.now = path.now, .in_flight = 80U * kMss, .first = true});
  EXPECT_EQ(path.cc.window(), kMss);
  EXPECT_NEAR(static_cast<int>(path.cc.ssthresh()), 56'000, 100);
  for (int i = 0; i < 7; ++i) path.round();
  EXPECT_GE(path.cc.window(), 55U * kMss);
  EXPECT_LE(path.cc.window(), 60U * kMss);
  // The Reno estimate begins where slow start ended, and so does the curve: no leap to where the
  // window was before the timeout.
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t before = path.cc.window();
    path.round();
    EXPECT_GE(path.cc.window(), before);
    EXPECT_LE(path.cc.window(), before + 2 * kMss);
  }
  EXPECT_GT(path.cc.window(), 60U * kMss);
}

// req: RFC9438-4.2-1
TEST(Cubic, TimeStandsStillWhileTheApplicationLimits) {
  Path<Cubic> busy{Cubic({.mss = kMss, .initial_window = 1000 * kMss, .initial_ssthresh = 1})};
  busy.loss();
  Path<Cubic> lazy = busy;
  for (int i = 0; i < 20; ++i) {
    busy.round();
    lazy.round();
  }
  lazy.limited = false;
  for (int i = 0; i < 100; ++i) lazy.round(10 * kMss);
  lazy.limited = true;
  for (int i = 0; i < 20; ++i) {
    busy.round();
    lazy.round();
  }
  EXPECT_NEAR(static_cast<int>(lazy.cc.window() / kMss), static_cast<int>(busy.cc.window() / kMss),
              3);
}

// Told the short way of ACKs that did not use the window, or the long way: the same window after
// it.
TEST(Controllers, AQuietAckIsAnAckThatDidNotUseTheWindow) {
  for (const std::string_view name : kLossBased) {
    const ControllerRegistry registry;
    Path<AnyController> told{*registry.make(name, kConfig)};
    for (int i = 0; i < 3; ++i) told.round();
    told.loss();
    told.round();
    Path<AnyController> quiet = told;
    told.limited = false;
    for (int i = 0; i < 50; ++i) {
      told.round(2 * kMss);
      quiet.now += quiet.rtt;
      quiet.una += 2 * kMss;
      ASSERT_TRUE(quiet.cc.on_quiet_ack(quiet.now, quiet.rtt)) << name;
    }
    told.limited = true;
    for (int i = 0; i < 30; ++i) {
      told.round();
      quiet.round();
      ASSERT_EQ(told.cc.window(), quiet.cc.window()) << name << ", round " << i;
    }
  }
  EXPECT_FALSE(ControllerRegistry{}.make("bbr", kConfig)->on_quiet_ack(at_ms(1), Duration{}))
      << "it wants to know all";
}

// req: RFC9438-4.2-1
TEST(Cubic, AnIdleTimeIsNoneOfTheCurve) {
  Path<Cubic> busy{Cubic({.mss = kMss, .initial_window = 1000 * kMss, .initial_ssthresh = 1})};
  busy.loss();
  for (int i = 0; i < 20; ++i) busy.round();
  Path<Cubic> pausing = busy;
  pausing.now += Duration::seconds(10);  // then a whole window is there to send at once
  pausing.cc.on_sent({.now = pausing.now, .bytes = kMss, .in_flight = kMss});
  pausing.cc.on_sent({.now = pausing.now, .bytes = kMss, .in_flight = 2 * kMss});
  busy.round();
  pausing.round();
  EXPECT_NEAR(static_cast<int>(pausing.cc.window() / kMss),
              static_cast<int>(busy.cc.window() / kMss), 1);
}

// req: RFC9438-4.10-2
TEST(Cubic, LeavesSlowStartWhenTheRoundTripGrows) {
  Path<Cubic> path{Cubic(kConfig)};
  for (int i = 0; i < 4; ++i) path.round();
  EXPECT_EQ(path.cc.window(), 160U * kMss);
  path.rtt = Duration::millis(115);  // a queue builds up
  const std::uint64_t before = path.cc.window();
  for (int i = 0; i < 2; ++i) path.round();
  EXPECT_LT(path.cc.window(), 3 * before);  // conservative: not four times
  for (int i = 0; i < 8; ++i) path.round();
  EXPECT_EQ(std::string_view(path.cc.stats().phase), "avoidance");
}

// req: RFC9438-4.2-3
TEST(Cubic, GrowsByAtMostHalfInARoundTrip) {
  Path<Cubic> path{Cubic({.mss = kMss, .initial_window = 100 * kMss, .initial_ssthresh = 1})};
  path.rtt = Duration::seconds(20);  // the curve would leap
  path.loss();
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t before = path.cc.window();
    path.round();
    // Within a round trip each ACK sees a larger window: a little more than half.
    EXPECT_LE(path.cc.window(), before * 17 / 10);
  }
}

// req: RFC9438-4.6-3
TEST(Controllers, ReduceByWhatWasInFlightAndDoNotGrowUnused) {
  const ControllerRegistry registry;
  for (const std::string_view name : kLossBased) {
    Path<AnyController> path{*registry.make(name, kConfig)};
    for (int i = 0; i < 3; ++i) path.round();
    const std::uint64_t window = path.cc.window();
    path.limited = false;
    for (int i = 0; i < 10; ++i) path.round(10 * kMss);
    EXPECT_EQ(path.cc.window(), window) << name;
    path.cc.on_recovery({.now = path.now, .edge = RecoveryEdge::enter, .in_flight = 20 * kMss});
    EXPECT_LE(path.cc.ssthresh(), 14 * kMss) << name;
  }
}

// A window below one segment would never send again.
TEST(Controllers, ARestartAfterALargerMssStillSendsASegment) {
  const ControllerRegistry registry;
  for (const std::string_view name : kLossBased) {
    AnyController cc = *registry.make(name, {.mss = 536, .initial_window = 536});
    cc.on_mss(1460);
    cc.on_idle_restart({.now = {}, .idle = Duration::seconds(5)});
    EXPECT_GE(cc.window(), 1460U) << name;
  }
}

// req: RFC9438-4.6-2
TEST(Cubic, ReducesFromWhatWasOutWhenTheLostDataWasSent) {
  Cubic cc({.mss = kMss, .initial_window = 100 * kMss, .initial_ssthresh = 1});
  // The application writes in lumps: the loss shows while half of the window is out.
  cc.on_loss({.lost = kMss, .in_flight = 49 * kMss, .tx_in_flight = 90 * kMss});
  cc.on_recovery({.edge = RecoveryEdge::enter, .in_flight = 50 * kMss});
  EXPECT_NEAR(static_cast<double>(cc.window()), 63.0 * kMss, kMss);
  cc.on_recovery({.edge = RecoveryEdge::exit, .in_flight = 60 * kMss});
  // Never from more than the window; and a loss of before says nothing about the next.
  cc.on_loss({.lost = kMss, .in_flight = 49 * kMss, .tx_in_flight = 90 * kMss});
  cc.on_recovery({.edge = RecoveryEdge::enter, .in_flight = 50 * kMss});
  EXPECT_NEAR(static_cast<double>(cc.window()), 44.1 * kMss, kMss);
  cc.on_recovery({.edge = RecoveryEdge::exit, .in_flight = 40 * kMss});
  cc.on_recovery({.edge = RecoveryEdge::enter, .in_flight = 20 * kMss});
  EXPECT_NEAR(static_cast<double>(cc.window()), 14.0 * kMss, kMss);
}

// req: RFC9438-4.6-4
TEST(Controllers, MarksReduceDownToTwoSegmentsAndNotBelowOne) {
  const ControllerRegistry registry;
  for (const std::string_view name : kLossBased) {
    AnyController cc = *registry.make(name, kConfig);
    for (int i = 0; i < 30; ++i)
      cc.on_ecn({.now = {}, .ce_marked = kMss, .in_flight = cc.window()});
    EXPECT_EQ(cc.window(), 2 * kMss) << name;
  }
}

TEST(Cubic, SurvivesExtremes) {
  Cubic cc({.mss = 1, .initial_window = 1});
  for (int i = 0; i < 100'000; ++i) {
    cc.on_ack({.now = at_ms(i * 1000LL),
               .acked = 1U << 30,
               .delivered = 1U << 30,
               .credit = 1U << 30,
               .rtt = Duration::seconds(100),
               .srtt = Duration::seconds(100),
               .cwnd_limited = true});
    if (i % 100 == 0) cc.on_recovery({.in_flight = 0});
    if (i % 777 == 0) cc.on_rto({.in_flight = 1U << 31});
    ASSERT_GE(cc.window(), 1U);
    ASSERT_LE(cc.window(), std::uint64_t{1} << 31);
  }
}

TEST(Registry, KnowsTheBuiltInOnesAndTakesOthers) {
  ControllerRegistry registry;
  EXPECT_TRUE(registry.knows("cubic"));
  EXPECT_TRUE(registry.knows("reno"));
  EXPECT_TRUE(registry.knows(ControllerRegistry::kDefault));
  EXPECT_FALSE(registry.make("vegas", kConfig).has_value());
  EXPECT_TRUE(registry.add(
      "mine", [](const ControllerConfig& c) noexcept { return AnyController(NewReno(c)); }));
  EXPECT_EQ(registry.names().back(), "mine");
  EXPECT_EQ(registry.make("mine", kConfig)->window(), 10U * kMss);
  EXPECT_FALSE(registry.add("", nullptr));
}

}  // namespace
}  // namespace tidewire::tcp
