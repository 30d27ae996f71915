// Frames for the tests of devices.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "device/device.hpp"
#include "wire/checksum.hpp"
#include "wire/load.hpp"

namespace tidewire::device::test {

struct Headers {
  IpAddress source = IpAddress::v4(10, 0, 0, 1);
  IpAddress destination = IpAddress::v4(10, 0, 0, 2);
  std::uint16_t source_port = 1000;
  std::uint16_t destination_port = 80;
  std::uint32_t seq = 1;
  std::uint8_t flags = 0x10;
  bool udp = false;
  bool ethernet = true;
};

/// Headers of a packet with `payload` bytes to follow; the checksum field holds the pseudo-header
/// sum.
inline std::vector<std::byte> headers(const Headers& h, std::size_t payload) {
  const std::size_t link = h.ethernet ? 14 : 0;
  const std::size_t transport = h.udp ? 8 : 20;
  std::vector<std::byte> out(link + 20 + transport);
  Writer w{out};
  if (h.ethernet) {
    w.fill(12, std::byte{2});
    w.u16(0x0800);
  }
  w.u16(0x4500);
  w.u16(static_cast<std::uint16_t>(20 + transport + payload));
  w.u32(0x12344000);
  w.u8(64);
  w.u8(h.udp ? 17 : 6);
  w.u16(0);
  w.u32(h.source.v4_value());
  w.u32(h.destination.v4_value());
  const std::size_t ip = link;
  w.patch_u16(ip + 10, wire::internet_checksum(Bytes{out}.subspan(ip, 20)));
  const std::uint16_t sum = wire::pseudo_header_sum(
      h.source, h.destination, h.udp ? 17 : 6, static_cast<std::uint32_t>(transport + payload));
  w.u16(h.source_port);
  w.u16(h.destination_port);
  if (h.udp) {
    w.u16(static_cast<std::uint16_t>(8 + payload));
    w.u16(sum);
  } else {
    w.u32(h.seq);
    w.u32(77);
    w.u8(0x50);
    w.u8(h.flags);
    w.u16(500);
    w.u16(sum);
    w.u16(0);
  }
  return out;
}

inline TxFrame frame_of(const Headers& h, Bytes headers, std::span<const Bytes> payload,
                        std::uint32_t seg_size = 0) {
  TxFrame frame;
  frame.headers = headers;
  frame.payload = payload;
  frame.seg_size = seg_size;
  if (seg_size != 0) {
    frame.segs = static_cast<std::uint16_t>((frame.payload_size() + seg_size - 1) / seg_size);
  }
  frame.network_offset = h.ethernet ? 14 : 0;
  frame.transport_offset = static_cast<std::uint8_t>(frame.network_offset + 20);
  frame.checksum_pending = true;
  frame.checksum_offset = h.udp ? 6 : 16;
  return frame;
}

/// True if lengths and checksums of a TCP or UDP over IPv4 packet are right.
inline bool is_sound(Bytes packet, bool ethernet = true) {
  const Bytes ip = packet.subspan(ethernet ? 14 : 0);
  if (wire::load_u16(ip.data() + 2) != ip.size()) return false;
  if (wire::internet_checksum(ip.first(20)) != 0) return false;
  wire::Checksum sum;
  sum.add_pseudo_header_v4(wire::load_u32(ip.data() + 12), wire::load_u32(ip.data() + 16),
                           wire::load_u8(ip.data() + 9),
                           static_cast<std::uint32_t>(ip.size() - 20));
  sum.add(ip.subspan(20));
  return sum.verifies();
}

inline std::vector<std::byte> pattern(std::size_t size, unsigned start = 0) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = static_cast<std::byte>((i * 7 + i / 251 + start) & 0xff);
  }
  return out;
}

inline std::vector<std::byte> copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

/// A device that keeps what is pushed and can refuse.
class Recorder final : public Device {
 public:
  Capabilities can;
  std::vector<std::vector<std::byte>> pushed;
  std::vector<std::uint32_t> seg_sizes;
  std::size_t room = SIZE_MAX;
  std::vector<RxFrame> arriving;

  Capabilities capabilities() const noexcept override { return can; }
  std::string_view name() const noexcept override { return "recorder"; }
  PushResult push(const TxFrame& frame) noexcept override {
    if (room == 0) return PushResult::full;
    --room;
    std::vector<std::byte> bytes = copy_of(frame.headers);
    for (const Bytes part : frame.payload) bytes.insert(bytes.end(), part.begin(), part.end());
    pushed.push_back(std::move(bytes));
    seg_sizes.push_back(frame.seg_size);
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant, std::size_t) noexcept override {
    served_ = std::exchange(arriving, {});
    return served_;
  }
  bool writable() noexcept override { return room > 0; }

 private:
  std::vector<RxFrame> served_;
};

}  // namespace tidewire::device::test
