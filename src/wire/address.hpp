// Addresses: MAC, IPv4/IPv6 in one dual-stack type, prefixes and endpoints.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace tidewire {

struct MacAddress {
  std::array<std::uint8_t, 6> octets{};

  static constexpr MacAddress broadcast() noexcept {
    return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  }
  constexpr bool is_multicast() const noexcept { return (octets[0] & 1) != 0; }
  constexpr bool is_broadcast() const noexcept { return *this == broadcast(); }
  constexpr bool is_zero() const noexcept { return *this == MacAddress{}; }
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) noexcept = default;
};

enum class Family : std::uint8_t { v4, v6 };

/// An IPv4 or IPv6 address. An IPv4 address and its IPv4-mapped IPv6 form (::ffff:a.b.c.d) are
/// different values here; `unmapped()` and `mapped()` convert.
class IpAddress {
 public:
  constexpr IpAddress() noexcept = default;  ///< 0.0.0.0
  static constexpr IpAddress v4(std::uint32_t host_order) noexcept {
    IpAddress a;
    a.octets_ = std::bit_cast<Octets>(Words32{big_endian(host_order)});
    return a;
  }
  static constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c,
                                std::uint8_t d) noexcept {
    IpAddress r;
    r.octets_[0] = a;
    r.octets_[1] = b;
    r.octets_[2] = c;
    r.octets_[3] = d;
    return r;
  }
  static constexpr IpAddress v6(const std::array<std::uint8_t, 16>& octets) noexcept {
    IpAddress a;
    a.octets_ = octets;
    a.family_ = Family::v6;
    return a;
  }
  static constexpr IpAddress any(Family family) noexcept {
    IpAddress a;
    a.family_ = family;
    return a;
  }
  static constexpr IpAddress loopback(Family family) noexcept {
    if (family == Family::v4) return v4(127, 0, 0, 1);
    return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  }
  static constexpr IpAddress v4_broadcast() noexcept { return v4(0xffffffffU); }

  constexpr Family family() const noexcept { return family_; }
  constexpr bool is_v4() const noexcept { return family_ == Family::v4; }
  constexpr bool is_v6() const noexcept { return family_ == Family::v6; }
  /// The four octets of an IPv4 address as a number in host order; 0 for IPv6.
  constexpr std::uint32_t v4_value() const noexcept {
    return is_v4() ? big_endian(std::bit_cast<Words32>(octets_)[0]) : 0;
  }
  /// All 16 octets; of an IPv4 address the first four count.
  constexpr const std::array<std::uint8_t, 16>& octets() const noexcept { return octets_; }
  /// The octets in network order, 4 or 16 of them.
  Bytes bytes() const noexcept { return as_bytes(octets_.data(), is_v4() ? 4U : 16U); }

  constexpr bool is_unspecified() const noexcept {
    return octets_ == std::array<std::uint8_t, 16>{};
  }
  constexpr bool is_loopback() const noexcept {
    return is_v4() ? octets_[0] == 127 : *this == loopback(Family::v6);
  }
  constexpr bool is_multicast() const noexcept {
    return is_v4() ? (octets_[0] & 0xf0) == 0xe0 : octets_[0] == 0xff;
  }
  constexpr bool is_limited_broadcast() const noexcept { return *this == v4_broadcast(); }
  constexpr bool is_link_local() const noexcept {
    return is_v4() ? octets_[0] == 169 && octets_[1] == 254
                   : octets_[0] == 0xfe && (octets_[1] & 0xc0) == 0x80;
  }
  constexpr bool is_v4_mapped() const noexcept {
    const auto words = std::bit_cast<Words32>(octets_);
    return is_v6() && (words[0] | words[1] | (words[2] ^ kMappedWord)) == 0;
  }
  /// The IPv4 address inside an IPv4-mapped IPv6 address; any other address as it is.
  constexpr IpAddress unmapped() const noexcept {
    if (!is_v4_mapped()) return *this;
    IpAddress a;
    a.octets_ = std::bit_cast<Octets>(Words32{std::bit_cast<Words32>(octets_)[3]});
    return a;
  }
  /// ::ffff:a.b.c.d for an IPv4 address; an IPv6 address as it is.
  constexpr IpAddress mapped() const noexcept {
    if (is_v6()) return *this;
    return v6(
        std::bit_cast<Octets>(Words32{0, 0, kMappedWord, std::bit_cast<Words32>(octets_)[0]}));
  }

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;

 private:
  // Every packet converts addresses: by words, not octet by octet.
  using Octets = std::array<std::uint8_t, 16>;
  using Words32 = std::array<std::uint32_t, 4>;
  static constexpr std::uint32_t big_endian(std::uint32_t value) noexcept {
    return std::endian::native == std::endian::little ? std::byteswap(value) : value;
  }
  static constexpr std::uint32_t kMappedWord =
      std::endian::native == std::endian::little ? 0xffff'0000U : 0x0000'ffffU;

  Octets octets_{};
  Family family_ = Family::v4;
};

/// An address with a prefix length, as in 10.0.2.15/24.
struct IpCidr {
  IpAddress address;
  std::uint8_t prefix_len = 0;

  /// True if `other` is of the same family and shares the first prefix_len bits.
  bool contains(const IpAddress& other) const noexcept;
  /// The address with all host bits cleared.
  IpAddress network() const noexcept;
  /// The IPv4 directed broadcast address; none for IPv6 and for prefixes longer than 30.
  std::optional<IpAddress> directed_broadcast() const noexcept;
  friend constexpr bool operator==(const IpCidr&, const IpCidr&) noexcept = default;
};

/// Where a socket is: address, port, and for link-local addresses the interface (scope id).
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  std::uint32_t scope_id = 0;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) noexcept = default;
};

// Text forms. Parsers take the whole string or nothing; they never throw.
std::optional<MacAddress> parse_mac(std::string_view text) noexcept;
std::optional<IpAddress> parse_ip(std::string_view text) noexcept;
std::optional<IpCidr> parse_cidr(std::string_view text) noexcept;
/// "10.0.2.15:80" or "[::1]:80".
std::optional<Endpoint> parse_endpoint(std::string_view text) noexcept;
std::string to_string(const MacAddress& mac);
std::string to_string(const IpAddress& address);  ///< RFC 5952 for IPv6
std::string to_string(const IpCidr& cidr);
std::string to_string(const Endpoint& endpoint);

}  // namespace tidewire
