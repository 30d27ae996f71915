// What nearly every turn of a conversation sends: all the text that waits, in one segment, or an
// ACK, on a connection in which nothing else is going on. Does what step() would, having asked once
// for all that is not so.
#include <algorithm>

#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

/// Nothing but text that was never sent, or an ACK, can be due.
bool Sender::is_plain(const Connection& c) noexcept {
  if (!may_send(c.state) || c.active == nullptr || c.syn_text > 0) return false;
  if (c.owe_syn || c.owe_rst || c.owe_probe || c.owe_keepalive || c.owe_user_timeout ||
      c.fin_queued || c.urgent_out || !c.syn_acked || !c.timestamps_on) {
    return false;
  }
  const Active& a = *c.active;
  return !a.paced && a.dsack_count == 0 && !c.ack.owed_copies() && !c.ecn.on() && !c.mtu.on() &&
         a.rcv_ring.islands().empty() && a.recovery.is_open();
}

/// All of the text may leave at once, as one segment.
bool Sender::fits_in_one(Connection& c, const Room& room, std::uint32_t per_seg) noexcept {
  if (room.unsent > per_seg || room.unsent > room.usable || room.unsent > room.allowed) {
    return false;
  }
  return room.unsent <= c.deficit && (room.unsent == per_seg || may_send_small(c, room));
}

/// True: the turn of the connection is over. False: there is more to it than text in one segment.
bool Sender::serve_plain(Connection& c, TxBudget& budget) noexcept {
  const Room room = room_for(c);
  if (room.unsent == 0) {
    if (c.ack.owed_now()) {
      spent_ = 0;
      if (!send_bare(c, acceptable_seq(c), TcpFlag::ack)) return false;
      --budget.frames;
      budget.bytes -= std::min<std::uint64_t>(budget.bytes, spent_);
    }
    note_if_app_limited(c, room);
    c.deficit = 0;
    s.consider_rest(c);
    return true;
  }
  const std::uint32_t per_seg = Shared::eff_mss(c);
  if (s.out.blocked(c.path) || !fits_in_one(c, room, per_seg)) return false;
  spent_ = 0;
  const Step result = send_plain(c, room, per_seg);
  if (spent_ > 0) --budget.frames;
  budget.bytes -= std::min<std::uint64_t>(budget.bytes, spent_);
  if (result == Step::nothing) return false;
  if (result != Step::sent) return true;
  c.deficit = 0;
  const Active& a = *c.active;
  note_if_app_limited(c, {.allowed = a.recovery.allowance(a.cc.window(), false)});
  return true;
}

/// Hands the segment to IP. False: it must go the long way.
bool Sender::push_plain(Connection& c, ip::HeaderBuffer& headers, std::span<const Bytes> payload,
                        std::uint32_t text) noexcept {
  if (!c.tuple.is_v4() || c.settings.mtu_discover == 0) return false;
  return s.out.send_plain(headers,
                          {.source = c.tuple.local_v4(),
                           .destination = c.tuple.remote_v4(),
                           .tos = c.settings.tos,
                           .ttl = c.settings.ttl,
                           .header_len = wire::kTcpPlainHeaderLen,
                           .payload = payload,
                           .payload_len = text},
                          c.path);
}

/// A segment without text needs no option but the timestamps.
bool Sender::is_bare(const Connection& c) noexcept {
  if (!c.timestamps_on || c.urgent_out || c.owe_user_timeout || c.ecn.on()) return false;
  return !c.sack_on || c.active == nullptr ||
         (c.active->dsack_count == 0 && c.active->rcv_ring.islands().empty());
}

/// An ACK or FIN for the first time. False: nothing was sent, it must go the long way.
bool Sender::send_bare(Connection& c, Seq seq, wire::TcpFlags flags) noexcept {
  if (!is_bare(c)) return false;
  ReceiveWindow window = c.rcv.window;
  const WireWindow field = window_field(c, window, false);
  ip::HeaderBuffer headers;
  wire::emit_plain({.ports = {c.tuple.local_port, c.tuple.remote_port},
                    .seq = seq,
                    .ack = c.rcv.nxt,
                    .flags = flags,
                    .window = field.value,
                    .timestamps = {c.timestamps.value(s.now()), c.timestamps.echo()}},
                   headers.transport());
  if (!push_plain(c, headers, {}, 0)) return false;
  spent_ = wire::kTcpPlainHeaderLen;
  ++s.ctx.counters.tcp_segs_out;
  ++c.stats.segs_out;
  commit_ack(c, window);
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, &c, seq, c.rcv.nxt, 0, flags, field.value);
  }
  return true;
}

Sender::Step Sender::send_plain(Connection& c, const Room& room, std::uint32_t per_seg) noexcept {
  Active& a = *c.active;
  std::array<Bytes, kPlainRegions> regions;
  const auto gathered =
      a.snd_ring.gather(Seq::span(c.snd.una, c.snd.nxt), room.unsent, std::span{regions});
  if (gathered.bytes < room.unsent || !a.recovery.reserve()) return Step::nothing;
  note_if_app_limited(c, room);
  restart_after_idle(c);
  note_limits(c, room, room.unsent, per_seg);

  ReceiveWindow window = c.rcv.window;
  const WireWindow field = window_field(c, window, false);
  const wire::TcpFlags flags = a.pushed ? TcpFlag::ack | TcpFlag::psh : TcpFlag::ack;
  ip::HeaderBuffer headers;
  wire::emit_plain({.ports = {c.tuple.local_port, c.tuple.remote_port},
                    .seq = c.snd.nxt,
                    .ack = c.rcv.nxt,
                    .flags = flags,
                    .window = field.value,
                    .timestamps = {c.timestamps.value(s.now()), c.timestamps.echo()}},
                   headers.transport());
  const auto payload = std::span{regions}.first(gathered.regions);
  if (!push_plain(c, headers, payload, room.unsent)) {
    ip::OutPacket packet = packet_of(c, wire::kTcpPlainHeaderLen);
    packet.payload = payload;
    packet.payload_stays = true;
    const ip::SendResult result = s.out.send(headers, packet, c.path, c.settings.bound);
    if (result.status == ip::Sent::too_big) return Step::nothing;  // into several, by the long way
    if (result.status == ip::Sent::failed) {
      c.soft_error = result.error;
    } else if (result.status != ip::Sent::taken) {
      return not_taken(c, result);
    }
  }
  spent_ = room.unsent + wire::kTcpPlainHeaderLen;
  ++s.ctx.counters.tcp_segs_out;
  ++s.ctx.counters.tcp_predicted_out;
  ++c.stats.segs_out;
  const bool answers = answers_text(c);
  commit_ack(c, window);
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, &c, c.snd.nxt, c.rcv.nxt, room.unsent, flags,
                    field.value);
  }
  const Seq end = c.snd.nxt + room.unsent;
  a.recovery.on_sent_new({c.snd.nxt, end}, per_seg, s.now());
  commit_text(c, {.text = room.unsent, .end = end, .segs = 1, .small = room.unsent != per_seg});
  if (answers) c.ack.on_answered();
  s.plan_retransmit(c);
  return Step::sent;
}

}  // namespace tidewire::tcp
