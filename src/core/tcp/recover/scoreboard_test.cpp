#include "core/tcp/recover/scoreboard.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 100;

class ScoreboardTest : public ::testing::Test {
 protected:
  void SetUp() override { board.reset(Seq{base}); }
  SeqRange r(std::uint32_t start, std::uint32_t end) const {
    return {Seq{base} + start, Seq{base} + end};
  }
  void send(std::uint32_t start, std::uint32_t end, std::int64_t at = 0) {
    ASSERT_TRUE(board.reserve());
    board.on_sent({r(start, end), kMss, Instant::from_nanos(at), {}, false});
  }
  Delivered ack(std::uint32_t to, std::vector<SeqRange> blocks = {}) {
    return board.on_ack(Seq{base} + to, blocks);
  }

  const std::uint32_t base = 0xfffffe00U;  // wraps within the first segments
  HeapMemory memory{8 << 20};
  Scoreboard board{memory};
};

TEST_F(ScoreboardTest, CumulativeAcksAndPipe) {
  send(0, 1000, 10);
  send(1000, 1500, 20);
  EXPECT_EQ(board.pipe(), 1500U);
  Delivered d = ack(300);
  EXPECT_EQ(d.acked, 300U);
  EXPECT_EQ(d.delivered, 300U);
  EXPECT_EQ(d.oldest_sent_at, Instant::from_nanos(10));
  EXPECT_EQ(board.pipe(), 1200U);
  d = ack(1500);
  EXPECT_EQ(d.delivered, 1200U);
  EXPECT_EQ(d.newest.sent_at, Instant::from_nanos(20));
  EXPECT_TRUE(board.empty());
  EXPECT_EQ(board.pipe(), 0U);
}

// req: RFC2018-5-1, RFC6675-4-IsLost
TEST_F(ScoreboardTest, LostWithMoreThanTwoSegmentsSackedAbove) {
  send(0, 1000);
  (void)ack(0, {r(100, 200)});
  EXPECT_EQ(board.mark_lost_by_sack(kMss), 0U);
  (void)ack(0, {r(100, 300)});
  EXPECT_EQ(board.mark_lost_by_sack(kMss), 0U);
  const Delivered d = ack(0, {r(100, 400)});
  EXPECT_EQ(d.sacked, 100U);
  EXPECT_EQ(board.mark_lost_by_sack(kMss), 100U);
  EXPECT_EQ(board.next_lost(), r(0, 100));
  EXPECT_EQ(board.pipe(), 600U);
  send(0, 100);
  EXPECT_EQ(board.next_lost(), std::nullopt);
  EXPECT_EQ(board.pipe(), 700U);
  EXPECT_EQ(ack(400).delivered_lost, 100U);
  EXPECT_EQ(board.pipe(), 600U);
  EXPECT_EQ(board.sacked(), 0U);
}

TEST_F(ScoreboardTest, LostWithThreeIslandsAbove) {
  send(0, 2000);
  // Islands smaller than a segment at the end of the flight are segments of their own.
  (void)ack(0, {r(300, 400), r(500, 600)});
  EXPECT_EQ(board.mark_lost_by_sack(1000), 0U);
  (void)ack(0, {r(700, 800)});
  EXPECT_EQ(board.mark_lost_by_sack(1000), 300U);
  EXPECT_EQ(board.next_hole(board.una()), r(400, 500));
  EXPECT_EQ(board.next_hole(Seq{base} + 500), r(600, 700));
  EXPECT_EQ(board.next_hole(Seq{base} + 700), std::nullopt);
}

TEST_F(ScoreboardTest, PartOfASegmentCountsForNothing) {
  send(0, 1000);
  EXPECT_EQ(ack(0, {r(150, 449)}).sacked, 200U);
  EXPECT_EQ(board.runs()[1].start, Seq{base} + 200);
  EXPECT_EQ(board.runs()[1].end, Seq{base} + 400);
  EXPECT_EQ(ack(0, {r(520, 580)}).sacked, 0U);
  EXPECT_FALSE(ack(0, {r(900, 1001)}).new_sack_info);  // beyond what was sent
  EXPECT_FALSE(ack(0, {r(600, 500)}).new_sack_info);
}

// req: RFC2883-5-1
TEST_F(ScoreboardTest, RecognisesDuplicateReports) {
  send(0, 1000);
  EXPECT_EQ(ack(500, {r(100, 200)}).dsack, r(100, 200));
  EXPECT_EQ(ack(500, {r(700, 800), r(600, 900)}).dsack, r(700, 800));
  EXPECT_EQ(board.sacked(), 300U);
  EXPECT_FALSE(ack(500, {r(600, 900)}).dsack.has_value());
}

// req: RFC2018-5-2, RFC2018-5-3, RFC2018-8-1
TEST_F(ScoreboardTest, RenegedDataIsSentAgainAfterATimeout) {
  send(0, 500);
  (void)ack(0, {r(100, 200)});
  EXPECT_TRUE(ack(100).reneged);  // the first octet missing was SACKed
  EXPECT_EQ(board.mark_all_lost(true), 400U);
  EXPECT_EQ(board.next_lost()->start, Seq{base} + 100);
  EXPECT_EQ(board.pipe(), 0U);
}

TEST_F(ScoreboardTest, SeesReordering) {
  send(0, 500);
  EXPECT_FALSE(ack(0, {r(200, 300)}).reordered);
  EXPECT_TRUE(ack(100).reordered);
  (void)board.mark_all_lost(false);
  send(100, 200, 5);
  EXPECT_FALSE(ack(200).reordered);  // that one was sent again
}

TEST_F(ScoreboardTest, ARetransmissionCanBeLostAgain) {
  send(0, 500, 1);
  (void)ack(0, {r(200, 500)});
  EXPECT_EQ(board.mark_lost_by_sack(kMss), 200U);
  send(0, 100, 2);
  send(100, 200, 2);
  EXPECT_EQ(board.pipe(), 200U);
  const auto lost = [](const tcp::Run& run) { return run.sent_at <= Instant::from_nanos(2); };
  EXPECT_EQ(board.mark_lost_if(lost), 200U);
  EXPECT_EQ(board.pipe(), 0U);
  EXPECT_EQ(board.next_lost()->start, Seq{base});
}

TEST_F(ScoreboardTest, UndoTakesBackLossMarks) {
  send(0, 500);
  (void)ack(0, {r(200, 500)});
  EXPECT_EQ(board.mark_lost_by_sack(kMss), 200U);
  board.undo_lost();
  EXPECT_EQ(board.lost(), 0U);
  EXPECT_EQ(board.pipe(), 200U);
  EXPECT_EQ(board.next_lost(), std::nullopt);
}

TEST_F(ScoreboardTest, WithoutMemoryNothingIsSentAndSacksAreIgnored) {
  send(0, 1600);
  memory.set_failing(true);
  for (std::uint32_t i = 1; i < 16; i += 2) (void)ack(0, {r(i * 100, i * 100 + 100)});
  EXPECT_LE(board.runs().size(), 16U);
  EXPECT_GT(board.sacked(), 0U);
  while (board.reserve()) send(board.outstanding() == 0 ? 0 : 1600, 1600);
  EXPECT_EQ(ack(1600).acked, 1600U);
  EXPECT_TRUE(board.empty());
}

// Segments against a plain list of segments, byte counts against sums over it.
struct Model {
  struct Segment {
    bool sacked = false, lost = false, again = false, acked = false;
  };
  std::vector<Segment> segments;
  std::size_t una = 0;

  std::uint64_t count(bool Segment::* flag) const {
    std::uint64_t n = 0;
    for (std::size_t i = una; i < segments.size(); ++i) n += segments[i].*flag ? kMss : 0U;
    return n;
  }
  std::uint64_t mark() {
    std::uint64_t marked = 0;
    std::size_t above = 0;
    std::size_t islands = 0;
    for (std::size_t i = segments.size(); i-- > una;) {
      Segment& s = segments[i];
      if (s.sacked) {
        ++above;
        if (i + 1 == segments.size() || !segments[i + 1].sacked) ++islands;
      } else if (!s.lost && (above > 2 || islands >= 3)) {
        s.lost = true;
        marked += kMss;
      }
    }
    return marked;
  }
};

TEST(ScoreboardModel, AgreesWithAListOfSegments) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    HeapMemory memory(64 << 20);
    Scoreboard board(memory);
    const Seq base{0x7fffff00U + static_cast<std::uint32_t>(seed) * 0x20000000U};
    board.reset(base);
    Model model;
    Rng rng(RandomSeed{seed, 9});
    const auto at = [&](std::size_t segment) {
      return base + static_cast<std::uint32_t>(segment) * kMss;
    };
    for (int step = 0; step < 3000; ++step) {
      const std::size_t out = model.segments.size() - model.una;
      switch (rng.below(6)) {
        case 0:
        case 1: {
          const std::size_t n = 1 + rng.below(20);
          ASSERT_TRUE(board.reserve());
          const std::size_t first = model.segments.size();
          model.segments.resize(first + n);
          board.on_sent({{at(first), at(first + n)}, kMss, Instant::from_nanos(step), {}, false});
          break;
        }
        case 2: {  // SACK some
          if (out < 2) break;
          const std::size_t first = model.una + 1 + rng.below(out - 1);
          const std::size_t last = std::min(model.segments.size(), first + 1 + rng.below(6));
          std::uint64_t fresh = 0;
          for (std::size_t i = first; i < last; ++i) {
            if (model.segments[i].sacked) continue;
            model.segments[i] = {.sacked = true};
            fresh += kMss;
          }
          const SeqRange block{at(first), at(last)};
          const Delivered d = board.on_ack(board.una(), {&block, 1});
          ASSERT_EQ(d.sacked, fresh);
          ASSERT_EQ(d.delivered, fresh);
          break;
        }
        case 3: {  // resend what is lost
          const auto lost = board.next_lost();
          std::size_t first = model.una;
          while (first < model.segments.size() &&
                 !(model.segments[first].lost && !model.segments[first].again)) {
            ++first;
          }
          ASSERT_EQ(lost.has_value(), first < model.segments.size());
          if (!lost) break;
          ASSERT_EQ(lost->start, at(first));
          ASSERT_TRUE(board.reserve());
          board.on_sent({{at(first), at(first + 1)}, kMss, Instant::from_nanos(step), {}, false});
          model.segments[first].again = true;
          break;
        }
        case 4: {  // cumulative ACK, over SACKed data too
          if (out == 0 || rng.below(3) != 0) break;
          std::size_t to = model.una + 1 + rng.below(std::min<std::size_t>(out, 5));
          while (to < model.segments.size() && model.segments[to].sacked) ++to;
          std::uint64_t fresh = 0;
          for (std::size_t i = model.una; i < to; ++i)
            fresh += model.segments[i].sacked ? 0U : kMss;
          const Delivered d = board.on_ack(at(to), {});
          ASSERT_EQ(d.acked, (to - model.una) * kMss);
          ASSERT_EQ(d.delivered, fresh);
          model.una = to;
          break;
        }
        default:
          ASSERT_EQ(board.mark_lost_by_sack(kMss), model.mark());
          if (rng.below(40) == 0) {
            (void)board.mark_all_lost(false);
            for (std::size_t i = model.una; i < model.segments.size(); ++i) {
              if (!model.segments[i].sacked) model.segments[i] = {.lost = true};
            }
          }
      }
      ASSERT_EQ(board.una(), at(model.una));
      ASSERT_EQ(board.sacked(), model.count(&Model::Segment::sacked));
      ASSERT_EQ(board.lost(), model.count(&Model::Segment::lost));
      ASSERT_EQ(board.sent_again(), model.count(&Model::Segment::again));
      Seq expected = board.una();
      for (const tcp::Run& run : board.runs()) {
        ASSERT_EQ(run.start, expected);
        ASSERT_TRUE(run.start.before(run.end));
        expected = run.end;
      }
      ASSERT_EQ(expected, board.high_data());
    }
  }
}

}  // namespace
}  // namespace tidewire::tcp
