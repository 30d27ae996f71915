// Helpers for the tests of wire formats.
#pragma once

#include <initializer_list>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "wire/address.hpp"
#include "wire/load.hpp"

namespace tidewire::wire::testing {

using Buffer = std::vector<std::byte>;

/// Bytes from hexadecimal digits; everything else is ignored.
inline Buffer hex(std::string_view text) {
  Buffer bytes;
  int high = -1;
  for (const char c : text) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::byte>(high * 16 + digit));
      high = -1;
    }
  }
  return bytes;
}

inline std::string to_hex(Bytes bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    const auto value = std::to_integer<unsigned>(b);
    if (!text.empty()) text += ' ';
    text += "0123456789abcdef"[value >> 4];
    text += "0123456789abcdef"[value & 15];
  }
  return text;
}

/// What `emit(repr, writer, more...)` writes, in a buffer of exactly the needed size.
template <typename Repr, typename... More>
Buffer emitted(const Repr& repr, std::size_t size, const More&... more) {
  Buffer bytes(size, std::byte{0xee});
  Writer out{bytes};
  emit(repr, out, more...);
  if (!out.ok() || out.written() != size) return {};
  return bytes;
}

inline Buffer joined(std::initializer_list<Bytes> parts) {
  Buffer all;
  for (const Bytes part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

inline Buffer random_bytes(Rng& rng, std::size_t size) {
  Buffer bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
  return bytes;
}
inline std::uint8_t random_u8(Rng& rng) { return static_cast<std::uint8_t>(rng.next()); }
inline std::uint16_t random_u16(Rng& rng) { return static_cast<std::uint16_t>(rng.next()); }
inline std::uint32_t random_u32(Rng& rng) { return static_cast<std::uint32_t>(rng.next()); }
inline bool random_bool(Rng& rng) { return rng.below(2) != 0; }
inline IpAddress random_v4(Rng& rng) { return IpAddress::v4(random_u32(rng)); }
inline IpAddress random_v6(Rng& rng) {
  std::array<std::uint8_t, 16> octets{};
  for (std::uint8_t& octet : octets) octet = random_u8(rng);
  return IpAddress::v6(octets);
}
inline MacAddress random_mac(Rng& rng) {
  MacAddress mac;
  for (std::uint8_t& octet : mac.octets) octet = random_u8(rng);
  return mac;
}

inline const IpAddress kHost = IpAddress::v4(10, 0, 2, 15);
inline const IpAddress kPeer = IpAddress::v4(10, 0, 2, 2);

}  // namespace tidewire::wire::testing
