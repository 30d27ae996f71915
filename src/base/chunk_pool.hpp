// Chunks of 2, 16 and 64 KiB, the material of stream buffers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/memory.hpp"
#include "base/slab.hpp"

namespace tidewire {

enum class ChunkSize : std::uint8_t { kib2, kib16, kib64 };

constexpr std::uint32_t chunk_bytes(ChunkSize size) noexcept {
  constexpr std::array<std::uint32_t, 3> kBytes{2048, 16384, 65536};
  return kBytes[static_cast<std::size_t>(size)];
}
/// The smallest chunk that holds `bytes`, at most 64 KiB.
constexpr ChunkSize chunk_for(std::size_t bytes) noexcept {
  if (bytes <= chunk_bytes(ChunkSize::kib2)) return ChunkSize::kib2;
  return bytes <= chunk_bytes(ChunkSize::kib16) ? ChunkSize::kib16 : ChunkSize::kib64;
}

enum class ChunkOwner : std::uint8_t {
  slab,      ///< the pool's memory
  borrowed,  ///< lent by the application; never written to
};

/// A piece of a byte stream: `capacity` bytes at `data` that hold the stream from offset `start`.
/// Linked into the ring that owns it.
struct Chunk {
  Chunk* next = nullptr;
  Chunk* prev = nullptr;
  std::byte* data = nullptr;
  std::uint64_t start = 0;     ///< stream offset of data[0]
  std::uint32_t capacity = 0;  ///< bytes usable at `data`
  ChunkSize size = ChunkSize::kib2;
  ChunkOwner owner = ChunkOwner::slab;
  std::byte* home = nullptr;  ///< while `data` is elsewhere (ChunkPool::stand_in()): its own memory

  std::uint64_t end() const noexcept { return start + capacity; }
};

/// Hands out chunks under a byte limit and keeps some free ones, so that a steady flow makes no
/// allocation. One pool serves all connections of a Stack.
class ChunkPool {
 public:
  /// At most `limit` bytes of chunks are in use at once; at most `keep` bytes stay here unused.
  explicit ChunkPool(MemoryProvider& memory, std::size_t limit = SIZE_MAX,
                     std::size_t keep = 4U << 20) noexcept;
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  ~ChunkPool();

  /// A chunk with uninitialised content; null: no memory, or over the limit.
  [[nodiscard]] Chunk* acquire(ChunkSize size) noexcept {
    const std::uint32_t bytes = chunk_bytes(size);
    if (bytes > limit_ || in_use_ > limit_ - bytes) return nullptr;
    Chunk*& first = free_[static_cast<std::size_t>(size)];
    Chunk* chunk = first;
    if (chunk == nullptr) [[unlikely]]
      return make(size);
    first = chunk->next;
    kept_ -= bytes;
    in_use_ += bytes;
    chunk->next = nullptr;
    chunk->prev = nullptr;
    chunk->start = 0;
    chunk->capacity = bytes;
    return chunk;
  }
  /// A chunk of this size, or a smaller one if memory is short; null if there is none at all.
  [[nodiscard]] Chunk* acquire_at_most(ChunkSize size) noexcept {
    Chunk* chunk = acquire(size);
    if (chunk == nullptr && size != ChunkSize::kib2) [[unlikely]]
      return acquire_at_most(static_cast<ChunkSize>(static_cast<int>(size) - 1));
    return chunk;
  }
  /// A chunk over memory of the application, which must stay unchanged until release().
  [[nodiscard]] Chunk* borrow(Bytes bytes) noexcept;
  void release(Chunk& chunk) noexcept {
    const std::uint32_t bytes = chunk_bytes(chunk.size);
    if (chunk.owner != ChunkOwner::slab) return chunks_.release(chunk);
    if (chunk.home != nullptr) [[unlikely]]
      go_home(chunk);
    in_use_ -= bytes;
    if (kept_ + bytes > keep_) [[unlikely]]
      return destroy(chunk);
    Chunk*& first = free_[static_cast<std::size_t>(chunk.size)];
    chunk.next = first;
    first = &chunk;
    kept_ += bytes;
  }

  /// A chunk that is full of `bytes` (at most 64 KiB), which are read where they lie until
  /// settle(); only then they are copied, into memory that the chunk already has. Who read them
  /// before that has saved the copy. Null: no memory, or too many stand like this.
  [[nodiscard]] Chunk* stand_in(Bytes bytes) noexcept;
  /// Copies what is left of them: nothing points to bytes given to stand_in() any more.
  void settle() noexcept {
    if (standing_ != 0) settle_all();
  }

  /// Gives unused chunks back to the provider.
  void trim() noexcept;

  std::size_t in_use() const noexcept { return in_use_; }  ///< bytes of slab chunks handed out
  std::size_t kept() const noexcept { return kept_; }      ///< bytes of unused chunks held
  std::size_t limit() const noexcept { return limit_; }
  MemoryProvider& memory() noexcept { return *memory_; }

 private:
  Chunk* record() noexcept;
  Chunk* make(ChunkSize size) noexcept;
  void go_home(Chunk& chunk) noexcept;
  void settle_all() noexcept;
  void destroy(Chunk& chunk) noexcept;

  MemoryProvider* memory_;
  std::size_t limit_;
  std::size_t keep_;
  std::size_t in_use_ = 0;
  std::size_t kept_ = 0;
  std::array<Chunk*, 3> free_{};  // with their memory, linked by next
  std::array<Chunk*, 8> away_{};  // the first standing_: whose data is elsewhere
  std::size_t standing_ = 0;
  Slab<Chunk> chunks_;
};

}  // namespace tidewire
