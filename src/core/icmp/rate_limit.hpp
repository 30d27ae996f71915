// The limit on ICMP errors this host sends (RFC 1812 §4.3.2.8).
#pragma once

#include <algorithm>

#include "base/random.hpp"
#include "base/time.hpp"

namespace tidewire::icmp {

/// A token bucket whose cost varies a little at random, so that its state cannot be read from
/// outside by counting replies.
class RateLimit {
 public:
  RateLimit(std::uint32_t per_second, std::uint32_t burst, Instant now) noexcept
      : interval_(Duration::seconds(1) / std::max<std::int64_t>(1, per_second)),
        full_(interval_ * std::max<std::int64_t>(1, burst)),
        credit_(full_),
        at_(now),
        off_(per_second == 0) {}

  /// Takes a token if there is one.
  bool take(Instant now, Rng& rng) noexcept {
    if (off_) return false;
    credit_ = std::min(full_, credit_ + (now - at_));
    at_ = now;
    const auto cost = interval_ * static_cast<std::int64_t>(1 + rng.below(2));
    if (credit_ < cost) return false;
    credit_ -= interval_;
    return true;
  }

 private:
  Duration interval_, full_, credit_;
  Instant at_;
  bool off_;
};

}  // namespace tidewire::icmp
