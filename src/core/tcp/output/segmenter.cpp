// From a decision to a packet: header, options, gathered text; and what is committed once it left.
#include <algorithm>

#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

wire::TcpOptions Sender::common_options(const Connection& c) const noexcept {
  wire::TcpOptions options;
  if (c.timestamps_on) {
    options.timestamps = wire::TcpTimestamps{c.timestamps.value(s.now()), c.timestamps.echo()};
  }
  if (c.ecn.on()) [[unlikely]]
    options.acc_ecn = c.ecn.option();
  return options;
}

//= RFC 2018 §4; RFC 2883 §4
void Sender::add_sack(const Connection& c, Outgoing& out, bool with_duplicates) const noexcept {
  if (!c.sack_on || c.active == nullptr) return;
  const Active& a = *c.active;
  std::array<SeqRange, wire::SackBlocks::kMax> blocks;
  const std::size_t count = a.rcv_ring.islands().sack_blocks(blocks);
  std::size_t containing = blocks.size();
  if (with_duplicates && a.dsack_count > 0) {
    const SeqRange duplicate = a.dsacks[0];
    out.options.sack.push_back({duplicate.start, duplicate.end});
    out.dsack = true;
    // A duplicate beyond the cumulative ACK is followed by the island it lies in.
    for (std::size_t i = 0; i < count; ++i) {
      if (duplicate.start.after(c.rcv.nxt) && blocks[i].contains(duplicate.start)) containing = i;
    }
    if (containing < count) {
      out.options.sack.push_back({blocks[containing].start, blocks[containing].end});
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (i != containing) out.options.sack.push_back({blocks[i].start, blocks[i].end});
  }
}

ip::OutPacket Sender::packet_of(const Connection& c, std::size_t header) noexcept {
  ip::OutPacket packet;
  packet.source = c.tuple.local_address();
  packet.destination = c.tuple.remote_address();
  packet.tos = c.settings.tos;
  packet.ttl = c.settings.ttl;
  packet.dont_fragment = c.settings.mtu_discover != 0;
  packet.transport_header_len = header;
  packet.checksum_offset = wire::kTcpChecksumOffset;
  return packet;
}

Sender::Step Sender::push(Connection& c, Outgoing& out) noexcept {
  ReceiveWindow window = c.rcv.window;
  const bool syn = out.flags.has(TcpFlag::syn);
  wire::TcpRepr repr;
  repr.source_port = c.tuple.local_port;
  repr.destination_port = c.tuple.remote_port;
  repr.seq = out.seq;
  repr.flags = out.flags;
  if (out.flags.has(TcpFlag::ack)) repr.ack = c.rcv.nxt;
  if (!out.flags.has(TcpFlag::rst)) repr.window = window_field(c, window, syn).value;
  //= RFC 9293 §3.8.5 MUST-62
  if (c.urgent_out && c.snd.up.after(out.seq) && !syn) {
    repr.flags |= TcpFlag::urg;
    repr.urgent_pointer =
        static_cast<std::uint16_t>(std::min<std::uint32_t>(Seq::span(out.seq, c.snd.up), 0xffff));
  }
  repr.options = out.options;
  std::uint8_t tos = c.settings.tos;
  if (c.ecn.on()) [[unlikely]]
    tos = apply_ecn(c, out, repr.flags);

  ip::HeaderBuffer headers;
  Writer writer{headers.transport()};
  wire::emit(repr, writer, 0);
  std::size_t region_count = 0;
  if (out.text > 0) {
    const SendRing& ring = syn ? *c.syn_ring : c.active->snd_ring;
    const auto gathered =
        ring.gather(syn ? 0 : ring_offset(c, out.seq), out.text, std::span{regions_});
    region_count = gathered.regions;
    if (gathered.bytes < out.text) {
      // Too many small chunks: what fits goes now, the FIN with the rest.
      out.text = static_cast<std::uint32_t>(gathered.bytes);
      out.flags = out.flags.without(TcpFlag::fin | TcpFlag::psh);
      return out.text > 0 ? push(c, out) : Step::nothing;
    }
  }
  ip::OutPacket packet = packet_of(c, writer.written());
  packet.tos = tos;
  packet.payload = std::span{regions_}.first(region_count);
  // The send ring gives bytes up to acknowledgements and calls of the socket, never while it is
  // polled. A SYN's are another matter: they go when the connection fails.
  packet.payload_stays = !syn;
  if (out.per_seg > 0 && out.text > out.per_seg) {
    packet.seg_size = out.per_seg;
    packet.segs = static_cast<std::uint16_t>((out.text + out.per_seg - 1) / out.per_seg);
  }
  const ip::SendResult result = s.out.send(headers, packet, c.path, c.settings.bound);
  if (result.status == ip::Sent::failed && c.state != TcpState::syn_sent) {
    // Nothing left, but it counts as lost on the way: the timers decide (RFC 1122 §4.2.3.9).
    c.soft_error = result.error;
  } else if (result.status != ip::Sent::taken) {
    return not_taken(c, result);
  }
  spent_ = out.text + packet.transport_header_len;
  commit(c, out, window, packet.segs);
  if (s.tracing()) [[unlikely]]
    trace_out(c, out, repr.window);
  return Step::sent;
}

void Sender::commit(Connection& c, const Outgoing& out, const ReceiveWindow& window,
                    std::uint16_t segs) noexcept {
  s.ctx.counters.tcp_segs_out += segs;
  c.stats.segs_out += segs;
  if (out.flags.has(TcpFlag::rst)) {
    ++s.ctx.counters.tcp_resets_out;
    return;
  }
  if (!out.flags.has(TcpFlag::ack) || out.flags.has(TcpFlag::syn)) return;
  if (c.ecn.on()) [[unlikely]]
    c.ecn.on_sent(kind_of(c, out), out.options.acc_ecn.has_value());
  commit_ack(c, window);
  if (out.dsack) {
    Active& a = *c.active;
    --a.dsack_count;
    std::copy_n(a.dsacks.begin() + 1, a.dsack_count, a.dsacks.begin());
    if (a.dsack_count > 0 && !c.ack.owed_now()) c.ack.now();
  }
}

Ecn::Kind Sender::kind_of(const Connection& c, const Outgoing& out) noexcept {
  if (out.text == 0) return Ecn::Kind::no_text;
  return out.seq == c.snd.nxt && !out.retransmission ? Ecn::Kind::new_text : Ecn::Kind::other_text;
}

//= RFC 3168 §6.1.2, §6.1.4, §6.1.5, §6.1.6
/// Neither retransmissions nor pure ACKs nor probes are ECN-capable.
std::uint8_t Sender::apply_ecn(const Connection& c, const Outgoing& out,
                               wire::TcpFlags& flags) noexcept {
  if (out.flags.has_any(TcpFlag::syn | TcpFlag::rst)) return c.settings.tos;
  const Ecn::Kind kind = kind_of(c, out);
  flags |= c.ecn.flags(kind);
  return wire::with_ecn(c.settings.tos, c.ecn.ip(kind));
}

/// Text waits for a device that takes nothing. The user timeout counts for it too, as on Linux.
void Sender::watch_device(Connection& c) noexcept {
  const bool waits = c.active != nullptr && c.snd.una == c.snd.nxt && c.snd.nxt != end_of_data(c);
  if (!waits || s.armed(c, TimerKind::persist) || s.user_timeout(c) == Duration::zero()) return;
  s.arm(c, TimerKind::persist, s.now() + c.rtt.rto(s.rtt_config()));
}

Sender::Step Sender::not_taken(Connection& c, const ip::SendResult& result) noexcept {
  switch (result.status) {
    case ip::Sent::full:
      s.ready.block(c.path.interface);
      s.ready.add(c);
      watch_device(c);
      return Step::waits;
    case ip::Sent::unresolved:
      s.ready.park(c);
      return Step::waits;
    case ip::Sent::too_big:
      // The path MTU is smaller than thought: segment again, or give up on a hopeless one.
      if (s.refresh_mss(c)) return step(c);
      return Step::nothing;
    case ip::Sent::failed:
      s.enter_closed(c, result.error);
      return s.reap(c) ? Step::gone : Step::nothing;
    case ip::Sent::taken:
      break;
  }
  return Step::sent;
}

void Sender::trace_out(const Connection& c, const Outgoing& out, std::uint32_t window) noexcept {
  s.trace_segment(TraceKind::segment_out, &c, out.seq,
                  out.flags.has(TcpFlag::ack) ? c.rcv.nxt : Seq{}, out.text, out.flags, window);
}

}  // namespace tidewire::tcp
