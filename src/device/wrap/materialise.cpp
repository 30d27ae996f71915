#include "device/wrap/materialise.hpp"

#include <algorithm>

#include "wire/checksum.hpp"
#include "wire/load.hpp"

namespace tidewire::device {
namespace {

using wire::Checksum;
using wire::load_u16;
using wire::load_u32;
using wire::load_u8;
using wire::store_u16;
using wire::store_u32;
using wire::store_u8;

constexpr std::uint8_t kTcpFin = 0x01;
constexpr std::uint8_t kTcpPush = 0x08;
constexpr std::uint8_t kTcpCwr = 0x80;
constexpr std::size_t kTcpChecksum = 16;  // offset of the field; UDP's is 6

struct Slice {
  std::size_t offset = 0;  ///< in the payload
  std::size_t size = 0;
};

Slice slice(const TxFrame& frame, std::uint32_t segment) noexcept {
  const std::size_t all = frame.payload_size();
  if (frame.seg_size == 0) return {0, segment == 0 ? all : 0};
  const std::size_t offset = std::min(all, std::size_t{segment} * frame.seg_size);
  return {offset, std::min<std::size_t>(frame.seg_size, all - offset)};
}

/// Copies `part` of the payload to `out`, and adds it to `sum` if there is one.
void copy_payload(std::span<const Bytes> payload, Slice part, MutBytes out,
                  Checksum* sum) noexcept {
  for (Bytes region : payload) {
    if (part.size == 0) return;
    if (part.offset >= region.size()) {
      part.offset -= region.size();
      continue;
    }
    region = region.subspan(part.offset);
    part.offset = 0;
    region = region.first(std::min(region.size(), part.size));
    part.size -= region.size();
    if (sum != nullptr) {
      sum->add_and_copy(out, region);
    } else {
      std::copy(region.begin(), region.end(), out.begin());
    }
    out = out.subspan(region.size());
  }
}

/// Length, identification and header checksum of the IP header at `ip` (RFC 791 §3.1, RFC 8200 §3).
void patch_network(MutBytes ip, std::size_t header_size, std::uint32_t segment) noexcept {
  std::byte* at = ip.data();
  if (load_u8(at) >> 4 == 6) {
    store_u16(at + 4, static_cast<std::uint16_t>(ip.size() - 40));
    return;
  }
  store_u16(at + 2, static_cast<std::uint16_t>(ip.size()));
  store_u16(at + 4, static_cast<std::uint16_t>(load_u16(at + 4) + segment));
  store_u16(at + 10, 0);
  store_u16(at + 10, wire::internet_checksum(ip.first(header_size)));
}

/// Sequence number and flags of a TCP segment that is number `segment` of a super-segment.
void patch_tcp(std::byte* tcp, std::uint32_t offset, bool first, bool last) noexcept {
  store_u32(tcp + 4, load_u32(tcp + 4) + offset);
  std::uint8_t flags = load_u8(tcp + 13);
  if (!first) flags &= static_cast<std::uint8_t>(~kTcpCwr);
  if (!last) flags &= static_cast<std::uint8_t>(~(kTcpFin | kTcpPush));
  store_u8(tcp + 13, flags);
}

bool has_transport(const TxFrame& frame) noexcept {
  return frame.transport_offset != 0 && frame.transport_offset < frame.headers.size() &&
         frame.network_offset < frame.transport_offset;
}

bool offsets_hold(const TxFrame& frame) noexcept {
  const std::size_t least = frame.checksum_offset == kTcpChecksum ? 20 : 8;
  return has_transport(frame) && std::size_t{frame.transport_offset} - frame.network_offset >= 20 &&
         frame.headers.size() - frame.transport_offset >= least &&
         std::size_t{frame.checksum_offset} + 2 <= least;
}

}  // namespace

std::uint32_t wire_packets(const TxFrame& frame) noexcept {
  if (frame.seg_size == 0) return 1;
  const std::size_t size = frame.payload_size();
  const std::size_t count = (size + frame.seg_size - 1) / frame.seg_size;
  return static_cast<std::uint32_t>(std::max<std::size_t>(count, 1));
}

std::size_t wire_packet_size(const TxFrame& frame, std::uint32_t segment) noexcept {
  return frame.headers.size() + slice(frame, segment).size;
}

std::size_t materialise(const TxFrame& frame, std::uint32_t segment, MutBytes out) noexcept {
  const Slice part = slice(frame, segment);
  const std::size_t size = frame.headers.size() + part.size;
  const std::uint32_t packets = wire_packets(frame);
  if (segment >= packets || size > out.size()) return 0;
  out = out.first(size);
  std::copy(frame.headers.begin(), frame.headers.end(), out.begin());
  const MutBytes body = out.subspan(frame.headers.size());
  if (!frame.checksum_pending || !offsets_hold(frame)) {
    copy_payload(frame.payload, part, body, nullptr);
    return size;
  }
  std::byte* transport = out.data() + frame.transport_offset;
  std::byte* field = transport + frame.checksum_offset;
  const bool tcp = frame.checksum_offset == kTcpChecksum;
  if (packets > 1) {
    patch_network(out.subspan(frame.network_offset),
                  std::size_t{frame.transport_offset} - frame.network_offset, segment);
    // The pseudo-header sum covers the length of the whole; make it that of this packet.
    const std::size_t header = frame.headers.size() - frame.transport_offset;
    Checksum pseudo;
    pseudo.add_u16(load_u16(field));
    pseudo.add_u32(~static_cast<std::uint32_t>(header + frame.payload_size()));
    pseudo.add_u32(static_cast<std::uint32_t>(header + part.size));
    store_u16(field, pseudo.fold());
    if (tcp) {
      patch_tcp(transport, static_cast<std::uint32_t>(part.offset), segment == 0,
                segment + 1 == packets);
    } else {
      store_u16(transport + 4, static_cast<std::uint16_t>(header + part.size));
    }
  }
  Checksum sum;
  sum.add(out.subspan(frame.transport_offset, frame.headers.size() - frame.transport_offset));
  copy_payload(frame.payload, part, body, &sum);
  store_u16(field, tcp ? sum.finish() : sum.finish_udp());
  return size;
}

std::size_t gather(const TxFrame& frame, MutBytes out) noexcept {
  const std::size_t size = frame.size();
  if (size > out.size()) return 0;
  std::copy(frame.headers.begin(), frame.headers.end(), out.begin());
  copy_payload(frame.payload, {0, frame.payload_size()}, out.subspan(frame.headers.size()),
               nullptr);
  return size;
}

}  // namespace tidewire::device
