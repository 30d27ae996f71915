// Hostile peers: what they cost is bounded, and nobody else notices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "sim/attacks.hpp"

namespace tidewire::sim {
namespace {

class Hostile : public ::testing::TestWithParam<Attack> {};

TEST_P(Hostile, PeerIsBoundedAndHarmsNobodyElse) {
  const Attack& attack = GetParam();
  const AttackCost cost = attack.run(1, {});
  SCOPED_TRACE(attack.name);
  EXPECT_LE(cost.most - std::min(cost.before, cost.most), attack.memory);
  EXPECT_LE(cost.answers * 100, cost.packets * attack.answers);
  EXPECT_TRUE(cost.newcomers);
  EXPECT_TRUE(cost.old_connection);
  EXPECT_GE(cost.packets, 1000U);
  EXPECT_EQ(cost.left, 0U);  // an hour later
}

INSTANTIATE_TEST_SUITE_P(All, Hostile, ::testing::ValuesIn(attacks().begin(), attacks().end()),
                         [](const auto& param) {
                           std::string name{param.param.name};
                           std::erase_if(name,
                                         [](unsigned char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

}  // namespace
}  // namespace tidewire::sim
