// Arithmetic at the ends of the range.
#include "base/time.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace tidewire {
namespace {

constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr Instant kFirst = Instant::from_nanos(kLeast);
constexpr Duration kLongestBack = Duration::nanos(kLeast);

TEST(Time, DifferencesThatDoNotFitAreTheNearestThatDoes) {
  const Instant now = Instant::from_nanos(5);
  EXPECT_EQ(now - kFirst, Duration::max());
  EXPECT_EQ(kFirst - now, Duration::zero() - Duration::max());
  EXPECT_EQ(Instant::from_nanos(-1) - kFirst, Duration::max());
  EXPECT_EQ(kFirst - kFirst, Duration::zero());
  EXPECT_EQ(Instant::never() - now, Duration::max());
  EXPECT_EQ(Duration::zero() - kLongestBack, Duration::max());
  EXPECT_EQ(kLongestBack - Duration::nanos(1), Duration::zero() - Duration::max());
}

TEST(Time, InstantsStayInsideTheirRange) {
  const Instant now = Instant::from_nanos(5);
  EXPECT_EQ(now - kLongestBack, Instant::never());
  EXPECT_EQ(kFirst - Duration::seconds(1), kFirst);
  EXPECT_EQ(now + Duration::max(), Instant::never());
  EXPECT_EQ(Instant::never() - Duration::seconds(1), Instant::never());
  EXPECT_EQ(now - Duration::nanos(7), Instant::from_nanos(-2));
}

TEST(Time, SinceIsTheDifferenceOfTwoPointsOfARun) {
  const Instant before = Instant::from_nanos(-7), now = Instant::from_nanos(5);
  EXPECT_EQ(now.since(before), now - before);
  EXPECT_EQ(before.since(now), before - now);
  EXPECT_EQ(now.since(now), Duration::zero());
  EXPECT_EQ(kFirst.since(Instant::never()), Duration::nanos(1)) << "wraps, and is defined";
}

}  // namespace
}  // namespace tidewire
