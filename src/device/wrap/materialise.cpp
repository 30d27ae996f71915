#include "device/wrap/materialise.hpp"

#include <algorithm>
#include <cstring>

#include "wire/load.hpp"

namespace tidewire::device {
namespace {

using wire::Checksum;
using wire::load_u16;
using wire::load_u32;
using wire::load_u8;
using wire::store_u16;
using wire::store_u32;

constexpr std::uint16_t kTcpFin = 0x01;
constexpr std::uint16_t kTcpPush = 0x08;
constexpr std::uint16_t kTcpCwr = 0x80;
constexpr std::size_t kTcpChecksum = 16;  // offset of the field; UDP's is 6
// So much payload is summed after it was copied, together with the header before it.
constexpr std::size_t kShort = 128;

struct Slice {
  std::size_t offset = 0;  ///< in the payload
  std::size_t size = 0;
};

Slice slice(const TxFrame& frame, std::size_t all, std::uint32_t segment) noexcept {
  if (frame.seg_size == 0) return {0, segment == 0 ? all : 0};
  const std::size_t offset = std::min(all, std::size_t{segment} * frame.seg_size);
  return {offset, std::min<std::size_t>(frame.seg_size, all - offset)};
}

void take_out_u16(Checksum& sum, std::uint16_t word) noexcept {
  sum.add_u16(static_cast<std::uint16_t>(~word));
}
void take_out_u32(Checksum& sum, std::uint32_t word) noexcept { sum.add_u32(~word); }

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

std::uint32_t packets_of(const TxFrame& frame, std::size_t payload) noexcept {
  if (frame.seg_size == 0 || payload <= frame.seg_size) return 1;
  return static_cast<std::uint32_t>((payload + frame.seg_size - 1) / frame.seg_size);
}

bool has_transport(const TxFrame& frame) noexcept {
  return frame.transport_offset != 0 && frame.transport_offset < frame.headers.size() &&
         frame.network_offset < frame.transport_offset;
}

bool offsets_hold(const TxFrame& frame) noexcept {
  const std::size_t least = frame.checksum_offset == kTcpChecksum ? 20 : 8;
  return has_transport(frame) && std::size_t{frame.transport_offset} - frame.network_offset >= 20 &&
         frame.headers.size() - frame.transport_offset >= least &&
         (frame.headers.size() - frame.transport_offset) % 2 == 0 &&
         std::size_t{frame.checksum_offset} + 2 <= least;
}

/// The only packet of a frame: nothing of its header changes but the checksum.
std::size_t write_whole(const TxFrame& frame, MutBytes out) noexcept {
  const std::size_t headers = frame.headers.size();
  const std::size_t size = headers + frame.payload_size();
  if (size > out.size()) return 0;
  std::memcpy(out.data(), frame.headers.data(), headers);
  const bool completes = frame.checksum_pending && offsets_hold(frame);
  const bool at_once = !completes || size - headers <= kShort;
  Checksum sum;
  if (!at_once) sum.add(frame.headers.subspan(frame.transport_offset));
  MutBytes body = out.subspan(headers);
  for (const Bytes region : frame.payload) {
    if (!at_once) {
      sum.add_and_copy(body, region);
    } else if (!region.empty()) {
      std::memcpy(body.data(), region.data(), region.size());
    }
    body = body.subspan(region.size());
  }
  if (!completes) return size;
  if (at_once) sum.add(out.first(size).subspan(frame.transport_offset));
  store_u16(out.data() + frame.transport_offset + frame.checksum_offset,
            frame.checksum_offset == kTcpChecksum ? sum.finish() : sum.finish_udp());
  return size;
}

}  // namespace

std::uint32_t wire_packets(const TxFrame& frame) noexcept {
  return packets_of(frame, frame.payload_size());
}

std::size_t wire_packet_size(const TxFrame& frame, std::uint32_t segment) noexcept {
  return frame.headers.size() + slice(frame, frame.payload_size(), segment).size;
}

std::size_t materialise(const TxFrame& frame, std::uint32_t segment, MutBytes out) noexcept {
  if (frame.seg_size == 0 && segment == 0) return write_whole(frame, out);
  return Cutter{frame}.write(segment, out);
}

Cutter::Cutter(const TxFrame& frame) noexcept
    : frame_(frame),
      payload_(frame.payload_size()),
      packets_(packets_of(frame, payload_)),
      completes_(frame.checksum_pending && offsets_hold(frame)),
      tcp_(frame.checksum_offset == kTcpChecksum) {
  if (!completes_ || packets_ == 1) return;
  const Bytes transport = frame.headers.subspan(frame.transport_offset);
  transport_sum_.add(transport);
  // What differs from packet to packet is taken out of the sums: a number's complement cancels it
  // (RFC 1071 §2). The pseudo-header sum covers the length of the whole.
  take_out_u32(transport_sum_, static_cast<std::uint32_t>(transport.size() + payload_));
  if (tcp_) {
    take_out_u32(transport_sum_, load_u32(transport.data() + 4));
    take_out_u16(transport_sum_, load_u16(transport.data() + 12));
  } else {
    take_out_u16(transport_sum_, load_u16(transport.data() + 4));
  }
  const Bytes ip = frame.headers.first(frame.transport_offset).subspan(frame.network_offset);
  v6_ = load_u8(ip.data()) >> 4 == 6;
  if (v6_) return;
  network_sum_.add(ip);
  for (const std::size_t at : {2U, 4U, 10U}) take_out_u16(network_sum_, load_u16(ip.data() + at));
}

/// Length, identification and header checksum of the IP header (RFC 791 §3.1, RFC 8200 §3).
void Cutter::patch_network(MutBytes packet, std::uint32_t segment) const noexcept {
  const MutBytes ip = packet.subspan(frame_.network_offset);
  std::byte* at = ip.data();
  if (v6_) {
    store_u16(at + 4, static_cast<std::uint16_t>(ip.size() - 40));
    return;
  }
  const auto length = static_cast<std::uint16_t>(ip.size());
  const auto identification = static_cast<std::uint16_t>(load_u16(at + 4) + segment);
  store_u16(at + 2, length);
  store_u16(at + 4, identification);
  Checksum sum = network_sum_;
  sum.add_u16(length);
  sum.add_u16(identification);
  store_u16(at + 10, sum.finish());
}

/// Sequence number and flags of a TCP segment, or the length of a UDP datagram, which go into
/// `sum`.
void Cutter::patch_transport(std::byte* at, std::size_t offset, std::size_t size,
                             std::uint32_t segment, Checksum& sum) const noexcept {
  const std::size_t length = frame_.headers.size() - frame_.transport_offset + size;
  sum.add_u32(static_cast<std::uint32_t>(length));
  if (!tcp_) {
    store_u16(at + 4, static_cast<std::uint16_t>(length));
    sum.add_u16(static_cast<std::uint16_t>(length));
    return;
  }
  const std::uint32_t seq = load_u32(at + 4) + static_cast<std::uint32_t>(offset);
  std::uint16_t flags = load_u16(at + 12);
  if (segment != 0) flags &= static_cast<std::uint16_t>(~kTcpCwr);
  if (segment + 1 != packets_) flags &= static_cast<std::uint16_t>(~(kTcpFin | kTcpPush));
  store_u32(at + 4, seq);
  store_u16(at + 12, flags);
  sum.add_u32(seq);
  sum.add_u16(flags);
}

std::size_t Cutter::write(std::uint32_t segment, MutBytes out) const noexcept {
  if (packets_ == 1 && segment == 0) return write_whole(frame_, out);
  const Slice part = slice(frame_, payload_, segment);
  const std::size_t size = frame_.headers.size() + part.size;
  if (segment >= packets_ || size > out.size()) return 0;
  out = out.first(size);
  std::memcpy(out.data(), frame_.headers.data(), frame_.headers.size());
  const MutBytes body = out.subspan(frame_.headers.size());
  if (!completes_) {
    copy_payload(frame_.payload, part, body, nullptr);
    return size;
  }
  std::byte* transport = out.data() + frame_.transport_offset;
  Checksum sum = transport_sum_;
  patch_network(out, segment);
  patch_transport(transport, part.offset, part.size, segment, sum);
  copy_payload(frame_.payload, part, body, &sum);
  store_u16(transport + frame_.checksum_offset, tcp_ ? sum.finish() : sum.finish_udp());
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
