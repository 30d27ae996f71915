// What a sender's time went into while it had data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.hpp"

namespace tidewire::tcp {

/// Counts, as Linux does, how long there was unacknowledged text, and of that how long the peer's
/// window or the send buffer was what held the sender back. Of several reasons the later one in
/// `Why` counts. Nothing happens on calls that change nothing.
class SendTimes {
 public:
  enum class Why : std::uint8_t {
    idle,         ///< all is acknowledged; not counted
    busy,         ///< something is unacknowledged or unsent
    peer_window,  ///< busy, and less than a segment of the peer's window is left
    send_buffer,  ///< busy, all is sent, and the application waits for room to write more
  };

  void start(Why why, Instant now) noexcept {
    if (why > why_) become(why, now);
  }
  /// The reason is gone, the data is not.
  void stop(Why why, Instant now) noexcept {
    if (why == why_) become(Why::busy, now);
  }
  void stop_all(Instant now) noexcept {
    if (why_ != Why::idle) become(Why::idle, now);
  }

  /// Time with unacknowledged text, whatever held the sender back.
  Duration busy(Instant now) const noexcept {
    return spent(Why::busy, now) + spent(Why::peer_window, now) + spent(Why::send_buffer, now);
  }
  Duration peer_window(Instant now) const noexcept { return spent(Why::peer_window, now); }
  Duration send_buffer(Instant now) const noexcept { return spent(Why::send_buffer, now); }

  /// While nothing is on its way, since when does not matter.
  friend bool operator==(const SendTimes& a, const SendTimes& b) noexcept {
    return a.totals_ == b.totals_ && a.why_ == b.why_ &&
           (a.why_ == Why::idle || a.since_ == b.since_);
  }

  /// With nothing on its way and nothing but work to show for it: that; else nothing.
  std::optional<Duration> only_busy() const noexcept {
    if (why_ != Why::idle || totals_[1] != Duration::zero() || totals_[2] != Duration::zero()) {
      return std::nullopt;
    }
    return totals_[0];
  }
  static SendTimes after(Duration busy) noexcept {
    SendTimes times;
    times.totals_[0] = busy;
    return times;
  }

 private:
  void become(Why why, Instant now) noexcept {
    if (why_ != Why::idle) total(why_) += now.since(since_);
    since_ = now;
    why_ = why;
  }
  Duration spent(Why why, Instant now) const noexcept {
    return totals_[static_cast<std::size_t>(why) - 1] +
           (why == why_ ? now - since_ : Duration::zero());
  }
  Duration& total(Why why) noexcept { return totals_[static_cast<std::size_t>(why) - 1]; }

  std::array<Duration, 3> totals_{};  // of what follows Why::idle
  Instant since_;
  Why why_ = Why::idle;
};

}  // namespace tidewire::tcp
