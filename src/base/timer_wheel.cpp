#include "base/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace tidewire {

std::uint64_t TimerWheel::tick_of(Instant t) const noexcept {
  if (t <= origin_) return 0;
  // Both ends fit: the difference of two int64 is below 2^64.
  const auto nanos =
      static_cast<std::uint64_t>(t.nanos()) - static_cast<std::uint64_t>(origin_.nanos());
  return nanos >> shift_;
}

Instant TimerWheel::instant_of(std::uint64_t tick) const noexcept {
  const std::uint64_t nanos = static_cast<std::uint64_t>(origin_.nanos()) + (tick << shift_);
  return Instant::from_nanos(static_cast<std::int64_t>(nanos));
}

// The level is where the tick first differs from the current one, in groups of six bits. So a slot
// of a higher level always begins after everything in the lower levels.
void TimerWheel::place(TimerEntry& entry) noexcept {
  const std::uint64_t tick = std::max(tick_of(entry.deadline), current_);
  const std::uint64_t differs = tick ^ current_;
  const unsigned top = differs == 0 ? 0 : static_cast<unsigned>(std::bit_width(differs)) - 1;
  const unsigned level = std::min(top / kBits, kLevels - 1);
  const auto slot = static_cast<unsigned>(tick >> (level * kBits)) % kSlots;
  entry.slot = static_cast<std::uint16_t>(level * kSlots + slot);
  occupied_[level] |= std::uint64_t{1} << slot;
  list(level, slot).push_back(entry);
}

void TimerWheel::remove(TimerEntry& entry) noexcept {
  entry.unlink();
  if (!slots_[entry.slot].empty()) return;
  occupied_[entry.slot / kSlots] &= ~(std::uint64_t{1} << (entry.slot % kSlots));
}

void TimerWheel::schedule(TimerEntry& entry, Instant deadline) noexcept {
  if (entry.armed()) {
    if (entry.deadline == deadline) return;
    cancel(entry);
  }
  if (deadline.is_never()) return;
  entry.deadline = deadline;
  place(entry);
  ++size_;
  next_ = earlier(next_, deadline);  // if next_ is not known, it is computed from the slots anyway
}

void TimerWheel::cancel(TimerEntry& entry) noexcept {
  if (!entry.armed()) return;
  remove(entry);
  --size_;
  if (entry.deadline <= next_) next_known_ = false;
  entry.deadline = Instant::never();
}

TimerWheel::Found TimerWheel::first_slot() const noexcept {
  for (unsigned level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
    const std::uint64_t above = current_ >> (level * kBits) >> kBits << kBits;
    return {level, slot, (above | slot) << (level * kBits)};
  }
  return {};
}

// Exact for a slot with few timers; else the time by which all of them are due, or (on a higher
// level) before any of them is.
Instant TimerWheel::earliest_in(const Found& found) noexcept {
  Instant earliest = Instant::never();
  std::uint32_t seen = 0;
  for (TimerEntry& entry : list(found.level, found.slot)) {
    if (++seen > kScan) {
      const std::uint64_t bound = found.level == 0 ? found.tick + 1 : found.tick;
      return earlier(earliest, instant_of(bound));
    }
    earliest = earlier(earliest, entry.deadline);
  }
  return earliest;
}

Instant TimerWheel::look_for_deadline() noexcept {
  if (pending_ != nullptr && !pending_->empty()) return instant_of(current_);
  if (!next_known_) {
    next_ = earliest_in(first_slot());
    next_known_ = true;
  }
  return next_;
}

TimerEntry* TimerWheel::due_in(SlotList& slot, std::uint64_t slot_tick, Instant now) noexcept {
  if (slot_tick < tick_of(now)) return slot.front();
  std::uint32_t seen = 0;
  for (TimerEntry& entry : slot) {
    if (++seen > kScan) break;
    if (entry.deadline <= now) return &entry;
  }
  return nullptr;
}

TimerEntry* TimerWheel::pop_expired(Instant now, std::uint32_t& budget) noexcept {
  const std::uint64_t now_tick = tick_of(now);
  if (size_ == 0) {
    current_ = std::max(current_, now_tick);
    return nullptr;
  }
  if (pending_ == nullptr && next_known_ && now < next_) return nullptr;
  while (budget > 0) {
    --budget;
    if (pending_ != nullptr) {
      TimerEntry* entry = pending_->pop_front();
      if (entry != nullptr) place(*entry);
      if (pending_->empty()) pending_ = nullptr;
      continue;
    }
    const Found found = first_slot();
    if (found.level == kLevels || found.tick > now_tick) {
      current_ = std::max(current_, now_tick);
      break;
    }
    current_ = std::max(current_, found.tick);
    if (found.level > 0) {
      pending_ = &list(found.level, found.slot);
      occupied_[found.level] &= ~(std::uint64_t{1} << found.slot);
      continue;
    }
    TimerEntry* due = due_in(list(0, found.slot), found.tick, now);
    if (due == nullptr) break;
    remove(*due);
    --size_;
    next_known_ = false;
    return due;
  }
  next_known_ = false;
  return nullptr;
}

}  // namespace tidewire
