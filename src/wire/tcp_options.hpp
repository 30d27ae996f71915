// TCP options: RFC 9293 §3.1, 7323 (timestamps, window scale), 2018 (SACK), 7413 (Fast Open), 5482
// (user timeout), 9768 (Accurate ECN).
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "base/bytes.hpp"
#include "base/seq.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

inline constexpr std::size_t kTcpMaxOptionsLen = 40;

struct TcpTimestamps {
  std::uint32_t value = 0;
  std::uint32_t echo = 0;
  friend constexpr bool operator==(const TcpTimestamps&, const TcpTimestamps&) noexcept = default;
};

/// [start, end) as the peer claims it; nothing is checked against the connection here.
struct SackBlock {
  Seq start;
  Seq end;
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) noexcept = default;
};

/// Up to four blocks: no more fit into 40 bytes of options.
class SackBlocks {
 public:
  static constexpr std::size_t kMax = 4;
  constexpr std::size_t size() const noexcept { return count_; }
  constexpr bool empty() const noexcept { return count_ == 0; }
  constexpr void clear() noexcept { count_ = 0; }
  /// Ignored when full.
  constexpr void push_back(SackBlock block) noexcept {
    if (count_ < kMax) blocks_[count_++] = block;
  }
  constexpr const SackBlock& operator[](std::size_t i) const noexcept { return blocks_[i]; }
  constexpr const SackBlock* begin() const noexcept { return blocks_.data(); }
  constexpr const SackBlock* end() const noexcept { return blocks_.data() + count_; }
  friend constexpr bool operator==(const SackBlocks& a, const SackBlocks& b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<SackBlock, kMax> blocks_{};
  std::uint8_t count_ = 0;
};

//= RFC 7413 §4.1.1
/// A Fast Open cookie, or with size 0 the request for one. Only a SYN may carry it.
struct FastOpenCookie {
  static constexpr std::size_t kMin = 4, kMax = 16;
  std::array<std::byte, kMax> octets;  ///< the first `size` count
  std::uint8_t size = 0;               ///< 0, or even and 4 to 16
  bool experimental = false;           ///< kind 254 with 0xf989, from before RFC 7413

  /// A size the option may have.
  static constexpr bool fits(std::size_t size) noexcept {
    return size == 0 || (size >= kMin && size <= kMax && size % 2 == 0);
  }
  Bytes bytes() const noexcept { return Bytes{octets}.first(size); }
  friend constexpr bool operator==(const FastOpenCookie& a, const FastOpenCookie& b) noexcept {
    return a.size == b.size && a.experimental == b.experimental &&
           std::equal(a.octets.begin(), a.octets.begin() + a.size, b.octets.begin());
  }
};

//= RFC 9768 §3.2.3
/// Bytes of text received by the ECN field of their packets, 24 bits each. The order tells which
/// counters are left away first.
struct AccEcnOption {
  bool order1 = false;     ///< kind 174: ECT(1), CE, ECT(0); else 172: ECT(0), CE, ECT(1)
  std::uint8_t count = 0;  ///< counters present, 0 to 3
  std::array<std::uint32_t, 3> fields;  ///< as on the wire; the first `count` count

  constexpr std::optional<std::uint32_t> field(std::size_t i) const noexcept {
    return i < count ? std::optional{fields[i]} : std::nullopt;
  }
  constexpr std::optional<std::uint32_t> ect0() const noexcept { return field(order1 ? 2 : 0); }
  constexpr std::optional<std::uint32_t> ce() const noexcept { return field(1); }
  constexpr std::optional<std::uint32_t> ect1() const noexcept { return field(order1 ? 0 : 2); }
  friend constexpr bool operator==(const AccEcnOption& a, const AccEcnOption& b) noexcept {
    return a.order1 == b.order1 && a.count == b.count &&
           std::equal(a.fields.begin(), a.fields.begin() + a.count, b.fields.begin());
  }
};

struct TcpOptions {
  std::optional<TcpTimestamps> timestamps;
  std::optional<std::uint16_t> mss;          ///< as sent: 0 and absurd values included
  std::optional<std::uint8_t> window_scale;  ///< as sent: may exceed 14 (RFC 7323 §2.3 clamps it)
  bool sack_permitted = false;
  SackBlocks sack;
  std::optional<FastOpenCookie> fast_open;
  /// RFC 5482: 15 bits, and above them whether they count minutes (else seconds).
  std::optional<std::uint16_t> user_timeout;
  std::optional<AccEcnOption> acc_ecn;
  friend constexpr bool operator==(const TcpOptions&, const TcpOptions&) noexcept = default;
};

/// NOP NOP TS(10): how nearly every segment after the handshake looks.
inline constexpr std::uint32_t kAlignedTimestamps = 0x0101080a;
inline constexpr std::size_t kAlignedTimestampsLen = 12;

namespace detail {
bool parse_tcp_options_slow(Bytes bytes, TcpOptions& options) noexcept;
}

/// Reads options from the bytes after the fixed TCP header; `options` is overwritten. Unknown
/// options, and known ones of a wrong length, are skipped; of duplicates the last counts (as
/// Linux). False if an option has length 0 or 1 or runs past the end: what came before is kept.
//= RFC 9293 §3.1 MUST-4 MUST-5 MUST-6 MUST-7
inline bool parse_tcp_options(Bytes bytes, TcpOptions& options) noexcept {
  options = TcpOptions{};
  if (bytes.empty()) return true;
  if (bytes.size() == kAlignedTimestampsLen && load_u32(bytes.data()) == kAlignedTimestamps) {
    options.timestamps = TcpTimestamps{load_u32(bytes.data() + 4), load_u32(bytes.data() + 8)};
    return true;
  }
  return detail::parse_tcp_options_slow(bytes, options);
}

namespace detail {
constexpr std::size_t fast_open_len(const FastOpenCookie& cookie) noexcept {
  return ((cookie.experimental ? 4U : 2U) + cookie.size + 3U) / 4 * 4;
}
constexpr std::size_t fixed_options_len(const TcpOptions& options) noexcept {
  std::size_t size = options.mss ? 4 : 0;
  if (options.timestamps) size += kAlignedTimestampsLen;
  if (options.sack_permitted && !options.timestamps) size += 4;
  if (options.window_scale) size += 4;
  if (options.fast_open) [[unlikely]]
    size += fast_open_len(*options.fast_open);
  // All else can leave no room for it.
  if (options.user_timeout && size + 4 <= kTcpMaxOptionsLen) [[unlikely]]
    size += 4;
  return size;
}
}  // namespace detail

/// How many of the SACK blocks fit beside the other options.
constexpr std::size_t sack_blocks_that_fit(const TcpOptions& options) noexcept {
  if (options.sack.empty()) return 0;
  const std::size_t fixed = detail::fixed_options_len(options);
  return fixed + 4 > kTcpMaxOptionsLen
             ? 0
             : std::min(options.sack.size(), (kTcpMaxOptionsLen - fixed - 4) / 8);
}

namespace detail {
constexpr std::size_t len_without_acc_ecn(const TcpOptions& options) noexcept {
  const std::size_t blocks = sack_blocks_that_fit(options);
  return fixed_options_len(options) + (blocks == 0 ? 0 : 4 + 8 * blocks);
}
constexpr std::optional<std::uint8_t> acc_ecn_fields(const TcpOptions& options,
                                                     std::size_t used) noexcept {
  if (used + 4 > kTcpMaxOptionsLen) return std::nullopt;
  const std::size_t room = (kTcpMaxOptionsLen - used - 2) / 3;
  return static_cast<std::uint8_t>(std::min<std::size_t>(options.acc_ecn->count, room));
}
constexpr std::size_t acc_ecn_len(const TcpOptions& options, std::size_t used) noexcept {
  const auto fields = acc_ecn_fields(options, used);
  return fields ? (2U + 3U * *fields + 3U) / 4 * 4 : 0U;
}
}  // namespace detail

/// Bytes that emit() will write: a multiple of 4, at most 40.
constexpr std::size_t options_len(const TcpOptions& options) noexcept {
  const std::size_t size = detail::len_without_acc_ecn(options);
  if (options.acc_ecn) [[unlikely]]
    return size + detail::acc_ecn_len(options, size);
  return size;
}

/// How many counters of the Accurate ECN option fit beside all else; nothing if not even it.
constexpr std::optional<std::uint8_t> acc_ecn_fields_that_fit(const TcpOptions& options) noexcept {
  if (!options.acc_ecn) return std::nullopt;
  return detail::acc_ecn_fields(options, detail::len_without_acc_ecn(options));
}

/// Writes the options as Linux lays them out, every multi-byte field aligned: MSS; SACK permitted
/// with timestamps, or NOP NOP timestamps, or NOP NOP SACK permitted; NOP window scale; Fast Open;
/// user timeout; NOP NOP SACK; Accurate ECN. A user timeout and blocks that do not fit are left
/// out, the last blocks first, and Accurate ECN has what they leave.
void emit(const TcpOptions& options, Writer& out) noexcept;

}  // namespace tidewire::wire
