#include "base/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/random.hpp"

namespace tidewire {
namespace {

Instant at(std::int64_t ns) { return Instant::from_nanos(ns); }

TEST(TimerWheel, FiresAtTheExactDeadlineNeverBefore) {
  TimerWheel wheel(TimerWheel::kFine, at(-5'000));
  TimerEntry a;
  TimerEntry b;
  wheel.schedule(a, at(100'001));
  wheel.schedule(b, at(100'000));  // same tick
  EXPECT_EQ(wheel.next_deadline(), at(100'000));
  std::uint32_t budget = 100;
  EXPECT_EQ(wheel.pop_expired(at(99'999), budget), nullptr);
  EXPECT_EQ(wheel.pop_expired(at(100'000), budget), &b);
  EXPECT_EQ(wheel.pop_expired(at(100'000), budget), nullptr);
  EXPECT_EQ(wheel.next_deadline(), at(100'001));
  EXPECT_EQ(wheel.pop_expired(at(100'001), budget), &a);
  EXPECT_EQ(a.deadline, at(100'001));
  EXPECT_TRUE(wheel.next_deadline().is_never());
}

TEST(TimerWheel, IsFifoInASlotAndTakesPastDeadlinesAtOnce) {
  TimerWheel wheel(TimerWheel::kCoarse, at(0));
  std::array<TimerEntry, 4> entries;
  std::uint32_t budget = 1000;
  EXPECT_EQ(wheel.pop_expired(Instant{} + Duration::seconds(5), budget), nullptr);
  for (TimerEntry& e : entries) wheel.schedule(e, at(1));
  EXPECT_EQ(wheel.next_deadline(), at(1));
  for (TimerEntry& e : entries) {
    EXPECT_EQ(wheel.pop_expired(Instant{} + Duration::seconds(5), budget), &e);
  }
}

TEST(TimerWheel, CancelAndMove) {
  TimerWheel wheel(TimerWheel::kCoarse, at(0));
  TimerEntry a;
  TimerEntry b;
  wheel.schedule(a, Instant{} + Duration::seconds(1));
  wheel.schedule(b, Instant{} + Duration::seconds(2));
  wheel.schedule(a, Instant{} + Duration::seconds(3));
  EXPECT_EQ(wheel.next_deadline(), Instant{} + Duration::seconds(2));
  wheel.schedule(b, Instant::never());
  EXPECT_FALSE(b.armed());
  EXPECT_EQ(wheel.next_deadline(), Instant{} + Duration::seconds(3));
  wheel.cancel(a);
  wheel.cancel(a);
  EXPECT_TRUE(wheel.empty());
  EXPECT_TRUE(wheel.next_deadline().is_never());
}

// Against a multimap: random deadlines near and far, random steps, exact firing.
TEST(TimerWheel, AgreesWithASortedMap) {
  for (const unsigned shift : {TimerWheel::kFine, TimerWheel::kCoarse}) {
    Rng rng(RandomSeed{shift, 1});
    Instant now = at(123'456'789);
    std::vector<std::unique_ptr<TimerEntry>> entries;
    TimerWheel wheel(shift, now);
    for (std::uint32_t i = 0; i < 50; ++i) {
      entries.push_back(std::make_unique<TimerEntry>(nullptr, i));
    }
    std::multimap<Instant, std::uint32_t> model;
    std::vector<Instant> due(entries.size(), Instant::never());
    const auto forget = [&](std::uint32_t i) {
      for (auto [it, end] = model.equal_range(due[i]); it != end; ++it) {
        if (it->second == i) {
          model.erase(it);
          break;
        }
      }
      due[i] = Instant::never();
    };
    for (int step = 0; step < 50'000; ++step) {
      const auto i = static_cast<std::uint32_t>(rng.below(entries.size()));
      const auto ahead = static_cast<std::int64_t>(rng.next() >> (20 + rng.below(40)));
      if (rng.below(3) != 0) {
        forget(i);
        due[i] = now + Duration::nanos(ahead);
        wheel.schedule(*entries[i], due[i]);
        model.emplace(due[i], i);
      } else if (rng.below(3) == 0) {
        forget(i);
        wheel.cancel(*entries[i]);
      }
      const Instant first = model.empty() ? Instant::never() : model.begin()->first;
      ASSERT_EQ(wheel.next_deadline(), first);
      // Jump: to the next deadline, just before it, or some random way.
      const std::uint64_t kind = rng.below(4);
      if (kind == 0 && !first.is_never()) now = later(now, first);
      if (kind == 1 && !first.is_never()) now = later(now, first - Duration::nanos(1));
      if (kind == 2)
        now += Duration::nanos(static_cast<std::int64_t>(rng.next() >> (24 + rng.below(30))));
      wheel.expire(now, 1000, [&](TimerEntry& e) {
        ASSERT_LE(due[e.kind], now);
        forget(e.kind);
      });
      ASSERT_TRUE(model.empty() || model.begin()->first > now);
      ASSERT_EQ(wheel.size(), model.size());
    }
  }
}

TEST(TimerWheel, ManyInOneSlotAreAtMostATickLateAndBounded) {
  std::vector<std::unique_ptr<TimerEntry>> entries;
  TimerWheel wheel(TimerWheel::kCoarse, at(0));
  Rng rng(RandomSeed{4, 4});
  const Instant base = Instant{} + Duration::seconds(7200);
  for (int i = 0; i < 5000; ++i) {
    entries.push_back(std::make_unique<TimerEntry>());
    wheel.schedule(*entries.back(),
                   base + Duration::nanos(static_cast<std::int64_t>(rng.below(1'000'000))));
  }
  std::uint32_t total = 0;
  int calls = 0;
  Instant now;
  while (!wheel.empty()) {
    ASSERT_LT(++calls, 10'000);
    now = later(now, wheel.next_deadline());
    const std::uint32_t fired = wheel.expire(now, 100, [&](TimerEntry& e) {
      EXPECT_LE(e.deadline, now);
      EXPECT_LE(now - e.deadline, wheel.tick());
    });
    EXPECT_LE(fired, 100U);
    total += fired;
  }
  EXPECT_EQ(total, 5000U);
}

TEST(TimerWheel, AHandlerMayArmAndCancelOthers) {
  TimerWheel wheel(TimerWheel::kFine, at(0));
  TimerEntry a;
  TimerEntry b;
  TimerEntry c;
  wheel.schedule(a, at(10));
  wheel.schedule(b, at(10));
  int fired = 0;
  wheel.expire(at(20), 10, [&](TimerEntry& e) {
    ++fired;
    EXPECT_EQ(&e == &b, false);
    wheel.cancel(b);
    if (&e == &a) wheel.schedule(c, at(15));
  });
  EXPECT_EQ(fired, 2);
  EXPECT_TRUE(wheel.empty());
}

}  // namespace
}  // namespace tidewire
