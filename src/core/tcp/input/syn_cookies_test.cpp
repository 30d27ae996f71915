#include "core/tcp/input/syn_cookies.hpp"

#include <gtest/gtest.h>

namespace tidewire::tcp {
namespace {

Tuple tuple_of(std::uint16_t port) {
  return Tuple::of(IpAddress::v4(10, 0, 0, 1), 80, IpAddress::v4(10, 0, 0, 2), port);
}
Tuple tuple_v6(std::uint16_t port) {
  return Tuple::of(parse_ip("fd00::1").value(), 80, parse_ip("fd00::2").value(), port);
}
Instant at(std::int64_t seconds) { return Instant::from_nanos(seconds * 1'000'000'000); }
const SynCookies kCookies{RandomSeed{1, 2}};

// req: RFC4987-3.6-1
TEST(SynCookies, CarryTheNextSmallerMss) {
  const auto back = [](const Tuple& t, std::uint16_t mss) {
    return kCookies.check(t, Seq{9}, kCookies.make(t, Seq{9}, mss, at(5)), at(5)).value_or(0);
  };
  const std::pair<int, int> v4[] = {{0, 536},     {500, 536},    {536, 536},   {1299, 536},
                                    {1300, 1300}, {1440, 1440},  {1459, 1440}, {1460, 1460},
                                    {8960, 1460}, {65'535, 1460}};
  for (const auto& [mss, expected] : v4) {
    EXPECT_EQ(back(tuple_of(7), static_cast<std::uint16_t>(mss)), expected) << mss;
  }
  const std::pair<int, int> v6[] = {{0, 1220},    {1420, 1420}, {1439, 1420},
                                    {1440, 1440}, {8940, 8940}, {65'535, 8940}};
  for (const auto& [mss, expected] : v6) {
    EXPECT_EQ(back(tuple_v6(7), static_cast<std::uint16_t>(mss)), expected) << mss;
  }
}

// req: RFC4987-3.6-2
TEST(SynCookies, LastForTwoMinutesAtMost) {
  for (const std::int64_t made : {0, 59, 60, 119, 1'000'000, 256 * 60}) {
    const Seq cookie = kCookies.make(tuple_of(1), Seq{77}, 1460, at(made));
    for (std::int64_t later = 0; later < 600; ++later) {
      const bool good = kCookies.check(tuple_of(1), Seq{77}, cookie, at(made + later)).has_value();
      const std::int64_t periods = (made + later) / 60 - made / 60;
      EXPECT_EQ(good, periods < 2) << made << '+' << later;
      if (good) {
        EXPECT_LT(later, 120);
      }
    }
  }
}

TEST(SynCookies, BelongToOneTupleAndOneSyn) {
  const Seq cookie = kCookies.make(tuple_of(1), Seq{5}, 1460, at(100));
  EXPECT_TRUE(kCookies.check(tuple_of(1), Seq{5}, cookie, at(100)));
  EXPECT_FALSE(kCookies.check(tuple_of(1), Seq{50}, cookie, at(100)));
  EXPECT_FALSE(kCookies.check(tuple_of(2), Seq{5}, cookie, at(100)));
  EXPECT_FALSE(kCookies.check(tuple_v6(1), Seq{5}, cookie, at(100)));
  EXPECT_FALSE(SynCookies(RandomSeed{1, 3}).check(tuple_of(1), Seq{5}, cookie, at(100)));
}

// One guess in 2^24 * 2^8 / (4 * 2) hits: none of a million should.
TEST(SynCookies, GuessesFail) {
  int hits = 0;
  for (std::uint32_t i = 0; i < 1'000'000; ++i) {
    hits += kCookies.check(tuple_of(1), Seq{5}, Seq{i * 4'294'967U}, at(100)).has_value() ? 1 : 0;
  }
  EXPECT_LE(hits, 1);
}

TEST(SynCookies, OptionsHideInTheLowestBitsOfTheClock) {
  for (std::uint32_t clock : {64U, 100U, 127U, 128U, 0x7fffffffU, 0xffffffffU, 1'000'000U}) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      CookieOptions options;
      if ((bits & 15U) != 15U) options.window_shift = static_cast<std::uint8_t>(bits & 15U);
      options.sack = (bits & 16U) != 0;
      options.ecn = (bits & 32U) != 0;
      const std::uint32_t stamp = hide_options(clock, options);
      EXPECT_EQ(found_options(stamp), options);
      EXPECT_LE(stamp, clock);
      EXPECT_LE(clock - stamp, 127U);
    }
  }
  EXPECT_EQ(found_options(hide_options(500, {15, false, false})).window_shift, 14);
}

}  // namespace
}  // namespace tidewire::tcp
