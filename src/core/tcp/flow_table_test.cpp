#include "core/tcp/flow_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "base/random.hpp"

namespace tidewire::tcp {
namespace {

constexpr RandomSeed kSeed{5, 6};

std::uint64_t hash_of(std::uint32_t flow) { return siphash13(kSeed, flow); }
FlowRef record_of(std::uint32_t flow) { return {FlowKind::connection, flow}; }

FlowRef find(const FlowTable& table, std::uint64_t hash, std::uint32_t flow) {
  return table.find(hash, [&](FlowRef ref) { return ref.index == flow; });
}

/// Remembers the largest block that was asked for.
class WatchedMemory final : public MemoryProvider {
 public:
  void* allocate(std::size_t bytes, std::size_t align) noexcept override {
    largest_ = std::max(largest_, bytes);
    return heap_.allocate(bytes, align);
  }
  void deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept override {
    heap_.deallocate(memory, bytes, align);
  }
  std::size_t in_use() const noexcept override { return heap_.in_use(); }
  std::size_t capacity() const noexcept override { return heap_.capacity(); }
  std::size_t largest() const { return largest_; }

 private:
  HeapMemory heap_{std::size_t{1} << 30};
  std::size_t largest_ = 0;
};

TEST(FlowTable, FindsWhatIsInItWhateverCameAndWent) {
  HeapMemory memory(std::size_t{1} << 26);
  FlowTable table(memory);
  std::unordered_map<std::uint32_t, FlowRef> expected;
  Rng rng{kSeed};
  for (int step = 0; step < 200'000; ++step) {
    const auto flow = static_cast<std::uint32_t>(rng.next() % 60'000);
    const auto it = expected.find(flow);
    if (it == expected.end()) {
      ASSERT_TRUE(table.insert(hash_of(flow), record_of(flow)));
      expected[flow] = record_of(flow);
    } else if (rng.next() % 3 == 0) {
      table.erase(hash_of(flow), it->second);
      expected.erase(it);
    } else {
      const FlowKind other =
          it->second.kind == FlowKind::idle ? FlowKind::connection : FlowKind::idle;
      table.replace(hash_of(flow), it->second, {other, flow});
      it->second.kind = other;
    }
  }
  ASSERT_EQ(table.size(), expected.size());
  ASSERT_GT(expected.size(), 10'000U);
  for (std::uint32_t flow = 0; flow < 60'000; ++flow) {
    const auto it = expected.find(flow);
    ASSERT_EQ(find(table, hash_of(flow), flow), it == expected.end() ? FlowRef{} : it->second);
  }
}

TEST(FlowTable, GrowsWithoutMovingAllFlowsAtOnce) {
  constexpr std::uint32_t kFlows = 1'000'000;
  WatchedMemory memory;
  {
    FlowTable table(memory);
    for (std::uint32_t flow = 0; flow < kFlows; ++flow) {
      ASSERT_TRUE(table.insert(hash_of(flow), record_of(flow)));
    }
    EXPECT_LE(memory.largest(), 32'768U);
    EXPECT_LE(memory.in_use(), std::size_t{kFlows} * 24);
    for (std::uint32_t flow = 0; flow < kFlows; flow += 97) {
      ASSERT_EQ(find(table, hash_of(flow), flow), record_of(flow));
      ASSERT_FALSE(find(table, hash_of(flow), kFlows));
    }
  }
  EXPECT_EQ(memory.in_use(), 0U);
}

TEST(FlowTable, TakesTagsThatAreMuchAlike) {
  HeapMemory memory(std::size_t{1} << 26);
  FlowTable table(memory);
  // The upper 15 bits are the same, and the lower 12.
  const auto hash = [](std::uint32_t flow) { return std::uint64_t{0xabcc0123U + (flow << 12)}; };
  std::vector<std::uint32_t> there;
  for (std::uint32_t flow = 0; flow < 32; ++flow) there.push_back(flow);
  for (const std::uint32_t flow : there) {
    ASSERT_TRUE(table.insert(hash(flow), record_of(flow)));
  }
  // With as many others as make the table grow.
  for (std::uint32_t flow = 1000; flow < 101'000; ++flow) {
    ASSERT_TRUE(table.insert(hash_of(flow), record_of(flow)));
  }
  for (const std::uint32_t flow : there) {
    EXPECT_EQ(find(table, hash(flow), flow), record_of(flow));
    table.erase(hash(flow), record_of(flow));
    EXPECT_FALSE(find(table, hash(flow), flow));
  }
  EXPECT_EQ(table.size(), 100'000U);
}

TEST(FlowTable, RefusesTooManyOfOneTagAndKeepsTheOthers) {
  HeapMemory memory(std::size_t{1} << 30);
  FlowTable table(memory);
  std::uint32_t taken = 0;
  while (taken < 10'000 && table.insert(7, record_of(taken))) ++taken;
  EXPECT_EQ(taken, 3072U);  // as many as a part takes; no splitting makes room
  EXPECT_EQ(find(table, 7, taken - 1), record_of(taken - 1));
  EXPECT_TRUE(table.insert(0xffffffffU, record_of(taken)));
  EXPECT_EQ(find(table, 0xffffffffU, taken), record_of(taken));
}

TEST(FlowTable, StaysAsItIsWithoutMemory) {
  HeapMemory memory(std::size_t{1} << 26);
  FlowTable table(memory);
  memory.set_failing(true);
  EXPECT_FALSE(table.insert(hash_of(0), record_of(0)));
  EXPECT_FALSE(find(table, hash_of(0), 0));
  memory.set_failing(false);
  std::uint32_t flow = 0;
  for (; flow < 20'000; ++flow) ASSERT_TRUE(table.insert(hash_of(flow), record_of(flow)));
  memory.set_failing(true);
  while (table.insert(hash_of(flow), record_of(flow))) ++flow;
  EXPECT_EQ(table.size(), flow);
  memory.set_failing(false);
  EXPECT_TRUE(table.insert(hash_of(flow), record_of(flow)));
  for (std::uint32_t i = 0; i <= flow; ++i) {
    ASSERT_EQ(find(table, hash_of(i), i), record_of(i));
  }
}

}  // namespace
}  // namespace tidewire::tcp
