// ICMP input: echo server, errors about what this host has sent, redirects.
#include <algorithm>
#include <array>

#include "core/ip/layer.hpp"
#include "wire/quoted.hpp"

namespace tidewire::ip {
namespace {

using wire::Icmpv4Type;

IcmpError::Kind kind_of(const wire::Icmpv4Header& header) noexcept {
  using Kind = IcmpError::Kind;
  switch (header.type) {
    case Icmpv4Type::time_exceeded:
      return Kind::time_exceeded;
    case Icmpv4Type::parameter_problem:
      return Kind::parameter_problem;
    case Icmpv4Type::source_quench:
      return Kind::source_quench;
    default:
      break;
  }
  switch (header.code) {
    case 0:
    case 6:
    case 11:
      return Kind::network_unreachable;
    case 1:
    case 5:
    case 7:
    case 12:
      return Kind::host_unreachable;
    case 2:
      return Kind::protocol_unreachable;
    case 3:
      return Kind::port_unreachable;
    case 4:
      return Kind::packet_too_big;
    case 9:
    case 10:
    case 13:
      return Kind::prohibited;
    default:
      return Kind::other_unreachable;
  }
}

bool verifies(const Packet& packet) noexcept {
  wire::Checksum sum;
  sum.add(packet.transport);
  for (const Bytes part : packet.more) sum.add(part);
  return sum.verifies();
}

}  // namespace

//= RFC 1122 §3.2.2
void Layer::on_icmp(const Packet& packet) noexcept {
  ++context_.counters.icmp_in;
  const auto view = wire::Icmpv4View::parse(packet.transport);
  if (!view) return context_.drop(DropReason::icmp_truncated, packet.interface);
  if (!verifies(packet)) return context_.drop(DropReason::icmp_bad_checksum, packet.interface);
  switch (view->type()) {
    case Icmpv4Type::echo_request:
      return on_echo_request(packet, view->payload());
    case Icmpv4Type::echo_reply:
      //= RFC 1122 §3.2.2.6
      if (packet.cast != Cast::unicast) break;
      return upper_.deliver(packet, interfaces_.get(packet.interface)->forwarding);
    case Icmpv4Type::destination_unreachable:
    case Icmpv4Type::time_exceeded:
    case Icmpv4Type::parameter_problem:
    case Icmpv4Type::source_quench:
      if (packet.cast != Cast::unicast) break;
      return on_icmp_error(packet, *view);
    case Icmpv4Type::redirect:
      if (packet.cast != Cast::unicast || !packet.to_us) break;
      return on_redirect(packet, *view);
    default:
      return context_.drop(DropReason::icmp_unknown_type, packet.interface);
  }
  context_.drop(DropReason::icmp_broadcast, packet.interface);
}

//= RFC 1122 §3.2.2.6
void Layer::on_echo_request(const Packet& packet, Bytes data) noexcept {
  const ForwardPolicy& policy = interfaces_.get(packet.interface)->forwarding;
  const bool for_owner = policy.icmp_echo && packet.cast == Cast::unicast && !packet.to_us;
  if (for_owner) return upper_.deliver(packet, policy);
  if (!packet.to_us) return context_.drop(DropReason::ip_not_for_us, packet.interface);
  IpAddress source = packet.destination;
  if (packet.cast != Cast::unicast) {
    if (!context_.config.ip.echo_broadcast) {
      return context_.drop(DropReason::icmp_broadcast, packet.interface);
    }
    const IpAddress* own = interfaces_.best_source(packet.interface, packet.source);
    if (own == nullptr) return;
    source = *own;
  }
  if (packet.source.is_unspecified()) {
    return context_.drop(DropReason::ip_bad_source, packet.interface);
  }
  wire::Icmpv4Header header;
  header.type = Icmpv4Type::echo_reply;
  header.rest = wire::load_u32(packet.transport.data() + 4);
  const OutgoingOptions reflected = reply_options(packet.ip_header, source, context_.now);
  const std::array<Bytes, 4> payload{data, packet.more[0], packet.more[1], packet.more[2]};
  send_icmp(source, reflected.first_hop.value_or(packet.source), kNoInterface, header, payload,
            reflected.options.view());
}

//= RFC 1122 §3.2.2.1
void Layer::on_icmp_error(const Packet& packet, const wire::Icmpv4View& view) noexcept {
  const auto quoted = wire::parse_quoted_v4(view.payload());
  if (!quoted || quoted->fragment_offset != 0) {
    return context_.drop(DropReason::icmp_quote_mismatch, packet.interface);
  }
  //= RFC 5927 §4
  // Only about what this host (or a flow it owns) can have sent.
  if (packet.to_us && !interfaces_.is_local(quoted->source) &&
      !interfaces_.get(packet.interface)->forwards_flows()) {
    return context_.drop(DropReason::icmp_quote_mismatch, packet.interface);
  }
  const wire::Icmpv4Header header = view.header();
  IcmpError error;
  error.kind = kind_of(header);
  error.type = static_cast<std::uint8_t>(header.type);
  error.code = header.code;
  error.offender = packet.source;
  error.source = quoted->source;
  error.destination = quoted->destination;
  error.protocol = static_cast<Protocol>(quoted->protocol);
  error.quoted = quoted->transport;
  if (error.kind == IcmpError::Kind::packet_too_big) {
    //= RFC 1191 §5
    // A router that does not say: the next plateau below the packet it refused.
    const std::uint32_t size = quoted->total_len;
    const std::uint32_t mtu = header.mtu();
    // Every path carries a packet as short as that: then the quoted length is not what was sent.
    const bool telling = size > context_.config.ip.path_mtu_min;
    error.next_hop_mtu = mtu >= 68 && (!telling || mtu < size) ? mtu : plateau_below(size);
  }
  upper_.icmp_error(error);
}

//= RFC 1122 §3.2.2.2
void Layer::on_redirect(const Packet& packet, const wire::Icmpv4View& view) noexcept {
  const auto quoted = wire::parse_quoted_v4(view.payload());
  if (!quoted || !interfaces_.is_local(quoted->source)) {
    return context_.drop(DropReason::icmp_quote_mismatch, packet.interface);
  }
  const IpAddress gateway = view.header().gateway();
  const IpAddress& target = quoted->destination;
  const auto current = route(target, kNoInterface);
  // Only from the gateway in use, only to a host on the same link, host and network codes alike.
  bool on_link = false;
  for (const link::LocalAddress& local : interfaces_.addresses()) {
    on_link = on_link || (local.interface == packet.interface && local.cidr.contains(gateway));
  }
  const bool legal = context_.config.ip.accept_redirects && current &&
                     current->interface == packet.interface && current->next_hop == packet.source &&
                     current->next_hop != target && on_link && gateway != packet.source &&
                     !target.is_multicast() && !interfaces_.is_local(gateway) &&
                     !interfaces_.is_broadcast(gateway);
  if (!legal) return context_.drop(DropReason::icmp_quote_mismatch, packet.interface);
  if (routes_.learn(target, gateway, packet.interface, context_.config.ip.redirect_entries)) {
    paths_changed();
  }
}

}  // namespace tidewire::ip
