// Guesses what happens next from what happened before.
#pragma once

#include <array>
#include <cstdint>

namespace tidewire {

/// For something that happens or not, again and again: two-bit counters, chosen by the last eight
/// outcomes, as branch predictors have them. Any pattern that repeats within nine outcomes is
/// guessed right once it was seen a few times.
class Habit {
 public:
  /// What is guessed where nothing was seen yet.
  explicit constexpr Habit(bool yes) noexcept { counters_.fill(yes ? kLikely : kLikely - 1); }

  bool expects() const noexcept { return counters_[history_] >= kLikely; }

  void happened(bool yes) noexcept {
    std::uint8_t& counter = counters_[history_];
    if (yes && counter < kSure) ++counter;
    if (!yes && counter > 0) --counter;
    history_ = static_cast<std::uint8_t>(history_ << 1 | (yes ? 1 : 0));
  }

 private:
  static constexpr std::uint8_t kLikely = 2, kSure = 3;
  std::array<std::uint8_t, 256> counters_{};
  std::uint8_t history_ = 0;
};

}  // namespace tidewire
