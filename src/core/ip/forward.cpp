// Forwarding of packets between interfaces, when it is switched on (RFC 1812 §5).
#include <cstring>

#include "core/ip/layer.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace tidewire::ip {
namespace {

/// Of TCP and UDP; 0 for everything else.
std::uint32_t transport_header_len(const wire::Ipv4View& view) noexcept {
  if (view.protocol() == wire::protocol::udp) return wire::kUdpHeaderLen;
  if (view.protocol() != wire::protocol::tcp || view.payload().size() < 20) return 0;
  return (wire::load_u8(view.payload().data() + 12) >> 4) * 4U;
}

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
  if (!view.options().empty() && !wire::scan_ipv4_options(view.options())) {
    return fail_ipv4(arrival, view, DropReason::ip_bad_option, Complaint::parameter_problem,
                     wire::kIpv4MinHeaderLen);
  }
  if (interfaces_.is_broadcast(destination)) {
    // Directed broadcasts are not forwarded (RFC 2644).
    return context_.drop(DropReason::ip_not_for_us, arrival.interface.id);
  }
  const std::uint32_t header = view.header_len();
  const std::uint32_t transport_header = transport_header_len(view);
  // A device that merged packets of something else, or into nothing: one packet.
  if (transport_header == 0 || arrival.seg_size + header + transport_header > view.total_len()) {
    arrival.seg_size = 0;
  }
  const std::uint32_t piece =
      largest_piece(view.total_len(), header, arrival.seg_size, transport_header);
  if (piece > out->mtu && (view.dont_fragment() || arrival.seg_size != 0)) {
    //= RFC 1191 §4
    return fail_ipv4(arrival, view, DropReason::ip_fragmentation_needed,
                     Complaint::fragmentation_needed, out->mtu);
  }
  link::QueuedPacket* packet = copy_for_forwarding(arrival, view);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, arrival.interface.id);
  finish_forward(*packet, view, *out);
  if (enqueue(*packet, *hop)) ++context_.counters.ip_forwarded;
}

link::QueuedPacket* Layer::copy_for_forwarding(Arrival& arrival,
                                               const wire::Ipv4View& view) noexcept {
  link::QueuedPacket* packet = store_.acquire(view.total_len());
  if (packet == nullptr) return nullptr;
  Writer writer{packet->bytes()};
  writer.bytes(arrival.packet);
  for (const Bytes part : arrival.more) writer.bytes(part);
  packet->forwarded = true;
  if (arrival.seg_size != 0) {
    const std::size_t header = view.header_len() + transport_header_len(view);
    packet->seg_size = arrival.seg_size;
    packet->segs = static_cast<std::uint16_t>((packet->size - header + arrival.seg_size - 1) /
                                              arrival.seg_size);
  }
  const bool partial = arrival.checksum == ChecksumState::partial;
  if (!partial && arrival.seg_size == 0) return packet;
  const bool tcp = view.protocol() == wire::protocol::tcp;
  const std::uint8_t offset = tcp ? 16 : 6;
  const MutBytes transport = packet->bytes().subspan(view.header_len());
  if (transport.size() < offset + 2U) return packet;
  std::byte* field = transport.data() + offset;
  wire::store_u16(field, wire::pseudo_header_sum(view.source(), view.destination(), view.protocol(),
                                                 static_cast<std::uint32_t>(transport.size())));
  if (arrival.seg_size == 0) {
    wire::store_u16(field, wire::complete_pending_checksum(transport, {}, !tcp));
    return packet;
  }
  packet->checksum_pending = true;
  packet->transport_offset = view.header_len();
  packet->checksum_offset = offset;
  return packet;
}

// The header of the next hop: one hop less to live, this host in recorded routes and timestamps.
void Layer::finish_forward(link::QueuedPacket& packet, const wire::Ipv4View& view,
                           const link::Interface& out) noexcept {
  std::byte* at = packet.bytes().data();
  if (view.options().empty()) {
    //= RFC 1624 §3
    const std::uint16_t before = wire::load_u16(at + 8);
    wire::store_u8(at + 8, static_cast<std::uint8_t>(view.ttl() - 1));
    wire::store_u16(at + 10,
                    wire::update_checksum(view.checksum(), before, wire::load_u16(at + 8)));
    return;
  }
  const MutBytes header = packet.bytes().first(view.header_len());
  if (const IpAddress* own = interfaces_.best_source(out.id, view.destination())) {
    (void)record_hop(header.subspan(wire::kIpv4MinHeaderLen), *own, context_.now);
  }
  wire::store_u8(at + 8, static_cast<std::uint8_t>(view.ttl() - 1));
  wire::store_u16(at + 10, 0);
  wire::store_u16(at + 10, wire::internet_checksum(header));
}

}  // namespace tidewire::ip
