// How large the receive buffer should be, from what the application takes in a round trip.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/seq.hpp"
#include "base/time.hpp"

namespace tidewire::tcp {

/// Dynamic right-sizing as Linux does it: the buffer follows what was read in one round trip, with
/// room for a sender that doubles its window meanwhile. A receiver that sends nothing gets no
/// samples of its own, so it measures the round trip by the echo of its timestamps, or by the time
/// that one whole window of data takes to arrive.
class ReceiveTuner {
 public:
  ReceiveTuner(Instant now, std::uint32_t first_space) noexcept
      : since_(now), space_(std::max<std::uint32_t>(first_space, 1)) {}

  /// True if a segment with this TSecr says something new: our clock ticks in milliseconds, so most
  /// segments echo the same value again.
  bool wants_echo(std::uint32_t tsecr) const noexcept { return tsecr != 0 && tsecr != last_echo_; }
  /// Data came with this TSecr, sent `rtt` ago. A sender that paused makes it too long, so it comes
  /// in gently.
  void on_echo(std::uint32_t tsecr, Duration rtt) noexcept {
    last_echo_ = tsecr;
    if (rtt_ == Duration::zero() || rtt < rtt_) {
      rtt_ = rtt;
    } else {
      rtt_ += (rtt - rtt_) / 8;
    }
  }
  /// Without timestamps: in-order data came and `window` bytes more are allowed. Once all of them
  /// have arrived at least a round trip has passed; the least such time counts.
  void on_arrival(Seq rcv_nxt, std::uint32_t window, Instant now) noexcept {
    if (measuring_ && rcv_nxt.before(window_end_)) return;
    if (measuring_) {
      const Duration took = std::max(now - window_since_, Duration::nanos(1));
      if (rtt_ == Duration::zero() || took < rtt_) rtt_ = took;
    }
    measuring_ = true;
    window_end_ = rcv_nxt + window;
    window_since_ = now;
  }
  /// The receiver's estimate of the round trip; zero: none yet.
  Duration rtt() const noexcept { return rtt_; }

  /// The application took `bytes`. Once a round trip (or `fallback` where none was measured), the
  /// size in bytes the buffer should have at least.
  std::optional<std::uint64_t> on_read(std::uint64_t bytes, std::uint32_t mss, Duration fallback,
                                       Instant now) noexcept {
    copied_ += bytes;
    if (now.since(since_) < (rtt_ != Duration::zero() ? rtt_ : fallback)) return std::nullopt;
    const std::uint64_t copied = copied_;
    copied_ = 0;
    since_ = now;
    if (copied <= space_) return std::nullopt;
    // Twice for the round trip that passes until the sender knows, some segments, and twice the
    // growth of the last round trip: slow start goes on.
    std::uint64_t wanted = 2 * copied + std::uint64_t{16} * mss;
    const std::uint64_t grown = std::min(copied - space_, 4 * space_);
    wanted += 2 * (wanted / space_ * grown + wanted % space_ * grown / space_);
    space_ = copied;
    return wanted;
  }

 private:
  Instant since_;  // when counting began
  std::uint64_t copied_ = 0;
  std::uint64_t space_;  // most read in a round trip
  Duration rtt_;
  Instant window_since_;
  Seq window_end_;
  std::uint32_t last_echo_ = 0;
  bool measuring_ = false;
};

}  // namespace tidewire::tcp
