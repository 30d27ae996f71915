#include "core/tcp/timers.hpp"

#include <algorithm>

namespace tidewire::tcp {

namespace {

/// How often keepalive looks whether a connection is still busy, at most.
constexpr Duration kBusyLook = Duration::millis(200);

Duration backed_off(Duration base, unsigned shift, Duration most) noexcept {
  return std::min(base * (std::int64_t{1} << std::min(shift, 20U)), most);
}

}  // namespace

std::uint32_t Timers::expire(std::uint32_t limit) noexcept {
  std::uint32_t fired = 0;
  while (fired < limit && s.time_wait_first != kNoIndex) {
    TimeWait& tw = *s.time_waits.at_index(s.time_wait_first);
    if (s.time_wait_deadline(tw) > s.now()) break;
    s.time_wait_release(tw);  //= RFC 9293 §3.10.8
    ++fired;
  }
  if (fired >= limit) return fired;
  fired += s.wheel.expire(s.now(), limit - fired, [this](TimerEntry& entry) noexcept {
    switch (static_cast<TimerOwner>(entry.kind)) {
      case TimerOwner::connection:
        return fire(*static_cast<Connection*>(entry.owner));
      case TimerOwner::half_open:
        return fire(*static_cast<HalfOpen*>(entry.owner));
      case TimerOwner::idle:
        return fire(*static_cast<IdleConnection*>(entry.owner));
    }
  });
  return fired;
}

void Timers::fire(Connection& c) noexcept {
  const bool rest = s.deadline(c, TimerKind::rest) <= s.now();
  for (std::size_t i = 0; i < c.deadlines.size(); ++i) {
    if (c.deadlines[i] > s.now()) continue;
    c.deadlines[i] = Instant::never();
    run(c, static_cast<TimerKind>(i));
  }
  if (rest && s.rest(c)) return;
  const Instant next = *std::min_element(c.deadlines.begin(), c.deadlines.end());
  if (!next.is_never()) s.wheel.schedule(c.timer, next);
  if (!s.reap(c)) s.update_events(c);
}

void Timers::run(Connection& c, TimerKind kind) noexcept {
  switch (kind) {
    case TimerKind::retransmit:
      return retransmit(c);
    case TimerKind::delayed_ack:
      c.ack.delay_expired();
      return s.mark_ready(c);
    case TimerKind::persist:
      return persist(c);
    case TimerKind::cork:
      c.override_sws = true;
      if (c.active != nullptr) c.active->pushed = true;
      return s.mark_ready(c);
    case TimerKind::keepalive:
      return keepalive(c);
    case TimerKind::pacing:
      return s.mark_ready(c);
    case TimerKind::linger:
      return s.enter_closed(c, SocketError::none);
    case TimerKind::rest:
    case TimerKind::count_:
      return;
  }
}

//= RFC 9293 §3.8.3 MUST-20
/// Closes the connection if `count` retransmissions without an answer are more than `limit`, or the
/// user timeout has passed. Advises IP at R1.
bool Timers::gave_up(Connection& c, std::uint32_t count, std::uint32_t limit) noexcept {
  if (count == s.config().retries_r1) s.out.advise_failure(c.tuple.remote_address());
  bool over = count > limit;
  if (const Duration most = s.user_timeout(c); most > Duration::zero()) {
    over = s.now() - c.retries_since >= most;
  }
  if (!over) return false;
  s.enter_closed(c, c.soft_error != SocketError::none ? c.soft_error : SocketError::timed_out);
  return true;
}

void Timers::retransmit(Connection& c) noexcept {
  if (c.state == TcpState::syn_sent || c.state == TcpState::syn_received) return retransmit_syn(c);
  if (c.active == nullptr || c.snd.una == c.snd.nxt) return;
  LossRecovery& recovery = c.active->recovery;
  const TimerPlan plan = recovery.timer(c.rtt, s.rtt_config());
  if (plan.at > s.now()) return s.plan_retransmit(c);
  switch (plan.mode) {
    case TimerMode::none:
      return;
    case TimerMode::rto:
      return retransmit_data(c);
    case TimerMode::reordering:
      s.tell_controller(c, recovery.on_reordering_timer(c.rtt, s.now()), Shared::cwnd_limited(c));
      break;
    case TimerMode::tail_probe:
      // A probe of new data leaves however small it is.
      if (recovery.on_probe_timer(s.now())) c.override_sws = true;
      break;
  }
  s.plan_retransmit(c);
  s.mark_ready(c);
}

//= RFC 9293 §3.8.3 MUST-22
void Timers::retransmit_syn(Connection& c) noexcept {
  ++c.retries;
  const std::uint32_t usual = c.passive ? s.config().syn_ack_retries : s.config().syn_retries;
  const std::uint32_t limit = c.settings.syn_count != 0 ? c.settings.syn_count : usual;
  if (gave_up(c, c.retries, limit)) return;
  c.syn_retransmitted = true;
  c.owe_syn = true;
  ++c.stats.retransmits;
  ++c.stats.timeouts;
  ++s.ctx.counters.tcp_retransmits;
  ++s.ctx.counters.tcp_timeouts;
  if (s.tracing()) [[unlikely]] {
    TraceRecord record = s.trace_record(TraceKind::retransmission, c);
    record.cause = LossCause::syn_timeout;
    record.a = c.snd.iss.value();
    s.trace(record);
  }
  // Sending it arms the timer again; should the device refuse it all the time, this does.
  s.arm(c, TimerKind::retransmit,
        s.now() + backed_off(s.config().rto_initial, c.retries, s.config().rto_max));
  s.mark_ready(c);
}

//= RFC 6298 §5.4 to §5.6
void Timers::retransmit_data(Connection& c) noexcept {
  Active& a = *c.active;
  //= RFC 9293 §3.8.6 MUST-35 SHLD-17
  // A peer that has shut its window and still answers is not dead: the retransmission is a probe.
  const bool window_shut = c.snd.wnd == 0 && c.last_received >= c.stats.last_sent;
  if (!window_shut) {
    if (c.retries == 0) c.retries_since = c.stats.last_sent;
    if (c.retries < 255) ++c.retries;
    const std::uint32_t limit =
        c.owned || c.accept_by != kNoIndex ? s.config().retries_r2 : s.config().orphan_retries;
    if (gave_up(c, c.retries, limit)) return;
  }
  ++c.stats.timeouts;
  ++s.ctx.counters.tcp_timeouts;
  if (c.mtu.probing()) c.mtu.on_lost(s.now());
  // As Linux with R1, but not smaller and smaller with each timeout: an outage may be the reason.
  const std::uint8_t r1 = std::max<std::uint8_t>(s.config().retries_r1, 1);
  if (c.snd.wnd != 0 && c.retries != 0 && c.retries % r1 == 0) s.suspect_black_hole(c);
  const std::uint64_t in_flight =
      Shared::flight_size(c, a.recovery.scoreboard().outstanding(), a.recovery.in_flight());
  const bool first = a.recovery.first_rto();
  const std::uint64_t lost = a.recovery.on_rto(c.rtt, s.now());
  c.stats.lost += static_cast<std::uint32_t>(lost / std::max(1U, Shared::eff_mss(c)));
  a.recovery.delivery_rate().on_lost(lost);
  c.rtt.back_off();
  if (!window_shut) a.cc.on_rto({.now = s.now(), .in_flight = in_flight, .first = first});
  if (c.ecn.on() && !window_shut) c.ecn.on_reduced(c.snd.nxt);
  c.force_retransmit = true;
  if (s.tracing()) [[unlikely]] {
    TraceRecord record = s.trace_record(TraceKind::loss, c);
    record.cause = LossCause::rto;
    record.a = c.snd.una.value();
    record.c = static_cast<std::uint32_t>(lost);
    s.trace(record);
  }
  s.plan_retransmit(c);
  s.mark_ready(c);
}

/// Looks at the device again after a while, which counts as a probe. Text leaves without this, as
/// soon as the device takes any.
void Timers::device_refuses(Connection& c) noexcept {
  constexpr Duration kAgain = Duration::millis(500);  // as Linux
  if (c.probes == 0) c.retries_since = s.now();
  if (gave_up(c, c.probes, s.config().retries_r2)) return;
  if (c.probes < 255) ++c.probes;
  s.arm(c, TimerKind::persist, s.now() + kAgain);
}

//= RFC 9293 §3.8.6.1 MUST-36 MUST-37 SHLD-30
void Timers::persist(Connection& c) noexcept {
  if (c.active == nullptr) return;
  if (Seq::distance(c.snd.nxt, c.snd.una + c.snd.wnd) > 0) {
    if (s.out.blocked(c.path) && s.user_timeout(c) > Duration::zero()) return device_refuses(c);
    c.override_sws = true;  // the window is small but open
    return s.mark_ready(c);
  }
  if (c.probes == 0) c.retries_since = s.now();
  // A peer that acknowledges probes keeps the connection open for as long as it likes; probes that
  // nobody answers count like retransmissions.
  const std::uint32_t limit =
      c.owned ? s.config().retries_r2 : std::uint32_t{s.config().orphan_retries};
  if (gave_up(c, c.probes, limit)) return;
  if (c.probes < 255) ++c.probes;
  if (c.persist_shift < 20) ++c.persist_shift;
  c.owe_probe = true;
  s.arm(c, TimerKind::persist,
        s.now() + backed_off(c.rtt.base_rto(s.rtt_config()), c.persist_shift, s.config().rto_max));
  s.mark_ready(c);
}

//= RFC 9293 §3.8.4 MUST-24 to MUST-29
void Timers::keepalive(Connection& c) noexcept {
  if (!c.settings.keep_alive || !is_synchronized(c.state) || c.state == TcpState::time_wait) return;
  const Duration idle = Duration::millis(c.settings.keep_idle_ms);
  const bool busy = c.snd.una != c.snd.nxt || s.armed(c, TimerKind::persist) ||
                    (c.active != nullptr && !c.active->snd_ring.empty());
  // It matters again once nothing is out; that need not be known to the millisecond.
  if (busy) return s.arm(c, TimerKind::keepalive, s.now() + std::max(idle, kBusyLook));
  if (s.now() - c.last_received < idle) {
    return s.arm(c, TimerKind::keepalive, c.last_received + idle);
  }
  const Duration most = s.user_timeout(c);
  const bool tired = most > Duration::zero() && c.probes > 0 ? s.now() - c.last_received >= most
                                                             : c.probes >= c.settings.keep_count;
  if (tired) {
    s.reset_peer(c, c.soft_error != SocketError::none ? c.soft_error : SocketError::timed_out);
    return;
  }
  ++c.probes;
  c.owe_keepalive = true;
  s.arm(c, TimerKind::keepalive, s.now() + Duration::millis(c.settings.keep_interval_ms));
  s.mark_ready(c);
}

void Timers::fire(IdleConnection& idle) noexcept {
  Connection* c = s.wake(idle);
  if (c == nullptr) return s.wheel.schedule(idle.timer, s.now() + Duration::seconds(1));
  keepalive(*c);
  if (!s.reap(*c)) s.update_events(*c);
}

/// How often a SYN-ACK is sent again. As Linux: half of the backlog is kept for new handshakes; the
/// older the rest, the sooner it goes.
std::uint32_t Timers::syn_ack_limit(const Connection& listener) const noexcept {
  const Listener& l = *listener.listener;
  std::uint32_t limit =
      listener.settings.syn_count != 0 ? listener.settings.syn_count : s.config().syn_ack_retries;
  if (2 * std::uint64_t{l.half_open} <= std::max(8U, l.backlog)) return limit;
  for (std::uint64_t young = 2 * std::uint64_t{l.young}; limit > 2 && l.half_open >= young;) {
    --limit;
    young *= 2;
    if (young == 0) return 2;
  }
  return limit;
}

void Timers::fire(HalfOpen& h) noexcept {
  if (h.held) return s.release(h);
  const Connection& listener = *s.connections.at_index(h.listener);
  Listener& l = *listener.listener;
  const unsigned defer = listener.settings.defer_accept;
  const bool deferred = defer != 0 && h.acked;
  if (h.retries >= syn_ack_limit(listener) && !(deferred && h.retries < defer)) {
    ++s.ctx.counters.tcp_attempt_fails;
    return s.release(h);
  }
  // A peer that has answered and is waited for hears of us again at the end of the waiting.
  const bool resend = !deferred || h.retries + 1U >= defer;
  if (h.retries == 0) --l.young;
  ++h.retries;
  ++s.ctx.counters.tcp_timeouts;
  if (resend) {
    ++s.ctx.counters.tcp_retransmits;
    s.mark_ready(h);
  }
  s.wheel.schedule(h.timer,
                   s.now() + backed_off(s.config().rto_initial, h.retries, s.config().rto_max));
}

}  // namespace tidewire::tcp
