// How many frames the next receive of a descriptor finds.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace tidewire::device {

/// Where as many frames come again and again, the read that would find nothing more can be left
/// away: it costs as much as the others. How many come depends on how many were sent before: a
/// request has one answer, and a SYN together with a FIN two.
class BatchGuess {
 public:
  /// How many frames to read, at most `most`, after `sent` went out since the last receive.
  std::size_t begin(std::size_t sent, std::size_t most) noexcept {
    key_ = std::min(sent, after_.size() - 1);
    const After& after = after_[key_];
    cut_ = after.trust >= kTrusted && after.size < most && ++guesses_ % kTryAgain != 0;
    return cut_ ? after.size : most;
  }

  /// That receive found `frames`.
  void end(std::size_t frames) noexcept {
    After& after = after_[key_];
    const bool fewer = frames < after.size;
    if (frames == 0 || (cut_ && !fewer)) return;
    if (frames == after.size) {
      if (after.trust < kMostTrust) ++after.trust;
    } else if (fewer && after.trust > 1) {
      --after.trust;
    } else {
      // The greatest number counts: what is read too early makes two batches of one.
      after = {.size = frames, .trust = 1};
    }
  }

 private:
  static constexpr std::uint8_t kTrusted = 8, kMostTrust = 16;
  static constexpr std::uint32_t kTryAgain = 16;  // guesses, of which one is put to the test
  struct After {
    std::size_t size = 0;
    std::uint8_t trust = 0;
  };
  std::array<After, 8> after_{};
  std::size_t key_ = 0;
  std::uint32_t guesses_ = 0;
  bool cut_ = false;
};

}  // namespace tidewire::device
