// TCP options: RFC 9293 §3.1, 7323 (timestamps, window scale), 2018 (SACK).
#pragma once

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

struct TcpOptions {
  std::optional<TcpTimestamps> timestamps;
  std::optional<std::uint16_t> mss;          ///< as sent: 0 and absurd values included
  std::optional<std::uint8_t> window_scale;  ///< as sent: may exceed 14 (RFC 7323 §2.3 clamps it)
  bool sack_permitted = false;
  SackBlocks sack;
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
constexpr std::size_t fixed_options_len(const TcpOptions& options) noexcept {
  std::size_t size = options.mss ? 4 : 0;
  if (options.timestamps) size += kAlignedTimestampsLen;
  if (options.sack_permitted && !options.timestamps) size += 4;
  if (options.window_scale) size += 4;
  return size;
}
}  // namespace detail

/// How many of the SACK blocks fit beside the other options.
constexpr std::size_t sack_blocks_that_fit(const TcpOptions& options) noexcept {
  const std::size_t fixed = detail::fixed_options_len(options);
  return std::min(options.sack.size(), (kTcpMaxOptionsLen - fixed - 4) / 8);
}

/// Bytes that emit() will write: a multiple of 4, at most 40.
constexpr std::size_t options_len(const TcpOptions& options) noexcept {
  const std::size_t blocks = sack_blocks_that_fit(options);
  return detail::fixed_options_len(options) + (blocks == 0 ? 0 : 4 + 8 * blocks);
}

/// Writes the options as Linux lays them out, every multi-byte field aligned: MSS; SACK permitted
/// with timestamps, or NOP NOP timestamps, or NOP NOP SACK permitted; NOP window scale; NOP NOP
/// SACK. Blocks that do not fit are left out, the last ones first.
void emit(const TcpOptions& options, Writer& out) noexcept;

}  // namespace tidewire::wire
