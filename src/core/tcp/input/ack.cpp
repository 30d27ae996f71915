// What an acceptable ACK does: window, scoreboard, congestion control, send buffer, FIN.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

//= RFC 9293 §3.10.7.4 Fifth, ESTABLISHED
Verdict Input::process_ack(Connection& c, Segment& seg) noexcept {
  if (c.active == nullptr) return fin_acknowledged(c);
  const std::uint32_t old_window = c.snd.wnd;
  const Seq old_una = c.snd.una;
  c.stats.last_ack_received = s.now();
  feed_recovery(c, seg);
  if (!seg.ack.before(c.snd.una)) take_window(c, seg.seq, seg.ack, seg.window);
  const bool moved = c.snd.una != old_una || c.snd.wnd != old_window;
  const RecoveryPhase phase = c.active->recovery.phase();
  if ((moved && !Shared::nothing_waits(c)) || phase == RecoveryPhase::recovery ||
      phase == RecoveryPhase::disorder) {
    s.mark_ready(c);
  }
  return fin_acknowledged(c);
}

//= RFC 9293 §3.10.7.4 MUST-1
void Input::take_window(Connection& c, Seq seq, Seq ack, std::uint16_t window) noexcept {
  const bool newer = c.snd.wl1.before(seq) || (c.snd.wl1 == seq && c.snd.wl2.at_or_before(ack));
  if (!newer) return;
  c.snd.wnd = (WireWindow{window} << c.snd.scale).bytes();
  c.snd.max_wnd = std::max(c.snd.max_wnd, c.snd.wnd);
  c.snd.wl1 = seq;
  c.snd.wl2 = ack;
  after_ack_timers(c);
}

void Input::feed_recovery(Connection& c, const Segment& seg) noexcept {
  Active& a = *c.active;
  // Of an ACK that was overtaken the reports still count: RFC 2883 §4, RFC 3708.
  const bool old = seg.ack.before(c.snd.una);
  if (old && (!c.sack_on || seg.options.sack.empty())) return;
  std::array<SeqRange, wire::SackBlocks::kMax> blocks;
  std::size_t count = 0;
  if (c.sack_on) {
    for (const wire::SackBlock& b : seg.options.sack) blocks[count++] = {b.start, b.end};
  }
  const bool advances = seg.ack.after(c.snd.una);
  AckEvent event;
  event.seg_ack = seg.ack;
  event.sack_blocks = std::span{blocks}.first(count);
  const std::uint32_t window = (WireWindow{seg.window} << c.snd.scale).bytes();
  //= RFC 5681 §2
  event.duplicate =
      seg.ack == c.snd.una && c.snd.nxt != c.snd.una && seg.len() == 0 && window == c.snd.wnd;
  event.now = arrival_of(c, seg.ingress);
  if (advances && c.timestamps_on && seg.options.timestamps && seg.options.timestamps->echo != 0) {
    //= RFC 7323 §4.1
    event.echoed_rtt = c.timestamps.round_trip(seg.options.timestamps->echo, event.now);
  }
  if (!advances && !event.duplicate && count == 0) return;
  const bool limited = Shared::cwnd_limited(c);
  AckOutcome outcome = a.recovery.on_ack(event, c.rtt);
  if (advances) take_acknowledged(c, seg.ack);
  if (c.ecn.on() && !old) [[unlikely]]
    s.heed_marks(c, seg, outcome);
  s.tell_controller(c, outcome, limited);
  if (outcome.dsack) s.note_duplicate(c, blocks[0], outcome.duplicated);
  if (advances) {
    grow_send_buffer(c);
    after_ack_timers(c);
  }
  s.plan_retransmit(c);
}

void Input::take_acknowledged(Connection& c, Seq ack) noexcept {
  Active& a = *c.active;
  const Seq data_end = end_of_data(c);
  const Seq data_ack = earlier(ack, data_end);
  const std::uint32_t bytes = Seq::span(c.snd.una, data_ack);
  if (ack.after(data_end)) c.fin_acked = true;
  c.snd.una = ack;
  if (bytes > 0) {
    a.more = false;  // as Linux: an ACK lets out what MSG_MORE held back
    a.snd_ring.release(bytes);
    a.starved = false;
    if (a.no_room && a.snd_ring.worth_writing()) {
      a.no_room = false;
      c.stats.times.stop(SendTimes::Why::send_buffer, s.now());
    }
    if (a.snd_ring.empty()) c.stats.times.stop_all(s.now());
    c.stats.bytes_acked += bytes;
  }
  if (c.urgent_out && c.snd.una.at_or_after(c.snd.up)) c.urgent_out = false;
  if (a.cwnd_was_limited && a.cwnd_limited_until.before(c.snd.una)) a.cwnd_was_limited = false;
  c.retries = 0;
  c.rtt.end_back_off();
  c.soft_error = SocketError::none;
  s.out.confirm(c.path);
}

//= RFC 9293 §3.8.6.1 MUST-36
/// Probing is needed exactly while data waits, nothing is in flight and the window is too small.
void Input::stop_probing(Connection& c) noexcept {
  const std::uint32_t usable = Seq::distance(c.snd.nxt, c.snd.una + c.snd.wnd) > 0
                                   ? Seq::span(c.snd.nxt, c.snd.una + c.snd.wnd)
                                   : 0;
  if (usable == 0 && c.snd.wnd == 0) return;
  s.disarm(c, TimerKind::persist);
  c.persist_shift = 0;
  c.owe_probe = false;
  s.mark_ready(c);
}

//= RFC 9293 §3.10.7.4 Fifth, FIN-WAIT-1, CLOSING, LAST-ACK
Verdict Input::after_fin_acknowledged(Connection& c) noexcept {
  const TcpState next = next_phase(c.state, CloseEvent::fin_acked);
  if (next == c.state) return Verdict::go_on;
  if (next == TcpState::closed) {
    s.enter_closed(c, SocketError::none);
    return Verdict::done;
  }
  s.set_state(c, next);
  if (next == TcpState::time_wait) {
    s.disarm_all(c);
    s.mark_ready(c);
  }
  if (next == TcpState::fin_wait_2 && !c.owned) s.arm_orphan(c);
  return Verdict::go_on;
}

/// The buffer holds two windows, so that the application can refill one while the other is out; and
/// a third, of data that the peer holds beyond a gap, where recovery goes on at full speed.
void Input::grow_send_buffer(Connection& c) noexcept {
  if (c.settings.send_buffer_set) return;
  SendRing& ring = c.active->snd_ring;
  const std::uint64_t windows = c.active->paced && !c.active->cc.uses_prr() ? 3 : 2;
  const std::uint64_t wanted =
      std::min<std::uint64_t>(windows * c.active->cc.window(), s.config().send_buffer_max);
  if (wanted > ring.limit() && !s.memory_short()) {
    ring.set_limit(static_cast<std::size_t>(wanted));
  }
}

}  // namespace tidewire::tcp
