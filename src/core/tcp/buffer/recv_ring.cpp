#include "core/tcp/buffer/recv_ring.hpp"

#include <algorithm>
#include <cstring>

namespace tidewire::tcp {

namespace {
// Text that stays in its frame takes a chunk of its own: less would waste too much of its memory.
constexpr std::size_t kWorthAFrame = chunk_bytes(ChunkSize::kib64) / 2;
}  // namespace

/// The text of a segment, read forward.
struct RecvRing::Source {
  std::span<const Bytes> spans;
  std::size_t offset = 0;  // in the first span

  void skip(std::size_t n) noexcept {
    while (n > 0 && !spans.empty()) {
      const std::size_t here = std::min(n, spans.front().size() - offset);
      step(here);
      n -= here;
    }
  }
  void copy(std::byte* target, std::size_t n) noexcept {
    while (n > 0 && !spans.empty()) {
      const std::size_t here = std::min(n, spans.front().size() - offset);
      if (here > 0) std::memcpy(target, spans.front().data() + offset, here);
      target += here;
      step(here);
      n -= here;
    }
  }

 private:
  void step(std::size_t n) noexcept {
    offset += n;
    if (offset == spans.front().size()) {
      spans = spans.subspan(1);
      offset = 0;
    }
  }
};

std::uint64_t RecvRing::offset_of(Seq seq) const noexcept {
  return in_order_ + static_cast<std::uint64_t>(std::int64_t{Seq::distance(rcv_nxt_, seq)});
}

// The last chunk that begins at or before `at`; null if there is none.
Chunk* RecvRing::find(std::uint64_t at) const noexcept {
  // From the nearest of both ends and the last place in between, so that neither new data nor a
  // filled hole walks over a whole window.
  const auto away = [at](const Chunk* near) noexcept {
    if (near == nullptr) return UINT64_MAX;
    return near->start > at ? near->start - at : at - near->start;
  };
  Chunk* chunk = away(tail_) <= away(head_) ? tail_ : head_;
  if (away(hint_) < away(chunk)) chunk = hint_;
  while (chunk != nullptr && chunk->start > at) chunk = chunk->prev;
  if (chunk == nullptr && (head_ == nullptr || head_->start > at)) return nullptr;
  while (chunk->next != nullptr && chunk->next->start <= at) chunk = chunk->next;
  if (chunk != tail_) hint_ = chunk;
  return chunk;
}

// A chunk for the missing stretch from `at` on, in the gap after `after`. Where it would overlap
// the next chunk it begins earlier instead, so that scattered bytes cannot pin a chunk each: of
// those made here at most every second one is not used to its full size.
Chunk* RecvRing::make_chunk(Chunk* after, std::uint64_t at, std::uint64_t end) noexcept {
  Chunk* before = after != nullptr ? after->next : head_;
  const std::uint64_t low = after != nullptr ? after->end() : std::min(begin_, at);
  const std::uint64_t high = before != nullptr ? before->start : UINT64_MAX;
  const std::uint64_t wanted = std::min(end, high) - at;
  const std::uint64_t size = std::max(wanted, std::min<std::uint64_t>(memory_, high - low));
  Chunk* chunk = pool_->acquire_at_most(chunk_for(static_cast<std::size_t>(size)));
  if (chunk == nullptr) return nullptr;
  chunk->start = at;
  if (high - at < chunk->capacity) {
    chunk->start = high - low < chunk->capacity ? low : high - chunk->capacity;
    chunk->capacity = static_cast<std::uint32_t>(high - chunk->start);
  }
  chunk->prev = after;
  chunk->next = before;
  (after != nullptr ? after->next : head_) = chunk;
  (before != nullptr ? before->prev : tail_) = chunk;
  memory_ += chunk_bytes(chunk->size);
  return chunk;
}

void RecvRing::unlink(Chunk& chunk) noexcept {
  (chunk.prev != nullptr ? chunk.prev->next : head_) = chunk.next;
  (chunk.next != nullptr ? chunk.next->prev : tail_) = chunk.prev;
  if (hint_ == &chunk) hint_ = nullptr;
  memory_ -= chunk_bytes(chunk.size);
  pool_->release(chunk);
}

// Makes sure that chunks cover [at, end).
bool RecvRing::materialise(std::uint64_t at, std::uint64_t end) noexcept {
  Chunk* chunk = find(at);
  while (at < end) {
    if (chunk == nullptr || chunk->end() <= at) {
      Chunk* next = chunk != nullptr ? chunk->next : head_;
      if (next == nullptr || next->start > at) next = make_chunk(chunk, at, end);
      if (next == nullptr) return false;
      chunk = next;
    }
    at = chunk->end();
  }
  return true;
}

void RecvRing::copy_in(std::uint64_t at, std::uint64_t end, Source& source) noexcept {
  Chunk* chunk = find(at);
  while (at < end && chunk != nullptr) {
    const std::uint64_t until = std::min(end, chunk->end());
    source.copy(chunk->data + (at - chunk->start), static_cast<std::size_t>(until - at));
    at = until;
    if (at < end) chunk = chunk->next;
  }
  if (chunk != nullptr && chunk != tail_) hint_ = chunk;
}

RecvRing::Written RecvRing::write(Seq seq, Bytes text) noexcept {
  return write(seq, std::span<const Bytes>(&text, 1));
}

RecvRing::Written RecvRing::write(Seq seq, std::span<const Bytes> text) noexcept {
  std::size_t length = 0;
  for (const Bytes span : text) length += span.size();
  return write_source(seq, Source{text}, static_cast<std::uint32_t>(length));
}

RecvRing::Written RecvRing::write_source(Seq seq, Source source, std::uint32_t length) noexcept {
  Written w;
  SeqRange range{seq, seq + length};
  if (range.start.before(rcv_nxt_)) {
    const Seq cut = earlier(rcv_nxt_, range.end);
    w.duplicate = {range.start, cut};
    source.skip(w.duplicate.size());
    range.start = cut;
  }
  if (range.empty()) return w;
  if (range.start == rcv_nxt_ && assembler_.empty()) return append(range, source, w);
  if (assembler_.covers(range)) {
    if (w.duplicate.empty()) w.duplicate = range;
    return w;
  }
  if (!make_room(range)) {
    w.status = Status::no_memory;
    return w;
  }
  const bool in_order = range.start == rcv_nxt_;
  if (!in_order && !assembler_.can_add(range)) {
    free_unused();
    w.status = Status::no_memory;
    return w;
  }
  Seq at = range.start;
  assembler_.for_each_missing(range, [&](SeqRange missing) {
    if (w.duplicate.empty() && at.before(missing.start)) w.duplicate = {at, missing.start};
    source.skip(Seq::span(at, missing.start));
    copy_in(offset_of(missing.start), offset_of(missing.end), source);
    w.fresh += missing.size();
    at = missing.end;
  });
  if (w.duplicate.empty() && at.before(range.end)) w.duplicate = {at, range.end};
  if (!in_order) {
    (void)assembler_.add(range);
    w.status = Status::out_of_order;
    return w;
  }
  w.status = Status::in_order;
  w.filled_gap = !assembler_.empty();
  const Seq next = assembler_.advance(range.end);
  w.advanced = Seq::span(rcv_nxt_, next);
  in_order_ += w.advanced;
  rcv_nxt_ = next;
  return w;
}

bool RecvRing::append(Bytes text) noexcept {
  const std::uint64_t end = in_order_ + text.size();
  if (head_ == nullptr && text.size() <= chunk_bytes(ChunkSize::kib2)) {
    // What make_chunk() comes to for the only one.
    Chunk* chunk = pool_->acquire(ChunkSize::kib2);
    if (chunk == nullptr) return false;
    chunk->start = in_order_;
    head_ = tail_ = chunk;
    memory_ += chunk_bytes(ChunkSize::kib2);
  } else if (tail_ == nullptr || tail_->start > in_order_ || tail_->end() < end) {
    return write(rcv_nxt_, text).status == Status::in_order;
  }
  std::memcpy(tail_->data + (in_order_ - tail_->start), text.data(), text.size());
  in_order_ = end;
  rcv_nxt_ += static_cast<std::uint32_t>(text.size());
  return true;
}

bool RecvRing::append_in_place(Bytes text) noexcept {
  const bool has_room = tail_ != nullptr && tail_->end() >= in_order_ + text.size();
  if (text.size() < kWorthAFrame || has_room || (tail_ != nullptr && tail_->start >= in_order_)) {
    return append(text);
  }
  Chunk* chunk = pool_->stand_in(text);
  if (chunk == nullptr) return append(text);
  link_last(*chunk);
  in_order_ = chunk->end();
  rcv_nxt_ += chunk->capacity;
  return true;
}

/// Behind what is in order; what the last chunk has left beyond stays unused.
void RecvRing::link_last(Chunk& chunk) noexcept {
  chunk.start = in_order_;
  chunk.prev = tail_;
  if (tail_ != nullptr) {
    tail_->capacity = static_cast<std::uint32_t>(in_order_ - tail_->start);
    tail_->next = &chunk;
  } else {
    head_ = &chunk;
  }
  tail_ = &chunk;
  memory_ += chunk_bytes(chunk.size);
}

/// A part that is too small to stay where it is, in a chunk that fits it.
bool RecvRing::append_small(Bytes part) noexcept {
  const bool has_room = tail_ != nullptr && tail_->end() >= in_order_ + part.size();
  if (!has_room && (tail_ == nullptr || tail_->start < in_order_)) {
    Chunk* chunk = pool_->acquire_at_most(chunk_for(part.size()));
    if (chunk != nullptr) link_last(*chunk);
  }
  return append(part);
}

bool RecvRing::append(std::span<const Bytes> text) noexcept {
  return write(rcv_nxt_, text).status == Status::in_order;
}

bool RecvRing::append_in_place(std::span<const Bytes> text) noexcept {
  const std::uint64_t in_order = in_order_;
  const Seq rcv_nxt = rcv_nxt_;
  for (const Bytes part : text) {
    if (part.empty()) continue;
    if (part.size() >= kWorthAFrame ? append_in_place(part) : append_small(part)) continue;
    // A chunk that was cut short for those that follow stays so.
    in_order_ = in_order;
    rcv_nxt_ = rcv_nxt;
    free_unused();
    return false;
  }
  return true;
}

// The usual case: the next text in order, and nothing waits out of order.
RecvRing::Written RecvRing::append(SeqRange range, Source& source, Written w) noexcept {
  const std::uint64_t end = in_order_ + range.size();
  Chunk* chunk = tail_;
  if (chunk == nullptr || chunk->start > in_order_ || chunk->end() < end) {
    if (!materialise(in_order_, end)) {
      free_unused();
      w.status = Status::no_memory;
      return w;
    }
    copy_in(in_order_, end, source);
  } else {
    source.copy(chunk->data + (in_order_ - chunk->start), range.size());
  }
  w.status = Status::in_order;
  w.advanced = w.fresh = range.size();
  in_order_ = end;
  rcv_nxt_ = range.end;
  return w;
}

// Chunks for what is missing of `range`. In-order data may push out-of-order data out.
bool RecvRing::make_room(SeqRange range) noexcept {
  const auto try_once = [&] {
    bool ok = true;
    assembler_.for_each_missing(range, [&](SeqRange missing) {
      ok = ok && materialise(offset_of(missing.start), offset_of(missing.end));
    });
    return ok;
  };
  if (try_once()) return true;
  free_unused();
  if (range.start == rcv_nxt_ && shed_out_of_order() > 0 && try_once()) return true;
  free_unused();
  return false;
}

// Releases chunks that hold no byte: those a failed write has left behind.
void RecvRing::free_unused() noexcept {
  std::size_t island = 0;
  for (Chunk* chunk = head_; chunk != nullptr;) {
    Chunk* next = chunk->next;
    while (island < assembler_.size() && offset_of(assembler_[island].end) <= chunk->start)
      ++island;
    const bool out_of_order =
        island < assembler_.size() && offset_of(assembler_[island].start) < chunk->end();
    const bool in_order = chunk->start < in_order_ && chunk->end() > begin_;
    if (!out_of_order && !in_order) unlink(*chunk);
    chunk = next;
  }
}

std::size_t RecvRing::shed_out_of_order() noexcept {
  const std::size_t before = memory_ + assembler_.memory_used();
  assembler_.clear();
  free_unused();
  return before - memory_;
}

std::size_t RecvRing::readable(std::span<Bytes> out, std::size_t length) const noexcept {
  std::size_t regions = 0;
  std::uint64_t at = begin_;
  const std::uint64_t stop = begin_ + std::min(length, size());
  for (const Chunk* chunk = head_; at < stop && regions < out.size(); chunk = chunk->next) {
    const std::uint64_t until = std::min(stop, chunk->end());
    out[regions++] = {chunk->data + (at - chunk->start), static_cast<std::size_t>(until - at)};
    at = until;
  }
  return regions;
}

Bytes RecvRing::front() const noexcept {
  Bytes first;
  (void)readable({&first, 1});
  return first;
}

std::size_t RecvRing::peek(MutBytes out, std::size_t offset) const noexcept {
  if (offset >= size()) return 0;
  const std::size_t length = std::min(out.size(), size() - offset);
  std::uint64_t at = begin_ + offset;
  if (length == 0) return 0;
  if (at + length <= head_->end()) {
    std::memcpy(out.data(), head_->data + (at - head_->start), length);
    return length;
  }
  const std::uint64_t stop = at + length;
  std::byte* target = out.data();
  for (const Chunk* chunk = head_; at < stop; chunk = chunk->next) {
    if (chunk->end() <= at) continue;
    const auto n = static_cast<std::size_t>(std::min(stop, chunk->end()) - at);
    std::memcpy(target, chunk->data + (at - chunk->start), n);
    target += n;
    at += n;
  }
  return length;
}

std::size_t RecvRing::read(MutBytes out) noexcept {
  const std::size_t n = peek(out);
  consume(n);
  return n;
}

void RecvRing::consume(std::size_t n) noexcept {
  begin_ += std::min(n, size());
  if (head_ == nullptr) return;
  if (head_ == tail_ && empty() && assembler_.empty()) return drop_only();
  while (head_ != nullptr && head_->end() <= begin_) unlink(*head_);
  // Nothing unread and nothing waiting: no memory at all.
  if (empty() && assembler_.empty()) {
    while (head_ != nullptr) unlink(*head_);
  }
}

void RecvRing::drop_only() noexcept {
  Chunk& chunk = *head_;
  head_ = tail_ = hint_ = nullptr;
  memory_ = 0;
  pool_->release(chunk);
}

void RecvRing::clear() noexcept {
  assembler_.clear();
  while (head_ != nullptr) unlink(*head_);
  begin_ = in_order_;
}

}  // namespace tidewire::tcp
