// The ACK that nearly always comes: of data sent once, in order, while nothing is wrong.
#pragma once

#include <algorithm>

#include "core/tcp/recover/loss_recovery.hpp"

namespace tidewire::tcp {

// Nothing is going on but data that leaves and ACKs that come back.
inline bool LossRecovery::is_plain(const AckEvent& event) const noexcept {
  return prediction_ && phase_ == RecoveryPhase::open && uses_rack() && event.sack_blocks.empty() &&
         !spurious_.active() && !probe_.outstanding() && mtu_probe_ == MtuProbe::none && !reseed_;
}

// What on_ack() comes to where is_plain() and the scoreboard say that nothing is unusual.
inline PlainAck LossRecovery::on_plain_ack(const AckEvent& event, RttEstimator& rtt) noexcept {
  PlainAck out;
  if (!is_plain(event)) return out;
  out.prior_in_flight = in_flight();
  out.prior_outstanding = board_.outstanding();
  const InOrder d = board_.on_ack_in_order(event.seg_ack);
  if (d.acked == 0) return out;
  flight_at_loss_ = out.prior_outstanding;
  out.acked = delivered_at_loss_ = d.acked;
  dup_acks_ = 0;
  dup_bytes_ = 0;
  timer_from_ = probe_from_ = event.now;
  out.rtt = std::max(event.now.since(d.oldest_sent_at), Duration::nanos(1));
  if (event.echoed_rtt && *event.echoed_rtt + Duration::millis(1) < out.rtt) {
    out.rtt = *event.echoed_rtt;
  }
  rtt.on_sample(out.rtt, event.now, samples_expected(d.acked));
  probe_.on_rtt_sample();
  out.rate = rate_.on_delivered(d.acked, d.newest->rate, d.newest->sent_at, false, rtt.min_rtt(),
                                event.now);
  out.settled = rack_.on_in_order(*d.newest, board_, event.now);
  if (out.settled) reordering_at_ = Instant::never();
  out.in_flight = in_flight();
  return out;
}

}  // namespace tidewire::tcp
