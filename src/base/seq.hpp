// TCP sequence numbers: arithmetic modulo 2^32.
#pragma once

#include <cstdint>

namespace tidewire {

/// A 32-bit sequence number (RFC 9293 §3.4). There is no operator<: "less" is not transitive on a
/// circle. All operations are total and never throw.
class Seq {
 public:
  constexpr Seq() noexcept = default;
  explicit constexpr Seq(std::uint32_t value) noexcept : value_(value) {}
  constexpr std::uint32_t value() const noexcept { return value_; }

  /// True if this comes before `other` (is less than half the circle behind it).
  constexpr bool before(Seq other) const noexcept { return distance(*this, other) > 0; }
  constexpr bool after(Seq other) const noexcept { return other.before(*this); }
  constexpr bool at_or_before(Seq other) const noexcept { return !after(other); }
  constexpr bool at_or_after(Seq other) const noexcept { return !before(other); }
  /// True if this lies in [start, start + size).
  constexpr bool in_window(Seq start, std::uint32_t size) const noexcept {
    return value_ - start.value_ < size;
  }
  /// Signed distance from `from` to `to`: positive if `to` is ahead.
  static constexpr std::int32_t distance(Seq from, Seq to) noexcept {
    return static_cast<std::int32_t>(to.value_ - from.value_);
  }
  /// Bytes from `from` forward to `to`, as an unsigned count.
  static constexpr std::uint32_t span(Seq from, Seq to) noexcept { return to.value_ - from.value_; }

  friend constexpr bool operator==(Seq, Seq) noexcept = default;
  friend constexpr Seq operator+(Seq s, std::uint32_t n) noexcept { return Seq{s.value_ + n}; }
  friend constexpr Seq operator-(Seq s, std::uint32_t n) noexcept { return Seq{s.value_ - n}; }
  constexpr Seq& operator+=(std::uint32_t n) noexcept {
    value_ += n;
    return *this;
  }

 private:
  std::uint32_t value_ = 0;
};

constexpr Seq later(Seq a, Seq b) noexcept { return a.before(b) ? b : a; }
constexpr Seq earlier(Seq a, Seq b) noexcept { return a.before(b) ? a : b; }

}  // namespace tidewire
