#include "runtime/shared_budget.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace tidewire::runtime {
namespace {

TEST(SharedBudget, NeverGrantsMoreThanItsLimit) {
  SharedBudget budget{1000};
  std::vector<std::thread> threads;
  std::atomic<std::size_t> granted = 0;
  std::atomic<std::size_t> worst = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) {
        if (!budget.take(300)) continue;
        const std::size_t now = granted.fetch_add(300) + 300;
        if (now > worst) worst = now;
        granted -= 300;
        budget.give(300);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(worst, 1000U);
  EXPECT_EQ(budget.used(), 0U);
  EXPECT_TRUE(budget.take(1000));
  EXPECT_FALSE(budget.take(1));
}

}  // namespace
}  // namespace tidewire::runtime
