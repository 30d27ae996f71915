#include "runtime/pool_memory.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/random.hpp"

namespace tidewire::runtime {
namespace {

TEST(PoolMemory, AlignsEveryBlock) {
  PoolMemory memory(std::size_t{8} << 20);
  for (const std::size_t align : {1U, 8U, 16U, 32U, 64U, 128U, 4096U}) {
    for (const std::size_t size : {1U, 17U, 100U, 257U, 2049U, 5000U, 70'000U}) {
      void* p = memory.allocate(size, align);
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % align, 0U) << size << " " << align;
      std::memset(p, 0x5a, size);
      memory.deallocate(p, size, align);
    }
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

TEST(PoolMemory, TheCapIsHardAndBlocksComeBack) {
  PoolMemory memory(std::size_t{1} << 20);
  std::vector<void*> blocks;
  while (void* p = memory.allocate(2048, 16)) blocks.push_back(p);
  EXPECT_EQ(blocks.size(), 512U);
  EXPECT_EQ(memory.in_use(), memory.capacity());
  EXPECT_EQ(memory.allocate(1, 1), nullptr);
  for (void* p : blocks) memory.deallocate(p, 2048, 16);
  EXPECT_EQ(memory.in_use(), 0U);
  void* big = memory.allocate(std::size_t{1} << 20, 4096);
  ASSERT_NE(big, nullptr) << "another class still finds room";
  memory.deallocate(big, std::size_t{1} << 20, 4096);
  EXPECT_EQ(memory.allocate((std::size_t{1} << 20) + 1, 16), nullptr);
}

TEST(PoolMemory, BlocksDoNotOverlap) {
  struct Block {
    std::byte* at;
    std::size_t size;
    std::byte mark;
  };
  PoolMemory memory(std::size_t{16} << 20);
  Rng rng({1, 2});
  std::vector<Block> blocks;
  for (int i = 0; i < 20'000; ++i) {
    if (rng.below(3) != 0 || blocks.empty()) {
      const std::size_t size = 1 + rng.below(rng.below(8) == 0 ? 100'000 : 600);
      auto* at = static_cast<std::byte*>(memory.allocate(size, 16));
      if (at == nullptr) continue;
      const auto mark = static_cast<std::byte>(rng.next());
      std::memset(at, std::to_integer<int>(mark), size);
      blocks.push_back({at, size, mark});
    } else {
      const std::size_t n = rng.below(blocks.size());
      const Block block = blocks[n];
      for (std::size_t k = 0; k < block.size; ++k) ASSERT_EQ(block.at[k], block.mark);
      memory.deallocate(block.at, block.size, 16);
      blocks[n] = blocks.back();
      blocks.pop_back();
    }
  }
}

}  // namespace
}  // namespace tidewire::runtime
