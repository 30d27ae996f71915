#include "base/chunk_pool.hpp"

#include <new>

namespace tidewire {
namespace {
// Chunks begin on a cache line.
constexpr std::size_t kAlign = 64;
}  // namespace

ChunkPool::ChunkPool(MemoryProvider& memory, std::size_t limit, std::size_t keep) noexcept
    : memory_(&memory), limit_(limit), keep_(keep), chunks_(memory) {}

ChunkPool::~ChunkPool() { trim(); }

std::byte* ChunkPool::take(ChunkSize size) noexcept {
  const std::uint32_t bytes = chunk_bytes(size);
  if (bytes > limit_ || in_use_ > limit_ - bytes) return nullptr;
  Free*& first = free_[static_cast<std::size_t>(size)];
  std::byte* data = nullptr;
  if (first != nullptr) {
    data = reinterpret_cast<std::byte*>(first);
    first = first->next;
    kept_ -= bytes;
  } else {
    data = static_cast<std::byte*>(memory_->allocate(bytes, kAlign));
    if (data == nullptr && kept_ != 0) {  // what lies unused in the other sizes may do
      trim();
      data = static_cast<std::byte*>(memory_->allocate(bytes, kAlign));
    }
    if (data == nullptr) return nullptr;
  }
  in_use_ += bytes;
  return data;
}

void ChunkPool::give(std::byte* data, ChunkSize size) noexcept {
  const std::uint32_t bytes = chunk_bytes(size);
  in_use_ -= bytes;
  if (kept_ + bytes > keep_) {
    memory_->deallocate(data, bytes, kAlign);
    return;
  }
  Free*& first = free_[static_cast<std::size_t>(size)];
  first = ::new (static_cast<void*>(data)) Free{first};
  kept_ += bytes;
}

Chunk* ChunkPool::acquire(ChunkSize size) noexcept {
  Chunk* chunk = chunks_.acquire();
  if (chunk == nullptr) return nullptr;
  chunk->data = take(size);
  if (chunk->data == nullptr) {
    chunks_.release(*chunk);
    return nullptr;
  }
  chunk->size = size;
  chunk->capacity = chunk_bytes(size);
  return chunk;
}

Chunk* ChunkPool::acquire_at_most(ChunkSize size) noexcept {
  for (auto s = static_cast<int>(size); s >= 0; --s) {
    if (Chunk* chunk = acquire(static_cast<ChunkSize>(s))) return chunk;
  }
  return nullptr;
}

Chunk* ChunkPool::borrow(Bytes bytes) noexcept {
  if (bytes.size() > UINT32_MAX) return nullptr;
  Chunk* chunk = chunks_.acquire();
  if (chunk == nullptr) return nullptr;
  // Read only: a borrowed chunk is full from the start, and rings never write to it.
  chunk->data = const_cast<std::byte*>(bytes.data());
  chunk->capacity = static_cast<std::uint32_t>(bytes.size());
  chunk->owner = ChunkOwner::borrowed;
  return chunk;
}

void ChunkPool::release(Chunk& chunk) noexcept {
  if (chunk.owner == ChunkOwner::slab) give(chunk.data, chunk.size);
  chunks_.release(chunk);
}

void ChunkPool::trim() noexcept {
  for (std::size_t i = 0; i < free_.size(); ++i) {
    while (free_[i] != nullptr) {
      Free* gone = free_[i];
      free_[i] = gone->next;
      memory_->deallocate(gone, chunk_bytes(static_cast<ChunkSize>(i)), kAlign);
    }
  }
  kept_ = 0;
}

}  // namespace tidewire
