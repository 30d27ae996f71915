#include "base/random.hpp"

#include <gtest/gtest.h>

#include <array>

namespace tidewire {
namespace {

TEST(Random, SameSeedSameStream) {
  Rng a{{1, 2}};
  Rng b{{1, 2}};
  Rng other{{1, 3}};
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t draw = a.next();
    EXPECT_EQ(draw, b.next());
    differs |= draw != other.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  Rng rng{{7, 0}};
  std::array<int, 5> seen{};
  for (int i = 0; i < 1000; ++i) ++seen.at(rng.below(5));
  for (const int count : seen) EXPECT_GT(count, 100);
  EXPECT_EQ(rng.below(0), 0U);
}

TEST(Random, PurposesAreIndependent) {
  EXPECT_NE(derive({1, 1}, 1), derive({1, 1}, 2));
  EXPECT_EQ(derive({1, 1}, 1), derive({1, 1}, 1));
}

}  // namespace
}  // namespace tidewire
