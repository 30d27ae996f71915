#include "core/tcp/buffer/assembler.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.hpp"

namespace tidewire::tcp {
namespace {

class AssemblerTest : public ::testing::Test {
 protected:
  std::vector<SeqRange> islands() const {
    std::vector<SeqRange> out;
    for (std::size_t i = 0; i < assembler.size(); ++i) out.push_back(assembler[i]);
    return out;
  }
  static SeqRange r(std::uint32_t start, std::uint32_t end) { return {Seq{start}, Seq{end}}; }

  HeapMemory memory{1 << 20};
  ChunkPool pool{memory};
  Assembler assembler{pool};
};

TEST_F(AssemblerTest, JoinsWhatTouches) {
  EXPECT_TRUE(assembler.add(r(100, 200)));
  EXPECT_TRUE(assembler.add(r(300, 400)));
  EXPECT_EQ(islands(), (std::vector{r(100, 200), r(300, 400)}));
  EXPECT_TRUE(assembler.add(r(200, 250)));
  EXPECT_TRUE(assembler.add(r(250, 300)));
  EXPECT_EQ(islands(), (std::vector{r(100, 400)}));
  EXPECT_TRUE(assembler.add(r(50, 500)));
  EXPECT_EQ(islands(), (std::vector{r(50, 500)}));
  EXPECT_TRUE(assembler.covers(r(60, 500)));
  EXPECT_FALSE(assembler.covers(r(49, 60)));
  EXPECT_EQ(assembler.advance(Seq{49}), Seq{49});
  EXPECT_EQ(assembler.advance(Seq{60}), Seq{500});
  EXPECT_TRUE(assembler.empty());
}

// req: RFC2018-4-6, RFC2018-4-8
TEST_F(AssemblerTest, ReportsTheNewestIslandFirst) {
  for (std::uint32_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(assembler.add(r(1000 * i + 100, 1000 * i + 200)));
  }
  EXPECT_TRUE(assembler.add(r(1200, 1300)));  // the second one grows
  std::array<SeqRange, 3> blocks{};
  ASSERT_EQ(assembler.sack_blocks(blocks), 3U);
  EXPECT_EQ(blocks[0], r(1100, 1300));
  EXPECT_EQ(blocks[1], r(4100, 4200));
  EXPECT_EQ(blocks[2], r(3100, 3200));
  std::array<SeqRange, 4> four{};
  ASSERT_EQ(assembler.sack_blocks(four), 4U);
  EXPECT_EQ(four[3], r(2100, 2200));
  // A duplicate of an old island makes it the newest again.
  EXPECT_TRUE(assembler.add(r(100, 150)));
  ASSERT_EQ(assembler.sack_blocks(four), 4U);
  EXPECT_EQ(four[0], r(100, 200));
  EXPECT_EQ(four[1], r(1100, 1300));
  EXPECT_EQ(assembler.sack_blocks({}), 0U);
}

TEST_F(AssemblerTest, DiscardsFromAPoint) {
  EXPECT_TRUE(assembler.add(r(100, 200)));
  EXPECT_TRUE(assembler.add(r(300, 400)));
  EXPECT_TRUE(assembler.add(r(500, 600)));
  assembler.discard_from(Seq{350});
  EXPECT_EQ(islands(), (std::vector{r(100, 200), r(300, 350)}));
  assembler.discard_from(Seq{250});
  EXPECT_EQ(islands(), (std::vector{r(100, 200)}));
}

TEST_F(AssemblerTest, IsBoundedAndSurvivesWithoutMemory) {
  std::uint32_t at = 0;
  memory.set_failing(true);
  while (assembler.add(r(at, at + 1))) at += 2;
  EXPECT_EQ(assembler.size(), Assembler::kInline);
  EXPECT_TRUE(assembler.add(r(1, 2)));  // joining needs no memory
  EXPECT_EQ(assembler.size(), Assembler::kInline - 1);
  memory.set_failing(false);
  while (assembler.add(r(at, at + 1))) at += 2;
  EXPECT_EQ(assembler.size(), Assembler::kMost);
  assembler.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

// The blocks to report are the islands touched last, in that order, whatever grows, joins or goes.
TEST_F(AssemblerTest, ReportsTheIslandsTouchedLast) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(RandomSeed{seed, 2});
    Assembler a(pool);
    std::vector<SeqRange> known;  // the newest first
    for (int step = 1; step <= 3000; ++step) {
      // Mostly a few places that grow in turns, which is what pushes the others out of sight.
      const auto place =
          static_cast<std::uint32_t>(rng.below(10) < 7 ? rng.below(3) : rng.below(400));
      const std::uint32_t start = 1000 + place * 50;
      SeqRange range = r(start, start + 1 + static_cast<std::uint32_t>(rng.below(60)));
      ASSERT_TRUE(a.add(range));
      for (bool grew = true; grew;) {
        grew = std::erase_if(known, [&](const SeqRange& island) {
                 if (island.end.before(range.start) || range.end.before(island.start)) return false;
                 range = {earlier(range.start, island.start), later(range.end, island.end)};
                 return true;
               }) > 0;
      }
      known.insert(known.begin(), range);
      std::array<SeqRange, 4> out;
      const std::size_t n = a.sack_blocks(out);
      ASSERT_EQ(n, std::min<std::size_t>(4, known.size()));
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], known[i]) << "in step " << step;
      if (known.size() > 200) {
        a.clear();
        known.clear();
      }
    }
  }
}

TEST_F(AssemblerTest, AgreesWithABitmapAcrossTheWrap) {
  for (const std::uint32_t base : {0U, 0x7fffff00U, 0xffffff00U}) {
    Rng rng(RandomSeed{base, 1});
    Assembler a(pool);
    std::vector<bool> held(600);
    std::uint32_t nxt = 0;  // rcv.nxt - base
    for (int step = 0; step < 20'000; ++step) {
      const auto start = nxt + 1 + static_cast<std::uint32_t>(rng.below(held.size() - nxt - 1));
      const auto end =
          std::min<std::uint32_t>(start + static_cast<std::uint32_t>(rng.below(20)), 600);
      const SeqRange range = r(base + start, base + end);
      std::vector<bool> missing(held.size());
      a.for_each_missing(range, [&](SeqRange m) {
        for (std::uint32_t i = Seq::span(Seq{base}, m.start); i < Seq::span(Seq{base}, m.end);
             ++i) {
          missing[i] = true;
        }
      });
      bool all = true;
      for (std::uint32_t i = start; i < end; ++i) {
        ASSERT_EQ(missing[i], !held[i]);
        all = all && held[i];
      }
      if (start < end) {
        ASSERT_EQ(a.covers(range), all);
      }
      ASSERT_TRUE(a.add(range));
      for (std::uint32_t i = start; i < end; ++i) held[i] = true;
      std::vector<bool> shown(held.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        ASSERT_FALSE(a[i].empty());
        for (std::uint32_t k = 0; k < a[i].size(); ++k) {
          shown[Seq::span(Seq{base}, a[i].start) + k] = true;
        }
      }
      ASSERT_EQ(shown, held);
      if (rng.below(20) == 0) {
        nxt += static_cast<std::uint32_t>(rng.below(5)) + 1;
        while (nxt < held.size() && held[nxt]) ++nxt;
        if (nxt + 2 >= held.size()) {
          a.clear();
          held.assign(held.size(), false);
          nxt = 0;
          continue;
        }
        // The model's rcv.nxt may lie inside islands: these go off as a whole.
        const Seq moved = a.advance(Seq{base + nxt});
        ASSERT_EQ(moved, Seq{base + nxt});
        for (std::uint32_t i = 0; i < nxt; ++i) held[i] = false;
      }
    }
  }
}

}  // namespace
}  // namespace tidewire::tcp
