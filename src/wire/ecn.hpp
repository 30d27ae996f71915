// The two ECN bits of an IP header, of either version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "wire/checksum.hpp"

namespace tidewire::wire {

/// The ECN field: the low two bits of the TOS octet or traffic class (RFC 3168 §5).
enum class Ecn : std::uint8_t { not_ect = 0, ect1 = 1, ect0 = 2, ce = 3 };

constexpr Ecn ecn_of(std::uint8_t tos) noexcept { return static_cast<Ecn>(tos & 3); }
constexpr std::uint8_t with_ecn(std::uint8_t tos, Ecn ecn) noexcept {
  return static_cast<std::uint8_t>((tos & ~3U) | static_cast<std::uint8_t>(ecn));
}

namespace detail {
constexpr std::uint16_t first_word(Bytes packet) noexcept {
  return static_cast<std::uint16_t>(std::to_integer<std::uint16_t>(packet[0]) << 8 |
                                    std::to_integer<std::uint16_t>(packet[1]));
}
}  // namespace detail

/// The TOS octet or traffic class of an IP packet of either version; 0 if it is too short for one.
constexpr std::uint8_t traffic_class_of(Bytes packet) noexcept {
  if (packet.size() < 2) return 0;
  const std::uint16_t word = detail::first_word(packet);
  if (word >> 12 == 4) return static_cast<std::uint8_t>(word);
  return word >> 12 == 6 ? static_cast<std::uint8_t>(word >> 4) : std::uint8_t{0};
}

//= RFC 3168 §5
/// Sets CE in an IP packet and mends the header checksum of IPv4. Does nothing to anything shorter
/// than a header.
inline void mark_ce(MutBytes packet) noexcept {
  if (packet.size() < 20) return;
  const std::uint16_t before = detail::first_word(packet);
  if (before >> 12 == 4) {
    const std::uint16_t after = before | 3U;
    packet[1] = static_cast<std::byte>(after);
    const std::uint16_t sum = detail::first_word(packet.subspan(10));
    const std::uint16_t mended = update_checksum(sum, before, after);
    packet[10] = static_cast<std::byte>(mended >> 8);
    packet[11] = static_cast<std::byte>(mended);
  } else if (before >> 12 == 6) {
    packet[1] |= std::byte{0x30};
  }
}

}  // namespace tidewire::wire
