// ICMP (RFC 792, RFC 1122 §3.2.2, RFC 1191).
#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::wire {

enum class Icmpv4Type : std::uint8_t {
  echo_reply = 0,
  destination_unreachable = 3,
  source_quench = 4,
  redirect = 5,
  echo_request = 8,
  time_exceeded = 11,
  parameter_problem = 12,
  timestamp_request = 13,
  timestamp_reply = 14,
};

/// Codes of destination_unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
namespace icmpv4_unreachable {
inline constexpr std::uint8_t net = 0;
inline constexpr std::uint8_t host = 1;
inline constexpr std::uint8_t protocol = 2;
inline constexpr std::uint8_t port = 3;
inline constexpr std::uint8_t fragmentation_needed = 4;
inline constexpr std::uint8_t source_route_failed = 5;
inline constexpr std::uint8_t net_prohibited = 9;
inline constexpr std::uint8_t host_prohibited = 10;
inline constexpr std::uint8_t admin_prohibited = 13;
}  // namespace icmpv4_unreachable

inline constexpr std::size_t kIcmpHeaderLen = 8;
/// The three times of a timestamp message, milliseconds since midnight UT (RFC 792).
inline constexpr std::size_t kIcmpTimestampsLen = 12;

constexpr bool is_error(Icmpv4Type type) noexcept {
  return type == Icmpv4Type::destination_unreachable || type == Icmpv4Type::source_quench ||
         type == Icmpv4Type::redirect || type == Icmpv4Type::time_exceeded ||
         type == Icmpv4Type::parameter_problem;
}

/// The eight header bytes that all messages share; `rest` (bytes 4 to 7) means what `type` says.
/// Used by Icmpv4View and Icmpv4Repr alike.
struct Icmpv4Header {
  Icmpv4Type type = Icmpv4Type::echo_request;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;

  /// Echo and timestamp messages.
  constexpr std::uint16_t id() const noexcept { return static_cast<std::uint16_t>(rest >> 16); }
  constexpr std::uint16_t sequence() const noexcept { return static_cast<std::uint16_t>(rest); }
  /// fragmentation_needed: the next hop's MTU, 0 from routers older than RFC 1191.
  constexpr std::uint16_t mtu() const noexcept { return static_cast<std::uint16_t>(rest); }
  /// parameter_problem: offset of the octet in error.
  constexpr std::uint8_t pointer() const noexcept { return static_cast<std::uint8_t>(rest >> 24); }
  /// redirect: the better first hop.
  constexpr IpAddress gateway() const noexcept { return IpAddress::v4(rest); }
  constexpr bool is_fragmentation_needed() const noexcept {
    return type == Icmpv4Type::destination_unreachable &&
           code == icmpv4_unreachable::fragmentation_needed;
  }
  friend constexpr bool operator==(const Icmpv4Header&, const Icmpv4Header&) noexcept = default;
};

class Icmpv4View {
 public:
  /// Structure only. Timestamp messages must hold their three times.
  static Result<Icmpv4View, ParseError> parse(Bytes message) noexcept {
    if (message.size() < kIcmpHeaderLen) return fail(ParseError::truncated);
    const Icmpv4View view{message};
    const bool timestamp =
        view.type() == Icmpv4Type::timestamp_request || view.type() == Icmpv4Type::timestamp_reply;
    if (timestamp && message.size() < kIcmpHeaderLen + kIcmpTimestampsLen) {
      return fail(ParseError::truncated);
    }
    return view;
  }
  /// May be none of the named values.
  Icmpv4Type type() const noexcept { return static_cast<Icmpv4Type>(load_u8(message_.data())); }
  std::uint8_t code() const noexcept { return load_u8(message_.data() + 1); }
  std::uint16_t checksum() const noexcept { return load_u16(message_.data() + 2); }
  Icmpv4Header header() const noexcept { return {type(), code(), load_u32(message_.data() + 4)}; }
  /// Echo data, the quoted packet of an error, or the three times.
  Bytes payload() const noexcept { return message_.subspan(kIcmpHeaderLen); }
  bool checksum_ok() const noexcept {
    return kernel::fold(kernel::sum(message_.data(), message_.size())) == 0xffff;
  }

 private:
  explicit Icmpv4View(Bytes message) noexcept : message_(message) {}
  Bytes message_;
};

/// A whole message; the payload is borrowed.
struct Icmpv4Repr {
  Icmpv4Header header;
  Bytes payload;

  static constexpr Icmpv4Repr echo(Icmpv4Type type, std::uint16_t id, std::uint16_t sequence,
                                   Bytes data) noexcept {
    return {{type, 0, std::uint32_t{id} << 16 | sequence}, data};
  }
  /// `mtu` only for fragmentation_needed.
  static constexpr Icmpv4Repr unreachable(std::uint8_t code, Bytes quoted,
                                          std::uint16_t mtu = 0) noexcept {
    return {{Icmpv4Type::destination_unreachable, code, mtu}, quoted};
  }
  static constexpr Icmpv4Repr time_exceeded(std::uint8_t code, Bytes quoted) noexcept {
    return {{Icmpv4Type::time_exceeded, code, 0}, quoted};
  }
  static constexpr Icmpv4Repr parameter_problem(std::uint8_t pointer, Bytes quoted) noexcept {
    return {{Icmpv4Type::parameter_problem, 0, std::uint32_t{pointer} << 24}, quoted};
  }
  static constexpr Icmpv4Repr redirect(std::uint8_t code, const IpAddress& gateway,
                                       Bytes quoted) noexcept {
    return {{Icmpv4Type::redirect, code, gateway.v4_value()}, quoted};
  }
  friend bool operator==(const Icmpv4Repr& a, const Icmpv4Repr& b) noexcept {
    return a.header == b.header && std::ranges::equal(a.payload, b.payload);
  }
};

inline Icmpv4Repr to_repr(const Icmpv4View& view) noexcept {
  return {view.header(), view.payload()};
}
/// Header without payload.
constexpr std::size_t header_len(const Icmpv4Repr&) noexcept { return kIcmpHeaderLen; }

/// Writes header, payload and checksum.
inline void emit(const Icmpv4Repr& repr, Writer& out) noexcept {
  const MutBytes message = out.reserve(kIcmpHeaderLen + repr.payload.size());
  if (message.empty()) return;
  std::byte* at = message.data();
  store_u8(at, static_cast<std::uint8_t>(repr.header.type));
  store_u8(at + 1, repr.header.code);
  store_u16(at + 2, 0);
  store_u32(at + 4, repr.header.rest);
  Checksum sum;
  sum.add(message.first(kIcmpHeaderLen));
  sum.add_and_copy(message.subspan(kIcmpHeaderLen), repr.payload);
  store_u16(at + 2, sum.finish());
}

}  // namespace tidewire::wire
