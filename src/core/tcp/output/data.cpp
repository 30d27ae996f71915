// Data: what to send again, what to send new, and when small segments must wait.
#include <algorithm>

#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {
/// Text of one super-segment: with headers it stays below the 64 KiB of an IP packet.
constexpr std::uint32_t kMostText = 65'535 - 120;
/// Held-back data leaves after this at the latest (RFC 9293 §3.9.1.2 MUST-60).
constexpr Duration kCorkTime = Duration::millis(200);

LossCause cause_of(RetransmitCause cause) noexcept {
  switch (cause) {
    case RetransmitCause::fast:
    case RetransmitCause::speculative:
    case RetransmitCause::rescue:
      return LossCause::sack;
    case RetransmitCause::partial_ack:
      return LossCause::partial_ack;
    case RetransmitCause::rto:
      return LossCause::rto;
    case RetransmitCause::rack:
      return LossCause::rack;
    case RetransmitCause::tail_probe:
      return LossCause::tail_probe;
    case RetransmitCause::path_mtu:
      return LossCause::path_mtu;
  }
  return LossCause::none;
}
}  // namespace

Sender::Step Sender::send_data(Connection& c) noexcept {
  if (c.state == TcpState::fin_wait_2 || c.state == TcpState::time_wait) return Step::nothing;
  if (c.active->paced && !burst_due(c)) [[unlikely]]
    return Step::nothing;
  const Room room = room_for(c);
  if (const Step r = retransmit(c, room); r != Step::nothing) return r;
  note_if_app_limited(c, room);
  if (room.unsent > 0) return send_new(c, room);
  if (c.fin_queued && !c.fin_sent && c.syn_acked) return send_fin(c, room);
  return Step::nothing;
}

//= RFC 6675 §5 (C); RFC 6298 §5.4
Sender::Step Sender::retransmit(Connection& c, const Room& room) noexcept {
  Active& a = *c.active;
  const bool new_data = room.unsent > 0 && room.usable > 0;
  const auto next = a.recovery.next_retransmit(new_data);
  if (!next) return Step::nothing;
  Outgoing out;
  out.seq = next->range.start;
  out.flags = TcpFlag::ack;
  out.options = common_options(c);
  if (out.options.timestamps) {
    out.stamp = a.recovery.retransmission_stamp(c.rtt, s.now());
    out.options.timestamps->value = c.timestamps.value(out.stamp);
  }
  add_sack(c, out, false);
  out.per_seg = c.snd.mss - static_cast<std::uint32_t>(wire::options_len(out.options));
  out.retransmission = true;
  std::uint32_t length = next->range.size();
  if (c.ecn.one_by_one()) [[unlikely]]
    length = std::min(length, out.per_seg);
  if (length > out.per_seg) {
    // Whole segments, as many as congestion control and the turn allow.
    const std::uint64_t most = std::min<std::uint64_t>({room.allowed, kMostText, left_});
    const std::uint64_t segs = std::max<std::uint64_t>(most / out.per_seg, 1);
    length = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, segs * out.per_seg));
  }
  const std::uint32_t first = std::min(length, out.per_seg);
  if (room.allowed < first && !c.force_retransmit) return Step::nothing;
  //= RFC 9293 §3.8.6 SHLD-16
  const Seq edge = c.snd.una + c.snd.wnd;
  if ((out.seq + first).after(edge) && !c.force_retransmit) return Step::nothing;
  const Seq end = end_of_data(c);
  const bool fin = c.fin_sent && (out.seq + length).after(end);
  out.text = length - (fin ? 1 : 0);
  const std::uint32_t before = c.stats.retransmits;
  const Step result = emit(c, out, fin);
  if (result != Step::sent) return result;
  c.force_retransmit = false;
  ++s.ctx.counters.tcp_retransmits;
  if (s.tracing() && before != c.stats.retransmits) [[unlikely]] {
    TraceRecord record = s.trace_record(TraceKind::retransmission, c);
    record.cause = c.sack_on ? cause_of(next->cause)
                             : (next->cause == RetransmitCause::fast ? LossCause::duplicate_acks
                                                                     : cause_of(next->cause));
    record.a = out.seq.value();
    record.c = out.text;
    s.trace(record);
  }
  return result;
}

Sender::Step Sender::send_new(Connection& c, const Room& room) noexcept {
  Active& a = *c.active;
  if (room.usable > 0) restart_after_idle(c);
  if (c.mtu.on()) [[unlikely]] {
    if (const auto size = mtu_probe_due(c, room)) return send_mtu_probe(c, room, *size);
  }
  Outgoing out;
  out.seq = c.snd.nxt;
  out.flags = TcpFlag::ack;
  out.options = common_options(c);
  add_sack(c, out, false);
  out.per_seg = c.snd.mss - static_cast<std::uint32_t>(wire::options_len(out.options));
  out.text = length_to_send(c, room, out.per_seg);
  std::uint64_t wanted = std::min(room.unsent, room.usable);
  if (a.paced) wanted = std::min(wanted, left_);  // else it is the pacer that holds it back
  if (room.allowed < wanted) {
    a.cwnd_was_limited = true;
    a.cwnd_limited_until = c.snd.nxt + out.text;
  }
  note_limits(c, room, out.text, out.per_seg);
  if (out.text == 0) return Step::nothing;
  const bool all = out.text == room.unsent;
  const bool fin = all && c.fin_queued && room.usable > out.text && c.syn_acked;
  return emit(c, out, fin);
}

/// What holds the sender back, if it is not the path.
void Sender::note_limits(Connection& c, const Room& room, std::uint32_t text,
                         std::uint32_t per_seg) noexcept {
  using enum SendTimes::Why;
  if (text == 0) {
    const std::uint32_t next = std::min(room.unsent, per_seg);
    if (room.usable < next && room.allowed >= next) c.stats.times.start(peer_window, s.now());
    return;
  }
  c.stats.times.stop(peer_window, s.now());
  const bool path = room.allowed - text < per_seg;
  if (c.active->no_room && text == room.unsent && !path) {
    c.stats.times.start(send_buffer, s.now());
  }
}

//= RFC 9293 §3.8.6.2.1 MUST-38, §3.7.4
/// How much new text may leave now, in whole segments except for the last.
std::uint32_t Sender::length_to_send(Connection& c, const Room& room,
                                     std::uint32_t per_seg) noexcept {
  std::uint64_t limit = std::min<std::uint64_t>({room.unsent, room.usable, room.allowed});
  std::uint64_t most =
      std::max<std::uint64_t>(std::min<std::uint64_t>(left_, burst_of(c, per_seg)), per_seg);
  if ((c.urgent_out && c.snd.up.after(c.snd.nxt)) || c.ecn.one_by_one()) most = per_seg;
  if (limit >= room.unsent) {
    const std::uint32_t tail = room.unsent % per_seg;
    if (tail != 0 && !may_send_small(c, room)) limit -= tail;
    if (limit > most) limit = most / per_seg * per_seg;
    return static_cast<std::uint32_t>(limit);
  }
  if (worth_waiting(c, limit, per_seg)) return 0;
  limit = std::min(limit, most) / per_seg * per_seg;
  if (limit > 0) return static_cast<std::uint32_t>(limit);
  if (room.usable < std::min<std::uint64_t>(room.unsent, per_seg)) {
    // The window is what is too small. Half of the largest ever offered is worth a segment.
    const bool idle = c.snd.una == c.snd.nxt;
    const bool enough = room.usable > 0 && room.usable >= c.snd.max_wnd / 2 && idle;
    if (room.usable > 0 && (enough || c.override_sws) && room.allowed >= room.usable) {
      return room.usable;
    }
    window_too_small(c, room);
  }
  return 0;
}

/// What leaves in one piece, as Linux: what the path carries in a millisecond, more to a near peer,
/// two segments at least; and half of the window at most, so that ACKs do not all come at once.
std::uint64_t Sender::burst_of(const Connection& c, std::uint32_t per_seg) const noexcept {
  const AnyController& cc = c.active->cc;
  std::uint64_t bytes = kMostText;
  if (const std::uint64_t rate = cc.pacing_rate(); rate != kNoLimit) {
    const auto distance = static_cast<std::uint64_t>(c.rtt.min_rtt().count_micros()) / 512;
    const std::uint64_t near = distance < 17 ? std::uint64_t{65'536} >> distance : 0;
    const std::uint64_t least = std::uint64_t{s.config().burst_segments_min} * per_seg;
    bytes = std::min<std::uint64_t>(std::max(rate / 1024 + near, least), kMostText);
  }
  return std::min(bytes, cc.window() / 2) / per_seg * per_seg;
}

/// True if the next ACKs will let a larger burst out, which costs less than several small ones. The
/// wait is for a millisecond at most, for what the path carries in one, and for a quarter of the
/// window at most, so that ACKs keep coming.
bool Sender::worth_waiting(const Connection& c, std::uint64_t limit,
                           std::uint32_t per_seg) const noexcept {
  const LossRecovery& recovery = c.active->recovery;
  if (recovery.phase() != RecoveryPhase::open || c.override_sws) return false;
  if (s.now() - c.stats.last_sent > Duration::millis(1)) return false;  // it waited long enough
  const std::uint64_t rate = c.active->cc.pacing_rate();
  const std::uint64_t flight = recovery.in_flight();
  if (rate == kNoLimit || flight < 8 * std::uint64_t{per_seg}) return false;
  const std::uint64_t burst = std::min<std::uint64_t>(rate / 1000, kMostText / per_seg * per_seg);
  return limit < std::min(burst, (flight + limit) / 4);
}

//= RFC 9293 §3.7.4 SHLD-7 MUST-17
bool Sender::may_send_small(Connection& c, const Room& room) noexcept {
  // A SYN-ACK that still waits for its answer is no data (Fast Open).
  const bool idle = c.snd.una + (c.syn_acked ? 0U : 1U) == c.snd.nxt;
  if (c.override_sws || c.fin_queued) return true;
  if (c.urgent_out && c.snd.up.after(c.snd.nxt)) return true;
  if (c.settings.cork || c.active->more) {
    if (!s.armed(c, TimerKind::cork)) s.arm(c, TimerKind::cork, s.now() + kCorkTime);
    return false;
  }
  if (c.settings.no_delay || idle) return true;
  // Minshall: only an unacknowledged small segment holds the next small one back.
  (void)room;
  return c.active->small_end.at_or_before(c.snd.una);
}

//= RFC 9293 §3.8.6.1 MUST-35 MUST-36 SHLD-29; §3.8.6.2.1
void Sender::window_too_small(Connection& c, const Room& room) noexcept {
  if (c.snd.una != c.snd.nxt || s.armed(c, TimerKind::persist)) return;
  // A closed window is probed after an RTO; a small one is used after the override time.
  const Duration wait = room.usable == 0 ? c.rtt.rto(s.rtt_config()) : kCorkTime;
  s.arm(c, TimerKind::persist, s.now() + wait);
}

Sender::Step Sender::send_fin(Connection& c, const Room& room) noexcept {
  if (room.usable == 0) {
    window_too_small(c, room);
    return Step::nothing;
  }
  Outgoing out;
  out.seq = c.snd.nxt;
  out.flags = TcpFlag::ack;
  out.options = common_options(c);
  add_sack(c, out, false);
  out.per_seg = c.snd.mss - static_cast<std::uint32_t>(wire::options_len(out.options));
  return emit(c, out, true);
}

/// Sends text (and FIN) and records it, new or again.
Sender::Step Sender::emit(Connection& c, Outgoing& out, bool fin) noexcept {
  Active& a = *c.active;
  if (!a.recovery.reserve() && !s.shed_until([&]() noexcept { return a.recovery.reserve(); }))
      [[unlikely]] {
    return Step::nothing;  // the retransmission timer tries again; with nothing out there is room
  }
  const std::uint32_t asked = out.text;
  const Seq syn_end = c.snd.iss + 1 + c.syn_text;
  const bool of_syn = c.syn_text > 0 && out.seq.before(syn_end);  // sent with it already
  const bool answers = out.text > 0 && !of_syn && answers_text(c);
  if (fin) out.flags |= TcpFlag::fin;
  //= RFC 9293 §3.9.1.2 MUST-61
  // Also what leaves as several segments at once, as Linux: the receiver may stop merging there.
  const bool last = out.text > 0 && out.seq + out.text == end_of_data(c);
  const bool train = out.text > out.per_seg;
  const bool syn_ends = of_syn && out.seq + out.text == syn_end;
  if (train || (last && a.pushed) || syn_ends) out.flags |= TcpFlag::psh;
  const bool bare = out.text == 0 && !out.retransmission && send_bare(c, out.seq, out.flags);
  if (const Step result = bare ? Step::sent : push(c, out); result != Step::sent) return result;
  fin = fin && out.text == asked;
  const SeqRange range{out.seq, out.seq + out.text + (fin ? 1U : 0U)};
  a.recovery.on_sent(range, out.per_seg, s.now(), out.mtu_probe, out.stamp);
  const std::uint32_t segs = out.text == 0 ? 1 : (out.text + out.per_seg - 1) / out.per_seg;
  if (range.end.after(c.snd.nxt)) {
    commit_text(
        c,
        {.text = out.text, .end = range.end, .segs = segs, .small = out.text % out.per_seg != 0});
    if (fin) c.fin_sent = true;
    if (answers) c.ack.on_answered();
  } else {
    tell_sent(c, out.text, segs, out.retransmission);
    c.stats.retransmits += segs;
    c.stats.bytes_retransmitted += out.text;
  }
  // Before the handshake is over the timer is the SYN-ACK's.
  if (c.syn_acked) s.plan_retransmit(c);
  return Step::sent;
}

}  // namespace tidewire::tcp
