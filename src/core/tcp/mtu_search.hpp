// Path MTU found by sending larger segments and seeing whether they arrive (RFC 4821, RFC 8899):
// for paths that drop what is too long and say nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.hpp"

namespace tidewire::tcp {

/// One connection's search. All sizes are payload and options of a segment, as snd.mss is.
class MtuSearch {
 public:
  /// A range narrower than this is not worth another probe (as Linux tcp_probe_threshold).
  static constexpr std::uint16_t kNarrow = 8;

  bool on() const noexcept { return low_ != 0; }
  bool probing() const noexcept { return probe_ != 0; }
  /// The largest segment to send apart from probes.
  std::uint16_t limit() const noexcept { return low_; }
  std::uint16_t probe() const noexcept { return probe_; }

  //= RFC 4821 §7.2; RFC 8899 §5.1.2
  /// Starts at `base`, a size that nearly every path carries.
  void start(std::uint16_t base, std::uint16_t ceiling, Instant now) noexcept {
    low_ = std::min(base, ceiling);
    high_ = ceiling;
    changed_ = now;
    probe_ = 0;
  }
  //= RFC 4821 §7.7; RFC 8899 §4.3
  /// Nothing gets through any more: back to `base`; if a search is on and what did not get through
  /// is no larger, to half of it, not below `floor`. `sent` is the size of the segments lost.
  void on_black_hole(std::uint16_t sent, std::uint16_t base, std::uint16_t floor,
                     std::uint16_t ceiling, Instant now) noexcept {
    const bool small = on() && sent <= base;
    start(small ? std::max<std::uint16_t>(floor, sent / 2) : base, ceiling, now);
  }

  //= RFC 4821 §7.3; RFC 8899 §5.3.2
  /// The size to try next, half way; nothing if the range is narrow. `ceiling` is what the peer and
  /// the known path take; after `again` from the end of a search it counts anew.
  std::optional<std::uint16_t> next(std::uint16_t ceiling, Duration again, Instant now) noexcept {
    high_ = std::min(high_, ceiling);
    if (high_ >= low_ + kNarrow) return static_cast<std::uint16_t>((low_ + high_) / 2);
    //= RFC 8899 §5.1.1 (PMTU_RAISE_TIMER)
    if (now - changed_ < again || ceiling < low_ + kNarrow) return std::nullopt;
    high_ = ceiling;
    changed_ = now;
    return static_cast<std::uint16_t>((low_ + high_) / 2);
  }
  void on_sent(std::uint16_t size) noexcept { probe_ = size; }
  void on_arrived(Instant now) noexcept {
    low_ = std::max(low_, probe_);
    settle(now);
  }
  void on_lost(Instant now) noexcept {
    if (probe_ != 0) high_ = std::min<std::uint16_t>(high_, probe_ - 1);
    settle(now);
  }

 private:
  void settle(Instant now) noexcept {
    probe_ = 0;
    changed_ = now;
  }

  std::uint16_t low_ = 0;   ///< known to arrive; 0: no search
  std::uint16_t high_ = 0;  ///< not known not to
  std::uint16_t probe_ = 0;
  Instant changed_;
};

}  // namespace tidewire::tcp
