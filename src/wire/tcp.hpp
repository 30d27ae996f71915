// The TCP header (RFC 9293 §3.1).
#pragma once

#include <span>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/seq.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp_options.hpp"

namespace tidewire::wire {

inline constexpr std::size_t kTcpMinHeaderLen = 20;
inline constexpr std::size_t kTcpChecksumOffset = 16;

enum class TcpFlag : std::uint16_t {
  fin = 0x01,
  syn = 0x02,
  rst = 0x04,
  psh = 0x08,
  ack = 0x10,
  urg = 0x20,
  ece = 0x40,  ///< RFC 3168
  cwr = 0x80,
  ae = 0x100,  ///< RFC 9768
};

/// A set of control bits.
class TcpFlags {
 public:
  constexpr TcpFlags() noexcept = default;
  constexpr TcpFlags(TcpFlag flag) noexcept : bits_(static_cast<std::uint16_t>(flag)) {}
  /// All but the nine that have a name are left away.
  static constexpr TcpFlags from_bits(std::uint16_t bits) noexcept {
    TcpFlags flags;
    flags.bits_ = bits & 0x1ff;
    return flags;
  }
  constexpr std::uint16_t bits() const noexcept { return bits_; }
  constexpr bool has(TcpFlag flag) const noexcept {
    return (bits_ & static_cast<std::uint16_t>(flag)) != 0;
  }
  /// True if at least one of `flags` is set.
  constexpr bool has_any(TcpFlags flags) const noexcept { return (bits_ & flags.bits_) != 0; }
  constexpr TcpFlags& operator|=(TcpFlags other) noexcept {
    bits_ = static_cast<std::uint16_t>(bits_ | other.bits_);
    return *this;
  }
  constexpr TcpFlags without(TcpFlags other) const noexcept {
    return from_bits(static_cast<std::uint16_t>(bits_ & ~other.bits_));
  }
  friend constexpr TcpFlags operator|(TcpFlags a, TcpFlags b) noexcept { return a |= b; }
  friend constexpr bool operator==(TcpFlags, TcpFlags) noexcept = default;

 private:
  std::uint16_t bits_ = 0;
};
constexpr TcpFlags operator|(TcpFlag a, TcpFlag b) noexcept { return TcpFlags{a} | TcpFlags{b}; }

//= RFC 9293 §3.1 MUST-3
/// Verifies the checksum over `segment` and `more`, which continues it; together they must be the
/// whole segment.
inline bool tcp_checksum_ok(Bytes segment, const IpAddress& source, const IpAddress& destination,
                            std::span<const Bytes> more = {}) noexcept {
  std::size_t length = segment.size();
  for (const Bytes region : more) length += region.size();
  Checksum sum;
  sum.add_pseudo_header(source, destination, protocol::tcp, static_cast<std::uint32_t>(length));
  sum.add(segment);
  for (const Bytes region : more) sum.add(region);
  return sum.verifies();
}

class TcpView {
 public:
  /// `segment` is the IP payload or its contiguous front, which must hold the whole header.
  static Result<TcpView, ParseError> parse(Bytes segment) noexcept {
    if (segment.size() < kTcpMinHeaderLen) return fail(ParseError::truncated);
    const std::size_t header = load_u8(segment.data() + 12) / 16U * 4U;
    if (header < kTcpMinHeaderLen || header > segment.size()) {
      return fail(ParseError::bad_header_length);
    }
    return TcpView{segment};
  }
  std::uint16_t source_port() const noexcept { return load_u16(at()); }
  std::uint16_t destination_port() const noexcept { return load_u16(at() + 2); }
  Seq seq() const noexcept { return Seq{load_u32(at() + 4)}; }
  Seq ack() const noexcept { return Seq{load_u32(at() + 8)}; }
  std::uint8_t header_len() const noexcept {
    return static_cast<std::uint8_t>(load_u8(at() + 12) / 16 * 4);
  }
  TcpFlags flags() const noexcept { return TcpFlags::from_bits(load_u16(at() + 12)); }
  bool has(TcpFlag flag) const noexcept { return flags().has(flag); }
  /// As on the wire, before scaling.
  std::uint16_t window() const noexcept { return load_u16(at() + 14); }
  std::uint16_t checksum() const noexcept { return load_u16(at() + 16); }
  std::uint16_t urgent_pointer() const noexcept { return load_u16(at() + 18); }
  Bytes options() const noexcept {
    return segment_.subspan(kTcpMinHeaderLen, header_len() - kTcpMinHeaderLen);
  }
  Bytes header() const noexcept { return segment_.first(header_len()); }
  /// The contiguous part of the payload.
  Bytes payload() const noexcept { return segment_.subspan(header_len()); }
  Bytes segment() const noexcept { return segment_; }

  /// As tcp_checksum_ok(); header and contiguous payload are the front of the segment.
  bool checksum_ok(const IpAddress& source, const IpAddress& destination,
                   std::span<const Bytes> more = {}) const noexcept {
    return tcp_checksum_ok(segment_, source, destination, more);
  }

 private:
  explicit TcpView(Bytes segment) noexcept : segment_(segment) {}
  const std::byte* at() const noexcept { return segment_.data(); }
  Bytes segment_;
};

struct TcpRepr {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  Seq seq{};
  Seq ack{};
  TcpFlags flags{};
  std::uint16_t window = 0;  ///< as on the wire, after scaling
  std::uint16_t urgent_pointer = 0;
  TcpOptions options{};
  friend constexpr bool operator==(const TcpRepr&, const TcpRepr&) noexcept = default;
};

/// Malformed options are cut off where they stop making sense (see parse_tcp_options).
inline TcpRepr to_repr(const TcpView& view) noexcept {
  TcpRepr repr{.source_port = view.source_port(),
               .destination_port = view.destination_port(),
               .seq = view.seq(),
               .ack = view.ack(),
               .flags = view.flags(),
               .window = view.window(),
               .urgent_pointer = view.urgent_pointer(),
               .options = {}};
  (void)parse_tcp_options(view.options(), repr.options);
  return repr;
}

constexpr std::size_t header_len(const TcpRepr& repr) noexcept {
  return kTcpMinHeaderLen + options_len(repr.options);
}

/// Writes header and options with the given value in the checksum field.
inline void emit(const TcpRepr& repr, Writer& out, std::uint16_t checksum) noexcept {
  const std::size_t length = header_len(repr);
  if (out.remaining() < length) {
    (void)out.reserve(SIZE_MAX);
    return;
  }
  std::byte* at = out.reserve(kTcpMinHeaderLen).data();
  store_u32(at, std::uint32_t{repr.source_port} << 16 | repr.destination_port);
  store_u32(at + 4, repr.seq.value());
  store_u32(at + 8, repr.ack.value());
  store_u32(at + 12, static_cast<std::uint32_t>(length) << 26 |
                         std::uint32_t{repr.flags.bits()} << 16 | repr.window);
  store_u32(at + 16, std::uint32_t{checksum} << 16 | repr.urgent_pointer);
  emit(repr.options, out);
}

/// A header with no option but the timestamps, as nearly every segment after the handshake has it.
struct TcpPlain {
  struct Ports {
    std::uint16_t source = 0;
    std::uint16_t destination = 0;
  } ports;
  Seq seq{};
  Seq ack{};
  TcpFlags flags{};
  std::uint16_t window = 0;  ///< as on the wire, after scaling
  TcpTimestamps timestamps{};
};
inline constexpr std::size_t kTcpPlainHeaderLen = kTcpMinHeaderLen + kAlignedTimestampsLen;

/// Writes the header, with 0 in the checksum field, to the front of `out`: what emit() makes of the
/// same values. Nothing if there is no room.
inline void emit_plain(const TcpPlain& plain, MutBytes out) noexcept {
  if (out.size() < kTcpPlainHeaderLen) return;
  std::byte* at = out.data();
  store_u32(at, std::uint32_t{plain.ports.source} << 16 | plain.ports.destination);
  store_u32(at + 4, plain.seq.value());
  store_u32(at + 8, plain.ack.value());
  store_u32(at + 12, static_cast<std::uint32_t>(kTcpPlainHeaderLen) << 26 |
                         std::uint32_t{plain.flags.bits()} << 16 | plain.window);
  store_u32(at + 16, 0);
  store_u32(at + 20, kAlignedTimestamps);
  store_u32(at + 24, plain.timestamps.value);
  store_u32(at + 28, plain.timestamps.echo);
}

/// Writes header and options for a frame with checksum_pending: the field holds the pseudo-header
/// sum over a segment with `payload_len` bytes of payload.
inline void emit_pending(const TcpRepr& repr, Writer& out, const IpAddress& source,
                         const IpAddress& destination, std::size_t payload_len) noexcept {
  const auto length = static_cast<std::uint32_t>(header_len(repr) + payload_len);
  emit(repr, out, pseudo_header_sum(source, destination, protocol::tcp, length));
}

/// Writes header and options with the checksum over them and `payload`, which is not written.
inline void emit(const TcpRepr& repr, Writer& out, const IpAddress& source,
                 const IpAddress& destination, std::span<const Bytes> payload = {}) noexcept {
  const std::size_t start = out.written();
  emit(repr, out, 0);
  if (!out.ok()) return;
  const MutBytes header = out.so_far().subspan(start);
  std::size_t length = header.size();
  for (const Bytes region : payload) length += region.size();
  Checksum sum;
  sum.add_pseudo_header(source, destination, protocol::tcp, static_cast<std::uint32_t>(length));
  sum.add(header);
  for (const Bytes region : payload) sum.add(region);
  store_u16(header.data() + kTcpChecksumOffset, sum.finish());
}

}  // namespace tidewire::wire
