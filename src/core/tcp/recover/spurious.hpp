// Notices that data was sent again for nothing, so that the reduction can be taken back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/seq_range.hpp"
#include "base/time.hpp"

namespace tidewire::tcp {

/// From entering recovery (or a timeout) until a while after its end. Two ways to know: the first
/// ACK after a retransmission answers the original (Eifel, RFC 3522), or the peer reports every
/// retransmission as a duplicate (RFC 3708). What the network doubled by itself does not count.
class SpuriousDetector {
 public:
  /// Recovery begins.
  void start() noexcept {
    *this = SpuriousDetector{};
    active_ = true;
  }
  void stop() noexcept { active_ = false; }
  bool active() const noexcept { return active_; }

  /// `range` was sent again; `at_una`: what the next progress acknowledges.
  void on_retransmit(SeqRange range, bool at_una, Instant now) noexcept;
  //= RFC 3708 §3
  /// `range` was reported as received twice. True: with it all retransmissions were.
  bool on_dsack(SeqRange range) noexcept;
  //= RFC 3522 §3.2
  /// An ACK advanced snd.una. True: it is the first one since the first retransmission, and it
  /// answers a segment sent before that. Timestamps tick in milliseconds, so closer than that
  /// nothing is concluded.
  bool on_progress(std::optional<Duration> echoed_rtt, Instant now) noexcept;

 private:
  static constexpr std::size_t kMost = 16;

  std::array<SeqRange, kMost> unreported_{};
  std::size_t count_ = 0;
  bool active_ = false;
  bool ever_ = false;
  bool too_many_ = false;  // retransmissions to keep track of
  bool judged_ = false;
  Instant first_at_;
};

}  // namespace tidewire::tcp
