#include "core/tcp/buffer/assembler.hpp"

#include <algorithm>
#include <memory>
#include <new>

namespace tidewire::tcp {

Assembler::Island* Assembler::islands() noexcept {
  return more_ == nullptr ? inline_.data() : std::launder(reinterpret_cast<Island*>(more_->data));
}
const Assembler::Island* Assembler::islands() const noexcept {
  return const_cast<Assembler*>(this)->islands();
}

std::size_t Assembler::capacity() const noexcept {
  return more_ == nullptr ? kInline : more_->capacity / sizeof(Island);
}

bool Assembler::grow() noexcept {
  if (more_ != nullptr && more_->size == ChunkSize::kib64) return false;
  Chunk* bigger = pool_->acquire(chunk_for(2 * capacity() * sizeof(Island)));
  if (bigger == nullptr) return false;
  std::uninitialized_copy_n(islands(), count_, reinterpret_cast<Island*>(bigger->data));
  if (more_ != nullptr) pool_->release(*more_);
  more_ = bigger;
  return true;
}

void Assembler::clear() noexcept {
  if (more_ != nullptr) pool_->release(*more_);
  more_ = nullptr;
  count_ = 0;
  recent_count_ = 0;
}

std::size_t Assembler::first_ending_after(Seq s) const noexcept {
  const Island* first = islands();
  // New data mostly lands at the end.
  if (count_ == 0 || !first[count_ - 1].end.after(s)) return count_;
  const Island* found = std::partition_point(
      first, first + count_, [s](const Island& island) { return !island.end.after(s); });
  return static_cast<std::size_t>(found - first);
}

void Assembler::erase(std::size_t first, std::size_t last) noexcept {
  if (first == last) return;
  std::copy(islands() + last, islands() + count_, islands() + first);
  count_ -= static_cast<std::uint32_t>(last - first);
  if (count_ == 0) clear();
}

// The islands that `range` overlaps or borders on.
Assembler::Touched Assembler::touched_by(SeqRange range) const noexcept {
  std::size_t first = first_ending_after(range.start);
  if (first > 0 && islands()[first - 1].end == range.start) --first;
  std::size_t last = first;
  while (last < count_ && islands()[last].start.at_or_before(range.end)) ++last;
  return {first, last};
}

bool Assembler::can_add(SeqRange range) noexcept {
  const Touched touched = touched_by(range);
  if (touched.first != touched.last) return true;
  return count_ < most_ && (count_ < capacity() || grow());
}

bool Assembler::add(SeqRange range) noexcept {
  if (range.empty()) return true;
  const auto [first, last] = touched_by(range);
  if (first == last) {
    if (count_ >= most_ || (count_ == capacity() && !grow())) return false;
    Island* at = islands() + first;
    std::copy_backward(at, islands() + count_, islands() + count_ + 1);
    *at = Island{range.start, range.end, ++clock_};
    ++count_;
    remember(range.start);
    return true;
  }
  Island& joined = islands()[first];
  joined.start = earlier(joined.start, range.start);
  joined.end = later(islands()[last - 1].end, range.end);
  joined.touched = ++clock_;
  erase(first + 1, last);
  remember(range.start);
  return true;
}

Seq Assembler::advance(Seq rcv_nxt) noexcept {
  std::size_t gone = 0;
  while (gone < count_ && islands()[gone].start.at_or_before(rcv_nxt)) {
    rcv_nxt = later(rcv_nxt, islands()[gone].end);
    ++gone;
  }
  erase(0, gone);
  return rcv_nxt;
}

bool Assembler::covers(SeqRange range) const noexcept {
  const std::size_t i = first_ending_after(range.start);
  return i < count_ && islands()[i].start.at_or_before(range.start) &&
         range.end.at_or_before(islands()[i].end);
}

void Assembler::discard_from(Seq from) noexcept {
  const std::size_t first = first_ending_after(from);
  if (first == count_) return;
  if (islands()[first].start.before(from)) {
    islands()[first].end = from;
    erase(first + 1, count_);
  } else {
    erase(first, count_);
  }
}

std::size_t Assembler::sack_blocks(std::span<SeqRange> out) const noexcept {
  const std::size_t most = std::min({out.size(), std::size_t{4}, std::size_t{count_}});
  const std::size_t n = blocks_of_recent(out.first(most));
  if (n == most) return n;
  find_recent();
  return blocks_of_recent(out.first(most));
}

/// The islands of the places in `recent_` that are still there, each once.
std::size_t Assembler::blocks_of_recent(std::span<SeqRange> out) const noexcept {
  std::size_t n = 0;
  for (std::size_t i = 0; i < recent_count_ && n < out.size(); ++i) {
    const std::size_t at = first_ending_after(recent_[i]);
    if (at == count_ || islands()[at].start.after(recent_[i])) continue;  // no longer there
    const SeqRange block{islands()[at].start, islands()[at].end};
    const auto told = out.first(n);
    if (!std::ranges::any_of(told, [&](SeqRange b) { return b.start == block.start; })) {
      out[n++] = block;
    }
  }
  return n;
}

// Keeps the places touched last, one of each island: an island that grows again and again must not
// push the others out.
void Assembler::remember(Seq start) noexcept {
  const Island& island = islands()[first_ending_after(start)];
  std::size_t keep = 0;
  for (std::size_t i = 0; i < recent_count_; ++i) {
    const Seq other = recent_[i];
    if (!(island.end.after(other) && !island.start.after(other))) recent_[keep++] = other;
  }
  keep = std::min(keep, kRecent - 1);
  std::copy_backward(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(keep),
                     recent_.begin() + static_cast<std::ptrdiff_t>(keep) + 1);
  recent_[0] = start;
  recent_count_ = static_cast<std::uint32_t>(keep + 1);
}

// The same by looking at every island; as many as are remembered, so that some may vanish before
// it has to be done again.
void Assembler::find_recent() const noexcept {
  std::array<std::uint32_t, kRecent> age{};
  std::size_t n = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Island& island = islands()[i];
    const std::uint32_t island_age = clock_ - island.touched;
    std::size_t at = n;
    while (at > 0 && age[at - 1] > island_age) --at;
    if (at == kRecent) continue;
    n = std::min(n + 1, kRecent);
    for (std::size_t j = n - 1; j > at; --j) {
      age[j] = age[j - 1];
      recent_[j] = recent_[j - 1];
    }
    age[at] = island_age;
    recent_[at] = island.start;
  }
  recent_count_ = static_cast<std::uint32_t>(n);
}

}  // namespace tidewire::tcp
