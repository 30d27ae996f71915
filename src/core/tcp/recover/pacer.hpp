// When the next burst may leave.
#pragma once

#include <cstdint>
#include <limits>

#include "base/time.hpp"

namespace tidewire::tcp {

/// Bytes per second that mean "as fast as the window allows".
inline constexpr std::uint64_t kUnpaced = std::numeric_limits<std::uint64_t>::max();

/// Spreads transmissions over time at a rate. Keeps the time at which what was sent would have
/// drained; sending is allowed up to a burst before it.
class Pacer {
 public:
  /// Burst that the timer's accuracy asks for: clamp(rate × accuracy, 2·MSS, 64 KiB).
  static std::uint32_t burst(std::uint64_t rate, Duration accuracy, std::uint32_t mss) noexcept;

  void set_rate(std::uint64_t bytes_per_second) noexcept { rate_ = bytes_per_second; }
  std::uint64_t rate() const noexcept { return rate_; }

  /// The earliest time at which the next burst may be sent; <= now: at once.
  Instant next_send() const noexcept { return rate_ == kUnpaced ? Instant{} : next_; }
  bool may_send(Instant now) const noexcept { return rate_ == kUnpaced || next_ <= now; }
  /// `bytes` left at `now`.
  void on_sent(std::uint64_t bytes, Instant now) noexcept;

 private:
  std::uint64_t rate_ = kUnpaced;
  Instant next_;
};

}  // namespace tidewire::tcp
