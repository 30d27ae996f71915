// The same seed gives the same run, to the last bit of the capture.
#include <gtest/gtest.h>

#include "world_hash.hpp"

namespace tidewire::sim {
namespace {

TEST(Determinism, SameSeedSameCapture) {
  const WorldHash first = hash_of_world({42, 1});
  // Another layout of the heap changes nothing.
  std::vector<std::unique_ptr<std::byte[]>> clutter;
  for (std::size_t i = 1; i < 200; ++i) clutter.push_back(std::make_unique<std::byte[]>(i * 37));
  const WorldHash second = hash_of_world({42, 1});
  EXPECT_TRUE(first.complete);
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.packets, second.packets);
  EXPECT_GT(first.packets, 1000U);
  const WorldHash other = hash_of_world({43, 1});
  EXPECT_NE(first.hash, other.hash);
}

}  // namespace
}  // namespace tidewire::sim
