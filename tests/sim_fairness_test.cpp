// Flows that share a bottleneck; ./dev bench fairness has the whole table.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/dumbbell.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr std::uint64_t kBdpKb = 200'000 / 1024;  // 40 Mbit/s and 40 ms

/// Bytes that each flow gets in the last 40 of 60 s. Flows start 0.3 s apart and have a millisecond
/// of jitter: otherwise the same one finds the queue full for ever.
std::vector<std::uint64_t> shares(const std::vector<std::string_view>& names, std::uint64_t bdps,
                                  std::uint64_t seed = 1) {
  DumbbellOptions options;
  options.bottleneck = net("rate=40mbit queue=" + std::to_string(bdps * kBdpKb) + "KB").down;
  options.seed = {seed, 2};
  for (const std::string_view name : names) {
    const auto n = static_cast<std::int64_t>(options.flows.size());
    options.flows.push_back({.congestion_control = name,
                             .start = Duration::millis(300) * n,
                             .delay = Duration::millis(20),
                             .jitter = Duration::millis(1)});
  }
  Dumbbell net(options);
  net.run_for(Duration::seconds(20));
  std::vector<std::uint64_t> out;
  for (std::size_t i = 0; i < net.flows(); ++i) out.push_back(net.received(i));
  net.run_for(Duration::seconds(40));
  for (std::size_t i = 0; i < net.flows(); ++i) out[i] = net.received(i) - out[i];
  return out;
}

std::uint64_t sum_of(const std::vector<std::uint64_t>& values) {
  std::uint64_t sum = 0;
  for (const std::uint64_t v : values) sum += v;
  return sum;
}

constexpr std::uint64_t kMost = 40'000'000 / 8 * 40;  // what the bottleneck carries in 40 s

// The middle one of three seeds counts: chance decides who probes when.
TEST(Fairness, FourFlowsOfAKindShareEvenly) {
  for (const std::string_view name : congestion_controls()) {
    std::array<std::uint32_t, 3> jain{};
    for (std::size_t seed = 0; seed < jain.size(); ++seed) {
      const auto got = shares({name, name, name, name}, 1, seed + 1);
      jain[seed] = jain_index(got);
      EXPECT_GE(sum_of(got), kMost * 9 / 10) << name << ", seed " << seed + 1;
    }
    std::ranges::sort(jain);
    EXPECT_GE(jain[1], 950U) << name;
    EXPECT_GE(jain[0], 900U) << name;
  }
}

TEST(Fairness, CubicKeepsAQuarterBesideBbr) {
  for (const std::uint64_t bdps : {1, 4}) {
    for (const bool cubic_first : {true, false}) {
      const auto got =
          cubic_first ? shares({"cubic", "bbr"}, bdps) : shares({"bbr", "cubic"}, bdps);
      const std::uint64_t cubic = cubic_first ? got[0] : got[1];
      const std::uint64_t sum = sum_of(got);
      EXPECT_GE(cubic * 4, sum) << bdps << " BDP, CUBIC first: " << cubic_first;
      EXPECT_LE(cubic * 4, sum * 3) << bdps << " BDP, CUBIC first: " << cubic_first;
      EXPECT_GE(sum, kMost * 9 / 10);
    }
  }
}

TEST(Fairness, TheIndexOfEqualSharesIsOne) {
  EXPECT_EQ(jain_index({5, 5, 5}), 1000U);
  EXPECT_EQ(jain_index({1, 0, 0, 0}), 250U);
  EXPECT_EQ(jain_index({0, 0}), 0U);
}

}  // namespace
}  // namespace tidewire::sim
