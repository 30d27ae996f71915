// IPv4 input: validation, classification, reassembly, hand-over to ICMP and the transports.
#include <algorithm>

#include "core/ip/layer.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace tidewire::ip {
namespace {

constexpr std::uint32_t kClassE = 0xf000'0000;

}  // namespace

DropReason Layer::reason_of(wire::ParseError error) noexcept {
  switch (error) {
    case wire::ParseError::bad_version:
      return DropReason::ip_bad_version;
    case wire::ParseError::bad_header_length:
      return DropReason::ip_bad_header_length;
    case wire::ParseError::bad_total_length:
      return DropReason::ip_bad_total_length;
    default:
      return DropReason::ip_truncated;
  }
}

/// What nearly every packet is: TCP in one piece, in a header without options, between addresses
/// that passed all checks before. False: something is unusual, and nothing came of it.
bool Layer::on_known(const link::Interface& interface, Bytes bytes, const RxFrame& frame,
                     Train* train) noexcept {
  if (bytes.size() < wire::kIpv4MinHeaderLen + wire::kTcpMinHeaderLen) return false;
  const std::byte* at = bytes.data();
  const std::uint64_t first = wire::load_u64(at);
  const std::uint64_t second = wire::load_u64(at + 8);
  const std::uint32_t destination = wire::load_u32(at + 16);
  const auto source = static_cast<std::uint32_t>(second);
  // Version and length of the header, length of the packet, no fragment; the protocol.
  constexpr std::uint64_t kLookedAt = 0xff00'ffff'0000'3fffU;
  const std::uint64_t expected = std::uint64_t{0x45} << 56 | std::uint64_t{bytes.size()} << 32;
  if ((first & kLookedAt) != expected || (second >> 48 & 0xff) != wire::protocol::tcp) return false;
  if (!is_known(interface, source, destination)) return false;
  const std::uint64_t sum =
      wire::kernel::narrow(first) + wire::kernel::narrow(second) + destination;
  if (wire::kernel::fold(sum) != 0xffff) return false;
  ++context_.counters.ip_in;
  const Packet packet{.interface = interface.id,
                      .source = IpAddress::v4(source),
                      .destination = IpAddress::v4(destination),
                      .protocol = Protocol::tcp,
                      .tos = static_cast<std::uint8_t>(first >> 48),
                      .ttl = static_cast<std::uint8_t>(second >> 56),
                      .ip_header = bytes.first(wire::kIpv4MinHeaderLen),
                      .transport = bytes.subspan(wire::kIpv4MinHeaderLen),
                      .more = {},
                      .checksum = interface.trusted ? frame.checksum : ChecksumState::unknown,
                      .ingress = earlier(frame.ingress, context_.now),
                      .stays = frames_stay_,
                      .train = train};
  upper_.deliver(packet, interface.forwarding);
  return true;
}

//= RFC 791 §3.1
//= RFC 1122 §3.2.1
void Layer::on_ipv4(Arrival& arrival) noexcept {
  ++context_.counters.ip_in;
  const auto view = wire::Ipv4View::parse(arrival.packet, arrival.size());
  if (!view) return context_.drop(reason_of(view.error()), arrival.interface.id);
  if (!view->checksum_ok()) {
    //= RFC 1122 §3.2.1.2
    return context_.drop(DropReason::ip_bad_checksum, arrival.interface.id);
  }
  if (arrival.size() != view->total_len()) arrival.trim(view->total_len());  // link padding
  if (!arrival.link_group &&
      is_known(arrival.interface, view->source_value(), view->destination_value())) {
    return accept_ipv4(arrival, *view, Cast::unicast, true);
  }
  if (!check_source(arrival, *view) || !check_destination(arrival, *view)) return;
  const std::uint32_t destination = view->destination_value();
  const bool group = destination >> 28 == 0xe;
  Cast cast = group ? Cast::multicast : Cast::unicast;
  if (!group) {
    const link::V4Role role = interfaces_.role(destination, arrival.interface.id);
    const bool to_all = arrival.interface.loopback ? role.broadcast : role.broadcast_on;
    if (to_all && !role.local) cast = Cast::broadcast;
    if (cast == Cast::unicast && !role.local) return on_foreign(arrival, *view);
    if (cast == Cast::unicast && arrival.link_group) {
      //= RFC 1122 §3.3.6
      return context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
    }
    if (cast == Cast::unicast) {
      known_ = {view->source_value(), destination, generation_, arrival.interface.id};
    }
  } else if (!hears(arrival.interface, view->destination())) {
    return context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
  }
  accept_ipv4(arrival, *view, cast, true);
}

//= RFC 1122 §3.2.1.3
bool Layer::check_source(const Arrival& arrival, const wire::Ipv4View& view) noexcept {
  const std::uint32_t source = view.source_value();
  const InterfaceId id = arrival.interface.id;
  const link::V4Role role = interfaces_.role(source, id);
  if (source == 0) {
    // Only who does not know its address yet may send so, and only to everybody (RFC 1122
    // §3.2.1.3(a)): DHCP, IGMP.
    const bool group = view.destination_value() >= 0xe000'0000U;
    if (!group) context_.drop(DropReason::ip_bad_source, id);
    return group;
  }
  if (source >= 0xe000'0000U || (role.broadcast && !role.local)) {
    context_.drop(DropReason::ip_bad_source, id);
    return false;
  }
  if (arrival.interface.loopback || (source >> 24 != 127 && !role.local)) return true;
  context_.drop(DropReason::ip_martian, id);
  return false;
}

bool Layer::check_destination(const Arrival& arrival, const wire::Ipv4View& view) noexcept {
  const std::uint32_t destination = view.destination_value();
  const bool class_e = destination >= kClassE && destination != 0xffff'ffffU;
  const bool inside = destination >> 24 == 127 && !arrival.interface.loopback;
  if (!class_e && !inside) return true;
  context_.drop(DropReason::ip_martian, arrival.interface.id);
  return false;
}

//= RFC 1122 §3.2.1.8
// Options are checked, never acted upon: unknown ones are ignored, the transport sees them in
// ip_header. A source route that is not finished would make this host a router for it, which is
// off (RFC 1122 §3.3.5).
bool Layer::check_options(const Arrival& arrival, const wire::Ipv4View& view) noexcept {
  const Bytes options = view.options();
  if (options.empty()) return true;
  const auto found = wire::scan_ipv4_options(options);
  if (!found) {
    fail_ipv4(arrival, view, DropReason::ip_bad_option, Complaint::parameter_problem,
              wire::kIpv4MinHeaderLen);
    return false;
  }
  if (found->source_route && source_route_pending(options)) {
    fail_ipv4(arrival, view, DropReason::ip_bad_option, Complaint::source_route_failed);
    return false;
  }
  return true;
}

Cast Layer::cast_of(InterfaceId interface, const IpAddress& destination) const noexcept {
  if (destination.is_multicast()) return Cast::multicast;
  const link::Interface* from = interfaces_.get(interface);
  if (from != nullptr && from->loopback) {
    return interfaces_.is_broadcast(destination) ? Cast::broadcast : Cast::unicast;
  }
  return interfaces_.is_broadcast_on(interface, destination) ? Cast::broadcast : Cast::unicast;
}

// Not to one of our addresses: for a forwarding owner, for the next router, or for nobody.
void Layer::on_foreign(Arrival& arrival, const wire::Ipv4View& view) noexcept {
  const ForwardPolicy& policy = arrival.interface.forwarding;
  const std::uint8_t protocol = view.protocol();
  const bool wanted = (policy.tcp && protocol == wire::protocol::tcp) ||
                      (policy.udp && protocol == wire::protocol::udp) ||
                      (arrival.interface.forwards_flows() && protocol == wire::protocol::icmp);
  if (wanted && !arrival.link_group) {
    //= RFC 1122 §3.1
    // Whoever carries the flow on is a hop: this is what traceroute looks for.
    if (view.ttl() <= 1) {
      return fail_ipv4(arrival, view, DropReason::ip_ttl_exceeded, Complaint::ttl_exceeded);
    }
    return accept_ipv4(arrival, view, Cast::unicast, false);
  }
  if (ip_forwarding_ && !arrival.link_group) return forward(arrival, view);
  //= RFC 1122 §3.2.1.3
  context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
}

void Layer::accept_ipv4(Arrival& arrival, const wire::Ipv4View& view, Cast cast,
                        bool to_us) noexcept {
  if (!check_options(arrival, view)) return;
  if (view.is_fragment()) return accept_fragment(arrival, view, cast, to_us);
  Packet packet;
  packet.interface = arrival.interface.id;
  packet.source = view.source();
  packet.destination = view.destination();
  packet.protocol = static_cast<Protocol>(view.protocol());
  packet.tos = view.tos();
  packet.ttl = view.ttl();
  packet.cast = cast;
  packet.to_us = to_us;
  packet.ip_header = view.header();
  packet.transport = view.payload();
  packet.more = arrival.more;
  packet.checksum = arrival.checksum;
  packet.seg_size = arrival.seg_size;
  packet.segs = arrival.segs;
  packet.ingress = arrival.ingress;
  packet.train = arrival.train;
  packet.stays = frames_stay_;
  check_segments(packet);
  dispatch(packet);
}

void Layer::accept_fragment(Arrival& arrival, const wire::Ipv4View& view, Cast cast,
                            bool to_us) noexcept {
  Fragment fragment;
  fragment.source = view.source();
  fragment.destination = view.destination();
  fragment.identification = view.id();
  fragment.protocol = view.protocol();
  fragment.interface = arrival.interface.id;
  fragment.offset = view.fragment_offset();
  fragment.more = view.more_fragments();
  fragment.header = view.header();
  fragment.payload = view.payload();
  fragment.rest = arrival.more;
  const Reassembled* whole = reassembly_.add(fragment);
  if (whole == nullptr) return;
  Packet packet;
  packet.interface = whole->interface;
  packet.source = whole->source;
  packet.destination = whole->destination;
  packet.protocol = static_cast<Protocol>(fragment.protocol);
  packet.tos = wire::load_u8(whole->header.data() + 1);
  packet.ttl = wire::load_u8(whole->header.data() + 8);
  packet.cast = cast;
  packet.to_us = to_us;
  packet.ip_header = whole->header;
  packet.transport = whole->payload;
  packet.ingress = arrival.ingress;
  dispatch(packet);
}

// What a device says about coalescing is checked against the packet: a size that makes no sense
// counts as "one packet", a count is computed anew.
void Layer::check_segments(Packet& packet) noexcept {
  if (packet.seg_size == 0 && packet.segs == 1) return;
  std::size_t header = 0;
  if (packet.protocol == Protocol::udp) {
    header = wire::kUdpHeaderLen;
  } else if (packet.protocol == Protocol::tcp && packet.transport.size() >= 20) {
    header = (wire::load_u8(packet.transport.data() + 12) >> 4) * std::size_t{4};
  }
  const std::size_t size = packet.transport_size();
  const std::size_t payload = size > header ? size - header : 0;
  std::size_t segs = 1;
  const bool sensible = header != 0 && packet.seg_size != 0 && packet.seg_size <= payload;
  if (sensible) segs = (payload + packet.seg_size - 1) / packet.seg_size;
  if (!sensible || segs != packet.segs) {
    context_.drop(DropReason::bad_frame_metadata, packet.interface);
    packet.segs = static_cast<std::uint16_t>(std::min<std::size_t>(segs, 0xffff));
  }
  if (segs == 1) packet.seg_size = 0;
}

void Layer::dispatch(Packet& packet) noexcept {
  const link::Interface* interface = interfaces_.get(packet.interface);
  switch (packet.protocol) {
    case Protocol::tcp:
      return upper_.deliver(packet, interface->forwarding);
    case Protocol::udp:
      context_.counters.udp_in += packet.segs;
      return upper_.deliver(packet, interface->forwarding);
    case Protocol::icmp:
      return on_icmp(packet);
    case Protocol::igmp:
      return on_igmp(packet);
    default:
      break;
  }
  //= RFC 1122 §3.2.2.1
  context_.drop(DropReason::ip_unknown_protocol, packet.interface);
  complain(packet, Complaint::protocol_unreachable);
}

Offence Layer::offence_of(const Arrival& arrival, const wire::Ipv4View& view) const noexcept {
  return {arrival.interface.id, view.source(), view.destination(), view.protocol(), view.header(),
          view.payload(),       false};
}

// Drops a packet and tells its sender, unless it came as a broadcast or is a later fragment.
void Layer::fail_ipv4(const Arrival& arrival, const wire::Ipv4View& view, DropReason reason,
                      Complaint why, std::uint32_t detail) noexcept {
  context_.drop(reason, arrival.interface.id);
  if (arrival.link_group || view.fragment_offset() != 0) return;
  complain(offence_of(arrival, view), why, detail);
}

}  // namespace tidewire::ip
