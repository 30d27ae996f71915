// Forwarding of packets between interfaces, when it is switched on (RFC 1812 §5).
#include <cstring>

#include "core/ip/layer.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace tidewire::ip {
namespace {

// A sender that asked not to fragment, or a super-segment whose packets fit.
std::uint32_t largest_piece(std::uint32_t total, std::uint32_t header, std::uint16_t seg_size,
                            std::uint32_t transport_header) noexcept {
  return seg_size == 0 ? total : header + transport_header + seg_size;
}

}  // namespace

//= RFC 791 §3.2
//= RFC 1122 §3.1
void Layer::forward(Arrival& arrival, const wire::Ipv4View& view) noexcept {
  const IpAddress destination = view.destination();
  if (destination.is_link_local() || view.source().is_link_local() ||
      view.source().is_unspecified()) {
    return context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
  }
  if (view.ttl() <= 1) {
    return fail_ipv4(arrival, view, DropReason::ip_ttl_exceeded, Complaint::ttl_exceeded);
  }
  const auto hop = route(destination, kNoInterface);
  const link::Interface* out = hop ? interfaces_.get(hop->interface) : nullptr;
  if (out == nullptr || out->loopback) {
    return fail_ipv4(arrival, view, DropReason::ip_no_route, Complaint::net_unreachable);
  }
  if (interfaces_.is_broadcast(destination)) {
    // Directed broadcasts are not forwarded (RFC 2644).
    return context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
  }
  const std::uint32_t header = view.header_len();
  std::uint32_t transport_header = 0;
  if (arrival.seg_size != 0 && view.payload().size() >= 20) {
    transport_header = view.protocol() == wire::protocol::tcp
                           ? (wire::load_u8(view.payload().data() + 12) >> 4) * 4U
                           : wire::kUdpHeaderLen;
  }
  if (transport_header == 0) arrival.seg_size = 0;
  const std::uint32_t piece =
      largest_piece(view.total_len(), header, arrival.seg_size, transport_header);
  if (piece > out->mtu && (view.dont_fragment() || arrival.seg_size != 0)) {
    //= RFC 1191 §4
    return fail_ipv4(arrival, view, DropReason::ip_fragmentation_needed,
                     Complaint::fragmentation_needed, out->mtu);
  }
  link::QueuedPacket* packet = store_.acquire(view.total_len());
  if (packet == nullptr) return context_.drop(DropReason::no_memory, arrival.interface.id);
  Writer writer{packet->bytes()};
  writer.bytes(arrival.packet);
  for (const Bytes part : arrival.more) writer.bytes(part);
  packet->forwarded = true;
  if (arrival.seg_size != 0) {
    packet->seg_size = arrival.seg_size;
    packet->segs = arrival.segs;
  }
  if (arrival.checksum == ChecksumState::partial || arrival.seg_size != 0) {
    packet->checksum_pending = true;
    packet->transport_offset = static_cast<std::uint8_t>(header);
    packet->checksum_offset = view.protocol() == wire::protocol::tcp ? 16 : 6;
    if (arrival.checksum != ChecksumState::partial) {
      // The sum of the merged payload is not on the wire: ask the device for new ones.
      wire::store_u16(
          packet->bytes().data() + header + packet->checksum_offset,
          wire::pseudo_header_sum(view.source(), destination, view.protocol(), view.payload_len()));
    }
  }
  //= RFC 1624 §3
  std::byte* at = packet->bytes().data();
  const std::uint16_t before = wire::load_u16(at + 8);
  wire::store_u8(at + 8, static_cast<std::uint8_t>(view.ttl() - 1));
  wire::store_u16(at + 10, wire::update_checksum(view.checksum(), before, wire::load_u16(at + 8)));
  if (enqueue(*packet, *hop)) ++context_.counters.ip_forwarded;
}

}  // namespace tidewire::ip
