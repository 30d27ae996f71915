#include "device/wrap/rx_split.hpp"

#include "wire/address.hpp"
#include "wire/checksum.hpp"
#include "wire/load.hpp"

namespace tidewire::device {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

IpAddress address_at(Bytes ip, bool source) noexcept {
  if (wire::load_u8(ip.data()) >> 4 == 4) {
    return IpAddress::v4(wire::load_u32(ip.data() + (source ? 12 : 16)));
  }
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < 16; ++i) {
    octets[i] = wire::load_u8(ip.data() + (source ? 8 : 24) + i);
  }
  return IpAddress::v6(octets);
}

/// Sets transport and protocol; false if this is no whole TCP or UDP packet.
bool find_transport(Bytes head, PacketLayers& at) noexcept {
  const Bytes ip = head.subspan(at.network);
  const unsigned version = ip.empty() ? 0 : wire::load_u8(ip.data()) >> 4;
  std::size_t header = 40;
  if (version == 4 && ip.size() >= 20) {
    header = (wire::load_u8(ip.data()) & 0xfU) * std::size_t{4};
    at.protocol = wire::load_u8(ip.data() + 9);
    if (header < 20 || (wire::load_u16(ip.data() + 6) & 0x3fff) != 0) return false;
  } else if (version == 6 && ip.size() >= 40) {
    at.protocol = wire::load_u8(ip.data() + 6);
  } else {
    return false;
  }
  at.transport = at.network + header;
  return at.protocol == kTcp || at.protocol == kUdp;
}

}  // namespace

std::optional<PacketLayers> find_layers(Bytes head, Medium medium) noexcept {
  PacketLayers at;
  at.network = medium == Medium::ethernet ? 14 : 0;
  if (head.size() < at.network || !find_transport(head, at)) return std::nullopt;
  const std::size_t least = at.protocol == kTcp ? 20 : 8;
  if (head.size() < at.transport + least) return std::nullopt;
  std::size_t size = 8;
  if (at.protocol == kTcp) {
    size = std::size_t{wire::load_u8(head.data() + at.transport + 12)} / 16 * 4;
  }
  at.payload = at.transport + size;
  if (size < least || head.size() < at.payload) return std::nullopt;
  return at;
}

const TxFrame* RxSplitter::convert(const RxFrame& frame, Medium medium) {
  const std::optional<PacketLayers> at = find_layers(frame.head, medium);
  if (!at) return nullptr;
  headers_.assign(frame.head.begin(),
                  frame.head.begin() + static_cast<std::ptrdiff_t>(at->payload));
  payload_ = {frame.head.subspan(at->payload), frame.more[0], frame.more[1], frame.more[2]};
  frame_ = {};
  frame_.headers = headers_;
  frame_.payload = payload_;
  frame_.seg_size = frame.seg_size;
  frame_.segs = frame.segs;
  frame_.network_offset = static_cast<std::uint8_t>(at->network);
  frame_.transport_offset = static_cast<std::uint8_t>(at->transport);
  frame_.checksum_offset = at->protocol == kTcp ? 16 : 6;
  frame_.checksum_pending = true;
  // A coalesced frame's own checksum field may hold anything.
  const Bytes ip = frame.head.subspan(at->network);
  const std::size_t length = at->payload - at->transport + frame_.payload_size();
  wire::store_u16(headers_.data() + at->transport + frame_.checksum_offset,
                  wire::pseudo_header_sum(address_at(ip, true), address_at(ip, false), at->protocol,
                                          static_cast<std::uint32_t>(length)));
  return &frame_;
}

}  // namespace tidewire::device
