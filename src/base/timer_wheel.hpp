// A hierarchical timer wheel: arming, moving and cancelling a timer are O(1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/list.hpp"
#include "base/time.hpp"

namespace tidewire {

struct TimerTag {};

/// One timer, embedded in what it belongs to (derive from it, or hold it and find the owner by
/// `owner` and `kind`). Must not move or die while armed: cancel it, or let the wheel die first.
struct TimerEntry : ListNode<TimerTag> {
  explicit TimerEntry(void* owner_in = nullptr, std::uint32_t kind_in = 0) noexcept
      : owner(owner_in), kind(kind_in) {}

  bool armed() const noexcept { return linked(); }

  Instant deadline = Instant::never();  ///< exact; set by the wheel, kept when it fires
  void* owner = nullptr;                ///< for the user
  std::uint32_t kind = 0;               ///< for the user
  std::uint16_t slot = 0;               ///< the wheel's
};

/// Timers in slots of 2^shift nanoseconds, 64 slots a level. A timer never fires before its
/// deadline; it fires on the first expire() at or after its deadline as long as few timers (64)
/// share its slot, and at most one tick late otherwise. Timers of one slot fire in the order they
/// were armed. A jump over any stretch of time costs work only for the timers that are there.
class TimerWheel {
 public:
  static constexpr unsigned kFine = 14;    ///< ticks of 16.4 µs: pacing, RACK, TLP, delayed ACK
  static constexpr unsigned kCoarse = 20;  ///< ticks of 1.05 ms: RTO, keepalive, 2·MSL

  /// `now` is the origin; deadlines before it are due at once.
  TimerWheel(unsigned tick_shift, Instant now) noexcept : shift_(tick_shift), origin_(now) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms the timer, or moves it if it is armed. A deadline of never() cancels.
  void schedule(TimerEntry& entry, Instant deadline) noexcept;
  void cancel(TimerEntry& entry) noexcept;

  /// When expire() should be called next; never() if no timer is armed. Never later than the
  /// earliest deadline if few timers share its slot, else at most a tick later; it may be earlier,
  /// then expire() only sorts. Cheap: kept until something changes.
  Instant next_deadline() noexcept {
    if (size_ == 0) {
      next_known_ = true;
      return next_ = Instant::never();
    }
    return next_known_ && pending_ == nullptr ? next_ : look_for_deadline();
  }

  /// Unlinks and returns one due timer; null if none is due, or if `budget` (taken down by the
  /// timers looked at or sorted) is used up, and then next_deadline() is not after `now`.
  TimerEntry* pop_expired(Instant now, std::uint32_t& budget) noexcept;

  /// Fires at most `limit` timers: calls f(TimerEntry&), which may arm or cancel any timer.
  /// Returns how many fired.
  template <typename F>
  std::uint32_t expire(Instant now, std::uint32_t limit, F&& f) noexcept {
    std::uint32_t fired = 0;
    std::uint32_t budget = limit * 4 + kScan;
    while (fired < limit) {
      TimerEntry* entry = pop_expired(now, budget);
      if (entry == nullptr) break;
      ++fired;
      f(*entry);
    }
    return fired;
  }

  bool empty() const noexcept { return size_ == 0; }
  std::uint32_t size() const noexcept { return size_; }
  Duration tick() const noexcept { return Duration::nanos(std::int64_t{1} << shift_); }

 private:
  static constexpr unsigned kBits = 6;
  static constexpr unsigned kSlots = 1U << kBits;
  static constexpr unsigned kLevels = 9;
  static constexpr std::uint32_t kScan = 64;  // of a slot, how many are looked at for exact time

  using SlotList = List<TimerEntry, TimerTag>;
  struct Found {
    unsigned level = kLevels;  // kLevels: nothing armed
    unsigned slot = 0;
    std::uint64_t tick = 0;  // where the slot begins
  };

  std::uint64_t tick_of(Instant t) const noexcept;
  Instant instant_of(std::uint64_t tick) const noexcept;
  void place(TimerEntry& entry) noexcept;
  void remove(TimerEntry& entry) noexcept;
  Found first_slot() const noexcept;
  Instant look_for_deadline() noexcept;
  Instant earliest_in(const Found& found) noexcept;
  SlotList& list(unsigned level, unsigned slot) noexcept { return slots_[level * kSlots + slot]; }
  TimerEntry* due_in(SlotList& slot, std::uint64_t slot_tick, Instant now) noexcept;

  unsigned shift_;
  Instant origin_;
  std::uint64_t current_ = 0;  // tick up to which all is sorted; never ahead of the last `now`
  Instant next_ = Instant::never();
  bool next_known_ = true;
  std::uint32_t size_ = 0;
  std::array<std::uint64_t, kLevels> occupied_{};
  std::array<SlotList, kLevels * kSlots> slots_;
  SlotList* pending_ = nullptr;  // a slot of a higher level being sorted into lower ones
};

}  // namespace tidewire
