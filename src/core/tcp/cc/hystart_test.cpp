// HyStart++ (RFC 9406) as CUBIC's slow start.
#include <gtest/gtest.h>

#include <string_view>

#include "core/tcp/cc/cubic.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 1000;

Duration ms(std::int64_t n) { return Duration::millis(n); }

struct SlowStart {
  Cubic cc{{.mss = kMss}};
  Instant now;
  std::uint64_t una = 0;

  /// A window goes out and comes back; each ACK is for `per_ack` segments and shows `rtt`.
  void round(Duration rtt, std::uint64_t per_ack = 1) {
    const std::uint64_t nxt = una + cc.window();
    while (una < nxt) ack(rtt, per_ack * kMss);
    now += rtt;
  }
  void ack(Duration rtt, std::uint64_t bytes = kMss) {
    una += bytes;
    cc.on_ack({.now = now,
               .acked = bytes,
               .delivered = bytes,
               .credit = bytes,
               .in_flight = cc.window(),
               .rtt = rtt,
               .srtt = rtt,
               .min_rtt = rtt,
               .snd_una_offset = una,
               .snd_nxt_offset = una + cc.window(),
               .cwnd_limited = true});
  }
  std::string_view phase() const { return cc.stats().phase; }
};

constexpr std::string_view kStandard = "slow start";
constexpr std::string_view kConservative = "conservative slow start";

// req: RFC9406-4.2-3, RFC9406-4.2-4, RFC9406-4.3-1
TEST(HyStart, TheThresholdIsAnEighthOfTheRoundTripWithin4And16Milliseconds) {
  struct Case {
    std::int64_t rtt, threshold;
  };
  for (const Case c : {Case{8, 4}, Case{40, 5}, Case{80, 10}, Case{400, 16}}) {
    SlowStart below;
    for (int i = 0; i < 3; ++i) below.round(ms(c.rtt));
    below.round(ms(c.rtt + c.threshold) - Duration::nanos(1));
    EXPECT_EQ(below.phase(), kStandard) << c.rtt;
    SlowStart at;
    for (int i = 0; i < 3; ++i) at.round(ms(c.rtt));
    at.round(ms(c.rtt + c.threshold));
    EXPECT_EQ(at.phase(), kConservative) << c.rtt;
  }
}

// req: RFC9406-4.2-3, RFC9406-4.3-1
TEST(HyStart, EightSamplesOfARoundAreNeeded) {
  SlowStart s;
  for (int i = 0; i < 3; ++i) s.round(ms(40));
  for (int i = 0; i < 7; ++i) s.ack(ms(90));
  EXPECT_EQ(s.phase(), kStandard);
  s.ack(ms(90));
  EXPECT_EQ(s.phase(), kConservative);
  // The least of them counts.
  SlowStart jitter;
  for (int i = 0; i < 3; ++i) jitter.round(ms(40));
  for (int i = 0; i < 50; ++i) jitter.ack(i % 8 == 3 ? ms(41) : ms(90));
  EXPECT_EQ(jitter.phase(), kStandard);
}

// req: RFC9406-4.2-2, RFC9406-4.2-5, RFC9406-4.3-1
TEST(HyStart, GrowsByAQuarterOfTheSpeedInCss) {
  SlowStart s;
  for (int i = 0; i < 3; ++i) {
    const std::uint64_t before = s.cc.window();
    s.round(ms(40));
    EXPECT_EQ(s.cc.window(), 2 * before);
  }
  s.round(ms(60));
  ASSERT_EQ(s.phase(), kConservative);
  const std::uint64_t before = s.cc.window();
  s.round(ms(60));
  EXPECT_NEAR(static_cast<double>(s.cc.window()), 1.25 * static_cast<double>(before), kMss);
}

// req: RFC9406-4.2-6
TEST(HyStart, ARoundTripThatShrinksAgainResumesSlowStart) {
  SlowStart s;
  for (int i = 0; i < 3; ++i) s.round(ms(40));
  s.round(ms(60));
  ASSERT_EQ(s.phase(), kConservative);
  s.round(ms(60));
  EXPECT_EQ(s.phase(), kConservative);
  s.round(ms(59));
  EXPECT_EQ(s.phase(), kStandard);
  const std::uint64_t before = s.cc.window();
  s.round(ms(59));
  EXPECT_NEAR(static_cast<double>(s.cc.window()), 2.0 * static_cast<double>(before), kMss);
  EXPECT_EQ(s.cc.ssthresh(), kNoLimit);
}

// req: RFC9406-4.2-7, RFC9406-4.3-1
TEST(HyStart, FiveRoundsOfCssEndInAvoidance) {
  SlowStart s;
  for (int i = 0; i < 3; ++i) s.round(ms(40));
  int rounds = 0;
  while (s.phase() != "avoidance" && rounds < 20) {
    s.round(ms(60));
    ++rounds;
  }
  EXPECT_EQ(rounds, 6);  // it began in the first of these, which counts; seen with the next ACK
  EXPECT_LE(s.cc.ssthresh(), s.cc.window());
  EXPECT_GE(s.cc.ssthresh() + 2 * kMss, s.cc.window());
}

// req: RFC9406-4.2-8
TEST(HyStart, LossAndMarksEndBothPhases) {
  for (const bool conservative : {false, true}) {
    for (const bool mark : {false, true}) {
      SlowStart s;
      for (int i = 0; i < 3; ++i) s.round(ms(40));
      if (conservative) s.round(ms(60));
      ASSERT_EQ(s.phase(), conservative ? kConservative : kStandard);
      const std::uint64_t window = s.cc.window();
      if (mark) {
        s.cc.on_ecn({.now = s.now, .ce_marked = kMss, .in_flight = window});
      } else {
        s.cc.on_recovery({.now = s.now, .edge = RecoveryEdge::enter, .in_flight = window});
        s.cc.on_recovery({.now = s.now, .edge = RecoveryEdge::exit, .in_flight = window});
      }
      EXPECT_EQ(s.phase(), "avoidance");
      EXPECT_LT(s.cc.window(), window);
      EXPECT_EQ(s.cc.ssthresh(), s.cc.window());
    }
  }
}

// req: RFC9406-4.2-1
TEST(HyStart, LaterSlowStartsAreTheStandardOne) {
  SlowStart s;
  for (int i = 0; i < 5; ++i) s.round(ms(40));
  s.cc.on_rto({.now = s.now, .in_flight = s.cc.window(), .first = true});
  s.round(ms(40));
  s.round(ms(40));
  s.round(ms(200));
  s.round(ms(200));
  EXPECT_EQ(s.phase(), kStandard);
  EXPECT_EQ(s.cc.window(), 16U * kMss);
}

}  // namespace
}  // namespace tidewire::tcp
