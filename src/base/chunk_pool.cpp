#include "base/chunk_pool.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tidewire {
namespace {
// Chunks begin on a cache line.
constexpr std::size_t kAlign = 64;
}  // namespace

ChunkPool::ChunkPool(MemoryProvider& memory, std::size_t limit, std::size_t keep) noexcept
    : memory_(&memory), limit_(limit), keep_(keep), chunks_(memory) {}

ChunkPool::~ChunkPool() { trim(); }

/// One of what lies unused, if there is no memory for another.
Chunk* ChunkPool::record() noexcept {
  Chunk* chunk = chunks_.acquire();
  if (chunk != nullptr || kept_ == 0) return chunk;
  trim();
  return chunks_.acquire();
}

Chunk* ChunkPool::make(ChunkSize size) noexcept {
  const std::uint32_t bytes = chunk_bytes(size);
  Chunk* chunk = record();
  if (chunk == nullptr) return nullptr;
  chunk->data = static_cast<std::byte*>(memory_->allocate(bytes, kAlign));
  if (chunk->data == nullptr && kept_ != 0) {  // what lies unused in the other sizes may do
    trim();
    chunk->data = static_cast<std::byte*>(memory_->allocate(bytes, kAlign));
  }
  if (chunk->data == nullptr) {
    chunks_.release(*chunk);
    return nullptr;
  }
  chunk->size = size;
  chunk->capacity = bytes;
  in_use_ += bytes;
  return chunk;
}

void ChunkPool::destroy(Chunk& chunk) noexcept {
  memory_->deallocate(chunk.data, chunk_bytes(chunk.size), kAlign);
  chunks_.release(chunk);
}

Chunk* ChunkPool::borrow(Bytes bytes) noexcept {
  if (bytes.size() > UINT32_MAX) return nullptr;
  Chunk* chunk = record();
  if (chunk == nullptr) return nullptr;
  // Read only: a borrowed chunk is full from the start, and rings never write to it.
  chunk->data = const_cast<std::byte*>(bytes.data());
  chunk->capacity = static_cast<std::uint32_t>(bytes.size());
  chunk->owner = ChunkOwner::borrowed;
  return chunk;
}

Chunk* ChunkPool::stand_in(Bytes bytes) noexcept {
  const ChunkSize size = chunk_for(bytes.size());
  if (standing_ == away_.size() || bytes.size() > chunk_bytes(size)) return nullptr;
  Chunk* chunk = acquire(size);
  if (chunk == nullptr) return nullptr;
  // Full from the start, so that rings never write to it.
  chunk->home = std::exchange(chunk->data, const_cast<std::byte*>(bytes.data()));
  chunk->capacity = static_cast<std::uint32_t>(bytes.size());
  away_[standing_++] = chunk;
  return chunk;
}

/// What it stood for is not wanted any more.
void ChunkPool::go_home(Chunk& chunk) noexcept {
  chunk.data = std::exchange(chunk.home, nullptr);
  *std::find(away_.begin(), away_.end(), &chunk) = away_[--standing_];
}

void ChunkPool::settle_all() noexcept {
  for (; standing_ > 0; --standing_) {
    Chunk& chunk = *away_[standing_ - 1];
    std::memcpy(chunk.home, chunk.data, chunk.capacity);
    chunk.data = std::exchange(chunk.home, nullptr);
  }
}

void ChunkPool::trim() noexcept {
  for (Chunk*& first : free_) {
    while (first != nullptr) {
      Chunk& gone = *first;
      first = gone.next;
      destroy(gone);
    }
  }
  kept_ = 0;
}

}  // namespace tidewire
