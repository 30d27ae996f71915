// The bytes the application has written and the peer has not acknowledged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "base/chunk_pool.hpp"

namespace tidewire::tcp {

/// A byte queue in linked chunks: written at the end, read anywhere, released from the front.
/// Nothing moves. Offsets count from the first unreleased byte (snd.una without SYN).
/// Spans handed out are valid until the next non-const call.
class SendRing {
 public:
  /// `limit`: most bytes held (SO_SNDBUF). The pool must outlive the ring.
  SendRing(ChunkPool& pool, std::size_t limit) noexcept : pool_(&pool), limit_(limit) {}
  SendRing(const SendRing&) = delete;
  SendRing& operator=(const SendRing&) = delete;
  ~SendRing() { clear(); }

  /// A place to write to at the end, of any size up to what the limit leaves; `hint` is how much
  /// the writer has. Empty: full, or no memory (see room()).
  MutBytes space(std::size_t hint) noexcept;
  /// The same in several places, of `wanted` bytes in all at most; returns how many places.
  /// commit() follows before anything else is done with the ring, with 0 if nothing was written.
  std::size_t spaces(std::span<MutBytes> out, std::size_t wanted) noexcept;
  /// The first `n` bytes of the last space() or spaces() are now part of the stream.
  void commit(std::size_t n) noexcept;
  /// Copies as much as fits; returns how much.
  std::size_t write(Bytes bytes) noexcept;
  /// Appends bytes without copying. They must stay unchanged until borrows_done() has counted them.
  /// False: no memory, or beyond the limit by more than itself (one lend may overshoot).
  [[nodiscard]] bool lend(Bytes bytes) noexcept;

  /// The bytes [offset, offset + length) as regions, clipped to what is there and to `out`.
  struct Gathered {
    std::size_t regions = 0;
    std::size_t bytes = 0;
  };
  Gathered gather(std::uint64_t offset, std::size_t length, std::span<Bytes> out) const noexcept;

  /// The first `n` bytes were acknowledged: their chunks go back as soon as they are empty.
  void release(std::uint64_t n) noexcept;
  /// Drops everything, lent bytes included.
  void clear() noexcept;

  std::uint64_t size() const noexcept { return end_ - begin_; }
  bool empty() const noexcept { return begin_ == end_; }
  /// Bytes that may be written before the limit is reached.
  std::size_t room() const noexcept {
    return size() >= limit_ ? 0 : limit_ - static_cast<std::size_t>(size());
  }
  /// A third is free, as Linux: less is not worth waking the writer for.
  bool worth_writing() const noexcept { return 3 * room() >= limit_; }
  std::size_t limit() const noexcept { return limit_; }
  void set_limit(std::size_t limit) noexcept { limit_ = limit; }
  /// Bytes of pool memory held.
  std::size_t memory_used() const noexcept { return memory_; }
  /// How many lends have been given back since the last call; they finish in the order they came.
  std::uint32_t take_borrows_done() noexcept;

 private:
  Chunk* append(Chunk* chunk) noexcept;
  bool has_place(std::size_t n) noexcept;
  void commit_spare(std::size_t n) noexcept;
  void drop(Chunk& chunk) noexcept;
  void drop_only() noexcept;
  const Chunk* find(std::uint64_t at) const noexcept;

  ChunkPool* pool_;
  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  Chunk* spare_ = nullptr;  ///< offered by spaces() beyond the tail, until the next commit()
  // Where gathers ended: one follows new data, the other what is sent again. The next one starts
  // from the nearest, so that its cost does not grow with the window.
  mutable std::array<const Chunk*, 2> hints_{};
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::size_t limit_;
  std::size_t memory_ = 0;
  std::uint32_t borrows_done_ = 0;
};

}  // namespace tidewire::tcp
