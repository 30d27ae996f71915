// When a paced connection may send, and how much at once.
#include <algorithm>

#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

ControllerConfig Shared::controller_config(const Connection& c, std::uint64_t cwnd,
                                           std::uint64_t ssthresh) const noexcept {
  const std::uint32_t mss = eff_mss(c);
  ControllerConfig start;
  start.mss = mss;
  //= RFC 6928 §2; RFC 5681 §3.1
  // A lost SYN or SYN-ACK: one segment.
  start.initial_window = syn_lost(c) ? mss : std::uint64_t{config().initial_window_segments} * mss;
  start.initial_ssthresh = ssthresh;
  start.now = now();
  // What is remembered of a quiet connection may be of smaller segments.
  start.cwnd = cwnd == 0 ? 0 : std::max<std::uint64_t>(cwnd, mss);
  start.srtt = c.rtt.srtt();
  start.min_rtt = c.rtt.min_rtt();
  start.seed = secret_hash_(c.tuple);
  start.sack = c.sack_on;
  return start;
}

void Shared::update_pacing(Connection& c) noexcept {
  if (c.active == nullptr) return;
  c.active->paced = c.active->cc.paces() || c.settings.max_pacing_rate != Settings::kUnpacedRate;
  if (!c.active->paced) c.active->pacer = Pacer{};
}

std::uint64_t Shared::pacing_rate(const Connection& c) noexcept {
  return std::min(c.active->cc.pacing_rate(), c.settings.max_pacing_rate);
}

bool Sender::burst_due(Connection& c) noexcept {
  Pacer& pacer = c.active->pacer;
  // A timeout has had its wait.
  if (!pacer.may_send(s.now()) && !c.force_retransmit) {
    const Instant at = pacer.next_send();
    if (Shared::deadline(c, TimerKind::pacing) != at) s.arm(c, TimerKind::pacing, at);
    return false;
  }
  const std::uint64_t rate = Shared::pacing_rate(c);
  pacer.set_rate(rate);
  // A timer may be late by a tick; twice that is earned back (see Pacer).
  const Duration accuracy = std::max(s.ctx.config.timer_accuracy, s.wheel.tick() * 2);
  left_ = std::min<std::uint64_t>(left_, Pacer::burst(rate, accuracy, Shared::eff_mss(c)));
  return true;
}

}  // namespace tidewire::tcp
