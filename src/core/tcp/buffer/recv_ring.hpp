// The receive buffer: in-order bytes for the application and out-of-order bytes in their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "base/chunk_pool.hpp"
#include "core/tcp/buffer/assembler.hpp"

namespace tidewire::tcp {

/// Reassembly in place. Data is written at its position in the stream, in chunks that exist only
/// where data is; when a gap closes nothing is copied. Spans handed out are valid until the next
/// non-const call.
class RecvRing {
 public:
  /// `rcv_nxt`: the first sequence number of data. `limit`: bytes offered at most (SO_RCVBUF).
  RecvRing(ChunkPool& pool, Seq rcv_nxt, std::size_t limit) noexcept
      : pool_(&pool), assembler_(pool), rcv_nxt_(rcv_nxt), limit_(limit) {}
  RecvRing(const RecvRing&) = delete;
  RecvRing& operator=(const RecvRing&) = delete;
  ~RecvRing() { clear(); }

  enum class Status : std::uint8_t {
    in_order,      ///< rcv.nxt moved
    out_of_order,  ///< kept beyond a gap
    duplicate,     ///< nothing new in it
    no_memory,     ///< nothing kept: drop, count, answer with an ACK
  };
  struct Written {
    Status status = Status::duplicate;
    std::uint32_t advanced = 0;  ///< bytes by which rcv.nxt moved
    std::uint32_t fresh = 0;     ///< bytes that were not held before
    bool filled_gap = false;     ///< out-of-order data was waiting: ACK at once (RFC 5681 §4.2)
    SeqRange duplicate;          ///< first stretch received twice, for D-SACK; empty if none
  };
  /// Takes the text of a segment that starts at `seq`; `text` lies inside the receive window (cut
  /// by the caller) but may start before rcv.nxt. First data wins where it overlaps.
  Written write(Seq seq, Bytes text) noexcept;
  /// The same for a text in several spans (one coalesced frame).
  Written write(Seq seq, std::span<const Bytes> text) noexcept;

  /// The same for the next text in order while nothing waits beyond a gap. False: no memory, and
  /// nothing was taken.
  [[nodiscard]] bool append(Bytes text) noexcept;
  /// As append(), for text that is worth it and stays where it is until ChunkPool::settle(): it is
  /// copied only then, if it is still here.
  [[nodiscard]] bool append_in_place(Bytes text) noexcept;
  /// The same for a text in several spans.
  [[nodiscard]] bool append(std::span<const Bytes> text) noexcept;
  [[nodiscard]] bool append_in_place(std::span<const Bytes> text) noexcept;

  /// In-order bytes as regions from the front, at most `length`. Returns how many regions.
  std::size_t readable(std::span<Bytes> out, std::size_t length = SIZE_MAX) const noexcept;
  /// The first contiguous region of in-order bytes; empty if there are none.
  Bytes front() const noexcept;
  /// Copies from the front without consuming; returns how much.
  std::size_t peek(MutBytes out, std::size_t offset = 0) const noexcept;
  /// Copies and consumes; returns how much.
  std::size_t read(MutBytes out) noexcept;
  /// The application is done with the first `n` in-order bytes.
  void consume(std::size_t n) noexcept;

  /// rcv.nxt moves over a FIN (which takes no room here).
  void skip_sequence(std::uint32_t n) noexcept { rcv_nxt_ += n; }
  Seq rcv_nxt() const noexcept { return rcv_nxt_; }
  /// In-order bytes not yet consumed.
  std::size_t size() const noexcept { return static_cast<std::size_t>(in_order_ - begin_); }
  bool empty() const noexcept { return in_order_ == begin_; }
  /// Room after rcv.nxt in bytes, whatever lies there out of order.
  std::size_t window() const noexcept { return size() >= limit_ ? 0 : limit_ - size(); }
  std::size_t limit() const noexcept { return limit_; }
  /// A smaller limit takes effect as data is consumed; what was advertised stays with the caller.
  void set_limit(std::size_t limit) noexcept { limit_ = limit; }

  const Assembler& islands() const noexcept { return assembler_; }
  /// Bytes of pool memory held.
  std::size_t memory_used() const noexcept { return memory_ + assembler_.memory_used(); }
  /// At most this many islands are kept (TcpConfig::out_of_order_max).
  void set_most_islands(std::size_t most) noexcept { assembler_.set_most(most); }
  /// Gives up all out-of-order data (first to go when memory is short); returns bytes freed.
  std::size_t shed_out_of_order() noexcept;
  void clear() noexcept;

 private:
  struct Source;
  Written write_source(Seq seq, Source source, std::uint32_t length) noexcept;
  void link_last(Chunk& chunk) noexcept;
  bool append_small(Bytes part) noexcept;
  Written append(SeqRange range, Source& source, Written w) noexcept;
  std::uint64_t offset_of(Seq seq) const noexcept;
  bool materialise(std::uint64_t at, std::uint64_t end) noexcept;
  Chunk* make_chunk(Chunk* after, std::uint64_t at, std::uint64_t end) noexcept;
  void copy_in(std::uint64_t at, std::uint64_t end, Source& source) noexcept;
  Chunk* find(std::uint64_t at) const noexcept;
  void unlink(Chunk& chunk) noexcept;
  void drop_only() noexcept;
  bool make_room(SeqRange range) noexcept;
  void free_unused() noexcept;

  ChunkPool* pool_;
  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  mutable Chunk* hint_ = nullptr;
  std::uint64_t begin_ = 0;     // stream offset of the first unconsumed byte
  std::uint64_t in_order_ = 0;  // stream offset of rcv.nxt
  Assembler assembler_;
  Seq rcv_nxt_;
  std::size_t limit_;
  std::size_t memory_ = 0;
};

}  // namespace tidewire::tcp
