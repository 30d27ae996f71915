#include "core/tcp/buffer/send_ring.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tidewire::tcp {
namespace {

/// Small streams use small chunks; the more is queued, the larger the next one.
ChunkSize next_size(std::size_t queued, std::size_t hint) noexcept {
  return chunk_for(std::max(queued, hint));
}

}  // namespace

Chunk* SendRing::append(Chunk* chunk) noexcept {
  chunk->start = end_;
  chunk->prev = tail_;
  chunk->next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = chunk;
  tail_ = chunk;
  if (chunk->owner == ChunkOwner::slab) memory_ += chunk_bytes(chunk->size);
  return chunk;
}

MutBytes SendRing::space(std::size_t hint) noexcept {
  const std::size_t allowed = room();
  if (allowed == 0) return {};
  if (tail_ == nullptr || tail_->end() == end_) {
    const std::size_t wanted = std::min(std::max<std::size_t>(hint, 1), allowed);
    Chunk* chunk = pool_->acquire_at_most(next_size(static_cast<std::size_t>(size()), wanted));
    if (chunk == nullptr) return {};
    append(chunk);
  }
  const std::size_t used = static_cast<std::size_t>(end_ - tail_->start);
  return {tail_->data + used, std::min<std::size_t>(tail_->capacity - used, allowed)};
}

std::size_t SendRing::spaces(std::span<MutBytes> out, std::size_t wanted) noexcept {
  std::size_t left = std::min(wanted, room());
  std::size_t places = 0;
  const auto offer = [&](MutBytes place) {
    out[places] = place.first(std::min(place.size(), left));
    left -= out[places++].size();
  };
  if (left == 0 || out.empty()) return 0;
  const MutBytes first = space(left);
  if (first.empty()) return 0;
  offer(first);
  for (Chunk** at = &spare_; left > 0 && places < out.size(); at = &(*at)->next) {
    if (*at == nullptr) {
      *at = pool_->acquire_at_most(next_size(static_cast<std::size_t>(size()), left));
      if (*at == nullptr) break;
      (*at)->next = nullptr;
    }
    offer({(*at)->data, (*at)->capacity});
  }
  return places;
}

void SendRing::commit(std::size_t n) noexcept {
  std::uint64_t here = 0;
  if (tail_ != nullptr && tail_->owner == ChunkOwner::slab) {
    here = std::min<std::uint64_t>(n, tail_->end() - end_);
    end_ += here;
  }
  if (spare_ != nullptr) [[unlikely]] {
    commit_spare(n - static_cast<std::size_t>(here));
  }
}

void SendRing::commit_spare(std::size_t n) noexcept {
  while (spare_ != nullptr) {
    Chunk* chunk = std::exchange(spare_, spare_->next);
    if (n == 0) {
      pool_->release(*chunk);
      continue;
    }
    append(chunk);
    const std::size_t here = std::min<std::size_t>(n, chunk->capacity);
    end_ += here;
    n -= here;
  }
}

/// Makes sure that `n` bytes have a place in the last chunk, if that takes no more than a first
/// one.
bool SendRing::has_place(std::size_t n) noexcept {
  if (tail_ != nullptr) return tail_->owner == ChunkOwner::slab && n <= tail_->end() - end_;
  if (n > chunk_bytes(ChunkSize::kib2)) return false;
  Chunk* chunk = pool_->acquire(ChunkSize::kib2);
  if (chunk == nullptr) return false;
  chunk->start = end_;
  head_ = tail_ = chunk;
  memory_ += chunk_bytes(ChunkSize::kib2);
  return true;
}

std::size_t SendRing::write(Bytes bytes) noexcept {
  if (bytes.empty()) return 0;
  if (bytes.size() <= room() && has_place(bytes.size())) {
    std::memcpy(tail_->data + (end_ - tail_->start), bytes.data(), bytes.size());
    end_ += bytes.size();
    return bytes.size();
  }
  std::size_t done = 0;
  while (done < bytes.size()) {
    const MutBytes target = space(bytes.size() - done);
    if (target.empty()) break;
    const std::size_t n = std::min(target.size(), bytes.size() - done);
    std::memcpy(target.data(), bytes.data() + done, n);
    commit(n);
    done += n;
  }
  return done;
}

bool SendRing::lend(Bytes bytes) noexcept {
  if (bytes.empty() || room() == 0) return false;
  Chunk* chunk = pool_->borrow(bytes);
  if (chunk == nullptr) return false;
  if (tail_ != nullptr && tail_->owner == ChunkOwner::slab) {
    if (tail_->start == end_) {  // offered by space() and never used
      drop(*tail_);
    } else {
      tail_->capacity = static_cast<std::uint32_t>(end_ - tail_->start);  // closed from here on
    }
  }
  append(chunk);
  end_ += bytes.size();
  return true;
}

const Chunk* SendRing::find(std::uint64_t at) const noexcept {
  const auto away = [at](const Chunk* chunk) noexcept {
    if (chunk == nullptr) return UINT64_MAX;
    return chunk->start > at ? chunk->start - at : at - chunk->start;
  };
  const Chunk* chunk = head_;
  if (away(tail_) < away(chunk)) chunk = tail_;
  for (const Chunk* hint : hints_) {
    if (away(hint) < away(chunk)) chunk = hint;
  }
  while (chunk != nullptr && chunk->start > at) chunk = chunk->prev;
  while (chunk != nullptr && chunk->end() <= at) chunk = chunk->next;
  if (chunk != nullptr) hints_[away(hints_[1]) < away(hints_[0]) ? 1 : 0] = chunk;
  return chunk;
}

SendRing::Gathered SendRing::gather(std::uint64_t offset, std::size_t length,
                                    std::span<Bytes> out) const noexcept {
  Gathered g;
  if (offset >= size()) return g;
  std::uint64_t at = begin_ + offset;
  const std::uint64_t stop = at + std::min<std::uint64_t>(length, end_ - at);
  if (head_ == tail_ && !out.empty()) {
    const auto n = static_cast<std::size_t>(stop - at);
    out[0] = {head_->data + (at - head_->start), n};
    return {1, n};
  }
  const Chunk* chunk = find(at);
  for (; chunk != nullptr && at < stop && g.regions < out.size(); chunk = chunk->next) {
    const std::uint64_t until = std::min(stop, chunk->end());
    const auto n = static_cast<std::size_t>(until - at);
    out[g.regions++] = {chunk->data + (at - chunk->start), n};
    g.bytes += n;
    at = until;
  }
  return g;
}

void SendRing::drop(Chunk& chunk) noexcept {
  (chunk.prev != nullptr ? chunk.prev->next : head_) = chunk.next;
  (chunk.next != nullptr ? chunk.next->prev : tail_) = chunk.prev;
  for (const Chunk*& hint : hints_) {
    if (hint == &chunk) hint = nullptr;
  }
  if (chunk.owner == ChunkOwner::slab) {
    memory_ -= chunk_bytes(chunk.size);
  } else {
    ++borrows_done_;
  }
  pool_->release(chunk);
}

void SendRing::drop_only() noexcept {
  Chunk& chunk = *head_;
  head_ = tail_ = nullptr;
  hints_ = {};
  memory_ = 0;
  if (chunk.owner != ChunkOwner::slab) ++borrows_done_;
  pool_->release(chunk);
}

void SendRing::release(std::uint64_t n) noexcept {
  begin_ += std::min(n, size());
  if (head_ == tail_ && empty() && head_ != nullptr) return drop_only();
  while (head_ != nullptr && head_->end() <= begin_) drop(*head_);
  // Empty means no memory at all, also if the last chunk still has room.
  if (empty() && head_ != nullptr) drop(*head_);
}

void SendRing::clear() noexcept {
  commit_spare(0);
  while (head_ != nullptr) drop(*head_);
  begin_ = end_;
}

std::uint32_t SendRing::take_borrows_done() noexcept { return std::exchange(borrows_done_, 0U); }

}  // namespace tidewire::tcp
