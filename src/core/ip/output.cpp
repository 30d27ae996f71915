// Output of transport packets while the stack is polled: headers in front, payload by reference.
#include <algorithm>

#include "core/ip/layer.hpp"
#include "wire/ethernet.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"

namespace tidewire::ip {
namespace {

std::size_t size_of(std::span<const Bytes> parts) noexcept {
  std::size_t size = 0;
  for (const Bytes part : parts) size += part.size();
  return size;
}

std::size_t ip_header_len(const OutPacket& packet) noexcept {
  if (packet.destination.is_v6()) return wire::kIpv6HeaderLen;
  return wire::kIpv4MinHeaderLen + (packet.options.size() + 3) / 4 * 4;
}

const IpAddress& target_of(const OutPacket& packet) noexcept {
  return packet.via != nullptr ? *packet.via : packet.destination;
}

SendResult failure(SocketError error) noexcept { return {Sent::failed, error, 0}; }

}  // namespace

// Looks the way up again if routes, neighbors or path MTUs have changed since it was cached.
bool Layer::refresh(Path& path, const IpAddress& destination, InterfaceId bound,
                    SendResult& result) noexcept {
  if (path.generation == generation_) return true;
  const auto hop = route(destination, bound);
  if (!hop) {
    result = failure(hop.error());
    return false;
  }
  const link::Interface& interface = *interfaces_.get(hop->interface);
  path.interface = hop->interface;
  path.neighbor = 0;
  const PathMtuTable::Estimate estimate = path_mtus_.get(destination, interface.mtu);
  path.mtu = estimate.mtu;
  path.fragmentable = estimate.fragmentable;
  if (interface.medium == Medium::ethernet &&
      cast_of(hop->interface, hop->next_hop) == Cast::unicast) {
    path.neighbor = neighbors_.intern(hop->interface, hop->next_hop) & 0x7fff'ffffU;
    if (path.neighbor == 0) {
      result = failure(SocketError::no_buffers);
      return false;
    }
  }
  if (path.generation == 0) path.identification = static_cast<std::uint16_t>(context_.rng.next());
  path.generation = generation_;  // after intern(), which may have made room
  return true;
}

//= RFC 1112 §6.4
MacAddress Layer::group_mac(const IpAddress& destination) const noexcept {
  if (!destination.is_multicast()) return MacAddress::broadcast();
  const auto& o = destination.octets();
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(o[1] & 0x7f), o[2], o[3]}};
}

SendResult Layer::send(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                       InterfaceId bound) noexcept {
  SendResult result;
  if (!refresh(path, target_of(packet), bound, result)) return result;
  link::Interface& interface = *interfaces_.get(path.interface);
  if (packet.source.is_loopback() && !interface.loopback) {
    //= RFC 1122 §3.2.1.3
    return failure(SocketError::invalid);
  }
  if (interface.blocked || sink_ == nullptr) return {Sent::full, SocketError::none, 0};
  const std::size_t payload = size_of(packet.payload);
  const std::size_t piece = ip_header_len(packet) + packet.transport_header_len +
                            (packet.seg_size == 0 ? payload : packet.seg_size);
  if (piece > path.mtu) {
    if (packet.dont_fragment || packet.seg_size != 0 || packet.destination.is_v6()) {
      return {Sent::too_big, SocketError::message_too_long, path.mtu};
    }
    return send_copy(headers, packet, path, payload);
  }
  if (link::Neighbor* neighbor = neighbors_.get(path.neighbor)) {
    if (!neighbors_.use(*neighbor)) {
      // Who has waited in vain is told; who comes later waits for the next attempt.
      if (path.waited != 0 && neighbor->silent) {
        path.waited = 0;
        return failure(SocketError::host_unreachable);
      }
      path.waited = 1;
      neighbor->flow_waits = true;
      return {Sent::unresolved, SocketError::none, 0};
    }
    path.waited = 0;
  }
  return push_direct(headers, packet, path, payload);
}

SendResult Layer::send_datagram(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                                InterfaceId bound, bool loop) noexcept {
  SendResult result;
  if (!refresh(path, target_of(packet), bound, result)) return result;
  link::Interface& interface = *interfaces_.get(path.interface);
  if (interface.blocked || sink_ == nullptr) return {Sent::full, SocketError::none, 0};
  const std::size_t payload = size_of(packet.payload);
  if (path.neighbor != 0 && !neighbors_.use(*neighbors_.get(path.neighbor))) {
    //= RFC 1122 §2.3.2.2
    result = send_copy(headers, packet, path, payload);
  } else {
    result = send(headers, packet, path, bound);
  }
  if (loop && result.status == Sent::taken && !interface.loopback) {
    if (link::QueuedPacket* copy = copy_packet(headers, packet, path, payload)) loop_back(*copy);
  }
  return result;
}

// A datagram that cannot leave as it is: the next hop is unresolved, or it must be fragmented.
// Its payload is copied, then it counts as sent.
SendResult Layer::send_copy(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                            std::size_t payload) noexcept {
  link::QueuedPacket* copy = copy_packet(headers, packet, path, payload);
  if (copy == nullptr) return failure(SocketError::no_buffers);
  link::Interface& interface = *interfaces_.get(path.interface);
  link::Neighbor* neighbor = neighbors_.get(path.neighbor);
  if (neighbor != nullptr && !neighbors_.use(*neighbor)) {
    neighbors_.enqueue(*neighbor, *copy);
    return {};
  }
  copy->link_destination = neighbor != nullptr ? neighbor->mac : group_mac(target_of(packet));
  if (!put_in_outbox(*copy, interface)) return failure(SocketError::no_buffers);
  TxBudget all{0xffff'ffff, UINT64_MAX};
  while (link::QueuedPacket* next = interface.outbox.front()) {
    if (!push_queued(interface, *next, all)) break;
  }
  return {};
}

std::size_t Layer::write_ip(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                            std::size_t payload) noexcept {
  const std::size_t upper = packet.transport_header_len + payload;
  const std::size_t start = HeaderBuffer::kTransportOffset - ip_header_len(packet);
  const auto protocol = static_cast<std::uint8_t>(packet.protocol);
  const bool group = packet.destination.is_multicast();
  const IpConfig& config = context_.config.ip;
  const std::uint8_t ttl =
      packet.ttl != 0 ? packet.ttl : (group ? config.multicast_ttl : config.ttl);
  if (packet.destination.is_v6()) {
    wire::Ipv6Repr repr;
    repr.source = packet.source;
    repr.destination = packet.destination;
    repr.next_header = protocol;
    repr.hop_limit = ttl;
    repr.traffic_class = packet.tos;
    repr.payload_len = static_cast<std::uint16_t>(upper);
    Writer writer{MutBytes{headers.bytes}.subspan(start)};
    wire::emit(repr, writer);
    return start;
  }
  const auto identification = identify(packet, path);
  const bool whole = packet.dont_fragment && !path.fragmentable;
  if (packet.options.empty()) {
    wire::store_ipv4(headers.bytes.data() + start,
                     {.source = packet.source.v4_value(),
                      .destination = target_of(packet).v4_value(),
                      .protocol = protocol,
                      .ttl = ttl,
                      .tos = packet.tos,
                      .id = identification,
                      .flags_and_offset = static_cast<std::uint16_t>(whole ? 0x4000 : 0),
                      .total_len = static_cast<std::uint16_t>(
                          std::min<std::size_t>(wire::kIpv4MinHeaderLen + upper, 0xffff))});
    return start;
  }
  wire::Ipv4Repr repr;
  repr.source = packet.source;
  repr.destination = target_of(packet);
  repr.options = packet.options;
  repr.protocol = protocol;
  repr.ttl = ttl;
  repr.tos = packet.tos;
  repr.dont_fragment = whole;
  repr.id = identification;
  repr.payload_len =
      static_cast<std::uint16_t>(std::min<std::size_t>(upper, 0xffff - wire::kIpv4MinHeaderLen));
  Writer writer{MutBytes{headers.bytes}.subspan(start)};
  wire::emit(repr, writer);
  return start;
}

//= RFC 6864 §4
// Atomic datagrams may carry any identification: flows count their own. Others must not repeat.
std::uint16_t Layer::identify(const OutPacket& packet, Path& path) noexcept {
  if (!packet.dont_fragment || path.fragmentable) {
    return next_identification(packet.source, packet.destination,
                               static_cast<std::uint8_t>(packet.protocol), packet.segs);
  }
  const std::uint16_t id = path.identification;
  path.identification = static_cast<std::uint16_t>(id + packet.segs);
  return id;
}

SendResult Layer::push_direct(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                              std::size_t payload) noexcept {
  link::Interface& interface = *interfaces_.get(path.interface);
  const std::uint16_t identification = path.identification;
  std::size_t start = write_ip(headers, packet, path, payload);
  const std::size_t network = start;
  TxFrame frame;
  frame.interface = interface.id;
  if (interface.medium == Medium::ethernet) {
    start -= wire::kEthernetHeaderLen;
    Writer writer{MutBytes{headers.bytes}.subspan(start)};
    wire::EthernetRepr repr;
    repr.source = interface.mac;
    const link::Neighbor* neighbor = neighbors_.get(path.neighbor);
    repr.destination = neighbor != nullptr ? neighbor->mac : group_mac(target_of(packet));
    repr.ether_type = packet.destination.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
    wire::emit(repr, writer);
  }
  if (packet.checksum_offset != 0xff) {
    frame.checksum_pending = true;
    frame.checksum_offset = packet.checksum_offset;
    wire::store_u16(
        headers.transport().data() + packet.checksum_offset,
        wire::pseudo_header_sum(packet.source, packet.destination,
                                static_cast<std::uint8_t>(packet.protocol),
                                static_cast<std::uint32_t>(packet.transport_header_len + payload)));
  }
  frame.headers = Bytes{headers.bytes}.subspan(
      start, HeaderBuffer::kTransportOffset - start + packet.transport_header_len);
  frame.payload = packet.payload;
  frame.payload_stays = packet.payload_stays;
  frame.seg_size = packet.seg_size;
  frame.segs = packet.segs;
  frame.network_offset = static_cast<std::uint8_t>(network - start);
  frame.transport_offset = static_cast<std::uint8_t>(HeaderBuffer::kTransportOffset - start);
  if (push(interface, frame) == PushResult::full) {
    path.identification = identification;
    return {Sent::full, SocketError::none, 0};
  }
  context_.counters.ip_out += frame.segs;
  return {};
}

PushResult Layer::push(link::Interface& interface, const TxFrame& frame) noexcept {
  if (interface.blocked || sink_ == nullptr) return PushResult::full;
  if (sink_->push(frame) == PushResult::full) {
    interface.blocked = true;
    return PushResult::full;
  }
  ++context_.counters.frames_out;
  context_.counters.bytes_out += frame.size();
  return PushResult::taken;
}

bool Layer::send_plain(HeaderBuffer& headers, const PlainPacket& packet, Path& path) noexcept {
  if (path.generation != generation_ || path.fragmentable || sink_ == nullptr) return false;
  link::Interface& interface = *interfaces_.get(path.interface);
  const std::uint32_t transport = packet.header_len + packet.payload_len;
  const std::uint32_t total = wire::kIpv4MinHeaderLen + transport;
  if (interface.blocked || total > path.mtu) return false;
  //= RFC 1122 §3.2.1.3
  if (packet.source >> 24 == 127 && !interface.loopback) return false;
  constexpr std::size_t kNetwork = HeaderBuffer::kTransportOffset - wire::kIpv4MinHeaderLen;
  std::size_t start = kNetwork;
  if (interface.medium == Medium::ethernet) {
    link::Neighbor* neighbor = neighbors_.get(path.neighbor);
    if (neighbor == nullptr || !neighbors_.use(*neighbor)) return false;
    path.waited = 0;
    start -= wire::kEthernetHeaderLen;
    Writer writer{MutBytes{headers.bytes}.subspan(start)};
    wire::emit(wire::EthernetRepr{.destination = neighbor->mac,
                                  .source = interface.mac,
                                  .ether_type = wire::EtherType::ipv4},
               writer);
  }
  std::byte* const at = headers.bytes.data();
  wire::store_ipv4(at + kNetwork, {.source = packet.source,
                                   .destination = packet.destination,
                                   .protocol = wire::protocol::tcp,
                                   .ttl = packet.ttl != 0 ? packet.ttl : context_.config.ip.ttl,
                                   .tos = packet.tos,
                                   .id = path.identification,
                                   .flags_and_offset = 0x4000,
                                   .total_len = static_cast<std::uint16_t>(total)});
  wire::Checksum sum;
  sum.add_pseudo_header_v4(packet.source, packet.destination, wire::protocol::tcp, transport);
  wire::store_u16(at + HeaderBuffer::kTransportOffset + wire::kTcpChecksumOffset, sum.fold());
  const std::size_t front = HeaderBuffer::kTransportOffset - start;
  const TxFrame frame{.interface = interface.id,
                      .headers = {at + start, front + packet.header_len},
                      .payload = packet.payload,
                      .network_offset = static_cast<std::uint8_t>(kNetwork - start),
                      .transport_offset = static_cast<std::uint8_t>(front),
                      .checksum_pending = true,
                      .checksum_offset = wire::kTcpChecksumOffset,
                      .payload_stays = true};
  if (sink_->push(frame) == PushResult::full) {
    interface.blocked = true;
    return false;
  }
  //= RFC 6864 §4
  ++path.identification;
  Counters& counters = context_.counters;
  ++counters.ip_out;
  ++counters.frames_out;
  counters.bytes_out += frame.headers.size() + packet.payload_len;
  return true;
}

// The whole IP packet in memory of our own, with its checksum computed.
link::QueuedPacket* Layer::copy_packet(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                                       std::size_t payload) noexcept {
  const std::size_t start = write_ip(headers, packet, path, payload);
  const std::size_t front = HeaderBuffer::kTransportOffset - start + packet.transport_header_len;
  link::QueuedPacket* copy = store_.acquire(front + payload);
  if (copy == nullptr) return nullptr;
  const std::size_t network = HeaderBuffer::kTransportOffset - start;
  Writer writer{copy->bytes()};
  writer.bytes(Bytes{headers.bytes}.subspan(start, front));
  for (const Bytes part : packet.payload) writer.bytes(part);
  copy->interface = path.interface;
  copy->mtu = path.mtu;
  copy->ether_type = packet.destination.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  copy->seg_size = packet.seg_size;
  copy->segs = packet.segs;
  copy->transport_offset = static_cast<std::uint8_t>(network);
  if (packet.checksum_offset == 0xff) return copy;
  const auto protocol = static_cast<std::uint8_t>(packet.protocol);
  std::byte* field = copy->bytes().data() + network + packet.checksum_offset;
  wire::store_u16(field, wire::pseudo_header_sum(
                             packet.source, packet.destination, protocol,
                             static_cast<std::uint32_t>(packet.transport_header_len + payload)));
  if (packet.seg_size != 0) {
    copy->checksum_pending = true;
    copy->checksum_offset = packet.checksum_offset;
    return copy;
  }
  const Bytes whole = Bytes{copy->bytes()}.subspan(network);
  wire::store_u16(field,
                  wire::complete_pending_checksum(whole, {}, packet.protocol == Protocol::udp));
  return copy;
}

std::uint16_t Layer::next_identification(const IpAddress& source, const IpAddress& destination,
                                         std::uint8_t protocol, std::uint16_t count) noexcept {
  const std::uint64_t pair = std::uint64_t{source.v4_value()} << 32 | destination.v4_value();
  const std::uint64_t hash = siphash13(identification_key_, pair, protocol);
  std::uint16_t& next = identifications_[hash % identifications_.size()];
  // The shards of a host send from one address: each has a part of the numbers for itself.
  const ShardConfig& shard = context_.config.shard;
  const std::uint32_t part = 65'536 / std::max<std::uint32_t>(1, shard.map.count);
  std::uint32_t first = next % part;
  if (part < 65'536 && first + count > part) first = 0;
  next = static_cast<std::uint16_t>(first + count);
  return static_cast<std::uint16_t>(shard.index * part + first);
}

}  // namespace tidewire::ip
