// When an ACK is due: RFC 9293 §3.8.6.3, RFC 5681 §4.2, RFC 2018 §4.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace tidewire::tcp {

/// What the receiver owes the sender. Counts segments, never frames: a coalesced frame stands for
/// several.
class AckPolicy {
 public:
  /// Segments acknowledged one by one at the start, so that slow start of the peer is not held
  /// back.
  static constexpr std::uint8_t kQuickSegments = 16;

  //= RFC 9293 §3.8.6.3 MUST-58 SHLD-19
  /// In-order text of `segs` segments and `bytes`. True: an ACK is owed now; false: within the
  /// delay.
  constexpr bool on_text(std::uint32_t segs, std::uint32_t bytes, std::uint32_t mss) noexcept {
    bytes_ = std::min<std::uint32_t>(bytes_ + bytes, 1U << 30);
    delayed_ = true;
    if (quick_ > 0) {
      quick_ = static_cast<std::uint8_t>(quick_ - std::min<std::uint32_t>(segs, quick_));
      now_ = true;
    }
    // Every second full-sized segment.
    if (bytes_ >= 2 * mss) now_ = true;
    return now_;
  }
  //= RFC 5681 §4.2
  /// Out-of-order text, a duplicate, or a gap filled: at once. `acks`: how many in a row; without
  /// SACK each original segment out of order is a duplicate ACK of its own.
  constexpr void now(std::uint32_t acks = 1) noexcept {
    now_ = true;
    copies_ = static_cast<std::uint16_t>(std::min<std::uint32_t>(copies_ + acks, 512));
  }
  constexpr void delay_expired() noexcept {
    if (delayed_) now_ = true;
  }
  /// A segment with an ACK left.
  constexpr void on_sent() noexcept {
    if (copies_ > 0) --copies_;
    now_ = copies_ > 0;
    delayed_ = false;
    bytes_ = 0;
  }
  /// Data was sent so soon after some came that it may be the answer: from now on ACKs ride on
  /// data.
  constexpr void on_answered() noexcept { quick_ = 0; }
  constexpr void quick(std::uint8_t segments = kQuickSegments) noexcept { quick_ = segments; }

  /// At least so many more segments are acknowledged one by one.
  constexpr void hurry(std::uint8_t segments) noexcept { quick_ = std::max(quick_, segments); }

  constexpr bool is_quick() const noexcept { return quick_ > 0; }
  constexpr bool owed_now() const noexcept { return now_; }
  /// More than one ACK is owed: they leave as segments of their own.
  constexpr bool owed_copies() const noexcept { return copies_ > 1; }
  constexpr bool delayed() const noexcept { return delayed_ && !now_; }

 private:
  std::uint32_t bytes_ = 0;   // in order, not acknowledged
  std::uint16_t copies_ = 0;  // ACKs owed one by one
  std::uint8_t quick_ = kQuickSegments;
  bool now_ = false;
  bool delayed_ = false;
};

}  // namespace tidewire::tcp
