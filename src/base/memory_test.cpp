#include "base/memory.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/slab.hpp"

namespace tidewire {
namespace {

TEST(BudgetedMemory, TwoShareOneLimit) {
  MemoryBudget budget{1000};
  HeapMemory heap_a{900};
  HeapMemory heap_b{900};
  BudgetedMemory a{heap_a, budget};
  BudgetedMemory b{heap_b, budget};
  void* first = a.allocate(600, 8);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(b.capacity(), 400U);
  EXPECT_EQ(b.allocate(500, 8), nullptr);
  EXPECT_EQ(budget.used(), 600U);  // what failed was not taken
  void* second = b.allocate(400, 8);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(budget.used(), 1000U);
  EXPECT_EQ(a.allocate(1, 8), nullptr);
  a.deallocate(first, 600, 8);
  EXPECT_EQ(budget.used(), 400U);
  // Its own cap still holds.
  EXPECT_EQ(a.capacity(), 600U);
  b.deallocate(second, 400, 8);
  EXPECT_EQ(a.allocate(901, 8), nullptr);
  EXPECT_EQ(budget.used(), 0U);
}

TEST(Slab, TrimGivesEmptyChunksBackAndOldHandlesAreNoticed) {
  HeapMemory memory{1U << 20};
  Slab<std::uint64_t> slab{memory};
  std::vector<SlabHandle> handles;
  for (std::uint64_t i = 0; i < 2000; ++i) handles.push_back(slab.handle_of(*slab.acquire(i)));
  const std::size_t full = slab.memory_used();
  for (std::size_t i = 0; i < handles.size(); ++i) {
    if (i != 700) slab.release(*slab.get(handles[i]));
  }
  slab.trim();
  EXPECT_LT(slab.memory_used(), full / 4);
  EXPECT_EQ(slab.size(), 1U);
  ASSERT_NE(slab.get(handles[700]), nullptr);
  EXPECT_EQ(*slab.get(handles[700]), 700U);
  EXPECT_EQ(slab.get(handles[3]), nullptr);
  EXPECT_EQ(slab.at_index(3), nullptr);
  // What comes to live in the same places has other names.
  std::vector<SlabHandle> later;
  for (std::uint64_t i = 0; i < 1999; ++i) later.push_back(slab.handle_of(*slab.acquire(i)));
  for (std::size_t i = 0; i < handles.size(); ++i) {
    EXPECT_EQ(slab.get(handles[i]) != nullptr, i == 700);
  }
  std::size_t seen = 0;
  slab.for_each([&](std::uint64_t&) { ++seen; });
  EXPECT_EQ(seen, 2000U);
  EXPECT_EQ(slab.memory_used(), full);
  for (const SlabHandle handle : later) EXPECT_NE(slab.get(handle), nullptr);
}

}  // namespace
}  // namespace tidewire
