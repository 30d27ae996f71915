#include "device/wrap/arrival_queue.hpp"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "base/random.hpp"

namespace tidewire::device {
namespace {

struct Record {
  Instant release;
  std::uint64_t sequence = 0;
  std::uint64_t number = 0;
};

// Against a map that is ordered by (time, order of arrival).
TEST(ArrivalQueue, GivesBackByTimeThenByOrder) {
  ArrivalQueue<Record> queue;
  std::multimap<Instant, std::uint64_t> reference;
  Rng rng{RandomSeed{7, 8}};
  std::uint64_t number = 0;
  for (int round = 0; round < 20'000; ++round) {
    if (rng.below(100) < 55 || reference.empty()) {
      const Instant when =
          Instant::from_nanos(round / 10 + static_cast<std::int64_t>(rng.below(50)));
      queue.push({when, 0, ++number});
      reference.emplace(when, number);
    } else {
      ASSERT_EQ(queue.front().release, reference.begin()->first);
      ASSERT_EQ(queue.front().number, reference.begin()->second);
      queue.pop_front();
      reference.erase(reference.begin());
    }
    ASSERT_EQ(queue.size(), reference.size());
    ASSERT_EQ(queue.empty(), reference.empty());
  }
}

}  // namespace
}  // namespace tidewire::device
