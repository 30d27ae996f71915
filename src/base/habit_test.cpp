#include "base/habit.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace tidewire {
namespace {

/// How often it guesses wrong in the last of `times` repetitions.
int wrong(std::string_view pattern, int times, bool first) {
  Habit habit(first);
  int count = 0;
  for (int i = 0; i < times; ++i) {
    count = 0;
    for (const char c : pattern) {
      const bool yes = c == 'y';
      count += habit.expects() == yes ? 0 : 1;
      habit.happened(yes);
    }
  }
  return count;
}

TEST(Habit, BeginsAsToldAndLearnsTheOpposite) {
  EXPECT_TRUE(Habit(true).expects());
  EXPECT_FALSE(Habit(false).expects());
  EXPECT_EQ(wrong("n", 12, true), 0);
  EXPECT_EQ(wrong("y", 12, false), 0);
}

TEST(Habit, LearnsPatternsOfNineOutcomes) {
  for (const std::string_view pattern : {"ny", "yyn", "yynyn", "nnnny", "yyyyyyyyn"}) {
    EXPECT_EQ(wrong(pattern, 12, true), 0) << pattern;
    EXPECT_EQ(wrong(pattern, 12, false), 0) << pattern;
  }
}

TEST(Habit, OneExceptionDoesNotChangeIt) {
  Habit habit(true);
  for (int i = 0; i < 20; ++i) habit.happened(false);
  habit.happened(true);
  for (int i = 0; i < 8; ++i) habit.happened(false);
  EXPECT_FALSE(habit.expects());
}

}  // namespace
}  // namespace tidewire
