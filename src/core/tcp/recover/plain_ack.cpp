// The ACK that nearly always comes: of data sent once, in order, while nothing is wrong.
#include <algorithm>

#include "core/tcp/recover/loss_recovery.hpp"

namespace tidewire::tcp {

// Nothing is going on but data that leaves and ACKs that come back.
bool LossRecovery::is_plain(const AckEvent& event) const noexcept {
  return prediction_ && phase_ == RecoveryPhase::open && uses_rack() && event.sack_blocks.empty() &&
         !spurious_.active() && !probe_.outstanding() && mtu_probe_ == MtuProbe::none && !reseed_;
}

// What on_ack() comes to where is_plain() and the scoreboard say that nothing is unusual.
void LossRecovery::on_plain_ack(const AckEvent& event, const InOrder& d, RttEstimator& rtt,
                                AckOutcome& out) noexcept {
  out.acked = out.delivered = out.credit = delivered_at_loss_ = d.acked;
  out.restart_rto = true;
  dup_acks_ = 0;
  dup_bytes_ = 0;
  timer_from_ = probe_from_ = event.now;
  Duration round_trip = std::max(event.now - d.oldest_sent_at, Duration::nanos(1));
  if (event.echoed_rtt && *event.echoed_rtt + Duration::millis(1) < round_trip) {
    round_trip = *event.echoed_rtt;
  }
  out.rtt = round_trip;
  rtt.on_sample(round_trip, event.now, samples_expected(d.acked));
  probe_.on_rtt_sample();
  out.rate =
      rate_.on_delivered(d.acked, d.newest.rate, d.newest.sent_at, false, rtt.min_rtt(), event.now);
  if (!rack_.on_in_order(d.newest, board_, event.now)) {
    detect_loss({}, rtt, event.now, out);
  } else {
    reordering_at_ = Instant::never();
  }
  out.in_flight = in_flight();
}

}  // namespace tidewire::tcp
