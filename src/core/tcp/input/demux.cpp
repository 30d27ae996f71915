// From a packet to the record it belongs to.
#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

void Input::on_packet(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  Counters& counters = s.ctx.counters;
  counters.tcp_segs_in += std::max<std::uint16_t>(packet.segs, 1);
  //= RFC 9293 §3.9.2.3 MUST-57
  if (packet.cast != ip::Cast::unicast)
    return s.ctx.drop(DropReason::tcp_broadcast, packet.interface);
  if (!predicted(packet)) arrives(packet, forwarding);
}

/// Any segment, step by step. Apart from on_packet(), so that a predicted one needs no room for it.
void Input::arrives(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  Segment seg;
  if (const DropReason why = parse_segment(packet, seg); why != DropReason::none) {
    return s.ctx.drop(why, packet.interface);
  }
  if (seg.has(TcpFlag::rst)) ++s.ctx.counters.tcp_resets_in;
  const FlowRef ref = s.lookup(seg.tuple);
  if (s.tracing()) [[unlikely]] {
    const Connection* c =
        ref.kind == FlowKind::connection ? s.connections.at_index(ref.index) : nullptr;
    s.trace_segment(TraceKind::segment_in, c, seg.seq, seg.ack, seg.text_len, seg.flags,
                    seg.window);
  }
  switch (ref.kind) {
    case FlowKind::connection: {
      Connection& c = *s.connections.at_index(ref.index);
      if (packet.train != nullptr && leads_train(c, seg) && packet.train->start(packet)) {
        gather(c, seg, *packet.train);
      }
      return connection_arrives(c, seg);
    }
    case FlowKind::idle: {
      Connection* woken = s.wake(*s.idles.at_index(ref.index));
      if (woken == nullptr) return s.drop(DropReason::no_memory, seg);
      return connection_arrives(*woken, seg);
    }
    case FlowKind::half_open:
      return half_open_arrives(*s.half_opens.at_index(ref.index), seg);
    case FlowKind::time_wait:
      return time_wait_arrives(*s.time_waits.at_index(ref.index), seg, packet, forwarding);
    case FlowKind::none:
      return stranger(seg, packet, forwarding, std::nullopt);
  }
}

/// Text in order that no check will find fault with, on a connection that waits for nothing else:
/// what follows it in the same batch may be handled with it.
bool Input::leads_train(const Connection& c, const Segment& seg) const noexcept {
  if (seg.text_len == 0 || seg.flags != wire::TcpFlags{TcpFlag::ack} || seg.seq != c.rcv.nxt ||
      c.state != TcpState::established || c.active == nullptr || c.fin_pending || c.read_shut) {
    return false;
  }
  if (seg.segs != 1 || seg.text[0].size() != seg.text_len) return false;
  if (!c.active->rcv_ring.islands().empty() || !seg.options.sack.empty()) return false;
  if (seg.ack.before(c.snd.una) || seg.ack.after(c.snd.nxt)) return false;
  return !c.timestamps_on || (seg.options.timestamps &&
                              !c.timestamps.paws_reject(seg.options.timestamps->value, s.now()));
}

/// Makes one segment of `seg` and what follows it, as far as the window goes: nothing has to be cut
/// off it.
void Input::gather(const Connection& c, Segment& seg, ip::Train& train) noexcept {
  const std::size_t room = c.rcv.window.usable(c.rcv.nxt);
  texts_[0] = seg.text[0];
  std::size_t count = 1;
  while (count < kMostInTrain && seg.text_len <= room) {
    const Seq next = seg.seq + seg.text_len;
    const auto text = train.take(next, room - seg.text_len);
    if (!text) break;
    texts_[count++] = *text;
    const auto size = static_cast<std::uint32_t>(text->size());
    seg.text_len += size;
    if (s.tracing()) [[unlikely]] {
      const wire::TcpFlags flags = train.pushed() ? seg.flags | TcpFlag::psh : seg.flags;
      s.trace_segment(TraceKind::segment_in, &c, next, seg.ack, size, flags, seg.window);
    }
  }
  if (count == 1) return;
  s.ctx.counters.tcp_segs_in += count - 1;
  seg.seg_size = static_cast<std::uint16_t>(texts_[0].size());
  seg.segs = static_cast<std::uint16_t>(count);
  seg.train = std::span{texts_}.first(count);
  if (train.pushed()) seg.flags |= TcpFlag::psh;
}

void Input::connection_arrives(Connection& c, Segment& seg) noexcept {
  c.stats.segs_in += seg.segs;
  if (c.state == TcpState::syn_sent) {
    syn_sent_arrives(c, seg);
  } else {
    synchronized_arrives(c, seg);
  }
  settle(c);
}

/// A segment is dealt with: the record ends if nobody needs it, else its owner hears of it.
void Input::settle(Connection& c) noexcept {
  if (!s.reap(c)) s.update_events(c);
}

void Input::stranger(Segment& seg, const ip::Packet& packet, const ForwardPolicy& forwarding,
                     std::optional<Seq> isn_floor) noexcept {
  if (packet.to_us) {
    if (Connection* listener = find_listener(seg)) {
      return listen_arrives(*listener, seg, isn_floor);
    }
  }
  const bool forwarded = forwarding.tcp && (!packet.to_us || forwarding.include_local);
  if (!packet.to_us && !forwarded) return s.drop(DropReason::ip_not_for_us, seg);
  const bool opens = seg.has(TcpFlag::syn) && !seg.has(TcpFlag::ack) && !seg.has(TcpFlag::rst) &&
                     !seg.has(TcpFlag::fin);
  if (forwarded && opens) return hold_for_owner(seg, isn_floor);
  s.drop(DropReason::tcp_no_socket, seg);
  reply_reset(seg);
}

Connection* Input::find_listener(const Segment& seg) noexcept {
  if (s.listen_table.empty()) return nullptr;
  const std::uint16_t port = seg.tuple.local_port;
  if (Connection* c = find_listener_at({seg.tuple.local, port}, seg)) return c;
  const bool v4 = seg.tuple.is_v4();
  if (v4) {
    const ListenKey any4{IpAddress::any(Family::v4).mapped().octets(), port};
    if (Connection* c = find_listener_at(any4, seg)) return c;
  }
  return find_listener_at({IpAddress::any(Family::v6).octets(), port}, seg);
}

Connection* Input::find_listener_at(const ListenKey& key, const Segment& seg) noexcept {
  const std::uint32_t* first = s.listen_table.find(key);
  if (first == nullptr) return nullptr;
  const bool wild6 = key.address == IpAddress::any(Family::v6).octets();
  const auto fits = [&](const Connection& c) noexcept {
    if (c.settings.bound != kNoInterface && c.settings.bound != seg.interface) return false;
    return !(wild6 && seg.tuple.is_v4() && c.settings.v6_only);
  };
  std::uint32_t count = 0;
  for (std::uint32_t i = *first; i != kNoIndex;) {
    const Connection& c = *s.connections.at_index(i);
    if (fits(c)) ++count;
    i = c.listener->next_same;
  }
  if (count == 0) return nullptr;
  // Several listeners share the port (SO_REUSEPORT): a flow always meets the same one.
  std::uint32_t pick = count == 1 ? 0 : static_cast<std::uint32_t>(s.hash_of(seg.tuple) % count);
  for (std::uint32_t i = *first; i != kNoIndex;) {
    Connection& c = *s.connections.at_index(i);
    if (fits(c) && pick-- == 0) return &c;
    i = c.listener->next_same;
  }
  return nullptr;
}

//= RFC 9293 §3.10.7.1
void Input::reply_reset(const Segment& seg) noexcept {
  if (seg.has(TcpFlag::rst)) return;
  wire::TcpRepr repr;
  repr.source_port = seg.tuple.local_port;
  repr.destination_port = seg.tuple.remote_port;
  if (seg.has(TcpFlag::ack)) {
    repr.seq = seg.ack;
    repr.flags = TcpFlag::rst;
  } else {
    repr.ack = seg.end();
    repr.flags = TcpFlag::rst | TcpFlag::ack;
  }
  std::array<std::byte, wire::kTcpMinHeaderLen> header{};
  Writer writer{header};
  wire::emit(repr, writer, 0);
  ++s.ctx.counters.tcp_resets_out;
  ++s.ctx.counters.tcp_segs_out;
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, nullptr, repr.seq, repr.ack, 0, repr.flags, 0);
  }
  s.out.queue_reply(seg.tuple.local_address(), seg.tuple.remote_address(), Protocol::tcp, header,
                    wire::kTcpChecksumOffset);
}

}  // namespace tidewire::tcp
