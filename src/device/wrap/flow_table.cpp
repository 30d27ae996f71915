#include "device/wrap/flow_table.hpp"

#include <algorithm>
#include <bit>

#include "base/random.hpp"

namespace tidewire::device {
namespace {

constexpr std::uint16_t kIpv4 = 0x0800;
constexpr std::uint16_t kIpv6 = 0x86dd;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kIcmpv6 = 58;
constexpr std::uint16_t kFragments = 255;                 // fragments without ports share a flow
constexpr RandomSeed kIdentityKey{0x666c6f77, 0x6b6579};  // identities are no secret

/// `size`: bytes from the transport header to the end of the packet.
void parse_transport(PacketKey& key, std::uint8_t protocol, Reader in, std::size_t size) noexcept {
  key.kind = protocol;
  if (protocol == kTcp || protocol == kUdp) {
    key.source_port = in.u16();
    key.destination_port = in.u16();
    if (protocol != kTcp) return;
    const std::uint32_t seq = in.u32();
    in.skip(4);
    const std::size_t header = std::size_t{in.u8() / 16U} * 4;
    const std::uint8_t flags = in.u8();
    key.opens = in.ok() && (flags & 0x12) == 0x02;
    key.only_acks = in.ok() && (flags & 0x17) == 0x10 && header == size;
    key.opens_seq = seq;
  } else if (protocol == kIcmp || protocol == kIcmpv6) {
    const std::uint8_t type = in.u8();
    in.skip(3);
    const bool echo = protocol == kIcmp ? type == 0 || type == 8 : type == 128 || type == 129;
    if (echo) {  // both directions of an echo are one flow
      key.source_port = in.u16();
      key.destination_port = key.source_port;
    }
  }
}

void parse_v4(PacketKey& key, Bytes packet) noexcept {
  Reader in{packet};
  const std::size_t header = std::size_t{in.u8() & 0xfU} * 4;
  in.skip(1);
  const std::size_t total = std::min<std::size_t>(in.u16(), packet.size());
  in.skip(2);
  const bool later_fragment = (in.u16() & 0x1fff) != 0;
  in.skip(1);
  const std::uint8_t protocol = in.u8();
  in.skip(2);
  key.source = IpAddress::v4(in.u32());
  key.destination = IpAddress::v4(in.u32());
  if (later_fragment || !in.ok() || header < 20 || header > total) {
    key.kind = kFragments;
    return;
  }
  parse_transport(key, protocol, Reader{packet.subspan(header)}, total - header);
}

void parse_v6(PacketKey& key, Bytes packet) noexcept {
  Reader in{packet};
  in.skip(4);
  const std::size_t size = std::min<std::size_t>(in.u16(), packet.size() - 40);
  const std::uint8_t next = in.u8();
  in.skip(1);
  for (IpAddress* address : {&key.source, &key.destination}) {
    std::array<std::uint8_t, 16> octets{};
    for (std::uint8_t& octet : octets) octet = in.u8();
    *address = IpAddress::v6(octets);
  }
  parse_transport(key, next, in, size);
}

}  // namespace

PacketKey parse_packet_key(Bytes frame, Medium medium) noexcept {
  PacketKey key;
  std::uint16_t type = 0;
  if (medium == Medium::ethernet) {
    Reader in{frame};
    in.skip(12);
    type = in.u16();
    key.network_offset = in.ok() ? 14 : 0;
  } else if (!frame.empty()) {
    type = std::to_integer<unsigned>(frame[0]) >> 4 == 6 ? kIpv6 : kIpv4;
  }
  const Bytes packet = frame.subspan(key.network_offset);
  key.is_ip = (type == kIpv4 && packet.size() >= 20) || (type == kIpv6 && packet.size() >= 40);
  if (!key.is_ip) {
    key.kind = static_cast<std::uint16_t>(type | 0x100);
    key.network_offset = 0;
    return key;
  }
  key.ecn = wire::ecn_of(wire::traffic_class_of(packet));
  if (type == kIpv4) {
    parse_v4(key, packet);
  } else {
    parse_v6(key, packet);
  }
  return key;
}

std::size_t FlowTable::KeyHash::operator()(const Key& key) const noexcept {
  const auto near = std::bit_cast<std::array<std::uint64_t, 2>>(key.near.octets());
  const auto far = std::bit_cast<std::array<std::uint64_t, 2>>(key.far.octets());
  return siphash13(
      kIdentityKey, siphash13(kIdentityKey, near[0], near[1], far[0], far[1]),
      std::uint64_t{key.near_port} << 32 | std::uint64_t{key.far_port} << 16 | key.kind);
}

void FlowTable::open(Flow& flow, const PacketKey& packet, Direction direction) {
  const std::uint64_t destination =
      siphash13(kIdentityKey, siphash13(kIdentityKey, packet.destination.bytes()),
                std::uint64_t{packet.kind} << 16 |
                    (packet.kind == kIcmp || packet.kind == kIcmpv6 ? 0 : packet.destination_port));
  if (numbers_.size() > max_flows_) numbers_.clear();
  flow = Flow{};
  flow.number = ++numbers_[destination];
  flow.identity = siphash13(kIdentityKey, destination, flow.number);
  flow.first = direction;
}

void FlowTable::forget_oldest() {
  last_ = nullptr;
  flows_.erase(order_.front());
  order_.pop_front();
}

Flow& FlowTable::find(const Key& key, const PacketKey& packet, Direction direction) {
  if (last_ != nullptr && last_->first == key) return last_->second;
  auto it = flows_.find(key);
  if (it == flows_.end()) {
    if (flows_.size() >= max_flows_) forget_oldest();
    it = flows_.emplace(key, Flow{}).first;
    order_.push_back(key);
    open(it->second, packet, direction);
  }
  last_ = &*it;
  return it->second;
}

Flow& FlowTable::count(const PacketKey& packet, Direction direction) {
  const bool up = direction == Direction::up;
  const Key key{up ? packet.source : packet.destination, up ? packet.destination : packet.source,
                up ? packet.source_port : packet.destination_port,
                up ? packet.destination_port : packet.source_port, packet.kind};
  Flow& flow = find(key, packet, direction);
  // The same ports again with another SYN are another connection.
  if (packet.opens && direction == flow.first) {
    if (flow.opened && packet.opens_seq != flow.opened_seq) open(flow, packet, direction);
    flow.opened = true;
    flow.opened_seq = packet.opens_seq;
  }
  ++flow.packets[static_cast<std::size_t>(direction)];
  return flow;
}

}  // namespace tidewire::device
