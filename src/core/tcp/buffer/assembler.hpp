// Which out-of-order bytes have arrived.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/chunk_pool.hpp"
#include "base/seq_range.hpp"

namespace tidewire::tcp {

/// The islands of data received beyond rcv.nxt, sorted and disjoint, with the order in which they
/// were last touched, as SACK wants it (RFC 2018 §4). Some islands fit inline; more take a chunk.
class Assembler {
 public:
  static constexpr std::size_t kInline = 6;
  /// Most islands ever held.
  static constexpr std::size_t kMost = chunk_bytes(ChunkSize::kib64) / 12;

  explicit Assembler(ChunkPool& pool) noexcept : pool_(&pool) {}
  Assembler(const Assembler&) = delete;
  Assembler& operator=(const Assembler&) = delete;
  ~Assembler() { clear(); }

  /// Adds [range), which lies after rcv.nxt; joins it with islands it touches. False: no room for
  /// another island, nothing changed and the data must be dropped.
  [[nodiscard]] bool add(SeqRange range) noexcept;

  /// True if add(range) will succeed; may take memory for it.
  [[nodiscard]] bool can_add(SeqRange range) noexcept;

  /// rcv.nxt moves to `rcv_nxt`: islands that start there or before are taken off. Returns rcv.nxt
  /// moved over the islands that joined the in-order data.
  Seq advance(Seq rcv_nxt) noexcept;

  /// Calls f(SeqRange) for each part of `range` that is not held yet, in order. First data wins:
  /// only these parts may be written.
  template <typename F>
  void for_each_missing(SeqRange range, F&& f) const noexcept {
    Seq at = range.start;
    for (std::size_t i = first_ending_after(range.start); i < count_; ++i) {
      const Island& island = islands()[i];
      if (!island.start.before(range.end)) break;
      if (at.before(island.start)) f(SeqRange{at, island.start});
      at = later(at, island.end);
    }
    if (at.before(range.end)) f(SeqRange{at, range.end});
  }

  /// True if `range` overlaps an island or borders on one: adding it makes no new one.
  bool touches(SeqRange range) const noexcept {
    const Touched touched = touched_by(range);
    return touched.first != touched.last;
  }
  /// True if every byte of `range` is held.
  bool covers(SeqRange range) const noexcept;

  /// Forgets what lies at or after `from` (memory pressure sheds out-of-order data, RFC 2018 §8).
  void discard_from(Seq from) noexcept;
  void clear() noexcept;

  //= RFC 2018 §4
  /// Blocks to report: the island touched last first, then the others by how recently they were
  /// touched. Returns how many were written.
  std::size_t sack_blocks(std::span<SeqRange> out) const noexcept;

  /// At most this many islands are held from now on, and never more than kMost.
  void set_most(std::size_t most) noexcept {
    most_ = static_cast<std::uint32_t>(std::min(most, kMost));
  }
  std::size_t memory_used() const noexcept { return more_ == nullptr ? 0 : more_->capacity; }
  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  /// Islands in the order of sequence numbers.
  SeqRange operator[](std::size_t i) const noexcept {
    return {islands()[i].start, islands()[i].end};
  }

 private:
  struct Island {
    Seq start;
    Seq end;
    std::uint32_t touched = 0;
  };
  static_assert(sizeof(Island) == 12);

  Island* islands() noexcept;
  const Island* islands() const noexcept;
  std::size_t capacity() const noexcept;
  struct Touched {
    std::size_t first = 0;
    std::size_t last = 0;  // first == last: none, insert before
  };
  Touched touched_by(SeqRange range) const noexcept;
  void remember(Seq start) noexcept;
  std::size_t blocks_of_recent(std::span<SeqRange> out) const noexcept;
  void find_recent() const noexcept;
  bool grow() noexcept;
  void erase(std::size_t first, std::size_t last) noexcept;
  /// Index of the first island whose end is after `s`.
  std::size_t first_ending_after(Seq s) const noexcept;

  ChunkPool* pool_;
  Chunk* more_ = nullptr;  // holds all islands once they are too many for inline_
  std::uint32_t count_ = 0;
  std::uint32_t most_ = kMost;
  std::uint32_t clock_ = 0;
  // Where the islands touched last lie, the newest first: an ACK need not look at all of them.
  static constexpr std::size_t kRecent = 8;
  mutable std::array<Seq, kRecent> recent_{};
  mutable std::uint32_t recent_count_ = 0;
  std::array<Island, kInline> inline_{};
};

}  // namespace tidewire::tcp
