// Fuzz input as a source of decisions, and checksums made right again after a mutation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "wire/checksum.hpp"
#include "wire/load.hpp"

namespace tidewire::fuzz {

/// Gives zeros once the input is used up, so that a run ends quietly.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data, size) {}
  bool empty() const { return data_.empty(); }
  std::uint8_t u8() {
    if (data_.empty()) return 0;
    const std::uint8_t value = data_.front();
    data_ = data_.subspan(1);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
  std::uint32_t u32() { return std::uint32_t{u16()} << 16 | u16(); }
  /// In [0, bound), bound > 0.
  std::uint32_t below(std::uint32_t bound) {
    return (bound <= 256 ? u8() : bound <= 65536 ? u16() : u32()) % bound;
  }
  bool one_in(std::uint32_t n) { return below(n) == n - 1; }

 private:
  std::span<const std::uint8_t> data_;
};

/// Recomputes the checksums of an IPv4 packet (with `link` bytes before it) as far as its own
/// lengths allow.
inline void repair_checksums(std::vector<std::byte>& frame, std::size_t link) {
  if (frame.size() < link + 20) return;
  std::byte* ip = frame.data() + link;
  const std::size_t left = frame.size() - link;
  const std::size_t header = std::size_t{wire::load_u8(ip) & 0xfU} * 4;
  if (header < 20 || header > left) return;
  wire::store_u16(ip + 10, 0);
  wire::store_u16(ip + 10, wire::internet_checksum({ip, header}));
  const std::size_t total = wire::load_u16(ip + 2);
  if (total < header || total > left) return;
  const std::size_t length = total - header;
  const std::uint8_t protocol = wire::load_u8(ip + 9);
  std::byte* body = ip + header;
  const std::size_t field = protocol == 6 ? 16 : protocol == 17 ? 6 : 2;
  if (length < field + 2) return;
  wire::store_u16(body + field, 0);
  wire::Checksum sum;
  if (protocol == 6 || protocol == 17) {
    sum.add_pseudo_header_v4(wire::load_u32(ip + 12), wire::load_u32(ip + 16), protocol,
                             static_cast<std::uint32_t>(length));
  }
  sum.add({body, length});
  wire::store_u16(body + field, protocol == 17 ? sum.finish_udp() : sum.finish());
}

}  // namespace tidewire::fuzz
