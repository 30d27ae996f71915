// IPv6 input and ICMPv6. Links without neighbor discovery (loopback) only.
#include <algorithm>
#include <array>

#include "core/ip/layer.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv6.hpp"
#include "wire/quoted.hpp"

namespace tidewire::ip {
namespace {

IcmpError::Kind kind_of(const wire::Icmpv6Header& header) noexcept {
  using Kind = IcmpError::Kind;
  switch (header.type) {
    case wire::Icmpv6Type::packet_too_big:
      return Kind::packet_too_big;
    case wire::Icmpv6Type::time_exceeded:
      return Kind::time_exceeded;
    case wire::Icmpv6Type::parameter_problem:
      return header.code == 1 ? Kind::protocol_unreachable : Kind::parameter_problem;
    default:
      break;
  }
  switch (header.code) {
    case 0:
      return Kind::network_unreachable;
    case 1:
      return Kind::prohibited;
    case 3:
      return Kind::host_unreachable;
    case 4:
      return Kind::port_unreachable;
    default:
      return Kind::other_unreachable;
  }
}

}  // namespace

//= RFC 8200 §3
void Layer::on_ipv6(Arrival& arrival) noexcept {
  ++context_.counters.ip_in;
  const InterfaceId id = arrival.interface.id;
  if (!arrival.interface.loopback) return context_.drop(DropReason::ip_unsupported_header, id);
  const auto view = wire::Ipv6View::parse(arrival.packet, arrival.size());
  if (!view) return context_.drop(reason_of(view.error()), id);
  arrival.trim(wire::kIpv6HeaderLen + view->payload_len());
  const IpAddress source = view->source();
  const IpAddress destination = view->destination();
  if (source.is_multicast() || source.is_v4_mapped()) {
    return context_.drop(DropReason::ip_bad_source, id);
  }
  const bool group = destination.is_multicast();
  if (group ? !hears(arrival.interface, destination) : !interfaces_.is_local(destination)) {
    return context_.drop(DropReason::ip_not_for_us, id);
  }
  const auto upper = wire::find_upper_layer(*view);
  Offence offence{id, source, destination, view->next_header(), view->packet(), {}, false};
  if (!upper) {
    context_.drop(DropReason::ip_unsupported_header, id);
    if (!upper.error().report) return;
    return complain(offence, Complaint::parameter_problem, upper.error().pointer);
  }
  if (upper->is_fragment && (upper->more_fragments || upper->fragment_offset != 0)) {
    return context_.drop(DropReason::ip_unsupported_header, id);
  }
  Packet packet;
  packet.interface = id;
  packet.source = source;
  packet.destination = destination;
  packet.protocol = static_cast<Protocol>(upper->protocol);
  packet.tos = view->traffic_class();
  packet.ttl = view->hop_limit();
  packet.cast = group ? Cast::multicast : Cast::unicast;
  packet.ip_header = view->packet().first(upper->offset);
  packet.transport = view->packet().subspan(upper->offset);
  packet.more = arrival.more;
  packet.checksum = arrival.checksum;
  packet.seg_size = arrival.seg_size;
  packet.segs = arrival.segs;
  packet.ingress = arrival.ingress;
  packet.stays = frames_stay_;
  check_segments(packet);
  if (packet.protocol == Protocol::icmpv6) return on_icmpv6(packet);
  if (packet.protocol == Protocol::tcp || packet.protocol == Protocol::udp) {
    return dispatch(packet);
  }
  if (upper->protocol == wire::protocol::ipv6_no_next) return;
  context_.drop(DropReason::ip_unknown_protocol, id);
  offence.payload = packet.transport;
  offence.header = packet.ip_header;
  complain(offence, Complaint::protocol_unreachable, upper->protocol_offset);
}

//= RFC 4443 §2.4
void Layer::on_icmpv6(const Packet& packet) noexcept {
  ++context_.counters.icmp_in;
  const auto view = wire::Icmpv6View::parse(packet.transport);
  if (!view) return context_.drop(DropReason::icmp_truncated, packet.interface);
  wire::Checksum sum;
  sum.add_pseudo_header(packet.source, packet.destination, wire::protocol::icmpv6,
                        static_cast<std::uint32_t>(packet.transport_size()));
  sum.add(packet.transport);
  for (const Bytes part : packet.more) sum.add(part);
  if (!sum.verifies()) return context_.drop(DropReason::icmp_bad_checksum, packet.interface);
  if (wire::is_error(view->type())) return on_icmpv6_error(packet, *view);
  switch (view->type()) {
    case wire::Icmpv6Type::echo_reply:
      return upper_.deliver(packet, {});
    case wire::Icmpv6Type::echo_request:
      break;
    default:
      return context_.drop(DropReason::icmp_unknown_type, packet.interface);
  }
  if (packet.cast != Cast::unicast) {
    return context_.drop(DropReason::icmp_broadcast, packet.interface);
  }
  //= RFC 4443 §4.2
  const std::array<Bytes, 4> payload{view->payload(), packet.more[0], packet.more[1],
                                     packet.more[2]};
  send_icmpv6(packet.destination, packet.source,
              {wire::Icmpv6Type::echo_reply, 0, view->header().rest}, payload);
}

void Layer::on_icmpv6_error(const Packet& packet, const wire::Icmpv6View& view) noexcept {
  const auto quoted = wire::parse_quoted_v6(view.payload());
  if (!quoted || !interfaces_.is_local(quoted->source)) {
    return context_.drop(DropReason::icmp_quote_mismatch, packet.interface);
  }
  const wire::Icmpv6Header header = view.header();
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
    //= RFC 8201 §4
    // Never below 1280.
    error.next_hop_mtu = std::max<std::uint32_t>(header.mtu(), 1'280);
  }
  upper_.icmp_error(error);
}

void Layer::complain_v6(const Offence& offence, const wire::Icmpv6Header& header) noexcept {
  //= RFC 4443 §2.4
  // As much of the packet as fits the minimum MTU.
  constexpr std::size_t kMax = 1'280 - wire::kIpv6HeaderLen - wire::kIcmpHeaderLen;
  const Bytes head = offence.header.first(std::min(offence.header.size(), kMax));
  const Bytes rest = offence.payload.first(std::min(offence.payload.size(), kMax - head.size()));
  const std::array<Bytes, 2> quote{head, rest};
  send_icmpv6(offence.destination, offence.source, header, quote);
}

void Layer::send_icmpv6(const IpAddress& source, const IpAddress& destination,
                        const wire::Icmpv6Header& header, std::span<const Bytes> payload) noexcept {
  const auto hop = route(destination, kNoInterface);
  if (!hop) return context_.drop(DropReason::ip_no_route);
  std::size_t size = wire::kIcmpHeaderLen;
  for (const Bytes part : payload) size += part.size();
  wire::Ipv6Repr ip;
  ip.source = source;
  ip.destination = destination;
  ip.next_header = wire::protocol::icmpv6;
  ip.hop_limit = context_.config.ip.ttl;
  ip.payload_len = static_cast<std::uint16_t>(size);
  link::QueuedPacket* packet = store_.acquire(wire::kIpv6HeaderLen + size);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, hop->interface);
  Writer writer{packet->bytes()};
  wire::emit(ip, writer);
  writer.u8(static_cast<std::uint8_t>(header.type));
  writer.u8(header.code);
  writer.u16(0);
  writer.u32(header.rest);
  for (const Bytes part : payload) writer.bytes(part);
  if (!writer.ok()) return store_.release(*packet);
  wire::Checksum sum;
  sum.add_pseudo_header(source, destination, wire::protocol::icmpv6,
                        static_cast<std::uint32_t>(size));
  sum.add(writer.so_far().subspan(wire::kIpv6HeaderLen));
  writer.patch_u16(wire::kIpv6HeaderLen + 2, sum.finish());
  packet->ether_type = wire::EtherType::ipv6;
  if (enqueue(*packet, *hop)) ++context_.counters.icmp_out;
}

}  // namespace tidewire::ip
