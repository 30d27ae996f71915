// Header prediction: the segment that nearly always comes next, recognised by a look at its header.
// Text in order, a FIN, new ACKs or all of it, on a connection, perhaps half closed, in which
// nothing else is going on. Does what the steps of RFC 9293 come to then, having asked once for all
// that is not so.
#include "core/tcp/input/input.hpp"
#include "core/tcp/recover/plain_ack.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {

/// The fields of a segment with ACK, perhaps PSH and FIN, and no option but the timestamps.
struct Plain {
  Seq seq, ack;
  std::uint16_t window;
  wire::TcpTimestamps timestamps;
  Bytes text;
  bool fin;
};

bool is_plain(const ip::Packet& packet) noexcept {
  const Bytes bytes = packet.transport;
  if (bytes.size() < wire::kTcpPlainHeaderLen) return false;
  // Text in several spans comes from where nobody needs to look at it.
  if (bytes.size() != packet.transport_size() && packet.checksum == ChecksumState::unknown) {
    return false;
  }
  constexpr std::uint16_t kLookedAt = 0xffff & ~(TcpFlag::psh | TcpFlag::fin).bits();
  constexpr std::uint16_t kExpected =
      (wire::kTcpPlainHeaderLen / 4) << 12 | static_cast<std::uint16_t>(TcpFlag::ack);
  return (wire::load_u16(bytes.data() + 12) & kLookedAt) == kExpected &&
         wire::load_u32(bytes.data() + 20) == wire::kAlignedTimestamps;
}

bool take_text(RecvRing& ring, const ip::Packet& packet, Bytes text) noexcept {
  if (packet.transport.size() != packet.transport_size()) [[unlikely]] {
    const std::array<Bytes, 4> parts{text, packet.more[0], packet.more[1], packet.more[2]};
    return packet.stays ? ring.append_in_place(parts) : ring.append(parts);
  }
  return packet.stays ? ring.append_in_place(text) : ring.append(text);
}

}  // namespace

/// All that a plain segment may find without a step of its own. A FIN in one direction changes
/// nothing for the other.
bool Input::predicts(const Connection& c) const noexcept {
  if (!is_synchronized(c.state) || c.state == TcpState::time_wait) return false;
  return c.active != nullptr && c.timestamps_on && c.sack_on && !c.fin_pending && !c.ecn.on() &&
         !c.settings.user_timeout_option && c.active->rcv_ring.islands().empty() &&
         c.active->recovery.phase() == RecoveryPhase::open;
}

/// Somebody waits for text and will read it.
bool Input::wants_text(const Connection& c) noexcept {
  return may_receive(c.state) && c.owned && !c.read_shut;
}

/// True: the packet was a predicted segment and is dealt with. False: nothing came of it.
bool Input::predicted(const ip::Packet& packet) noexcept {
  if (!is_plain(packet) || !s.config().prediction) return false;
  // Text that something follows may lead a train.
  if (packet.train != nullptr && packet.transport_size() > wire::kTcpPlainHeaderLen) return false;
  const std::byte* at = packet.transport.data();
  Connection* const found = s.connection_of(packet, wire::load_u16(at + 2), wire::load_u16(at));
  if (found == nullptr || !predicts(*found)) return false;
  Connection& c = *found;
  const Instant now = s.now();
  const Plain seg{.seq = Seq{wire::load_u32(at + 4)},
                  .ack = Seq{wire::load_u32(at + 8)},
                  .window = wire::load_u16(at + 14),
                  .timestamps = {wire::load_u32(at + 24), wire::load_u32(at + 28)},
                  .text = packet.transport.subspan(wire::kTcpPlainHeaderLen),
                  .fin = wire::TcpFlags::from_bits(wire::load_u16(at + 12)).has(TcpFlag::fin)};
  const auto text_len =
      static_cast<std::uint32_t>(packet.transport_size() - wire::kTcpPlainHeaderLen);
  const std::uint32_t len = text_len + (seg.fin ? 1U : 0U);
  const bool advances = seg.ack.after(c.snd.una);
  if ((text_len > 0 && !wants_text(c)) || (seg.fin && c.fin_received)) return false;
  if (seg.seq != c.rcv.nxt || seg.ack.after(c.snd.nxt) || seg.ack.before(c.snd.una) ||
      (!advances && len == 0) || len > c.rcv.window.usable(c.rcv.nxt) ||
      c.timestamps.paws_reject(seg.timestamps.value, now)) {
    return false;
  }
  if (packet.checksum == ChecksumState::unknown &&
      !wire::tcp_checksum_ok(packet.transport, packet.source, packet.destination)) {
    return false;
  }
  Active& a = *c.active;
  if (text_len > 0 && !take_text(a.rcv_ring, packet, seg.text)) return false;

  ++s.ctx.counters.tcp_predicted_in;
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_in, &c, seg.seq, seg.ack, text_len,
                    wire::TcpFlags::from_bits(wire::load_u16(at + 12)), seg.window);
  }
  const std::uint16_t segs = std::max<std::uint16_t>(packet.segs, 1);
  c.stats.segs_in += segs;
  c.timestamps.on_segment(seg.timestamps.value, seg.seq, c.rcv.last_ack_sent, false, now);
  c.last_received = c.stats.last_ack_received = now;
  c.probes = 0;
  const std::uint32_t old_window = c.snd.wnd;
  if (advances) plain_ack(c, seg.ack, seg.timestamps.echo, arrival_of(c, packet.ingress));
  take_window(c, seg.seq, seg.ack, seg.window);
  if ((advances || c.snd.wnd != old_window) && !s.nothing_waits(c)) s.mark_ready(c);
  if (fin_acknowledged(c) == Verdict::done) [[unlikely]]
    return settle(c), true;
  if (text_len > 0) {
    c.stats.data_segs_in += segs;
    c.stats.last_received = now;
    c.stats.bytes_received += text_len;
    c.rcv.nxt = a.rcv_ring.rcv_nxt();
    if (!c.settings.receive_buffer_set) measure_echo(c, seg.timestamps.echo);
    owe_delayed_ack(c, segs, text_len);
  }
  if (seg.fin) [[unlikely]]
    take_fin(c);
  s.update_events(c);
  return true;
}

/// What feed_recovery() comes to for an ACK of something new without SACK blocks.
void Input::plain_ack(Connection& c, Seq ack, std::uint32_t echo, Instant arrival) noexcept {
  AckEvent event;
  event.seg_ack = ack;
  event.now = arrival;
  //= RFC 7323 §4.1
  if (echo != 0) event.echoed_rtt = c.timestamps.round_trip(echo, arrival);
  const bool limited = Shared::cwnd_limited(c);
  LossRecovery& recovery = c.active->recovery;
  const PlainAck plain = recovery.on_plain_ack(event, c.rtt);
  if (plain.acked > 0 && plain.settled) [[likely]] {
    take_acknowledged(c, ack);
    s.tell_controller(c, plain, limited);
  } else {
    const AckOutcome outcome = plain.acked > 0 ? recovery.outcome_of(plain, c.rtt, arrival)
                                               : recovery.on_ack(event, c.rtt);
    take_acknowledged(c, ack);
    s.tell_controller(c, outcome, limited);
  }
  grow_send_buffer(c);
  after_ack_timers(c);
  s.plan_retransmit(c);
}

}  // namespace tidewire::tcp
