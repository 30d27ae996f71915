// The IPv4 header (RFC 791).
#pragma once

#include <algorithm>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/address.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/ethernet.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

/// IP protocol numbers; of IPv6 also the extension headers (RFC 8200 §4).
namespace protocol {
inline constexpr std::uint8_t hop_by_hop = 0;
inline constexpr std::uint8_t icmp = 1;
inline constexpr std::uint8_t igmp = 2;
inline constexpr std::uint8_t tcp = 6;
inline constexpr std::uint8_t udp = 17;
inline constexpr std::uint8_t ipv6_route = 43;
inline constexpr std::uint8_t ipv6_fragment = 44;
inline constexpr std::uint8_t icmpv6 = 58;
inline constexpr std::uint8_t ipv6_no_next = 59;
inline constexpr std::uint8_t ipv6_destination = 60;
}  // namespace protocol

inline constexpr std::size_t kIpv4MinHeaderLen = 20;
inline constexpr std::size_t kIpv4MaxOptionsLen = 40;

/// The ones' complement sum over a 20-byte IPv4 header without options, native order, unfolded.
inline std::uint64_t sum_ipv4_header(const std::byte* at) noexcept {
  const auto a = load_native<std::uint64_t>(at);
  const auto b = load_native<std::uint64_t>(at + 8);
  return kernel::narrow(a) + kernel::narrow(b) + load_native<std::uint32_t>(at + 16);
}

/// A structurally sound IPv4 packet: version 4, header inside the packet, total length at least the
/// header and at most what arrived. The checksum and the options are looked at separately.
class Ipv4View {
 public:
  /// `packet` must hold the whole header. `available` is the size of the whole packet if only its
  /// front is contiguous (RxFrame), or large for a packet quoted in an ICMP error.
  static Result<Ipv4View, ParseError> parse(Bytes packet, std::size_t available) noexcept {
    if (packet.size() < kIpv4MinHeaderLen) return fail(ParseError::truncated);
    const std::uint8_t first = load_u8(packet.data());
    if (first >> 4 != 4) return fail(ParseError::bad_version);
    const std::size_t header = std::size_t{first & 0x0fU} * 4;
    if (header < kIpv4MinHeaderLen) return fail(ParseError::bad_header_length);
    if (header > packet.size()) return fail(ParseError::bad_header_length);
    const std::size_t total = load_u16(packet.data() + 2);
    if (total < header || total > available) return fail(ParseError::bad_total_length);
    return Ipv4View{packet.first(std::min(total, packet.size()))};
  }
  static Result<Ipv4View, ParseError> parse(Bytes packet) noexcept {
    return parse(packet, packet.size());
  }

  std::uint8_t header_len() const noexcept {
    return static_cast<std::uint8_t>((load_u8(at()) & 0x0f) * 4);
  }
  std::uint8_t tos() const noexcept { return load_u8(at() + 1); }
  std::uint16_t total_len() const noexcept { return load_u16(at() + 2); }
  std::uint16_t id() const noexcept { return load_u16(at() + 4); }
  bool dont_fragment() const noexcept { return (load_u16(at() + 6) & 0x4000) != 0; }
  bool more_fragments() const noexcept { return (load_u16(at() + 6) & 0x2000) != 0; }
  /// In bytes.
  std::uint16_t fragment_offset() const noexcept {
    return static_cast<std::uint16_t>((load_u16(at() + 6) & 0x1fff) * 8);
  }
  bool is_fragment() const noexcept { return (load_u16(at() + 6) & 0x3fff) != 0; }
  std::uint8_t ttl() const noexcept { return load_u8(at() + 8); }
  std::uint8_t protocol() const noexcept { return load_u8(at() + 9); }
  std::uint16_t checksum() const noexcept { return load_u16(at() + 10); }
  std::uint32_t source_value() const noexcept { return load_u32(at() + 12); }
  std::uint32_t destination_value() const noexcept { return load_u32(at() + 16); }
  IpAddress source() const noexcept { return IpAddress::v4(source_value()); }
  IpAddress destination() const noexcept { return IpAddress::v4(destination_value()); }
  Bytes options() const noexcept {
    return packet_.subspan(kIpv4MinHeaderLen, header_len() - kIpv4MinHeaderLen);
  }
  Bytes header() const noexcept { return packet_.first(header_len()); }
  /// total_len() - header_len(): what the packet carries, whether or not it is all contiguous.
  std::uint16_t payload_len() const noexcept {
    return static_cast<std::uint16_t>(total_len() - header_len());
  }
  /// The contiguous part of the payload, without link padding.
  Bytes payload() const noexcept { return packet_.subspan(header_len()); }

  //= RFC 1122 §3.2.1.2
  bool checksum_ok() const noexcept {
    if (header_len() == kIpv4MinHeaderLen) return kernel::fold(sum_ipv4_header(at())) == 0xffff;
    return kernel::fold(kernel::sum(at(), header_len())) == 0xffff;
  }

 private:
  explicit Ipv4View(Bytes packet) noexcept : packet_(packet) {}
  const std::byte* at() const noexcept { return packet_.data(); }
  Bytes packet_;
};

/// Both addresses are IPv4. Header and payload together are at most 65535 bytes.
struct Ipv4Repr {
  IpAddress source{};
  IpAddress destination{};
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;  ///< bytes, a multiple of 8
  std::uint16_t payload_len = 0;      ///< bytes after the header
  /// Raw and borrowed; at most 40 bytes, padded with end-of-list to a multiple of 4.
  Bytes options{};

  friend bool operator==(const Ipv4Repr& a, const Ipv4Repr& b) noexcept {
    return a.source == b.source && a.destination == b.destination && a.protocol == b.protocol &&
           a.ttl == b.ttl && a.tos == b.tos && a.id == b.id && a.dont_fragment == b.dont_fragment &&
           a.more_fragments == b.more_fragments && a.fragment_offset == b.fragment_offset &&
           a.payload_len == b.payload_len && std::ranges::equal(a.options, b.options);
  }
};

inline Ipv4Repr to_repr(const Ipv4View& view) noexcept {
  return {.source = view.source(),
          .destination = view.destination(),
          .protocol = view.protocol(),
          .ttl = view.ttl(),
          .tos = view.tos(),
          .id = view.id(),
          .dont_fragment = view.dont_fragment(),
          .more_fragments = view.more_fragments(),
          .fragment_offset = view.fragment_offset(),
          .payload_len = view.payload_len(),
          .options = view.options()};
}

constexpr std::size_t header_len(const Ipv4Repr& repr) noexcept {
  return kIpv4MinHeaderLen + (std::min(repr.options.size(), kIpv4MaxOptionsLen) + 3) / 4 * 4;
}

/// The words of a header without options or fragmentation, but for the checksum.
struct Ipv4Plain {
  std::uint32_t source = 0;       ///< host order
  std::uint32_t destination = 0;  ///< host order
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0;
  std::uint16_t flags_and_offset = 0;  ///< 0x4000: don't fragment
  std::uint16_t total_len = 0;         ///< bytes, header included
};

/// Writes 20 bytes to `at`; their checksum covers `options`, a folded sum in host order, too.
inline void store_ipv4(std::byte* at, const Ipv4Plain& plain, std::uint16_t options = 0,
                       std::size_t header = kIpv4MinHeaderLen) noexcept {
  // Summed in registers: loading back what was just stored in smaller pieces would stall.
  const std::uint64_t first =
      (0x40U | std::uint64_t{header} / 4) << 56 | std::uint64_t{plain.tos} << 48 |
      std::uint64_t{plain.total_len} << 32 | std::uint64_t{plain.id} << 16 | plain.flags_and_offset;
  const std::uint64_t second =
      std::uint64_t{plain.ttl} << 56 | std::uint64_t{plain.protocol} << 48 | plain.source;
  const std::uint64_t sum =
      kernel::narrow(first) + kernel::narrow(second) + plain.destination + options;
  const auto checksum = static_cast<std::uint16_t>(~kernel::fold(sum) & 0xffff);
  store_u64(at, first);
  store_u64(at + 8, second | std::uint64_t{checksum} << 32);
  store_u32(at + 16, plain.destination);
}

/// Writes the header with its checksum. If header and payload exceed 65535 bytes, nothing is
/// written and `out` is no longer ok.
inline void emit(const Ipv4Repr& repr, Writer& out) noexcept {
  const std::size_t length = header_len(repr);
  const std::size_t total = length + repr.payload_len;
  const MutBytes header = out.reserve(total > 0xffff ? SIZE_MAX : length);
  if (header.empty()) return;
  std::byte* at = header.data();
  std::uint16_t options = 0;
  if (length > kIpv4MinHeaderLen) {
    const std::size_t given = std::min(repr.options.size(), kIpv4MaxOptionsLen);
    std::memset(at + length - 4, 0, 4);
    std::memcpy(at + kIpv4MinHeaderLen, repr.options.data(), given);
    options = swap_to_network(
        kernel::fold(kernel::sum(at + kIpv4MinHeaderLen, length - kIpv4MinHeaderLen)));
  }
  const unsigned flags_and_offset = (repr.dont_fragment ? 0x4000U : 0U) |
                                    (repr.more_fragments ? 0x2000U : 0U) |
                                    repr.fragment_offset / 8U;
  store_ipv4(at,
             {.source = repr.source.v4_value(),
              .destination = repr.destination.v4_value(),
              .protocol = repr.protocol,
              .ttl = repr.ttl,
              .tos = repr.tos,
              .id = repr.id,
              .flags_and_offset = static_cast<std::uint16_t>(flags_and_offset),
              .total_len = static_cast<std::uint16_t>(total)},
             options, length);
}

/// What a scan of the options found (RFC 791 §3.1).
struct Ipv4Options {
  bool source_route = false;  ///< loose or strict
  bool record_route = false;
  bool timestamp = false;
  bool router_alert = false;  ///< RFC 2113
  friend constexpr bool operator==(const Ipv4Options&, const Ipv4Options&) noexcept = default;
};

/// Walks the options of a header. Unknown options are skipped. Fails on a length of 0 or 1 or past
/// the end, on a route or timestamp pointer below its minimum, and on a second source route.
Result<Ipv4Options, ParseError> scan_ipv4_options(Bytes options) noexcept;

}  // namespace tidewire::wire
