// Multicast: joining and leaving, IGMP messages in and out.
#include <array>

#include "core/ip/layer.hpp"
#include "wire/igmp.hpp"

namespace tidewire::ip {
namespace {

constexpr IpAddress kAllRouters = IpAddress::v4(224, 0, 0, 2);
constexpr IpAddress kIgmpV3Routers = IpAddress::v4(224, 0, 0, 22);

}  // namespace

SocketResult<InterfaceId> Layer::join_group(const IpAddress& group,
                                            InterfaceId interface) noexcept {
  if (interface == kNoInterface) {
    const auto hop = route(group, kNoInterface);
    if (!hop) return fail(SocketError::address_not_available);
    interface = hop->interface;
  }
  if (interfaces_.get(interface) == nullptr) return fail(SocketError::invalid);
  if (!igmp_.join(group, interface)) return fail(SocketError::no_buffers);
  return interface;
}

void Layer::leave_group(const IpAddress& group, InterfaceId interface) noexcept {
  igmp_.leave(group, interface);
}

//= RFC 1112 §7.1
// 224.0.0.1 is every host's. On loopback the members of any interface hear each other.
bool Layer::hears(const link::Interface& interface, const IpAddress& group) const noexcept {
  if (group == IpAddress::v4(224, 0, 0, 1)) return true;
  return igmp_.is_member(group, interface.loopback ? kNoInterface : interface.id);
}

void Layer::on_igmp(const Packet& packet) noexcept {
  ++context_.counters.igmp_in;
  const auto view = wire::IgmpView::parse(packet.transport);
  if (!view || !packet.more[0].empty()) {
    return context_.drop(DropReason::igmp_malformed, packet.interface);
  }
  igmp_.on_message(packet.interface, *view);
}

//= RFC 3376 §4
template <typename Message>
void Layer::send_igmp(InterfaceId id, const IpAddress& destination,
                      const Message& message) noexcept {
  constexpr std::array<std::byte, 4> kRouterAlert{std::byte{148}, std::byte{4}, std::byte{0},
                                                  std::byte{0}};
  link::Interface* interface = interfaces_.get(id);
  if (interface == nullptr || interface->loopback) return;
  const IpAddress* source = interfaces_.best_source(id, destination);
  wire::Ipv4Repr ip;
  //= RFC 3376 §4.2.13
  // 0.0.0.0 as long as the interface has no address.
  ip.source = source == nullptr ? IpAddress{} : *source;
  ip.destination = destination;
  ip.protocol = wire::protocol::igmp;
  ip.ttl = 1;
  ip.tos = 0xc0;
  ip.id = next_identification(ip.source, destination, ip.protocol);
  ip.options = kRouterAlert;
  ip.payload_len = static_cast<std::uint16_t>(wire::header_len(message));
  link::QueuedPacket* packet = store_.acquire(wire::header_len(ip) + ip.payload_len);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, id);
  Writer writer{packet->bytes()};
  wire::emit(ip, writer);
  Writer body{packet->bytes().subspan(writer.written())};
  wire::emit(message, body);
  if (enqueue(*packet, {id, destination})) ++context_.counters.igmp_out;
}

void Layer::send_v3_report(InterfaceId interface,
                           std::span<const wire::IgmpRecord> records) noexcept {
  send_igmp(interface, kIgmpV3Routers, wire::IgmpV3ReportRepr{records});
}

void Layer::send_old(InterfaceId interface, const wire::IgmpRepr& message) noexcept {
  const bool leave = message.type == wire::IgmpType::v2_leave;
  send_igmp(interface, leave ? kAllRouters : message.group, message);
}

}  // namespace tidewire::ip
