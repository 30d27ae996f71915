// SYN-SENT, and becoming ESTABLISHED.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

/// As Linux: a timestamp that none of our SYNs carried comes from another connection.
bool Input::echoes_nothing_of_ours(const Connection& c, const Segment& seg) const noexcept {
  if (!s.config().timestamps || !seg.options.timestamps || seg.options.timestamps->echo == 0) {
    return false;
  }
  const Seq echo{seg.options.timestamps->echo};
  const Seq first{c.timestamps.value(c.retries_since)};
  return echo.before(first) || echo.after(Seq{c.timestamps.value(s.now())});
}

//= RFC 9293 §3.10.7.3
void Input::syn_sent_arrives(Connection& c, Segment& seg) noexcept {
  const bool ack = seg.has(TcpFlag::ack);
  if (ack && !(seg.ack.after(c.snd.iss) && seg.ack.at_or_before(c.snd.nxt))) {
    s.drop(DropReason::tcp_bad_ack, seg);
    reply_reset(seg);
    return;
  }
  if (ack && !seg.has(TcpFlag::rst) && echoes_nothing_of_ours(c, seg)) {
    s.drop(DropReason::tcp_paws, seg);
    reply_reset(seg);
    return;
  }
  if (seg.has(TcpFlag::rst)) {
    //= RFC 5961 §3.2
    // Only a RST that acknowledges our SYN can come from the peer.
    if (!ack) return s.drop(DropReason::tcp_bad_reset, seg);
    return s.enter_closed(c, SocketError::connection_refused);
  }
  if (!seg.has(TcpFlag::syn)) return s.drop(DropReason::tcp_bad_flags, seg);
  if (syn_sent_synchronize(c, seg) == Verdict::done) return;
  if (c.state == TcpState::syn_received) return;
  process_urgent(c, seg);
  if (process_text(c, seg) == Verdict::done) return;
  process_fin(c, seg);
}

Verdict Input::syn_sent_synchronize(Connection& c, Segment& seg) noexcept {
  c.rcv.irs = seg.seq;
  c.rcv.nxt = c.rcv.last_ack_sent = seg.seq + 1;
  c.rcv.window = ReceiveWindow{c.rcv.nxt};
  const std::uint32_t offered =
      std::min({c.settings.receive_buffer, c.settings.window_clamp, std::uint32_t{0xffff}});
  (void)c.rcv.window.advertise(c.rcv.nxt, Window{offered}, WindowScale{});
  SynOptions theirs;
  theirs.mss = seg.options.mss;
  theirs.window_shift = seg.options.window_scale;
  theirs.sack_permitted = seg.options.sack_permitted;
  if (seg.options.timestamps) theirs.tsval = seg.options.timestamps->value;
  s.apply_options(c, theirs);
  take_user_timeout(c, seg);
  const EcnUse ecn = s.config().ecn;
  if (seg.has(TcpFlag::ack)) {
    c.ecn.on_syn_ack(ecn, seg.flags, wire::ecn_of(seg.tos));
    if (seg.options.acc_ecn) c.ecn.on_option(*seg.options.acc_ecn);
  } else if (ecn == EcnUse::request || ecn == EcnUse::accurate) {
    c.ecn.accept(ecn_offer(ecn, seg.flags, wire::ecn_of(seg.tos)));
  }
  //= RFC 7323 §2.2
  // The window of a SYN is never scaled.
  c.snd.wnd = c.snd.max_wnd = seg.window;
  c.snd.wl1 = seg.seq;
  c.snd.wl2 = seg.ack;
  c.last_received = s.now();
  if (seg.has(TcpFlag::ack)) {
    c.snd.una = seg.ack;
    sample_syn(c, seg);  // the congestion control begins with it
  }
  if (!s.attach_active(c)) {
    s.drop(DropReason::no_memory, seg);
    s.reset_peer(c, SocketError::no_buffers);
    return Verdict::done;
  }
  if (seg.has(TcpFlag::ack)) {
    seg.trim_front(1);
    establish(c);
    c.snd.nxt = c.snd.una;
    if (c.syn_fast_open || c.syn_text > 0) syn_text_answered(c, seg);
    if (c.state == TcpState::closed) return Verdict::done;
    owe_ack(c);
    return Verdict::go_on;
  }
  //= RFC 9293 §3.5 MUST-10
  // Simultaneous open: our SYN is sent again, now with an ACK. Text that went with the first one
  // is in flight.
  c.snd.nxt = c.snd.iss + 1;
  keep_syn_text(c, 0);
  if (c.state == TcpState::closed) return Verdict::done;
  s.set_state(c, TcpState::syn_received);
  c.owe_syn = true;
  s.mark_ready(c);
  return Verdict::go_on;
}

void Input::sample_syn(Connection& c, const Segment& seg) noexcept {
  if (!c.syn_retransmitted) return c.rtt.on_sample(s.now() - c.retries_since, s.now());
  if (!seg.options.timestamps || !c.timestamps_on) return;
  //= RFC 6298 §3: the timestamp tells which SYN was answered
  if (const auto rtt = c.timestamps.round_trip(seg.options.timestamps->echo, s.now())) {
    c.rtt.on_sample(*rtt, s.now());
  }
}

void Input::establish(Connection& c) noexcept {
  s.disarm(c, TimerKind::retransmit);
  s.stray_over(c);
  c.syn_acked = true;
  c.connected = true;
  c.owe_syn = false;
  c.retries = 0;
  c.soft_error = SocketError::none;
  if (syn_lost(c)) c.rtt.on_syn_timeout();
  c.rtt.end_back_off();
  c.ack.quick();
  s.set_state(c, TcpState::established);
  if (c.ecn.on()) s.trace_ecn(c, 0);
  if (s.tracing() && c.rtt.has_sample()) s.trace_rtt(c, c.rtt.srtt());  // there is only one yet
  if (c.passive) {
    ++s.ctx.counters.tcp_passive_opens;
  } else {
    ++s.ctx.counters.tcp_active_opens;
  }
  if (c.settings.keep_alive) {
    s.arm(c, TimerKind::keepalive, s.now() + Duration::millis(c.settings.keep_idle_ms));
  }
  // Text went before, in answer to a SYN with a cookie or with a SYN that crossed the peer's.
  if (c.active != nullptr && !c.active->recovery.scoreboard().empty()) s.plan_retransmit(c);
  if (c.fast_open_pending) {
    s.fast_open_over(c, false);  // the application may have it already
  } else if (c.accept_by != kNoIndex) {
    enqueue_accept(c);
  }
  if (c.fin_queued) s.set_state(c, next_phase(c.state, CloseEvent::close));
  s.advise_user_timeout(c);
  s.mark_ready(c);
}

}  // namespace tidewire::tcp
