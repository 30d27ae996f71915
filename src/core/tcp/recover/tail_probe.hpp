// Tail-loss probes (RFC 8985 §7).
#pragma once

#include <optional>

#include "base/seq.hpp"
#include "base/time.hpp"
#include "core/tcp/recover/rtt.hpp"

namespace tidewire::tcp {

/// One probe at a time, sent when the ACKs stop coming, so that a loss at the end of a flight is
/// found by SACK instead of by a timeout.
class TailProbe {
 public:
  //= RFC 8985 §7.2
  /// How long after the last ACK or transmission to probe. `single`: one segment is in flight, the
  /// receiver may be delaying its ACK.
  static Duration timeout(const RttEstimator& rtt, bool single) noexcept {
    if (!rtt.has_sample()) return Duration::seconds(1);
    const Duration base = rtt.srtt() * 2 + Duration::millis(2);
    return single ? base + kMostAckDelay : base;
  }

  //= RFC 8985 §7.3
  bool may_probe() const noexcept { return !outstanding_ && fresh_rtt_; }
  void on_rtt_sample() noexcept { fresh_rtt_ = true; }
  /// The probe, ending at `end`, was sent: data sent before, or new data.
  void on_sent(Seq end, bool retransmission) noexcept {
    outstanding_ = true;
    retransmission_ = retransmission;
    end_ = end;
    fresh_rtt_ = false;
  }
  //= RFC 8985 §7.1
  void reset() noexcept { outstanding_ = false; }

  //= RFC 8985 §7.4.2
  /// An ACK came. True: the probe repaired a loss, which calls for a congestion response.
  bool on_ack(Seq seg_ack, bool dsack, bool duplicate) noexcept {
    if (!outstanding_ || seg_ack.before(end_)) return false;
    if (!retransmission_ || dsack) {
      outstanding_ = false;
      return false;
    }
    if (seg_ack.after(end_)) {
      outstanding_ = false;
      return true;
    }
    if (duplicate) outstanding_ = false;
    return false;
  }
  bool outstanding() const noexcept { return outstanding_; }

 private:
  static constexpr Duration kMostAckDelay = Duration::millis(200);

  Seq end_;
  bool outstanding_ = false;
  bool retransmission_ = false;
  bool fresh_rtt_ = true;
};

}  // namespace tidewire::tcp
