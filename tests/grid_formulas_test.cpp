// The formulas and cells that the grid of bad paths (bench/grid_bench.cpp) is held against.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "../bench/grid_cells.hpp"
#include "device/net_spec.hpp"

namespace tidewire::bench {
namespace {

TEST(GridFormulas, CubicIsTheTableOfRfc9438) {
  // §5.1 Table 2, C = 0.4, where CUBIC is above Reno: average windows at 100 ms.
  const double known[][2] = {
      {1e-4, 187}, {1e-5, 1054}, {1e-6, 5926}, {1e-7, 33325}, {1e-8, 187400}};
  for (const auto& [loss, window] : known) {
    const double rate = cubic_response({.loss = loss, .rtt = 0.1});
    EXPECT_NEAR(rate * 0.1, window, window * 0.005) << loss;
  }
}

TEST(GridFormulas, PftkTendsToTheSquareRootLaw) {
  const double loss = 1e-6;
  const double law = std::sqrt(3 / (2 * 2 * loss)) / 0.05;
  EXPECT_NEAR(pftk({.loss = loss, .rtt = 0.05, .rto = 0.25}), law, law * 0.01);
}

TEST(GridFormulas, PftkFallsWithLossAndTimeAndKeepsTheWindow) {
  double before = INFINITY;
  for (double loss = 1e-4; loss < 0.3; loss *= 1.5) {
    const ResponsePath path{.loss = loss, .rtt = 0.05, .rto = 0.25};
    const double rate = pftk(path);
    EXPECT_GT(rate, 0) << loss;
    EXPECT_LT(rate, before) << loss;
    before = rate;
    ResponsePath slower = path;
    slower.rtt = 0.1;
    EXPECT_LT(pftk(slower), rate) << loss;
    slower = path;
    slower.rto = 1;
    EXPECT_LT(pftk(slower), rate) << loss;
    ResponsePath small = path;
    small.most_window = 10;
    EXPECT_LE(pftk(small), 10 / small.rtt) << loss;
    EXPECT_LE(pftk(small), rate * 1.05) << loss;
  }
}

TEST(Grid, HasEveryCellOnce) {
  std::set<std::string> names;
  for (const Cell& cell : all_cells()) {
    names.insert(cell.name());
    EXPECT_TRUE(matches(cell, cell.name()));
    const auto spec = device::parse_net_spec(cell.words());
    ASSERT_TRUE(spec) << cell.words() << ": " << spec.error();
    EXPECT_EQ(spec->up, spec->down);
    EXPECT_EQ(spec->up.rate_bps, static_cast<std::uint64_t>(cell.rate_mbit) * 1'000'000);
    EXPECT_EQ(spec->up.delay * 2, Duration::micros(static_cast<std::int64_t>(cell.rtt_ms * 1000)));
    EXPECT_EQ(spec->up.jitter_reorders, cell.jitter);
    EXPECT_LE(cell.formula(), cell.payload_rate()) << cell.name();
    EXPECT_GE(cell.seconds(), 0.3 * cell.rtt_ms) << cell.name();
    EXPECT_LE(cell.seconds(), 30.0) << cell.name();
  }
  EXPECT_EQ(names.size(), 216U);
}

TEST(Grid, FilterIsByWholeWords) {
  std::size_t count = 0;
  for (const Cell& cell : all_cells()) count += matches(cell, "loss=1 rate=10") ? 1 : 0;
  EXPECT_EQ(count, 18U);
  EXPECT_FALSE(matches(all_cells().front(), "loss=0.1"));
}

}  // namespace
}  // namespace tidewire::bench
