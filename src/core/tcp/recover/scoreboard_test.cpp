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

TEST_F(ScoreboardTest, InOrderAcksOfWholeEmissions) {
  send(0, 1000, 10);
  send(1000, 1500, 20);
  send(1500, 1600, 30);
  EXPECT_EQ(board.on_ack_in_order(Seq{base}).acked, 0U);
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 300).acked, 0U) << "inside an emission";
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 1700).acked, 0U) << "beyond what was sent";
  EXPECT_EQ(board.pipe(), 1600U);
  const InOrder two = board.on_ack_in_order(Seq{base} + 1500);
  EXPECT_EQ(two.acked, 1500U);
  EXPECT_EQ(two.oldest_sent_at, Instant::from_nanos(10));
  EXPECT_EQ(two.newest->sent_at, Instant::from_nanos(20));
  EXPECT_EQ(two.newest->end, Seq{base} + 1500);
  EXPECT_EQ(board.una(), Seq{base} + 1500);
  EXPECT_EQ(board.pipe(), 100U);
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 1600).acked, 100U);
  EXPECT_TRUE(board.empty());
}

TEST_F(ScoreboardTest, WhatIsUnusualIsNoInOrderAck) {
  send(0, 1000);
  send(1000, 2000);
  (void)ack(0, {r(1500, 1600)});
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 1000).acked, 0U) << "something is SACKed";
  (void)ack(1000);
  (void)board.mark_head_lost();
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 2000).acked, 0U) << "something is lost";
  board.reset(Seq{base});
  send(0, 1000);
  send(0, 1000);
  EXPECT_EQ(board.on_ack_in_order(Seq{base} + 1000).acked, 0U) << "something was sent again";
  EXPECT_EQ(ack(1000).acked, 1000U);
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

// Else a peer that says it lacks what it acknowledged before would be sent everything again with
// each of its ACKs.
TEST_F(ScoreboardTest, AnAckFromBelowTellsOfNoReneging) {
  send(0, 500);
  (void)ack(100);
  EXPECT_FALSE(ack(50, {r(100, 500)}).reneged);
  EXPECT_EQ(board.pipe(), 0U);
  EXPECT_TRUE(ack(100).reneged);
}

TEST_F(ScoreboardTest, SeesReordering) {
  send(0, 500);
  EXPECT_FALSE(ack(0, {r(200, 300)}).reordered);
  EXPECT_TRUE(ack(100).reordered);
  (void)board.mark_all_lost(false);
  send(100, 200, 5);
  // That one was sent again: which copy arrived shows by the time only.
  const AckClock late{Instant::from_nanos(50), Duration::nanos(10)};
  EXPECT_FALSE(board.on_ack(Seq{base} + 200, {}, late).reordered);
}

// req: RFC6675-4-SetPipe
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

TEST_F(ScoreboardTest, AShortFlightTakesNoMemory) {
  memory.set_failing(true);
  for (std::uint32_t at = 0; at < 3'000; at += 300) {
    for (std::uint32_t i = 0; i < 3; ++i) send(at + i * 100, at + i * 100 + 100);
    EXPECT_EQ(board.memory_used(), 0U);
    EXPECT_EQ(ack(at + 300).acked, 300U);
  }
  memory.set_failing(false);
  for (std::uint32_t i = 0; i < 8; ++i) send(3'000 + i * 100, 3'100 + i * 100);
  EXPECT_GT(board.memory_used(), 0U);
  EXPECT_EQ(board.runs().size(), 8U);
  EXPECT_EQ(board.runs().front().start, Seq{base} + 3'000) << "what was there moved along";
  EXPECT_EQ(ack(3'800).acked, 800U);
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

// Random operations on both.
class Twins {
 public:
  explicit Twins(std::uint64_t seed)
      : base_(0x7fffff00U + static_cast<std::uint32_t>(seed) * 0x20000000U),
        rng_(RandomSeed{seed, 9}) {
    board_.reset(base_);
  }

  void step(int n) {
    now_ = Instant::from_nanos(n);
    const std::uint64_t kind = rng_.below(6);
    if (kind < 2) send_new();
    if (kind == 2) sack();
    if (kind == 3) send_again();
    if (kind == 4) acknowledge();
    if (kind == 5) mark();
    compare();
  }

 private:
  Seq at(std::size_t segment) const { return base_ + static_cast<std::uint32_t>(segment) * kMss; }
  void emit(std::size_t first, std::size_t last) {
    ASSERT_TRUE(board_.reserve());
    board_.on_sent({{at(first), at(last)}, kMss, now_, {}, false});
  }
  void send_new() {
    const std::size_t first = model_.segments.size();
    model_.segments.resize(first + 1 + rng_.below(20));
    emit(first, model_.segments.size());
  }
  void sack() {
    const std::size_t out = model_.segments.size() - model_.una;
    if (out < 2) return;
    const std::size_t first = model_.una + 1 + rng_.below(out - 1);
    const std::size_t last = std::min(model_.segments.size(), first + 1 + rng_.below(6));
    std::uint64_t fresh = 0;
    for (std::size_t i = first; i < last; ++i) {
      if (model_.segments[i].sacked) continue;
      model_.segments[i] = {.sacked = true};
      fresh += kMss;
    }
    const SeqRange block{at(first), at(last)};
    const Delivered d = board_.on_ack(board_.una(), {&block, 1});
    ASSERT_EQ(d.sacked, fresh);
    ASSERT_EQ(d.delivered, fresh);
  }
  void send_again() {
    const auto lost = board_.next_lost();
    std::size_t first = model_.una;
    const auto waits = [](const Model::Segment& s) { return s.lost && !s.again; };
    while (first < model_.segments.size() && !waits(model_.segments[first])) ++first;
    ASSERT_EQ(lost.has_value(), first < model_.segments.size());
    if (!lost) return;
    ASSERT_EQ(lost->start, at(first));
    emit(first, first + 1);
    model_.segments[first].again = true;
  }
  void acknowledge() {
    const std::size_t out = model_.segments.size() - model_.una;
    if (out == 0 || rng_.below(3) != 0) return;
    std::size_t to = model_.una + 1 + rng_.below(std::min<std::size_t>(out, 5));
    while (to < model_.segments.size() && model_.segments[to].sacked) ++to;
    std::uint64_t fresh = 0;
    for (std::size_t i = model_.una; i < to; ++i) fresh += model_.segments[i].sacked ? 0U : kMss;
    const Delivered d = board_.on_ack(at(to), {});
    ASSERT_EQ(d.acked, (to - model_.una) * kMss);
    ASSERT_EQ(d.delivered, fresh);
    model_.una = to;
  }
  void mark() {
    ASSERT_EQ(board_.mark_lost_by_sack(kMss), model_.mark());
    if (rng_.below(40) != 0) return;
    (void)board_.mark_all_lost(false);
    for (std::size_t i = model_.una; i < model_.segments.size(); ++i) {
      if (!model_.segments[i].sacked) model_.segments[i] = {.lost = true};
    }
  }
  void compare() const {
    ASSERT_EQ(board_.una(), at(model_.una));
    ASSERT_EQ(board_.sacked(), model_.count(&Model::Segment::sacked));
    ASSERT_EQ(board_.lost(), model_.count(&Model::Segment::lost));
    ASSERT_EQ(board_.sent_again(), model_.count(&Model::Segment::again));
    Seq expected = board_.una();
    for (const tcp::Run& run : board_.runs()) {
      ASSERT_EQ(run.start, expected);
      ASSERT_TRUE(run.start.before(run.end));
      expected = run.end;
    }
    ASSERT_EQ(expected, board_.high_data());
  }

  HeapMemory memory_{64 << 20};
  Scoreboard board_{memory_};
  Model model_;
  Seq base_;
  Rng rng_;
  Instant now_;
};

TEST(ScoreboardModel, AgreesWithAListOfSegments) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Twins twins(seed);
    for (int step = 0; step < 3000; ++step) {
      twins.step(step);
      if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace tidewire::tcp
