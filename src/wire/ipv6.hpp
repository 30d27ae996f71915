// The IPv6 header and its extension headers (RFC 8200).
#pragma once

#include <algorithm>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/address.hpp"
#include "wire/error.hpp"
#include "wire/ipv4.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

inline constexpr std::size_t kIpv6HeaderLen = 40;

inline IpAddress load_ipv6(const std::byte* at) noexcept {
  std::array<std::uint8_t, 16> octets;
  std::memcpy(octets.data(), at, octets.size());
  return IpAddress::v6(octets);
}
inline void store_ipv6(std::byte* at, const IpAddress& address) noexcept {
  std::memcpy(at, address.octets().data(), 16);
}

class Ipv6View {
 public:
  /// `packet` must hold the fixed header; `available` is the size of the whole packet. Jumbograms
  /// (RFC 2675) are not supported: payload length 0 means an empty payload.
  static Result<Ipv6View, ParseError> parse(Bytes packet, std::size_t available) noexcept {
    if (packet.empty()) return fail(ParseError::truncated);
    if (load_u8(packet.data()) >> 4 != 6) return fail(ParseError::bad_version);
    if (packet.size() < kIpv6HeaderLen) return fail(ParseError::truncated);
    const std::size_t total = kIpv6HeaderLen + load_u16(packet.data() + 4);
    if (total > available) return fail(ParseError::bad_total_length);
    return Ipv6View{packet.first(std::min(total, packet.size()))};
  }
  static Result<Ipv6View, ParseError> parse(Bytes packet) noexcept {
    return parse(packet, packet.size());
  }
  std::uint8_t traffic_class() const noexcept {
    return static_cast<std::uint8_t>(load_u16(at()) >> 4);
  }
  std::uint32_t flow_label() const noexcept { return load_u32(at()) & 0xfffff; }
  std::uint16_t payload_len() const noexcept { return load_u16(at() + 4); }
  std::uint8_t next_header() const noexcept { return load_u8(at() + 6); }
  std::uint8_t hop_limit() const noexcept { return load_u8(at() + 7); }
  IpAddress source() const noexcept { return load_ipv6(at() + 8); }
  IpAddress destination() const noexcept { return load_ipv6(at() + 24); }
  /// The contiguous part of everything after the fixed header, extension headers included.
  Bytes payload() const noexcept { return packet_.subspan(kIpv6HeaderLen); }
  Bytes packet() const noexcept { return packet_; }

 private:
  explicit Ipv6View(Bytes packet) noexcept : packet_(packet) {}
  const std::byte* at() const noexcept { return packet_.data(); }
  Bytes packet_;
};

/// The fixed header alone. Both addresses are IPv6.
struct Ipv6Repr {
  IpAddress source = IpAddress::any(Family::v6);
  IpAddress destination = IpAddress::any(Family::v6);
  std::uint8_t next_header = 0;
  std::uint8_t hop_limit = 64;
  std::uint8_t traffic_class = 0;
  std::uint32_t flow_label = 0;   ///< 20 bits
  std::uint16_t payload_len = 0;  ///< bytes after the fixed header
  friend constexpr bool operator==(const Ipv6Repr&, const Ipv6Repr&) noexcept = default;
};

inline Ipv6Repr to_repr(const Ipv6View& view) noexcept {
  return {.source = view.source(),
          .destination = view.destination(),
          .next_header = view.next_header(),
          .hop_limit = view.hop_limit(),
          .traffic_class = view.traffic_class(),
          .flow_label = view.flow_label(),
          .payload_len = view.payload_len()};
}
constexpr std::size_t header_len(const Ipv6Repr&) noexcept { return kIpv6HeaderLen; }

inline void emit(const Ipv6Repr& repr, Writer& out) noexcept {
  const MutBytes header = out.reserve(kIpv6HeaderLen);
  if (header.empty()) return;
  std::byte* at = header.data();
  store_u32(at,
            0x60000000U | std::uint32_t{repr.traffic_class} << 20 | (repr.flow_label & 0xfffffU));
  store_u16(at + 4, repr.payload_len);
  store_u8(at + 6, repr.next_header);
  store_u8(at + 7, repr.hop_limit);
  store_ipv6(at + 8, repr.source);
  store_ipv6(at + 24, repr.destination);
}

/// What the chain of extension headers leads to. Offsets count from the start of the IPv6 header.
struct Ipv6Upper {
  std::uint8_t protocol = protocol::ipv6_no_next;
  std::uint16_t offset = kIpv6HeaderLen;  ///< of the upper-layer header, or of fragment data
  std::uint16_t protocol_offset = 6;      ///< of the next-header field that named `protocol`
  bool is_fragment = false;               ///< a fragment header was seen (RFC 8200 §4.5)
  bool more_fragments = false;
  bool router_alert = false;          ///< RFC 2711
  std::uint16_t fragment_offset = 0;  ///< bytes
  std::uint32_t fragment_id = 0;
  friend constexpr bool operator==(const Ipv6Upper&, const Ipv6Upper&) noexcept = default;
};

/// Why a chain cannot be followed, and what RFC 8200 wants done about it.
struct Ipv6Problem {
  ParseError error = ParseError::bad_extension_header;
  bool report = false;               ///< send a parameter problem ...
  bool report_to_multicast = false;  ///< ... even if the destination was multicast
  std::uint8_t code = 0;  ///< ICMPv6 parameter problem: 0 header field, 1 next header, 2 option
  std::uint16_t pointer = 0;
  friend constexpr bool operator==(const Ipv6Problem&, const Ipv6Problem&) noexcept = default;
};

/// Walks hop-by-hop options (first only), destination options, routing headers (segments left must
/// be 0) and the fragment header, at most 8 headers in all; a non-first fragment ends the walk.
Result<Ipv6Upper, Ipv6Problem> find_upper_layer(const Ipv6View& view) noexcept;

}  // namespace tidewire::wire
