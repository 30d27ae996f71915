// Urgent pointer, text and FIN: the sixth to eighth step of segment arrival.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

//= RFC 9293 §3.10.7.4 Sixth; RFC 9293 §3.8.5 MUST-30 MUST-31 MUST-32 MUST-62
void Input::process_urgent(Connection& c, const Segment& seg) noexcept {
  if (!seg.has(TcpFlag::urg) || seg.urgent == 0 || c.fin_received || !may_receive(c.state)) return;
  // The pointer names the octet after the last urgent one.
  const Seq octet = seg.seq + (seg.urgent - 1U);
  if (octet.before(c.rcv.nxt) && octet.before(seg.seq)) return;
  if (c.urgent_in && !octet.after(c.rcv.up)) return;
  // What was read already cannot become urgent.
  const Seq read = c.rcv.nxt - static_cast<std::uint32_t>(c.active->rcv_ring.size());
  if (octet.before(read)) return;
  c.rcv.up = octet;
  c.urgent_in = true;
  c.urgent_taken = false;
  c.urgent_held = false;
}

//= RFC 9293 §3.10.7.4 Seventh
Verdict Input::process_text(Connection& c, Segment& seg) noexcept {
  if (seg.text_len == 0) return Verdict::go_on;
  if (!may_receive(c.state) || c.fin_received) {
    s.drop(DropReason::tcp_after_close, seg);
    owe_ack(c);
    return Verdict::go_on;
  }
  //= RFC 9293 §3.6.1 SHLD-3; RFC 1122 §4.2.2.13
  // Nobody will read it: the peer must know that it did not arrive.
  const bool deaf = !c.owned && c.accept_by == kNoIndex;
  if ((deaf || (c.read_shut && c.fin_queued)) && (seg.seq + seg.text_len).after(c.rcv.nxt)) {
    s.drop(DropReason::tcp_after_close, seg);
    // The form for what belongs to no connection: the peer is certain to expect its number next.
    reply_reset(seg);
    s.enter_closed(c, SocketError::none);
    return Verdict::done;
  }
  if (too_many_islands(c, {seg.seq, seg.seq + seg.text_len})) {
    s.drop(DropReason::tcp_out_of_order_limit, seg);
    owe_ack(c);
    return Verdict::go_on;
  }
  c.stats.data_segs_in += seg.segs;
  c.stats.last_received = s.now();
  RecvRing& ring = c.active->rcv_ring;
  RecvRing::Written w = ring.write(seg.seq, seg.regions());
  if (w.status == RecvRing::Status::no_memory && !seg.seq.after(c.rcv.nxt)) [[unlikely]] {
    (void)s.shed_until([&]() noexcept {
      w = ring.write(seg.seq, seg.regions());
      return w.status != RecvRing::Status::no_memory;
    });
    if (w.status == RecvRing::Status::no_memory) w = write_part(ring, seg);
  }
  c.rcv.nxt = c.active->rcv_ring.rcv_nxt();
  if (!c.settings.receive_buffer_set) measure_arrival(c, seg);
  text_written(c, seg, w);
  return Verdict::go_on;
}

/// There is no memory for all of it: as many of the coalesced segments as there is memory for.
RecvRing::Written Input::write_part(RecvRing& ring, const Segment& seg) noexcept {
  RecvRing::Written part;
  part.status = RecvRing::Status::no_memory;
  Seq at = seg.seq;
  for (const Bytes text : seg.regions()) {
    if (text.empty()) continue;
    const RecvRing::Written w = ring.write(at, text);
    if (w.status == RecvRing::Status::no_memory) break;
    at += static_cast<std::uint32_t>(text.size());
    const std::uint32_t advanced = part.advanced + w.advanced;
    const SeqRange duplicate = part.duplicate.empty() ? w.duplicate : part.duplicate;
    part = w;
    part.advanced = advanced;
    part.duplicate = duplicate;
  }
  if (at != seg.seq + seg.text_len && part.advanced > 0) s.drop(DropReason::no_memory, seg);
  return part;
}

//= RFC 3168 §6.1.3; RFC 9768 §3.2.2
void Input::take_marks(Connection& c, const Segment& seg) noexcept {
  const wire::Ecn ip = wire::ecn_of(seg.tos);
  if (ip == wire::Ecn::ce && seg.text_len > 0) {
    c.stats.ce_received += seg.segs;
    s.trace_ecn(c, seg.segs);
  }
  if (seg.options.acc_ecn) c.ecn.on_option(*seg.options.acc_ecn);
  constexpr std::uint8_t kHurry = 2;  // as Linux
  if (c.ecn.on_packet(ip, seg.flags, seg.segs, seg.text_len) == Ecn::Answer::at_once) {
    c.ack.hurry(kHurry);
  }
}

/// What the receive buffer is sized by: how long a round trip takes, seen from this end.
void Input::measure_arrival(Connection& c, const Segment& seg) noexcept {
  if (!c.timestamps_on) {
    return c.active->tuner.on_arrival(c.rcv.nxt, c.rcv.window.usable(c.rcv.nxt), s.now());
  }
  if (seg.options.timestamps) measure_echo(c, seg.options.timestamps->echo);
}

void Input::take_echo(Connection& c, std::uint32_t echo) noexcept {
  if (const auto rtt = c.timestamps.round_trip(echo, s.now())) {
    c.active->tuner.on_echo(echo, *rtt);
  }
}

/// A text that would be one more island than a connection may have.
bool Input::too_many_islands(const Connection& c, SeqRange text) const noexcept {
  const Assembler& islands = c.active->rcv_ring.islands();
  return islands.size() >= s.config().out_of_order_max && text.start.after(c.rcv.nxt) &&
         !islands.touches(text);
}

//= RFC 5681 §4.2; RFC 2018 §4; RFC 2883 §4
void Input::text_written(Connection& c, const Segment& seg, const RecvRing::Written& w) noexcept {
  using enum RecvRing::Status;
  c.stats.bytes_received += w.advanced;
  if (c.sack_on && !w.duplicate.empty()) remember_duplicate(c, w.duplicate);
  switch (w.status) {
    case in_order:
      if (w.filled_gap || !c.active->rcv_ring.islands().empty() || !w.duplicate.empty()) {
        return owe_ack(c);
      }
      return owe_delayed_ack(c, seg.segs, seg.text_len);
    case out_of_order:
      // Without SACK every original segment is a duplicate ACK of its own.
      return owe_ack(c, c.sack_on ? 1U : seg.segs);
    case duplicate:
      s.drop(DropReason::tcp_duplicate, seg);
      return owe_ack(c);
    case no_memory:
      s.drop(DropReason::no_memory, seg);
      return owe_ack(c);
  }
}

/// An ACK for text in order, now or within the delay.
void Input::owe_delayed_ack(Connection& c, std::uint32_t segs, std::uint32_t bytes) noexcept {
  if (c.ack.on_text(segs, bytes, c.rcv.mss)) {
    s.mark_ready(c);
  } else if (!s.armed(c, TimerKind::delayed_ack)) {
    s.arm(c, TimerKind::delayed_ack, s.now() + s.config().delayed_ack);
  }
}

//= RFC 9293 §3.10.7.4 Eighth
void Input::process_fin(Connection& c, const Segment& seg) noexcept {
  if (c.fin_received) return;
  if (seg.has(TcpFlag::fin) && !c.fin_pending) {
    c.fin_pending = true;
    c.rcv.fin = seg.seq + seg.text_len;
  }
  if (!c.fin_pending) return;
  if (c.rcv.nxt != c.rcv.fin) {
    // Text before it is missing. Text behind it was never sent by an honest peer.
    if (c.rcv.nxt.before(c.rcv.fin)) return;
    c.fin_pending = false;
    return;
  }
  take_fin(c);
}

/// The peer's FIN is the next in order.
void Input::take_fin(Connection& c) noexcept {
  c.fin_pending = false;
  c.fin_received = true;
  c.rcv.nxt += 1;
  if (c.active != nullptr) c.active->rcv_ring.skip_sequence(1);
  owe_ack(c, 0);  // the same as for its text
  s.set_state(c, next_phase(c.state, CloseEvent::fin_received));
  if (c.state == TcpState::time_wait) s.disarm_all(c);
}

}  // namespace tidewire::tcp
