// The small parts of loss recovery: RTT, PRR, delivery rate, pacer.
#include <gtest/gtest.h>

#include <vector>

#include "core/tcp/recover/delivery_rate.hpp"
#include "core/tcp/recover/pacer.hpp"
#include "core/tcp/recover/prr.hpp"
#include "core/tcp/recover/rtt.hpp"

namespace tidewire::tcp {
namespace {

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }
Duration ms(std::int64_t n) { return Duration::millis(n); }

// The bare RFC: no Linux-like floor under the variance, clock granularity of 1 ms.
RttConfig bare() { return {Duration::seconds(1), ms(1), Duration::seconds(60)}; }

// req: RFC9293-MUST-18, RFC6298-2.1-1, RFC6298-2.2-1, RFC6298-2.3-1, RFC6298-4-1
TEST(RttEstimator, FollowsTheFormulas) {
  RttEstimator rtt;
  EXPECT_EQ(rtt.rto(bare()), Duration::seconds(1));
  rtt.on_sample(ms(100), at_ms(0));
  EXPECT_EQ(rtt.srtt(), ms(100));
  EXPECT_EQ(rtt.rttvar(), ms(50));
  EXPECT_EQ(rtt.rto(bare()), ms(300));
  rtt.on_sample(ms(180), at_ms(1));
  // RTTVAR = 3/4 · 50 + 1/4 · |100 - 180|, SRTT = 7/8 · 100 + 1/8 · 180
  EXPECT_EQ(rtt.rttvar(), Duration::micros(57'500));
  EXPECT_EQ(rtt.srtt(), ms(110));
  EXPECT_EQ(rtt.rto(bare()), ms(340));
  for (int i = 0; i < 500; ++i) rtt.on_sample(ms(110), at_ms(2 + i));
  // The variance is gone: the granularity is left.
  EXPECT_EQ(rtt.rto(bare()), ms(111));
}

TEST(RttEstimator, TheMinimumIsAFloorUnderTheVarianceAsInLinux) {
  RttEstimator rtt;
  for (int i = 0; i < 500; ++i) rtt.on_sample(ms(300), at_ms(i));
  EXPECT_EQ(rtt.rto(RttConfig{}), ms(500));
}

// req: RFC9293-MUST-19, RFC6298-5.5-1, RFC6298-2.5-1
TEST(RttEstimator, BacksOffExponentiallyUpToTheMaximum) {
  RttEstimator rtt;
  rtt.on_sample(ms(100), at_ms(0));
  for (const std::int64_t expected : {300, 600, 1200, 2400}) {
    EXPECT_EQ(rtt.rto(bare()), ms(expected));
    rtt.back_off();
  }
  for (int i = 0; i < 100; ++i) rtt.back_off();
  EXPECT_EQ(rtt.rto(bare()), Duration::seconds(60));
  EXPECT_EQ(rtt.base_rto(bare()), ms(300));
  rtt.on_sample(ms(100), at_ms(1));
  EXPECT_EQ(rtt.backoffs(), 0);
}

// req: RFC6298-5.7-1
TEST(RttEstimator, ALostSynMakesDataStartWithThreeSeconds) {
  RttEstimator rtt;
  rtt.on_syn_timeout();
  EXPECT_EQ(rtt.rto(bare()), Duration::seconds(3));
  rtt.on_sample(ms(100), at_ms(0));
  EXPECT_EQ(rtt.rto(bare()), ms(300));
}

// req: RFC7323-4.2-1
TEST(RttEstimator, ManySamplesARoundTripDoNotWashOutHistory) {
  RttEstimator one;
  RttEstimator many;
  one.on_sample(ms(100), at_ms(0));
  many.on_sample(ms(100), at_ms(0));
  one.on_sample(ms(200), at_ms(1));
  for (int i = 0; i < 10; ++i) many.on_sample(ms(200), at_ms(1), 10);
  EXPECT_GE(many.srtt(), one.srtt() - ms(1));
  EXPECT_LE(many.srtt(), one.srtt() + ms(1));
}

// req: RFC8985-6.2-1
TEST(RttEstimator, TheMinimumIsForgottenAfterAWhile) {
  RttEstimator rtt;
  rtt.on_sample(ms(10), at_ms(0));
  rtt.on_sample(ms(50), at_ms(5000));
  EXPECT_EQ(rtt.min_rtt(), ms(10));
  rtt.on_sample(ms(50), at_ms(11'000));
  EXPECT_EQ(rtt.min_rtt(), ms(50));
}

// The example of RFC 6937 §3.2: 20 segments out, the first four lost, ssthresh 10.
// req: RFC6937-3-1
TEST(Prr, SpreadsTheReductionOverTheRoundTrip) {
  constexpr std::uint32_t kMss = 1000;
  Prr prr;
  prr.enter(10 * kMss, 20 * kMss);
  std::uint64_t pipe = 16 * kMss;  // four lost
  std::uint64_t sent = 0;
  for (int ack = 0; ack < 16; ++ack) {
    pipe -= kMss;
    prr.on_ack(kMss, pipe, kMss, false);
    if (ack == 0) prr.force(kMss);
    const std::uint64_t segments = prr.allowance() / kMss;
    ASSERT_LE(segments, 1U);
    prr.on_sent(segments * kMss);
    pipe += segments * kMss;
    sent += segments * kMss;
  }
  EXPECT_GE(pipe, 8U * kMss);
  EXPECT_LE(pipe, 10U * kMss);
  EXPECT_GE(sent, 8U * kMss);
}

// req: RFC6937-3-2, RFC6937-3-3
TEST(Prr, WithoutProgressSendsNoMoreThanArrives) {
  constexpr std::uint32_t kMss = 1000;
  Prr prr;
  prr.enter(10 * kMss, 20 * kMss);
  prr.on_ack(kMss, 2 * kMss, kMss, false);  // far below ssthresh: heavy loss
  EXPECT_EQ(prr.allowance(), kMss);
  prr.on_sent(kMss);
  prr.on_ack(kMss, 2 * kMss, kMss, true);
  EXPECT_EQ(prr.allowance(), 2 * kMss);  // slow start reduction bound
}

TEST(DeliveryRate, MeasuresASteadyFlow) {
  DeliveryRate rate(at_ms(0));
  // A segment of 1000 bytes each ms, round trip 10 ms.
  std::vector<RateSnapshot> sent;
  RateSample sample;
  for (int t = 0; t < 100; ++t) {
    if (t >= 10) {
      sample = rate.on_delivered(1000, sent[static_cast<std::size_t>(t - 10)], at_ms(t - 10), false,
                                 ms(10), at_ms(t));
    }
    sent.push_back(rate.on_send(at_ms(t), t == 0 ? 0 : 10'000));
  }
  ASSERT_TRUE(sample.valid());
  EXPECT_EQ(sample.bytes_per_second(), 1'000'000U);
  EXPECT_EQ(sample.rtt, ms(10));
  EXPECT_EQ(rate.delivered(), 90'000U);
}

TEST(DeliveryRate, ABunchOfAcksShowsNoFalseRate) {
  DeliveryRate rate(at_ms(0));
  const RateSnapshot a = rate.on_send(at_ms(0), 0);
  const RateSnapshot b = rate.on_send(at_ms(10), 1000);
  (void)rate.on_delivered(1000, a, at_ms(0), false, ms(5), at_ms(20));
  const RateSample sample = rate.on_delivered(1000, b, at_ms(10), false, ms(5), at_ms(20));
  EXPECT_EQ(sample.bytes_per_second(), 2000U * 1000 / 20);
  const RateSample early =
      rate.on_delivered(1000, rate.on_send(at_ms(20), 0), at_ms(20), false, ms(5), at_ms(21));
  EXPECT_FALSE(early.valid());
}

TEST(DeliveryRate, MarksWhatTheApplicationLimited) {
  DeliveryRate rate(at_ms(0));
  const RateSnapshot before = rate.on_send(at_ms(0), 0);
  rate.mark_app_limited(1000);
  const RateSnapshot limited = rate.on_send(at_ms(1), 1000);
  EXPECT_FALSE(before.app_limited);
  EXPECT_TRUE(limited.app_limited);
  (void)rate.on_delivered(1000, before, at_ms(0), false, ms(0), at_ms(10));
  EXPECT_TRUE(rate.app_limited());
  EXPECT_TRUE(rate.on_delivered(1000, limited, at_ms(1), false, ms(0), at_ms(11)).app_limited);
  EXPECT_FALSE(rate.app_limited());
}

TEST(DeliveryRate, KnowsWhetherAMarkWouldChangeAnything) {
  DeliveryRate rate(at_ms(0));
  EXPECT_FALSE(rate.is_app_limited_by(0));
  const RateSnapshot sent = rate.on_send(at_ms(0), 0);
  rate.mark_app_limited(3000);
  EXPECT_TRUE(rate.is_app_limited_by(3000));
  EXPECT_FALSE(rate.is_app_limited_by(4000)) << "more is out now";
  (void)rate.on_delivered(1000, sent, at_ms(0), false, ms(0), at_ms(10));
  EXPECT_TRUE(rate.is_app_limited_by(2000)) << "an ACK of something changes nothing";
}

TEST(DeliveryRate, CountsWhatWasOutAndWhatWasLostSince) {
  DeliveryRate rate(at_ms(0));
  const RateSnapshot first = rate.on_send(at_ms(0), 0, 1000);
  rate.on_lost(0xffff'fff0U);  // the count wraps
  const RateSnapshot second = rate.on_send(at_ms(1), 1000, 3000);
  rate.on_lost(500);
  const RateSample of_first = rate.on_delivered(1000, first, at_ms(0), false, ms(0), at_ms(10));
  EXPECT_EQ(of_first.tx_in_flight, 1000U);
  const RateSample of_second = rate.on_delivered(3000, second, at_ms(1), false, ms(0), at_ms(11));
  EXPECT_EQ(of_second.tx_in_flight, 4000U);
  EXPECT_EQ(of_second.lost, 500U);
}

TEST(Pacer, KeepsTheRateAndEarnsBackLateness) {
  Pacer pacer;
  EXPECT_TRUE(pacer.may_send(at_ms(0)));
  pacer.set_rate(1'000'000);
  Instant now = at_ms(0);
  std::uint64_t sent = 0;
  while (now < at_ms(1000)) {
    if (pacer.may_send(now)) {
      pacer.on_sent(3000, now);
      sent += 3000;
    }
    now += Duration::micros(700);  // the timer is late every time
  }
  EXPECT_GE(sent, 990'000U);
  EXPECT_LE(sent, 1'006'000U);
  EXPECT_EQ(Pacer::burst(1'000'000, ms(1), 1460), 2920U);
  EXPECT_EQ(Pacer::burst(100'000'000, ms(1), 1460), 65'536U);
  EXPECT_EQ(Pacer::burst(10'000'000, ms(1), 1460), 10'000U);
  EXPECT_EQ(Pacer::burst(kUnpaced, ms(0), 1460), 65'536U);
}

}  // namespace
}  // namespace tidewire::tcp
