// Windows, timestamps and options as values.
#include <gtest/gtest.h>

#include <array>

#include "base/random.hpp"
#include "core/tcp/option_policy.hpp"
#include "core/tcp/timestamps.hpp"
#include "core/tcp/tuple.hpp"
#include "core/tcp/window.hpp"

namespace tidewire::tcp {
namespace {

Instant at_ms(std::int64_t ms) { return Instant{} + Duration::millis(ms); }

// req: RFC7323-2.3-1, RFC7323-2.3-2, RFC7323-2.2-5
TEST(WindowScale, IsAtMostFourteenAndWindowsAtMostOneGibibyte) {
  EXPECT_EQ(WindowScale{15}.shift(), 14);
  EXPECT_EQ(WindowScale{255}.shift(), 14);
  EXPECT_EQ((WireWindow{0xffff} << WindowScale{14}).bytes(), 0xffffU << 14);
  EXPECT_EQ(Window{std::uint64_t{5} << 30}.bytes(), 1U << 30);
  EXPECT_EQ((Window{100'000} >> WindowScale{7}).value, 781);
  EXPECT_EQ((Window{1U << 30} >> WindowScale{0}).value, 0xffff);
  EXPECT_EQ(WindowScale::for_buffer(65'535).shift(), 0);
  EXPECT_EQ(WindowScale::for_buffer(65'536).shift(), 1);
  EXPECT_EQ(WindowScale::for_buffer(6U << 20).shift(), 7);
  EXPECT_EQ(WindowScale::for_buffer(UINT64_MAX).shift(), 14);
}

TEST(WindowScale, IsTheSmallestThatExpressesTheBuffer) {
  for (unsigned shift = 0; shift < 14; ++shift) {
    const std::uint64_t most = std::uint64_t{0xffff} << shift;
    EXPECT_EQ(WindowScale::for_buffer(most).shift(), shift);
    EXPECT_EQ(WindowScale::for_buffer(most + 1).shift(), shift + 1);
  }
  EXPECT_EQ(WindowScale::for_buffer(0).shift(), 0);
  EXPECT_EQ(WindowScale::for_buffer((std::uint64_t{0xffff} << 14) + 1).shift(), 14);
}

TEST(Tuple, IsMadeOfWhatItSaysOfEitherFamily) {
  const std::array<IpAddress, 6> addresses{
      IpAddress::v4(10, 0, 0, 1), IpAddress::v4(10, 0, 0, 2),
      IpAddress::v4(0, 0, 0, 0),  IpAddress::v4(10, 0, 0, 1).mapped(),
      IpAddress::any(Family::v6), IpAddress::loopback(Family::v6)};
  const auto each = [&](auto&& f) {
    for (const IpAddress& local : addresses) {
      for (const IpAddress& remote : addresses) {
        for (const std::uint16_t port : std::array<std::uint16_t, 2>{1, 2}) f(local, remote, port);
      }
    }
  };
  each([&](const IpAddress& local, const IpAddress& remote, std::uint16_t port) {
    const Tuple tuple = Tuple::of(local, port, remote, 7);
    each([&](const IpAddress& l, const IpAddress& r, std::uint16_t p) {
      EXPECT_EQ(tuple.is(l, p, r, 7), tuple == Tuple::of(l, p, r, 7));
      EXPECT_EQ(tuple.is(l, 7, r, p), tuple == Tuple::of(l, 7, r, p));
    });
  });
}

TEST(TupleHash, IsThatOfTheTupleAskedFor) {
  const RandomSeed key{1, 2};
  Tuple one = Tuple::of(IpAddress::v4(10, 0, 0, 1), 1, IpAddress::v4(10, 0, 0, 2), 2);
  Tuple other = one;
  other.remote_port = 3;
  TupleHash remembering{key};
  EXPECT_EQ(remembering(Tuple{}), hash(key, Tuple{}));
  for (const Tuple& tuple : {one, one, other, one, Tuple{}, other}) {
    EXPECT_EQ(remembering(tuple), hash(key, tuple));
  }
  EXPECT_NE(remembering(one), remembering(other));
  EXPECT_NE(TupleHash{(RandomSeed{1, 3})}(one), remembering(one)) << "of its own key";
}

// req: RFC9293-SHLD-14, RFC7323-2.4-1
TEST(ReceiveWindow, TheRightEdgeNeverMovesLeft) {
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    Rng rng(RandomSeed{seed, 1});
    const WindowScale scale{static_cast<std::uint8_t>(rng.below(15))};
    Seq nxt{static_cast<std::uint32_t>(rng.next())};
    ReceiveWindow window(nxt);
    for (int i = 0; i < 1000; ++i) {
      const Seq before = window.edge();
      const std::uint64_t capacity = rng.below(10U << 20) + 1;
      const std::uint64_t free = rng.below(capacity + 1);
      const Window offer = window.offer(nxt, free, capacity, 1460);
      const WireWindow wire = window.advertise(nxt, offer, scale);
      ASSERT_FALSE(window.edge().before(before));
      // What the peer computes reaches at least to the promised edge, within the field.
      if (wire.value != 0xffff) {
        ASSERT_TRUE((nxt + (wire << scale).bytes()).at_or_after(before));
      }
      nxt += static_cast<std::uint32_t>(rng.below(window.usable(nxt) + 1));
    }
  }
}

// req: RFC9293-MUST-39
TEST(ReceiveWindow, OpensInStepsOfASegmentOrHalfTheBuffer) {
  ReceiveWindow window(Seq{0});
  EXPECT_EQ(window.advertise(Seq{0}, Window{10'000}, WindowScale{0}).value, 10'000);
  // 10,000 arrived, the application takes a little: nothing is offered.
  EXPECT_EQ(window.offer(Seq{10'000}, 1459, 10'000, 1460).bytes(), 0U);
  EXPECT_FALSE(window.worth_update(Seq{10'000}, 1459, 10'000, 1460));
  EXPECT_EQ(window.offer(Seq{10'000}, 1460, 10'000, 1460).bytes(), 1460U);
  EXPECT_TRUE(window.worth_update(Seq{10'000}, 1460, 10'000, 1460));
  // A buffer smaller than two segments: half of it is enough.
  EXPECT_EQ(window.offer(Seq{10'000}, 500, 1000, 1460).bytes(), 500U);
}

// req: RFC7323-5.4-1, RFC7323-5.4-2, RFC7323-7-1
TEST(Timestamps, TickEveryMillisecondFromTheirOffset) {
  const Timestamps ts(0xffffff00U);
  std::uint32_t last = ts.value(at_ms(0));
  EXPECT_EQ(last, 0xffffff00U);
  for (std::int64_t ms = 1; ms < 1000; ++ms) {
    const std::uint32_t now = ts.value(at_ms(ms));
    ASSERT_EQ(now - last, 1U);
    last = now;
  }
}

// req: RFC7323-5.3-1, RFC7323-5.5-1
TEST(Timestamps, OlderOnesAreRefusedUntilTheMemoryIsStale) {
  Timestamps ts;
  EXPECT_FALSE(ts.paws_reject(5, at_ms(0)));
  EXPECT_EQ(ts.echo(), 0U);
  ts.start(0xfffffffeU, at_ms(0));
  EXPECT_FALSE(ts.paws_reject(0xfffffffeU, at_ms(1)));
  EXPECT_FALSE(ts.paws_reject(3, at_ms(1)));  // later, across the wrap
  EXPECT_TRUE(ts.paws_reject(0xfffffffdU, at_ms(1)));
  const Instant late = Instant{} + Duration::seconds(24 * 86'400 + 1);
  EXPECT_FALSE(ts.paws_reject(0xfffffffdU, late));
  ts.on_segment(0xfffffffdU, Seq{1}, Seq{1}, false, late);
  EXPECT_EQ(ts.echo(), 0xfffffffdU);
}

// req: RFC7323-4.3-1, RFC7323-4.3-2
TEST(Timestamps, RecentMovesOnlyWithWhatTheLastAckWaitedFor) {
  Timestamps ts;
  ts.start(100, at_ms(0));
  ts.on_segment(105, Seq{2000}, Seq{1000}, false, at_ms(5));  // beyond a gap
  EXPECT_EQ(ts.echo(), 100U);
  ts.on_segment(107, Seq{1000}, Seq{1000}, false, at_ms(7));  // fills it
  EXPECT_EQ(ts.echo(), 107U);
  ts.on_segment(106, Seq{900}, Seq{1000}, false, at_ms(8));  // older
  EXPECT_EQ(ts.echo(), 107U);
}

TEST(Timestamps, AnImpossibleEchoMeasuresNothing) {
  const Timestamps ts(1000);
  EXPECT_EQ(ts.round_trip(1000 + 40, at_ms(100)), Duration::millis(60));
  EXPECT_EQ(ts.round_trip(1000 + 101, at_ms(100)), std::nullopt);
  EXPECT_EQ(ts.round_trip(0x80000000U, at_ms(100)), std::nullopt);
  EXPECT_GT(*ts.round_trip(1000 + 100, at_ms(100)), Duration::zero());
}

// req: RFC7323-2.2-3, RFC7323-3.2-1, RFC2018-4-3, RFC9293-MUST-15, RFC9293-MUST-16
TEST(Negotiate, AnOptionIsInEffectOnlyIfBothSentIt) {
  OptionPolicy ours;
  ours.window_scale = WindowScale{7};
  const Negotiated none = negotiate(ours, {}, 1460);
  EXPECT_FALSE(none.timestamps || none.sack || none.scaling);
  EXPECT_EQ(none.snd_scale.shift(), 0);
  EXPECT_EQ(none.rcv_scale.shift(), 0);
  EXPECT_EQ(none.snd_mss, 536);
  EXPECT_EQ(negotiate(ours, {}, 1440, 1220).snd_mss, 1220);
  const SynOptions all{.mss = 9000, .window_shift = 20, .sack_permitted = true, .tsval = 1};
  const Negotiated both = negotiate(ours, all, 1460);
  EXPECT_TRUE(both.timestamps && both.sack && both.scaling);
  EXPECT_EQ(both.snd_scale.shift(), 14);
  EXPECT_EQ(both.rcv_scale.shift(), 7);
  EXPECT_EQ(both.snd_mss, 1460);
  OptionPolicy bare;
  bare.timestamps = bare.sack = bare.window_scaling = false;
  const Negotiated refused = negotiate(bare, all, 1460);
  EXPECT_FALSE(refused.timestamps || refused.sack || refused.scaling);
  SynOptions tiny;
  tiny.mss = 1;
  EXPECT_EQ(negotiate(ours, tiny, 1460).snd_mss, 88);
}

}  // namespace
}  // namespace tidewire::tcp
