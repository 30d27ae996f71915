#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/chunk_pool.hpp"
#include "base/fixed_point.hpp"
#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"

namespace tidewire {
namespace {

TEST(Slab, ReusesTheLastFreedSlotAndNoticesStaleHandles) {
  HeapMemory memory(1 << 20);
  Slab<int> slab(memory);
  int* a = slab.acquire(1);
  int* b = slab.acquire(2);
  const SlabHandle ha = slab.handle_of(*a);
  const SlabHandle hb = slab.handle_of(*b);
  EXPECT_EQ(slab.get(ha), a);
  slab.release(*a);
  EXPECT_EQ(slab.get(ha), nullptr);
  int* c = slab.acquire(3);
  EXPECT_EQ(c, a);
  EXPECT_EQ(slab.get(ha), nullptr);
  EXPECT_EQ(slab.get(slab.handle_of(*c)), c);
  EXPECT_EQ(*slab.get(hb), 2);
  EXPECT_EQ(slab.get(SlabHandle{}), nullptr);
  EXPECT_EQ(slab.get(SlabHandle{1'000'000, 1}), nullptr);
}

TEST(Slab, KeepsAddressesWhileItGrowsAndIteratesByIndex) {
  HeapMemory memory(64 << 20);
  Slab<std::uint64_t> slab(memory);
  std::vector<std::uint64_t*> objects;
  for (std::uint64_t i = 0; i < 10'000; ++i) objects.push_back(slab.acquire(i));
  for (std::uint64_t i = 0; i < objects.size(); ++i) ASSERT_EQ(*objects[i], i);
  for (std::uint64_t i = 0; i < objects.size(); i += 2) slab.release(*objects[i]);
  std::uint64_t expected = 1;
  slab.for_each([&](std::uint64_t& v) {
    ASSERT_EQ(v, expected);
    expected += 2;
  });
  EXPECT_EQ(slab.size(), 5000U);
}

TEST(Slab, AnswersNullWithoutMemoryOrBeyondItsLimit) {
  HeapMemory memory(1 << 20);
  {
    Slab<int> slab(memory, 2);
    memory.set_failing(true);
    EXPECT_EQ(slab.acquire(), nullptr);
    memory.set_failing(false);
    int* a = slab.acquire();
    ASSERT_NE(a, nullptr);
    ASSERT_NE(slab.acquire(), nullptr);
    EXPECT_EQ(slab.acquire(), nullptr);
    slab.release(*a);
    EXPECT_NE(slab.acquire(), nullptr);
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

TEST(FlatMap, BehavesLikeAMapUnderRandomUse) {
  HeapMemory memory(64 << 20);
  {
    FlatMap<std::uint32_t, std::uint32_t> map(memory, RandomSeed{1, 2});
    std::map<std::uint32_t, std::uint32_t> model;
    Rng rng(RandomSeed{3, 4});
    for (int step = 0; step < 200'000; ++step) {
      // The range of keys breathes, so that the table grows and shrinks.
      const std::uint32_t range = (step / 20'000) % 2 == 0 ? 5000 : 50;
      const auto key = static_cast<std::uint32_t>(rng.below(range));
      const auto value = static_cast<std::uint32_t>(rng.next());
      if (rng.below(range == 50 ? 4 : 2) == 0) {
        const auto done = map.insert(key, value);
        ASSERT_NE(done.value, nullptr);
        ASSERT_EQ(done.fresh, model.emplace(key, value).second);
        ASSERT_EQ(*done.value, model[key]);
      } else {
        const auto victim = static_cast<std::uint32_t>(rng.below(5000));
        ASSERT_EQ(map.erase(victim), model.erase(victim) == 1);
      }
      ASSERT_EQ(map.size(), model.size());
    }
    for (std::uint32_t key = 0; key < 5000; ++key) {
      const auto it = model.find(key);
      const auto* found = map.find(key);
      ASSERT_EQ(found != nullptr, it != model.end());
      if (found != nullptr) {
        ASSERT_EQ(*found, it->second);
      }
    }
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

TEST(FlatMap, StaysWholeWhenGrowthFails) {
  HeapMemory memory(1 << 20);
  FlatMap<std::uint32_t, int> map(memory, RandomSeed{5, 6});
  memory.set_failing(true);
  EXPECT_EQ(map.insert(1, 1).value, nullptr);
  memory.set_failing(false);
  ASSERT_NE(map.insert(0, 0).value, nullptr);
  memory.set_failing(true);
  std::uint32_t key = 1;
  while (map.insert(key, static_cast<int>(key)).value != nullptr) ++key;
  EXPECT_EQ(key, 15U);  // one slot of 16 stays empty
  for (std::uint32_t k = 0; k < key; ++k) ASSERT_NE(map.find(k), nullptr);
  EXPECT_EQ(map.find(key), nullptr);
  memory.set_failing(false);
  EXPECT_NE(map.insert(key, 1).value, nullptr);
}

// Everything in one bucket: shifting back must not lose entries around the end of the table.
struct SameHash {
  std::uint64_t operator()(const RandomSeed&, const std::uint32_t& k) const noexcept {
    return 0xfffffff0U + k % 3 * 7;
  }
};
TEST(FlatMap, SurvivesCollisionsAcrossTheEnd) {
  HeapMemory memory(1 << 20);
  FlatMap<std::uint32_t, std::uint32_t, SameHash> map(memory, RandomSeed{});
  std::map<std::uint32_t, std::uint32_t> model;
  Rng rng(RandomSeed{7, 8});
  for (int step = 0; step < 20'000; ++step) {
    const auto key = static_cast<std::uint32_t>(rng.below(24));
    if (rng.below(2) == 0) {
      ASSERT_NE(map.insert(key, key).value, nullptr);
      model[key] = key;
    } else {
      ASSERT_EQ(map.erase(key), model.erase(key) == 1);
    }
    for (std::uint32_t k = 0; k < 24; ++k) ASSERT_EQ(map.contains(k), model.contains(k));
  }
}

struct TagA {};
struct TagB {};
struct Item : ListNode<TagA>, ListNode<TagB> {
  explicit Item(int v) : value(v) {}
  int value;
};

template <typename L>
std::vector<int> values(L& list) {
  std::vector<int> out;
  for (Item& item : list) out.push_back(item.value);
  return out;
}

TEST(List, KeepsOrderOnTwoListsAtOnce) {
  Item a(1);
  Item b(2);
  Item c(3);
  List<Item, TagA> as;
  List<Item, TagA> rest;
  List<Item, TagB> bs;
  as.push_back(a);
  as.push_back(b);
  as.push_back(c);
  bs.push_front(c);
  bs.push_front(a);
  EXPECT_EQ(values(as), (std::vector{1, 2, 3}));
  EXPECT_EQ(values(bs), (std::vector{1, 3}));
  as.push_back(a);  // moves to the end
  EXPECT_EQ(values(as), (std::vector{2, 3, 1}));
  List<Item, TagA>::remove(c);
  EXPECT_EQ(values(as), (std::vector{2, 1}));
  EXPECT_EQ(values(bs), (std::vector{1, 3}));
  rest.push_back(c);
  rest.splice_back(as);
  EXPECT_TRUE(as.empty());
  EXPECT_EQ(values(rest), (std::vector{3, 2, 1}));
  EXPECT_EQ(rest.pop_front(), &c);
  EXPECT_EQ(rest.back(), &a);
  rest.clear();
  EXPECT_FALSE(a.ListNode<TagA>::linked());
  EXPECT_TRUE(a.ListNode<TagB>::linked());
}

TEST(FixedPoint, RootsAreExact) {
  Rng rng(RandomSeed{9, 9});
  std::vector<std::uint64_t> samples{0, 1, 7, 8, 26, 27, 28, UINT64_MAX};
  for (int i = 0; i < 10'000; ++i) samples.push_back(rng.next() >> rng.below(64));
  for (const std::uint64_t x : samples) {
    const Wide r = cube_root(x);
    ASSERT_LE(r * r * r, Wide{x});
    ASSERT_GT((r + 1) * (r + 1) * (r + 1), Wide{x});
    const Wide s = square_root(x);
    ASSERT_LE(s * s, Wide{x});
    ASSERT_GT((s + 1) * (s + 1), Wide{x});
  }
  EXPECT_EQ(mul_div(UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
  EXPECT_EQ(mul_div(UINT64_MAX, 2, 1), UINT64_MAX);
  EXPECT_EQ(mul_div(1, 1, 0), UINT64_MAX);
  EXPECT_EQ(mul_div(10, 7, 3), 23U);
  EXPECT_EQ(Ratio::of(7, 10)(1000), 699U);
}

TEST(ChunkPool, CountsReusesAndGivesBack) {
  HeapMemory memory(1 << 20);
  {
    ChunkPool pool(memory, 200'000, 70'000);
    Chunk* big = pool.acquire(ChunkSize::kib64);
    Chunk* small = pool.acquire(ChunkSize::kib2);
    ASSERT_NE(big, nullptr);
    ASSERT_NE(small, nullptr);
    EXPECT_EQ(pool.in_use(), 65536U + 2048U);
    pool.release(*big);
    EXPECT_EQ(pool.kept(), 65536U);
    const std::size_t before = memory.allocations();
    for (int i = 0; i < 100; ++i) {
      Chunk* again = pool.acquire(ChunkSize::kib64);
      ASSERT_NE(again, nullptr);
      pool.release(*again);
    }
    EXPECT_EQ(memory.allocations(), before);
    pool.release(*small);
    pool.trim();
    EXPECT_EQ(pool.kept(), 0U);
    EXPECT_EQ(pool.in_use(), 0U);
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

TEST(ChunkPool, FallsBackToSmallerChunksAndObeysItsLimit) {
  HeapMemory memory(1 << 20);
  ChunkPool pool(memory, 20'000);
  EXPECT_EQ(pool.acquire(ChunkSize::kib64), nullptr);
  Chunk* chunk = pool.acquire_at_most(ChunkSize::kib64);
  ASSERT_NE(chunk, nullptr);
  EXPECT_EQ(chunk->size, ChunkSize::kib16);
  Chunk* next = pool.acquire_at_most(ChunkSize::kib64);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(next->size, ChunkSize::kib2);
  EXPECT_EQ(pool.acquire_at_most(ChunkSize::kib64), nullptr);
  const std::byte lent[3]{};
  Chunk* borrowed = pool.borrow(lent);
  ASSERT_NE(borrowed, nullptr);
  EXPECT_EQ(pool.in_use(), 16384U + 2048U);
  for (Chunk* c : {chunk, next, borrowed}) pool.release(*c);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(ChunkPool, StandsInForBytesThatStayUntilItSettles) {
  HeapMemory memory(2 << 20);
  {
    ChunkPool pool(memory);
    std::vector<std::byte> there(60'000, std::byte{1});
    Chunk* read = pool.stand_in(there);
    Chunk* kept = pool.stand_in(Bytes{there}.first(20'000));
    ASSERT_NE(read, nullptr);
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(kept->data, there.data());
    EXPECT_EQ(kept->capacity, 20'000U);
    EXPECT_EQ(pool.in_use(), 2 * 65536U);
    pool.release(*read);
    pool.settle();
    EXPECT_NE(kept->data, there.data());
    std::ranges::fill(there, std::byte{2});
    EXPECT_EQ(std::ranges::count(Bytes{kept->data, 20'000}, std::byte{1}), 20'000);
    Chunk* again = pool.acquire(ChunkSize::kib64);
    ASSERT_NE(again, nullptr);
    EXPECT_NE(again->data, there.data()) << "what was released has its own memory again";
    pool.release(*again);
    pool.release(*kept);
    // Not without end, and not more than a chunk holds.
    std::vector<Chunk*> standing;
    while (Chunk* chunk = pool.stand_in(there)) standing.push_back(chunk);
    EXPECT_EQ(standing.size(), 8U);
    for (Chunk* chunk : standing) pool.release(*chunk);
    there.resize(65'537);
    EXPECT_EQ(pool.stand_in(there), nullptr);
    EXPECT_EQ(pool.in_use(), 0U);
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

}  // namespace
}  // namespace tidewire
