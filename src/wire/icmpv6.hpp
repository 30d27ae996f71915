// ICMPv6 (RFC 4443).
#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/icmpv4.hpp"
#include "wire/ipv6.hpp"

namespace tidewire::wire {

enum class Icmpv6Type : std::uint8_t {
  destination_unreachable = 1,
  packet_too_big = 2,
  time_exceeded = 3,
  parameter_problem = 4,
  echo_request = 128,
  echo_reply = 129,
  router_solicitation = 133,
  router_advertisement = 134,
  neighbor_solicitation = 135,
  neighbor_advertisement = 136,
  redirect = 137,
};

/// Codes of destination_unreachable (RFC 4443 §3.1).
namespace icmpv6_unreachable {
inline constexpr std::uint8_t no_route = 0;
inline constexpr std::uint8_t admin_prohibited = 1;
inline constexpr std::uint8_t beyond_scope = 2;
inline constexpr std::uint8_t address = 3;
inline constexpr std::uint8_t port = 4;
}  // namespace icmpv6_unreachable

/// Error messages have the high bit of the type clear (RFC 4443 §2.1).
constexpr bool is_error(Icmpv6Type type) noexcept { return static_cast<std::uint8_t>(type) < 128; }

/// The eight header bytes that all messages share; `rest` (bytes 4 to 7) means what `type` says.
struct Icmpv6Header {
  Icmpv6Type type = Icmpv6Type::echo_request;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;

  constexpr std::uint16_t id() const noexcept { return static_cast<std::uint16_t>(rest >> 16); }
  constexpr std::uint16_t sequence() const noexcept { return static_cast<std::uint16_t>(rest); }
  /// packet_too_big.
  constexpr std::uint32_t mtu() const noexcept { return rest; }
  /// parameter_problem: offset of the octet in error; may lie past the quoted part.
  constexpr std::uint32_t pointer() const noexcept { return rest; }
  friend constexpr bool operator==(const Icmpv6Header&, const Icmpv6Header&) noexcept = default;
};

class Icmpv6View {
 public:
  static Result<Icmpv6View, ParseError> parse(Bytes message) noexcept {
    if (message.size() < kIcmpHeaderLen) return fail(ParseError::truncated);
    return Icmpv6View{message};
  }
  /// May be none of the named values.
  Icmpv6Type type() const noexcept { return static_cast<Icmpv6Type>(load_u8(message_.data())); }
  std::uint8_t code() const noexcept { return load_u8(message_.data() + 1); }
  std::uint16_t checksum() const noexcept { return load_u16(message_.data() + 2); }
  Icmpv6Header header() const noexcept { return {type(), code(), load_u32(message_.data() + 4)}; }
  /// Echo data, or the quoted packet of an error, or the body of a neighbour discovery message.
  Bytes payload() const noexcept { return message_.subspan(kIcmpHeaderLen); }
  //= RFC 4443 §2.3
  bool checksum_ok(const IpAddress& source, const IpAddress& destination) const noexcept {
    Checksum sum;
    sum.add_pseudo_header(source, destination, protocol::icmpv6,
                          static_cast<std::uint32_t>(message_.size()));
    sum.add(message_);
    return sum.verifies();
  }

 private:
  explicit Icmpv6View(Bytes message) noexcept : message_(message) {}
  Bytes message_;
};

/// A whole message; the payload is borrowed.
struct Icmpv6Repr {
  Icmpv6Header header;
  Bytes payload;

  static constexpr Icmpv6Repr echo(Icmpv6Type type, std::uint16_t id, std::uint16_t sequence,
                                   Bytes data) noexcept {
    return {{type, 0, std::uint32_t{id} << 16 | sequence}, data};
  }
  static constexpr Icmpv6Repr unreachable(std::uint8_t code, Bytes quoted) noexcept {
    return {{Icmpv6Type::destination_unreachable, code, 0}, quoted};
  }
  static constexpr Icmpv6Repr packet_too_big(std::uint32_t mtu, Bytes quoted) noexcept {
    return {{Icmpv6Type::packet_too_big, 0, mtu}, quoted};
  }
  static constexpr Icmpv6Repr time_exceeded(std::uint8_t code, Bytes quoted) noexcept {
    return {{Icmpv6Type::time_exceeded, code, 0}, quoted};
  }
  static constexpr Icmpv6Repr parameter_problem(std::uint8_t code, std::uint32_t pointer,
                                                Bytes quoted) noexcept {
    return {{Icmpv6Type::parameter_problem, code, pointer}, quoted};
  }
  friend bool operator==(const Icmpv6Repr& a, const Icmpv6Repr& b) noexcept {
    return a.header == b.header && std::ranges::equal(a.payload, b.payload);
  }
};

inline Icmpv6Repr to_repr(const Icmpv6View& view) noexcept {
  return {view.header(), view.payload()};
}
/// Header without payload.
constexpr std::size_t header_len(const Icmpv6Repr&) noexcept { return kIcmpHeaderLen; }

/// Writes header, payload and checksum.
inline void emit(const Icmpv6Repr& repr, Writer& out, const IpAddress& source,
                 const IpAddress& destination) noexcept {
  const MutBytes message = out.reserve(kIcmpHeaderLen + repr.payload.size());
  if (message.empty()) return;
  std::byte* at = message.data();
  store_u8(at, static_cast<std::uint8_t>(repr.header.type));
  store_u8(at + 1, repr.header.code);
  store_u16(at + 2, 0);
  store_u32(at + 4, repr.header.rest);
  Checksum sum;
  sum.add_pseudo_header(source, destination, protocol::icmpv6,
                        static_cast<std::uint32_t>(message.size()));
  sum.add(message.first(kIcmpHeaderLen));
  sum.add_and_copy(message.subspan(kIcmpHeaderLen), repr.payload);
  store_u16(at + 2, sum.finish());
}

}  // namespace tidewire::wire
