#include "base/memory.hpp"

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "base/random.hpp"
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

// What is not needed goes back by itself, but for one chunk, so that a number that swings around
// the end of a chunk takes no memory each time.
TEST(Slab, EmptyChunksGoBack) {
  HeapMemory memory{1U << 20};
  Slab<std::uint64_t> slab{memory};
  std::vector<std::uint64_t*> objects;
  for (std::uint64_t i = 0; i < 5000; ++i) objects.push_back(slab.acquire(i));
  const std::size_t full = slab.memory_used();
  Rng rng(RandomSeed{3, 1});
  while (!objects.empty()) {
    std::swap(objects[rng.below(objects.size())], objects.back());
    slab.release(*objects.back());
    objects.pop_back();
  }
  EXPECT_TRUE(slab.empty());
  EXPECT_LT(slab.memory_used(), full / 4);
  (void)slab.acquire(1U);
  const std::size_t allocations = memory.allocations();
  for (int round = 0; round < 100; ++round) {
    for (std::uint64_t i = 0; i < 260; ++i) objects.push_back(slab.acquire(i));
    for (std::uint64_t* object : objects) slab.release(*object);
    objects.clear();
  }
  EXPECT_LE(memory.allocations() - allocations, 1U);
}

// Against a plain map, through any order of calls.
TEST(Slab, AgreesWithAMap) {
  HeapMemory memory{8U << 20};
  Slab<std::uint64_t> slab{memory};
  std::map<std::uint32_t, std::pair<SlabHandle, std::uint64_t>> living;
  std::vector<SlabHandle> dead;
  Rng rng(RandomSeed{5, 1});
  for (std::uint64_t step = 0; step < 100'000; ++step) {
    const bool grow = step / 10'000 % 2 == 0;
    if (living.empty() || rng.below(10) < (grow ? 6U : 4U)) {
      std::uint64_t* object = slab.acquire(step);
      ASSERT_NE(object, nullptr);
      const SlabHandle handle = slab.handle_of(*object);
      ASSERT_TRUE(living.try_emplace(handle.index, handle, step).second);
    } else {
      auto it = living.lower_bound(static_cast<std::uint32_t>(rng.below(slab.index_end())));
      if (it == living.end()) it = living.begin();
      slab.release(*slab.at_index(it->first));
      dead.push_back(it->second.first);
      living.erase(it);
    }
    if (step % 64 == 0 && rng.below(4) == 0) slab.trim();
    if (!dead.empty()) {
      ASSERT_EQ(slab.get(dead[rng.below(dead.size())]), nullptr);
    }
  }
  ASSERT_EQ(slab.size(), living.size());
  auto it = living.begin();
  slab.for_each([&](std::uint64_t& object) {
    ASSERT_EQ(slab.index_of(object), it->first);
    ASSERT_EQ(slab.get(it->second.first), &object);
    ASSERT_EQ(object, it->second.second);
    ++it;
  });
  EXPECT_EQ(it, living.end());
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
