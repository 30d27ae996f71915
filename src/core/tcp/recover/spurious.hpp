// Notices that data was sent again for nothing, so that the reduction can be taken back.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.hpp"

namespace tidewire::tcp {

/// Between entering recovery (or a timeout) and its end. Two ways to know: the first ACK after a
/// retransmission answers the original (Eifel, RFC 3522), or the peer reports every retransmission
/// as a duplicate (RFC 3708).
class SpuriousDetector {
 public:
  /// Recovery begins.
  void start() noexcept { *this = SpuriousDetector{true}; }
  void stop() noexcept { active_ = false; }
  /// `bytes` were sent again.
  void on_retransmit(std::uint64_t bytes, Instant now) noexcept {
    if (!active_) return;
    if (sent_again_ == 0) first_at_ = now;
    sent_again_ += bytes;
    ever_ = true;
  }
  /// `bytes` were reported as received twice. True: that was all of it.
  bool on_dsack(std::uint64_t bytes) noexcept {
    if (!active_ || !ever_) return false;
    sent_again_ -= bytes < sent_again_ ? bytes : sent_again_;
    return sent_again_ == 0;
  }
  //= RFC 3522 §3.2
  /// The first ACK that advances snd.una since: true if it answers a segment sent before the first
  /// retransmission. Timestamps tick in milliseconds, so closer than that nothing is concluded.
  bool on_progress(std::optional<Duration> echoed_rtt, Instant now) noexcept {
    if (!active_ || !ever_ || judged_) return false;
    judged_ = true;
    return echoed_rtt && now - *echoed_rtt + Duration::millis(2) <= first_at_;
  }
  bool active() const noexcept { return active_; }

  SpuriousDetector() noexcept = default;

 private:
  explicit SpuriousDetector(bool active) noexcept : active_(active) {}

  bool active_ = false;
  bool ever_ = false;
  bool judged_ = false;
  std::uint64_t sent_again_ = 0;
  Instant first_at_;
};

}  // namespace tidewire::tcp
