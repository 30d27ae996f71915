#include "wire/steering.hpp"

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/quoted.hpp"

namespace tidewire::wire {
namespace {

using To = Steering::To;

// How much of the packet is there is the stack's business.
constexpr std::size_t kAnyLength = SIZE_MAX;

/// What the IP header says about who talks to whom.
struct Packet {
  std::uint8_t protocol = 0;
  IpAddress local, remote;
  Bytes transport;
  bool to_group = false;  ///< multicast or broadcast, of the link or of IP
};

Steering to_owner(std::uint32_t owner) noexcept { return {.to = To::owner, .owner = owner}; }
constexpr Steering kEverybody{.to = To::everybody};

//= RFC 1122 §3.2.2
// An error concerns who sent the packet that it quotes.
Steering steer_quoted(const ShardMap& map,
                      const Result<QuotedPacket, ParseError>& quoted) noexcept {
  if (!quoted) return {};
  const QuotedPacket& q = *quoted;
  if (q.protocol == protocol::icmp || q.protocol == protocol::icmpv6) {
    return to_owner(map.port_owner(q.protocol, q.icmp_id));
  }
  return to_owner(
      map.owner(q.protocol, {q.source, q.source_port, 0}, {q.destination, q.destination_port, 0}));
}

Steering steer_request(const ShardMap& map, const Packet& packet, std::uint16_t id) noexcept {
  return to_owner(map.owner(packet.protocol, {packet.local, id, 0}, {packet.remote, 0, 0}));
}

Steering steer_icmpv4(const ShardMap& map, const Packet& packet) noexcept {
  const auto view = Icmpv4View::parse(packet.transport);
  if (!view) return {};
  const Icmpv4Type type = view->type();
  if (is_error(type)) return steer_quoted(map, parse_quoted_v4(view->payload()));
  const std::uint16_t id = view->header().id();
  if (type == Icmpv4Type::echo_reply) return to_owner(map.port_owner(protocol::icmp, id));
  return steer_request(map, packet, id);
}

Steering steer_icmpv6(const ShardMap& map, const Packet& packet) noexcept {
  const auto view = Icmpv6View::parse(packet.transport);
  if (!view) return {};
  switch (view->type()) {
    case Icmpv6Type::echo_reply:
      return to_owner(map.port_owner(protocol::icmpv6, view->header().id()));
    case Icmpv6Type::echo_request:
      return steer_request(map, packet, view->header().id());
    case Icmpv6Type::neighbor_solicitation:
    case Icmpv6Type::router_solicitation:
      return {};  // one answer is enough
    default:
      if (is_error(view->type())) return steer_quoted(map, parse_quoted_v6(view->payload()));
      return kEverybody;  // advertisements, group queries
  }
}

Steering steer_transport(const ShardMap& map, const Packet& packet) noexcept {
  switch (packet.protocol) {
    case protocol::tcp:
    case protocol::udp: {
      if (packet.transport.size() < 4) return {};
      if (packet.to_group && packet.protocol == protocol::udp) return kEverybody;
      const std::byte* at = packet.transport.data();
      return to_owner(map.owner(packet.protocol, {packet.local, load_u16(at + 2), 0},
                                {packet.remote, load_u16(at), 0}));
    }
    case protocol::icmp:
      return steer_icmpv4(map, packet);
    case protocol::icmpv6:
      return steer_icmpv6(map, packet);
    case protocol::igmp:
      return kEverybody;
    default:
      return to_owner(map.pair_owner(packet.protocol, packet.local, packet.remote));
  }
}

/// What the fragments of one packet have in common, and no other packet has.
struct FragmentName {
  std::uint32_t id = 0;
  std::uint8_t protocol = 0;  ///< IPv4 only: what IPv6 fragments say of it may differ
  bool first = false;
};

/// The first fragment names the ports.
Steering steer_fragment(const ShardMap& map, const Packet& packet,
                        const FragmentName& fragment) noexcept {
  const bool first = fragment.first;
  Steering answer = first ? steer_transport(map, packet) : Steering{};
  if (answer.to == To::everybody || packet.to_group) return kEverybody;
  if (first && answer.to == To::here) {  // its ports are in no place that one may look at
    answer.owner = map.pair_owner(packet.protocol, packet.local, packet.remote);
  }
  std::array<std::byte, 37> name{};
  std::memcpy(name.data(), packet.local.octets().data(), 16);
  std::memcpy(name.data() + 16, packet.remote.octets().data(), 16);
  store_u32(name.data() + 32, fragment.id);
  store_u8(name.data() + 36, fragment.protocol);
  answer.to = To::collector;
  answer.first_fragment = first;
  answer.packet = siphash13(map.key, Bytes{name});
  answer.collector = map.pick(answer.packet);
  return answer;
}

Steering steer_ipv4(const ShardMap& map, Bytes bytes, bool to_group) noexcept {
  const auto view = Ipv4View::parse(bytes, kAnyLength);
  if (!view) return {};
  const IpAddress local = view->destination();
  const Packet packet{.protocol = view->protocol(),
                      .local = local,
                      .remote = view->source(),
                      .transport = view->payload(),
                      .to_group = to_group || local.is_multicast() || local.is_limited_broadcast()};
  if (!view->is_fragment()) return steer_transport(map, packet);
  return steer_fragment(map, packet, {view->id(), packet.protocol, view->fragment_offset() == 0});
}

Steering steer_ipv6(const ShardMap& map, Bytes bytes, bool to_group) noexcept {
  const auto view = Ipv6View::parse(bytes, kAnyLength);
  if (!view) return {};
  const auto upper = find_upper_layer(*view);
  if (!upper) return {};
  const Bytes whole = view->packet();
  const IpAddress local = view->destination();
  const Packet packet{
      .protocol = upper->protocol,
      .local = local,
      .remote = view->source(),
      .transport = whole.subspan(std::min<std::size_t>(upper->offset, whole.size())),
      .to_group = to_group || local.is_multicast()};
  if (!upper->is_fragment || (upper->fragment_offset == 0 && !upper->more_fragments)) {
    return steer_transport(map, packet);
  }
  return steer_fragment(map, packet, {upper->fragment_id, 0, upper->fragment_offset == 0});
}

Steering steer_ip(const ShardMap& map, Bytes packet, bool to_group) noexcept {
  if (packet.empty()) return {};
  return load_u8(packet.data()) >> 4 == 6 ? steer_ipv6(map, packet, to_group)
                                          : steer_ipv4(map, packet, to_group);
}

}  // namespace

Steering steer(const ShardMap& map, Medium medium, Bytes head) noexcept {
  if (medium == Medium::ip) return steer_ip(map, head, false);
  const auto frame = EthernetView::parse(head);
  if (!frame) return {};
  switch (frame->ether_type()) {
    case EtherType::ipv4:
    case EtherType::ipv6:
      return steer_ip(map, frame->payload(), frame->destination().is_multicast());
    case EtherType::arp: {
      const auto arp = ArpView::parse(frame->payload());
      if (!arp) return {};
      return {.to = To::everybody, .arp_request = arp->operation() == ArpOperation::request};
    }
    default:
      return {};
  }
}

}  // namespace tidewire::wire
