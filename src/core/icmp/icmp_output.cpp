// ICMP output: errors about packets, and whole messages.
#include <algorithm>
#include <array>

#include "core/ip/layer.hpp"

namespace tidewire::ip {
namespace {

using wire::Icmpv4Type;

wire::Icmpv4Header header_of(Complaint why, std::uint32_t detail) noexcept {
  namespace code = wire::icmpv4_unreachable;
  const auto unreachable = [&](std::uint8_t value) {
    return wire::Icmpv4Header{Icmpv4Type::destination_unreachable, value, 0};
  };
  switch (why) {
    case Complaint::net_unreachable:
      return unreachable(code::net);
    case Complaint::host_unreachable:
      return unreachable(code::host);
    case Complaint::protocol_unreachable:
      return unreachable(code::protocol);
    case Complaint::port_unreachable:
      return unreachable(code::port);
    case Complaint::fragmentation_needed:
      return {Icmpv4Type::destination_unreachable, code::fragmentation_needed, detail & 0xffffU};
    case Complaint::prohibited:
      return unreachable(code::admin_prohibited);
    case Complaint::source_route_failed:
      return unreachable(code::source_route_failed);
    case Complaint::ttl_exceeded:
      return {Icmpv4Type::time_exceeded, 0, 0};
    case Complaint::reassembly_timeout:
      return {Icmpv4Type::time_exceeded, 1, 0};
    case Complaint::parameter_problem:
      return {Icmpv4Type::parameter_problem, 0, detail << 24};
  }
  return unreachable(code::host);
}

wire::Icmpv6Header header_of_v6(Complaint why, std::uint32_t detail) noexcept {
  namespace code = wire::icmpv6_unreachable;
  using wire::Icmpv6Type;
  switch (why) {
    case Complaint::port_unreachable:
      return {Icmpv6Type::destination_unreachable, code::port, 0};
    case Complaint::prohibited:
    case Complaint::source_route_failed:
      return {Icmpv6Type::destination_unreachable, code::admin_prohibited, 0};
    case Complaint::host_unreachable:
      return {Icmpv6Type::destination_unreachable, code::address, 0};
    case Complaint::net_unreachable:
      return {Icmpv6Type::destination_unreachable, code::no_route, 0};
    case Complaint::fragmentation_needed:
      return {Icmpv6Type::packet_too_big, 0, detail};
    case Complaint::ttl_exceeded:
      return {Icmpv6Type::time_exceeded, 0, 0};
    case Complaint::reassembly_timeout:
      return {Icmpv6Type::time_exceeded, 1, 0};
    case Complaint::protocol_unreachable:
      return {Icmpv6Type::parameter_problem, 1, detail};
    case Complaint::parameter_problem:
      return {Icmpv6Type::parameter_problem, 0, detail};
  }
  return {Icmpv6Type::destination_unreachable, code::address, 0};
}

/// RFC 1812 §4.3.2.3: as much of the packet as fits 576 bytes.
constexpr std::size_t kQuoteMax = 576 - wire::kIpv4MinHeaderLen - wire::kIcmpHeaderLen;

}  // namespace

//= RFC 1122 §3.2.2
bool Layer::may_complain(const Offence& offence) noexcept {
  const IpAddress& source = offence.source;
  const bool group = offence.destination.is_multicast() ||
                     interfaces_.is_broadcast_on(offence.interface, offence.destination) ||
                     interfaces_.is_broadcast(offence.destination);
  const link::Interface* interface = interfaces_.get(offence.interface);
  const bool loops = interface != nullptr && interface->loopback;
  const bool one_host = !source.is_unspecified() && (loops || !source.is_loopback()) &&
                        !source.is_multicast() && !interfaces_.is_broadcast(source) &&
                        source.v4_value() < 0xf000'0000U;
  if (group || !one_host) {
    context_.drop(DropReason::icmp_broadcast, offence.interface);
    return false;
  }
  const bool about_error =
      offence.protocol == wire::protocol::icmp &&
      (offence.payload.empty() ||
       wire::is_error(static_cast<Icmpv4Type>(wire::load_u8(offence.payload.data()))));
  const bool about_error_v6 =
      offence.protocol == wire::protocol::icmpv6 &&
      (offence.payload.empty() ||
       wire::is_error(static_cast<wire::Icmpv6Type>(wire::load_u8(offence.payload.data()))));
  if (about_error || about_error_v6) {
    context_.drop(DropReason::icmp_error_about_error, offence.interface);
    return false;
  }
  if (!icmp_limit_.take(context_.now, context_.rng)) {
    context_.drop(DropReason::icmp_rate_limited, offence.interface);
    return false;
  }
  return true;
}

void Layer::complain(const Offence& offence, Complaint why, std::uint32_t detail) noexcept {
  if (!may_complain(offence)) return;
  if (offence.source.is_v6()) return complain_v6(offence, header_of_v6(why, detail));
  IpAddress source = offence.destination;
  if (offence.forwarded || !interfaces_.is_local(source)) {
    const IpAddress* own = interfaces_.best_source(offence.interface, offence.source);
    if (own != nullptr) {
      source = *own;
    } else {
      const auto any = source_for(offence.source, kNoInterface);
      if (!any) return;
      source = *any;
    }
  }
  const Bytes header = offence.header.first(std::min(offence.header.size(), kQuoteMax));
  const Bytes payload =
      offence.payload.first(std::min(offence.payload.size(), kQuoteMax - header.size()));
  const std::array<Bytes, 2> quote{header, payload};
  send_icmp(source, offence.source, kNoInterface, header_of(why, detail), quote, {});
}

void Layer::complain(const Packet& packet, Complaint why) noexcept {
  complain({packet.interface, packet.source, packet.destination,
            static_cast<std::uint8_t>(packet.protocol), packet.ip_header, packet.transport,
            !packet.to_us},
           why, why == Complaint::protocol_unreachable && packet.source.is_v6() ? 6 : 0);
}

void Layer::reassembly_timed_out(const Reassembled& first) noexcept {
  //= RFC 1122 §3.3.2
  if (!interfaces_.is_local(first.destination)) return;
  complain({first.interface, first.source, first.destination,
            wire::load_u8(first.header.data() + 9), first.header, first.payload, false},
           Complaint::reassembly_timeout);
}

// One whole ICMP message into the outbox.
void Layer::send_icmp(const IpAddress& source, const IpAddress& destination, InterfaceId interface,
                      const wire::Icmpv4Header& header, std::span<const Bytes> payload,
                      Bytes ip_options) noexcept {
  const auto hop = route(destination, interface);
  if (!hop) return context_.drop(DropReason::ip_no_route, interface);
  std::size_t size = wire::kIcmpHeaderLen;
  for (const Bytes part : payload) size += part.size();
  wire::Ipv4Repr ip;
  ip.source = source;
  ip.destination = destination;
  ip.protocol = wire::protocol::icmp;
  ip.ttl = context_.config.ip.ttl;
  ip.id = next_identification(source, destination, ip.protocol);
  ip.payload_len = static_cast<std::uint16_t>(size);
  ip.options = ip_options;
  link::QueuedPacket* packet = store_.acquire(wire::header_len(ip) + size);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, hop->interface);
  Writer writer{packet->bytes()};
  wire::emit(ip, writer);
  const std::size_t start = writer.written();
  writer.u8(static_cast<std::uint8_t>(header.type));
  writer.u8(header.code);
  writer.u16(0);
  writer.u32(header.rest);
  for (const Bytes part : payload) writer.bytes(part);
  if (!writer.ok()) return store_.release(*packet);
  writer.patch_u16(start + 2, wire::internet_checksum(writer.so_far().subspan(start)));
  if (enqueue(*packet, *hop)) ++context_.counters.icmp_out;
}

}  // namespace tidewire::ip
