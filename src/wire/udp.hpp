// UDP (RFC 768).
#pragma once

#include <span>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::wire {

inline constexpr std::size_t kUdpHeaderLen = 8;
inline constexpr std::size_t kUdpChecksumOffset = 6;

class UdpView {
 public:
  /// `segment` is the IP payload, or its contiguous front; `available` the whole IP payload. Bytes
  /// after the UDP length are cut off; they are neither payload nor part of the checksum.
  static Result<UdpView, ParseError> parse(Bytes segment, std::size_t available) noexcept {
    if (segment.size() < kUdpHeaderLen) return fail(ParseError::truncated);
    const std::size_t length = load_u16(segment.data() + 4);
    if (length < kUdpHeaderLen || length > available) return fail(ParseError::bad_total_length);
    return UdpView{segment.first(std::min(length, segment.size()))};
  }
  static Result<UdpView, ParseError> parse(Bytes segment) noexcept {
    return parse(segment, segment.size());
  }
  std::uint16_t source_port() const noexcept { return load_u16(at()); }
  std::uint16_t destination_port() const noexcept { return load_u16(at() + 2); }
  /// Header and payload.
  std::uint16_t length() const noexcept { return load_u16(at() + 4); }
  std::uint16_t payload_len() const noexcept {
    return static_cast<std::uint16_t>(length() - kUdpHeaderLen);
  }
  std::uint16_t checksum() const noexcept { return load_u16(at() + 6); }
  /// 0 stands for "not computed": accepted over IPv4, not over IPv6 (RFC 8200 §8.1).
  bool has_checksum() const noexcept { return checksum() != 0; }
  /// The contiguous part of the payload.
  Bytes payload() const noexcept { return segment_.subspan(kUdpHeaderLen); }
  /// Header and contiguous payload: what the checksum covers, with `more` after it.
  Bytes segment() const noexcept { return segment_; }

  //= RFC 1122 §4.1.3.4
  //= RFC 8200 §8.1
  Result<void, ParseError> verify(const IpAddress& source, const IpAddress& destination,
                                  std::span<const Bytes> more = {}) const noexcept {
    if (!has_checksum()) {
      if (source.is_v4()) return {};
      return fail(ParseError::missing_checksum);
    }
    Checksum sum;
    sum.add_pseudo_header(source, destination, protocol::udp, length());
    sum.add(segment_);
    std::size_t left = length() - segment_.size();
    for (const Bytes region : more) {
      const Bytes part = region.first(std::min(left, region.size()));
      sum.add(part);
      left -= part.size();
    }
    if (left != 0 || !sum.verifies()) return fail(ParseError::bad_checksum);
    return {};
  }

 private:
  explicit UdpView(Bytes segment) noexcept : segment_(segment) {}
  const std::byte* at() const noexcept { return segment_.data(); }
  Bytes segment_;
};

struct UdpRepr {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint16_t payload_len = 0;  ///< bytes, at most 65527
  friend constexpr bool operator==(const UdpRepr&, const UdpRepr&) noexcept = default;
};

inline UdpRepr to_repr(const UdpView& view) noexcept {
  return {view.source_port(), view.destination_port(), view.payload_len()};
}
constexpr std::size_t header_len(const UdpRepr&) noexcept { return kUdpHeaderLen; }

/// Writes the header with the given value in the checksum field.
inline void emit(const UdpRepr& repr, Writer& out, std::uint16_t checksum) noexcept {
  const std::size_t length = kUdpHeaderLen + repr.payload_len;
  const MutBytes header = out.reserve(length > 0xffff ? SIZE_MAX : kUdpHeaderLen);
  if (header.empty()) return;
  store_u16(header.data(), repr.source_port);
  store_u16(header.data() + 2, repr.destination_port);
  store_u16(header.data() + 4, static_cast<std::uint16_t>(length));
  store_u16(header.data() + 6, checksum);
}

/// Writes the header for a frame with checksum_pending: the field holds the pseudo-header sum.
inline void emit_pending(const UdpRepr& repr, Writer& out, const IpAddress& source,
                         const IpAddress& destination) noexcept {
  const std::uint32_t length = kUdpHeaderLen + std::uint32_t{repr.payload_len};
  emit(repr, out, pseudo_header_sum(source, destination, protocol::udp, length));
}

/// Writes the header with the checksum over it and `payload`, which is not written and whose size
/// must be payload_len.
inline void emit(const UdpRepr& repr, Writer& out, const IpAddress& source,
                 const IpAddress& destination, std::span<const Bytes> payload) noexcept {
  Checksum sum;
  const std::uint32_t length = kUdpHeaderLen + std::uint32_t{repr.payload_len};
  sum.add_pseudo_header(source, destination, protocol::udp, length);
  sum.add_u16(repr.source_port);
  sum.add_u16(repr.destination_port);
  sum.add_u16(static_cast<std::uint16_t>(length));
  for (const Bytes region : payload) sum.add(region);
  emit(repr, out, sum.finish_udp());
}

}  // namespace tidewire::wire
