// A window of ten thousand segments of which one in a hundred is lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/tcp/recover/scoreboard.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr std::uint32_t kSegments = 10'000;
constexpr std::uint32_t kBurst = 50;  // segments of an emission
constexpr std::uint32_t kLost = kSegments / 100;

Instant at(std::int64_t us) { return Instant::from_nanos(0) + Duration::micros(us); }
bool lost(std::uint32_t segment) { return segment % 100 == 37; }

// Runs follow emissions and losses, not the segments; and what is known about each is exact.
TEST(ScoreboardLarge, RunsFollowLossesNotSegments) {
  HeapMemory memory{64U << 20};
  Scoreboard board{memory};
  const Seq start{0xff000000U};  // the numbers wrap within the window
  board.reset(start);
  for (std::uint32_t i = 0; i < kSegments; i += kBurst) {
    ASSERT_TRUE(board.reserve());
    board.on_sent({{start + i * kMss, start + (i + kBurst) * kMss}, kMss, at(i), {}});
  }
  std::vector<SeqRange> islands;
  Seq ack = start;
  std::size_t most_runs = 0;
  std::uint64_t marked = 0;
  for (std::uint32_t i = 0; i < kSegments; ++i) {
    const SeqRange seg{start + i * kMss, start + (i + 1) * kMss};
    if (lost(i)) continue;
    if (seg.start == ack) {
      ack = seg.end;
    } else if (!islands.empty() && islands.back().end == seg.start) {
      islands.back().end = seg.end;
    } else {
      islands.push_back(seg);
    }
    std::vector<SeqRange> blocks(
        islands.rbegin(), islands.rbegin() + std::min<std::ptrdiff_t>(3, std::ssize(islands)));
    const Delivered d = board.on_ack(ack, blocks);
    ASSERT_EQ(d.delivered, kMss) << "segment " << i;
    marked += board.mark_lost_by_sack(kMss);
    most_runs = std::max(most_runs, board.runs().size());
  }
  EXPECT_LE(most_runs, kSegments / kBurst + 2 * kLost + 2);
  EXPECT_EQ(board.runs().size(), 2 * kLost);
  EXPECT_EQ(board.outstanding(), std::uint64_t{kMss} * (kSegments - 37));
  EXPECT_EQ(marked, std::uint64_t{kMss} * kLost);
  EXPECT_EQ(board.pipe(), 0U);

  // Each hole is sent again and acknowledged; what waited behind it goes with it.
  std::uint32_t holes = 0;
  while (const auto hole = board.next_lost()) {
    ASSERT_EQ(hole->start, start + (37 + 100 * holes) * kMss);
    ASSERT_TRUE(board.reserve());
    board.on_sent({{hole->start, hole->end}, kMss, at(20'000 + holes), {}});
    ++holes;
  }
  EXPECT_EQ(holes, kLost);
  EXPECT_EQ(board.pipe(), std::uint64_t{kMss} * kLost);
  EXPECT_EQ(board.in_order_from(), start + (37 + 100 * (kLost - 1) + 1) * kMss);
  for (std::uint32_t k = 0; k < kLost; ++k) {
    const Seq next = start + std::min(kSegments, 37 + 100 * (k + 1)) * kMss;
    EXPECT_EQ(board.on_ack(next, {}).delivered, kMss);
  }
  EXPECT_TRUE(board.empty());
  EXPECT_EQ(board.outstanding() + board.sacked() + board.lost() + board.sent_again(), 0U);
}

}  // namespace
}  // namespace tidewire::tcp
