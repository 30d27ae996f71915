#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <vector>

#include "base/random.hpp"
#include "core/tcp/buffer/recv_ring.hpp"
#include "core/tcp/buffer/send_ring.hpp"

namespace tidewire::tcp {
namespace {

std::byte pattern(std::uint64_t offset) {
  return static_cast<std::byte>((offset * 2'654'435'761U) >> 13 & 0xff);
}
std::vector<std::byte> stretch(std::uint64_t offset, std::size_t n) {
  std::vector<std::byte> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = pattern(offset + i);
  return out;
}
std::vector<std::byte> joined(std::span<const Bytes> regions) {
  std::vector<std::byte> out;
  for (const Bytes b : regions) out.insert(out.end(), b.begin(), b.end());
  return out;
}

/// Fills all of what is offered for `n` bytes, a part of it, or nothing; `written` counts.
void write_in_places(SendRing& ring, Rng& rng, std::size_t n, std::uint64_t& written) {
  std::array<MutBytes, 6> places;
  const std::size_t most = rng.below(places.size()) + 1;
  const std::size_t count = ring.spaces({places.data(), most}, n);
  ASSERT_EQ(count == 0, ring.room() == 0);
  std::size_t offered = 0;
  for (std::size_t i = 0; i < count; ++i) offered += places[i].size();
  ASSERT_LE(offered, std::min(ring.room(), n));
  if (most == places.size()) {
    ASSERT_EQ(offered, std::min(ring.room(), n));
  }
  const std::size_t used = rng.below(3) == 0 ? offered : rng.below(offered + 1);
  const auto data = stretch(written, used);
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t here = std::min(places[i].size(), used - at);
    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), here, places[i].begin());
    at += here;
  }
  // Who is offered places again has not used the first ones.
  if (rng.below(8) == 0) return;
  ring.commit(used);
  written += used;
}

TEST(SendRing, IsAQueueOfBytesUnderRandomUse) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  {
    SendRing ring(pool, 300'000);
    Rng rng(RandomSeed{1, 1});
    std::uint64_t written = 0;
    std::uint64_t released = 0;
    std::deque<std::vector<std::byte>> lent;
    std::array<Bytes, 512> regions;
    for (int step = 0; step < 30'000; ++step) {
      const std::size_t n = rng.below(std::uint64_t{1} << rng.below(18)) + 1;
      switch (rng.below(6)) {
        case 0: {
          const auto data = stretch(written, n);
          const std::size_t room = ring.room();
          const std::size_t done = ring.write(data);
          ASSERT_EQ(done, std::min(room, n));
          written += done;
          break;
        }
        case 1: {
          const MutBytes target = ring.space(n);
          ASSERT_EQ(target.empty(), ring.room() == 0);
          ASSERT_LE(target.size(), ring.room());
          const std::size_t used = std::min(target.size(), n);
          const auto data = stretch(written, used);
          std::copy(data.begin(), data.end(), target.begin());
          ring.commit(used);
          written += used;
          break;
        }
        case 2: {
          const bool room = ring.room() > 0;
          lent.push_back(stretch(written, n));
          ASSERT_EQ(ring.lend(lent.back()), room);
          if (room) {
            written += n;
          } else {
            lent.pop_back();
          }
          break;
        }
        case 3: {
          const std::uint64_t gone = std::min<std::uint64_t>(n, ring.size());
          ring.release(n);
          released += gone;
          for (auto done = ring.take_borrows_done(); done > 0; --done) lent.pop_front();
          break;
        }
        case 4:
          ASSERT_NO_FATAL_FAILURE(write_in_places(ring, rng, n, written));
          break;
        default: {
          const std::uint64_t offset = rng.below(ring.size() + 1);
          const auto g = ring.gather(offset, n, regions);
          ASSERT_EQ(g.bytes, std::min<std::uint64_t>(n, ring.size() - offset));
          ASSERT_EQ(joined({regions.data(), g.regions}), stretch(released + offset, g.bytes));
        }
      }
      ASSERT_EQ(ring.size(), written - released);
      if (ring.empty()) {
        ASSERT_EQ(ring.memory_used(), 0U);
      }
    }
  }
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(SendRing, HoldsNoMemoryWhenEmptyAndSmallChunksWhenSmall) {
  HeapMemory memory(1 << 20);
  ChunkPool pool(memory);
  SendRing ring(pool, 100'000);
  EXPECT_EQ(ring.write(stretch(0, 100)), 100U);
  EXPECT_EQ(ring.memory_used(), 2048U);
  ring.release(100);
  EXPECT_EQ(ring.memory_used(), 0U);
  EXPECT_EQ(ring.write(stretch(0, 60'000)), 60'000U);
  std::array<Bytes, 4> regions;
  EXPECT_EQ(ring.gather(0, 60'000, regions).regions, 1U);
  ring.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(SendRing, WritesLessWithoutMemory) {
  HeapMemory memory(1 << 20);
  ChunkPool pool(memory, 2048);
  SendRing ring(pool, 100'000);
  EXPECT_EQ(ring.write(stretch(0, 5000)), 2048U);
  EXPECT_EQ(ring.write(stretch(0, 1)), 0U);
  EXPECT_TRUE(ring.space(1).empty());
  memory.set_failing(true);
  ChunkPool dry(memory);
  SendRing other(dry, 1000);
  EXPECT_EQ(other.write(stretch(0, 1)), 0U);
  EXPECT_FALSE(other.lend(as_bytes("x", 1)));
}

// Segments in any order, overlapping, some with other bytes where they overlap: first data wins.
TEST(RecvRing, ReassemblesLikeABitmapAcrossTheWrap) {
  for (const std::uint32_t base : {1U, 0x7fff8000U, 0xffff0000U}) {
    HeapMemory memory(64 << 20);
    ChunkPool pool(memory);
    RecvRing ring(pool, Seq{base}, 40'000);
    Rng rng(RandomSeed{base, 2});
    std::vector<int> model(4'000'000, -1);  // what arrived first, per stream offset
    std::uint64_t nxt = 0;
    std::uint64_t read = 0;
    for (int step = 0; step < 20'000 && nxt + 50'000 < model.size(); ++step) {
      const std::uint64_t window = ring.window();
      const std::uint64_t back =
          rng.below(4) == 0 ? std::min<std::uint64_t>(nxt, rng.below(3000)) : 0;
      const std::uint64_t ahead = rng.below(3) == 0 ? 0 : rng.below(window + 1);
      const std::uint64_t start = nxt - back + ahead;
      std::uint64_t n = rng.below(std::uint64_t{1} << rng.below(13)) + 1;
      n = std::min(n, nxt + window > start ? nxt + window - start : 0);
      std::vector<std::byte> text(n);
      for (auto& b : text) b = static_cast<std::byte>(rng.next() & 0xff);
      std::uint64_t fresh = 0;
      for (std::uint64_t i = start; i < start + n; ++i) {
        if (model[i] >= 0 || i < nxt) continue;
        model[i] = std::to_integer<int>(text[i - start]);
        ++fresh;
      }
      if (start == nxt && n > 0 && ring.islands().empty() && rng.below(2) == 0) {
        ASSERT_TRUE(ring.append(text));
        nxt += n;
        continue;
      }
      const std::size_t cut = n == 0 ? 0 : rng.below(n);
      const std::array<Bytes, 3> spans{Bytes(text).first(cut), Bytes{}, Bytes(text).subspan(cut)};
      const auto w = ring.write(Seq{base} + static_cast<std::uint32_t>(start), spans);
      std::uint64_t moved = nxt;
      while (model[moved] >= 0) ++moved;
      ASSERT_EQ(w.fresh, fresh);
      ASSERT_EQ(w.advanced, moved - nxt);
      ASSERT_EQ(w.duplicate.empty(), fresh == n) << step;
      ASSERT_EQ(w.status, moved > nxt ? RecvRing::Status::in_order
                          : fresh > 0 ? RecvRing::Status::out_of_order
                                      : RecvRing::Status::duplicate);
      nxt = moved;
      ASSERT_EQ(ring.rcv_nxt(), Seq{base} + static_cast<std::uint32_t>(nxt));
      ASSERT_EQ(ring.size(), nxt - read);
      if (rng.below(3) == 0) {
        std::vector<std::byte> out(rng.below(20'000));
        const std::size_t got = ring.read(out);
        ASSERT_EQ(got, std::min<std::uint64_t>(out.size(), nxt - read));
        for (std::size_t i = 0; i < got; ++i) {
          ASSERT_EQ(std::to_integer<int>(out[i]), model[read + i]);
        }
        read += got;
      }
      std::array<Bytes, 64> regions;
      const std::size_t count = ring.readable(regions, 5000);
      const auto front = joined({regions.data(), count});
      ASSERT_EQ(front.size(), std::min<std::uint64_t>(5000, nxt - read));
      for (std::size_t i = 0; i < front.size(); ++i) {
        ASSERT_EQ(std::to_integer<int>(front[i]), model[read + i]);
      }
    }
    EXPECT_GT(nxt, 1'000'000U);
    ring.clear();
    EXPECT_EQ(pool.in_use(), 0U);
  }
}

TEST(RecvRing, AppendTakesAllOrNothing) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory, 2048);
  RecvRing ring(pool, Seq{100}, 40'000);
  ASSERT_TRUE(ring.append(stretch(0, 1500)));
  EXPECT_FALSE(ring.append(stretch(1500, 1500)));
  EXPECT_EQ(ring.size(), 1500U);
  EXPECT_EQ(ring.rcv_nxt(), Seq{1600});
  ASSERT_TRUE(ring.append(stretch(1500, 548)));
  EXPECT_EQ(ring.peek({}), 0U);
  EXPECT_EQ(ring.read({}), 0U);
  std::vector<std::byte> out(3000);
  EXPECT_EQ(ring.read(out), 2048U);
  out.resize(2048);
  EXPECT_EQ(out, stretch(0, 2048));
  EXPECT_EQ(pool.in_use(), 0U);
  ASSERT_TRUE(ring.append(stretch(2048, 1)));
  EXPECT_EQ(pool.in_use(), 2048U);
}

TEST(RecvRing, AppendTakesAllPartsOrNone) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory, 70'000);
  RecvRing ring(pool, Seq{100}, 400'000);
  const auto text = stretch(0, 80'000);
  ASSERT_TRUE(ring.append(Bytes{text}.first(1'000)));
  const std::size_t held = pool.in_use();
  const std::array<Bytes, 4> parts{Bytes{text}.subspan(1'000, 500),
                                   Bytes{text}.subspan(1'500, 40'000), Bytes{},
                                   Bytes{text}.subspan(41'500, 38'500)};
  for (const bool in_place : {false, true}) {
    EXPECT_FALSE(in_place ? ring.append_in_place(parts) : ring.append(parts));
    EXPECT_EQ(ring.size(), 1'000U);
    EXPECT_EQ(ring.rcv_nxt(), Seq{1'100});
    EXPECT_EQ(pool.in_use(), held);
  }
  ASSERT_TRUE(ring.append_in_place({parts.data(), 2}));
  std::vector<std::byte> out(50'000);
  ASSERT_EQ(ring.read(out), 41'500U);
  out.resize(41'500);
  EXPECT_EQ(out, stretch(0, 41'500));
  EXPECT_EQ(pool.in_use(), 0U);
}

// Large texts are read where they came, between others of every size; what is left when they
// settle is the ring's.
TEST(RecvRing, ReadsTextWhereItCameUntilItSettles) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  RecvRing ring(pool, Seq{0xffff0000U}, 1 << 20);
  Rng rng(RandomSeed{3, 3});
  std::vector<std::byte> arena(256 * 1024);
  std::size_t used = 0;
  std::uint64_t nxt = 0;
  std::uint64_t read = 0;
  std::size_t in_place = 0;
  const auto settle = [&] {
    pool.settle();
    std::ranges::fill(arena, std::byte{0xee});
    used = 0;
  };
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t n = rng.below(3) == 0 ? 1 + rng.below(3000) : 30'000 + rng.below(35'000);
    if (n <= ring.window()) {
      const auto text = stretch(nxt, n);
      if (ring.islands().empty() && rng.below(4) != 0) {
        if (used + n > arena.size()) settle();
        const MutBytes there = MutBytes{arena}.subspan(used, n);
        std::ranges::copy(text, there.begin());
        used += n;
        if (rng.below(2) == 0) {
          const std::size_t cut = rng.below(n + 1);
          ASSERT_TRUE(ring.append_in_place({{there.first(cut), there.subspan(cut)}}));
        } else {
          ASSERT_TRUE(ring.append_in_place(there));
        }
        std::array<Bytes, 64> regions;
        const std::size_t count = ring.readable(regions);
        in_place += count > 0 && regions[count - 1].data() == there.data() ? 1 : 0;
        nxt += n;
      } else if (n > 10) {
        // In two halves, the second one first.
        const Seq at = ring.rcv_nxt();
        const auto half = static_cast<std::uint32_t>(n / 2);
        ASSERT_EQ(ring.write(at + half, Bytes{text}.subspan(half)).status,
                  RecvRing::Status::out_of_order);
        ASSERT_EQ(ring.write(at, Bytes{text}.first(half)).advanced, n);
        nxt += n;
      }
    }
    if (rng.below(3) == 0) settle();
    if (rng.below(2) == 0) {
      std::vector<std::byte> out(rng.below(150'000));
      const std::size_t got = ring.read(out);
      ASSERT_EQ(got, std::min<std::uint64_t>(out.size(), nxt - read));
      out.resize(got);
      ASSERT_EQ(out, stretch(read, got)) << "step " << step;
      read += got;
    }
    ASSERT_EQ(ring.rcv_nxt(), Seq{0xffff0000U} + static_cast<std::uint32_t>(nxt));
  }
  EXPECT_GT(in_place, 1000U);
  settle();
  ring.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(RecvRing, OutOfOrderTakesOnlyTheChunksItTouches) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  RecvRing ring(pool, Seq{0}, 6 << 20);
  const auto text = stretch(0, 1000);
  const auto w = ring.write(Seq{5'000'000}, text);
  EXPECT_EQ(w.status, RecvRing::Status::out_of_order);
  EXPECT_EQ(ring.memory_used(), 2048U);
  EXPECT_EQ(ring.shed_out_of_order(), 2048U);
  EXPECT_EQ(ring.memory_used(), 0U);
}

// Single bytes from the right end to the left must not pin a chunk each.
TEST(RecvRing, ScatteredBytesDoNotMultiplyMemory) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  RecvRing ring(pool, Seq{0}, 100'000);
  const auto text = stretch(0, 1);
  for (std::uint32_t at = 60'000; at > 1; --at) (void)ring.write(Seq{at}, text);
  EXPECT_LE(ring.memory_used(), 160'000U);
  ring.clear();
  for (std::uint32_t i = 0; i < 60'000; i += 2) (void)ring.write(Seq{1 + i * 7919U % 60'000}, text);
  EXPECT_LE(ring.memory_used(), 160'000U + chunk_bytes(ChunkSize::kib64)) << "and its islands";
}

TEST(RecvRing, AFullMemoryDropsOrShedsButNeverLosesInOrderData) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory, 3 * 2048);
  RecvRing ring(pool, Seq{0}, 100'000);
  EXPECT_EQ(ring.write(Seq{0}, stretch(0, 2048)).status, RecvRing::Status::in_order);
  EXPECT_EQ(ring.write(Seq{50'000}, stretch(50'000, 100)).status, RecvRing::Status::out_of_order);
  EXPECT_EQ(ring.write(Seq{60'000}, stretch(60'000, 100)).status, RecvRing::Status::out_of_order);
  EXPECT_EQ(ring.write(Seq{70'000}, stretch(70'000, 100)).status, RecvRing::Status::no_memory);
  EXPECT_EQ(ring.islands().size(), 2U);
  // In-order data pushes the islands out.
  EXPECT_EQ(ring.write(Seq{2048}, stretch(2048, 4000)).status, RecvRing::Status::in_order);
  EXPECT_EQ(ring.islands().size(), 0U);
  EXPECT_EQ(ring.write(Seq{6048}, stretch(6048, 2000)).status, RecvRing::Status::no_memory);
  std::vector<std::byte> out(10'000);
  out.resize(ring.read(out));
  EXPECT_EQ(out, stretch(0, 6048));
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace tidewire::tcp
