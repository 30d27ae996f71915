// ICMP errors about segments of ours.
#include "core/tcp/input/input.hpp"
#include "wire/load.hpp"

namespace tidewire::tcp {
namespace {

using Kind = ip::IcmpError::Kind;

SocketError error_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::network_unreachable:
      return SocketError::network_unreachable;
    case Kind::port_unreachable:
      return SocketError::connection_refused;
    case Kind::protocol_unreachable:
    case Kind::parameter_problem:
      return SocketError::protocol_error;
    case Kind::packet_too_big:
      return SocketError::message_too_long;
    case Kind::host_unreachable:
    case Kind::prohibited:
    case Kind::time_exceeded:
    case Kind::other_unreachable:
    case Kind::source_quench:
      break;
  }
  return SocketError::host_unreachable;
}

/// Ends a connect at once. Time exceeded and parameter problem may be passing faults of the path.
bool ends_connect(Kind kind) noexcept {
  return kind != Kind::time_exceeded && kind != Kind::parameter_problem &&
         kind != Kind::packet_too_big;
}

}  // namespace

//= RFC 9293 §3.9.2.2 MUST-54 MUST-55 MUST-56; RFC 1122 §4.2.3.9; RFC 5927 §4.1
void Input::on_icmp_error(const ip::IcmpError& error) noexcept {
  if (error.kind == Kind::source_quench) return;
  if (error.quoted.size() < 8) return s.ctx.drop(DropReason::icmp_truncated);
  const std::byte* at = error.quoted.data();
  const Tuple tuple =
      Tuple::of(error.source, wire::load_u16(at), error.destination, wire::load_u16(at + 2));
  const Seq seq{wire::load_u32(at + 4)};
  const FlowRef ref = s.lookup(tuple);
  if (ref.kind == FlowKind::half_open) return half_open_unreachable(ref, error.kind, seq);
  if (ref.kind != FlowKind::connection) return s.ctx.drop(DropReason::icmp_quote_mismatch);
  Connection& c = *s.connections.at_index(ref.index);
  // Only who has seen the segment knows a number that is in flight.
  if (c.snd.una == c.snd.nxt || !seq.in_window(c.snd.una, Seq::span(c.snd.una, c.snd.nxt))) {
    ++s.ctx.counters.tcp_icmp_out_of_window;
    return s.ctx.drop(DropReason::icmp_quote_mismatch);
  }
  if (error.kind == Kind::packet_too_big) {
    path_mtu_lowered(c, error.next_hop_mtu);
  } else if ((c.state == TcpState::syn_sent || c.state == TcpState::syn_received) &&
             ends_connect(error.kind)) {
    s.enter_closed(c, error_of(error.kind));
  } else {
    // Soft: told if the connection dies of it, or at once to who asked for it.
    c.soft_error = error_of(error.kind);
    if (c.settings.receive_errors) c.error = c.soft_error;
  }
  if (c.settings.receive_errors && c.owned) s.keep_error_info(c, error, error_of(error.kind));
  if (!s.reap(c)) s.update_events(c);
}

/// As Linux: a handshake with a host that cannot be reached is given up.
void Input::half_open_unreachable(const FlowRef& ref, Kind kind, Seq seq) noexcept {
  HalfOpen& h = *s.half_opens.at_index(ref.index);
  if (seq != h.iss) ++s.ctx.counters.tcp_icmp_out_of_window;
  if (seq != h.iss || h.held) return s.ctx.drop(DropReason::icmp_quote_mismatch);
  if (kind == Kind::network_unreachable || kind == Kind::host_unreachable) s.release(h);
}

//= RFC 1191 §6.4, §6.2
/// What was too big is sent again at once, in smaller segments; that is no sign of congestion.
void Input::path_mtu_lowered(Connection& c, std::uint32_t mtu) noexcept {
  if (c.settings.mtu_discover == 0) return;
  s.out.lower_path_mtu(c.tuple.remote_address(), mtu);
  //= RFC 7413 §4.2.1
  // As Linux: a SYN with data may have been what was too large. Without, it goes again at once.
  if (c.state == TcpState::syn_sent && c.syn_text > 0 && !c.syn_retransmitted) {
    c.syn_retransmitted = c.syn_too_big = c.owe_syn = true;
    ++c.stats.retransmits;
    ++s.ctx.counters.tcp_retransmits;
    return s.mark_ready(c);
  }
  const bool smaller = s.refresh_mss(c);
  const bool probe = c.mtu.probing() && c.mtu.probe() > s.largest_mss(c);
  if ((!smaller && !probe) || c.active == nullptr) return;
  if (c.active->recovery.on_path_mtu(Shared::eff_mss(c)) > 0) {
    c.force_retransmit = true;
    s.mark_ready(c);
  }
}

}  // namespace tidewire::tcp
