// Byte spans and the two cursors that are the only way wire code touches bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace tidewire {

using Bytes = std::span<const std::byte>;
using MutBytes = std::span<std::byte>;

/// Reads big-endian fields from the front of a span. Reading past the end yields zeros and latches
/// `ok() == false`; it never touches memory outside the span.
class Reader {
 public:
  explicit constexpr Reader(Bytes bytes) noexcept : rest_(bytes) {}

  constexpr bool ok() const noexcept { return ok_; }
  constexpr std::size_t remaining() const noexcept { return rest_.size(); }
  constexpr Bytes rest() const noexcept { return rest_; }

  constexpr std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number(1)); }
  constexpr std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  constexpr std::uint32_t u32() noexcept { return static_cast<std::uint32_t>(number(4)); }
  constexpr std::uint64_t u64() noexcept { return number(8); }

  /// The next n bytes as a view into the source, or an empty span (and not ok) if fewer are left.
  constexpr Bytes take(std::size_t n) noexcept {
    if (n > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const Bytes taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }
  constexpr void skip(std::size_t n) noexcept { (void)take(n); }

 private:
  constexpr std::uint64_t number(std::size_t width) noexcept {
    std::uint64_t value = 0;
    for (const std::byte b : take(width)) value = value << 8 | std::to_integer<std::uint64_t>(b);
    return value;
  }

  Bytes rest_;
  bool ok_ = true;
};

/// Writes big-endian fields to the front of a span. Writing past the end writes nothing and latches
/// `ok() == false`.
class Writer {
 public:
  explicit constexpr Writer(MutBytes bytes) noexcept : all_(bytes) {}

  constexpr bool ok() const noexcept { return ok_; }
  constexpr std::size_t written() const noexcept { return at_; }
  constexpr std::size_t remaining() const noexcept { return all_.size() - at_; }
  /// What has been written so far; mutable, so that a checksum can be patched in.
  constexpr MutBytes so_far() const noexcept { return all_.first(at_); }

  constexpr void u8(std::uint8_t v) noexcept { number(v, 1); }
  constexpr void u16(std::uint16_t v) noexcept { number(v, 2); }
  constexpr void u32(std::uint32_t v) noexcept { number(v, 4); }
  constexpr void u64(std::uint64_t v) noexcept { number(v, 8); }

  constexpr void bytes(Bytes source) noexcept {
    const MutBytes target = reserve(source.size());
    std::copy_n(source.begin(), target.size(), target.begin());
  }
  constexpr void fill(std::size_t n, std::byte value) noexcept {
    for (std::byte& b : reserve(n)) b = value;
  }
  /// Hands out the next n bytes to be written in place; empty (and not ok) if fewer are left.
  constexpr MutBytes reserve(std::size_t n) noexcept {
    if (n > remaining()) {
      ok_ = false;
      return {};
    }
    const MutBytes target = all_.subspan(at_, n);
    at_ += n;
    return target;
  }
  /// Overwrites an already written 16-bit field at `offset`.
  constexpr void patch_u16(std::size_t offset, std::uint16_t v) noexcept {
    if (offset + 2 > at_) {
      ok_ = false;
      return;
    }
    all_[offset] = static_cast<std::byte>(v >> 8);
    all_[offset + 1] = static_cast<std::byte>(v & 0xff);
  }

 private:
  constexpr void number(std::uint64_t v, std::size_t width) noexcept {
    const MutBytes target = reserve(width);
    for (std::size_t i = 0; i < target.size(); ++i) {
      target[i] = static_cast<std::byte>(v >> (8 * (width - 1 - i)) & 0xff);
    }
  }

  MutBytes all_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

inline Bytes as_bytes(const void* data, std::size_t size) noexcept {
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace tidewire
