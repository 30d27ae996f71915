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

// The vector of the algorithm's authors: key 00..0f, message 00..0e.
TEST(Random, SipHash24IsTheOneOfItsAuthors) {
  std::array<std::byte, 15> message{};
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<std::byte>(i);
  const RandomSeed key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(siphash24(key, message), 0xa129ca6149be45e5U);
}

}  // namespace
}  // namespace tidewire
