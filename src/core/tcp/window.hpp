// Windows as types, so that a wire value and a byte count cannot be mixed up.
#pragma once

#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>

#include "base/seq.hpp"

namespace tidewire::tcp {

/// The shift of RFC 7323 §2; at most 14, a greater one is taken as 14 (§2.3).
class WindowScale {
 public:
  static constexpr std::uint8_t kMax = 14;
  constexpr WindowScale() noexcept = default;
  explicit constexpr WindowScale(std::uint8_t shift) noexcept : shift_(std::min(shift, kMax)) {}
  constexpr std::uint8_t shift() const noexcept { return shift_; }
  /// The smallest shift that can express `buffer_bytes` in the window field.
  static constexpr WindowScale for_buffer(std::uint64_t buffer_bytes) noexcept {
    const auto width = static_cast<int>(std::bit_width(buffer_bytes));
    const int shift = std::clamp(width - 16, 0, int{kMax});
    const bool fits = std::uint64_t{0xffff} << shift >= buffer_bytes;
    return WindowScale{static_cast<std::uint8_t>(fits ? shift : shift + 1)};
  }
  friend constexpr bool operator==(WindowScale, WindowScale) noexcept = default;

 private:
  std::uint8_t shift_ = 0;
};

/// The window field as it is on the wire. Without a scale (in a SYN) it counts bytes.
struct WireWindow {
  std::uint16_t value = 0;
  friend constexpr bool operator==(WireWindow, WireWindow) noexcept = default;
};

/// A window in bytes, at most 2^30 (RFC 7323 §2.2).
class Window {
 public:
  static constexpr std::uint32_t kMax = std::uint32_t{1} << 30;
  constexpr Window() noexcept = default;
  explicit constexpr Window(std::uint64_t bytes) noexcept
      : bytes_(static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, kMax))) {}
  constexpr std::uint32_t bytes() const noexcept { return bytes_; }
  friend constexpr auto operator<=>(Window, Window) noexcept = default;

 private:
  std::uint32_t bytes_ = 0;
};

constexpr Window operator<<(WireWindow wire, WindowScale scale) noexcept {
  return Window{std::uint64_t{wire.value} << scale.shift()};
}
/// Rounded down, and clamped to the field.
constexpr WireWindow operator>>(Window window, WindowScale scale) noexcept {
  return {
      static_cast<std::uint16_t>(std::min<std::uint32_t>(window.bytes() >> scale.shift(), 0xffff))};
}

/// What we offer the peer: keeps the right edge from moving left (RFC 9293 SHLD-14) and opens it in
/// steps worth sending (silly-window avoidance, RFC 9293 §3.8.6.2.2).
class ReceiveWindow {
 public:
  constexpr ReceiveWindow() noexcept = default;
  /// Before the first advertisement: the window starts at `rcv_nxt` and is closed.
  explicit constexpr ReceiveWindow(Seq rcv_nxt) noexcept : edge_(rcv_nxt) {}

  /// The first sequence number that the peer has not been allowed to send.
  constexpr Seq edge() const noexcept { return edge_; }
  /// Bytes the peer may still send, seen from rcv.nxt.
  constexpr std::uint32_t usable(Seq rcv_nxt) const noexcept {
    return edge_.after(rcv_nxt) ? Seq::span(rcv_nxt, edge_) : 0;
  }
  /// What would be advertised now, in bytes. `free` is the room in the buffer after rcv.nxt,
  /// `capacity` the size of the whole buffer, `mss` what we expect per segment.
  constexpr Window offer(Seq rcv_nxt, std::uint64_t free, std::uint64_t capacity,
                         std::uint32_t mss) const noexcept {
    const std::uint32_t current = usable(rcv_nxt);
    const Window wanted{free};
    const std::uint64_t step = std::min<std::uint64_t>(capacity / 2, mss);
    if (wanted.bytes() < current + step) return Window{current};
    return wanted;
  }
  /// True if advertising now would tell the peer something worth a segment of its own: the window
  /// was closed below a segment and can open, or it can at least double by two segments or more.
  constexpr bool worth_update(Seq rcv_nxt, std::uint64_t free, std::uint64_t capacity,
                              std::uint32_t mss) const noexcept {
    const std::uint64_t now = usable(rcv_nxt);
    const std::uint64_t next = offer(rcv_nxt, free, capacity, mss).bytes();
    if (next <= now) return false;
    if (now < mss) return true;
    return next - now >= std::min<std::uint64_t>(
                             capacity / 2, std::max<std::uint64_t>(2 * std::uint64_t{mss}, now));
  }
  /// The field for a segment that is really sent, and the new edge. The wire rounds down to the
  /// scale; where that would take back what was promised it is rounded up instead (RFC 7323 §2.4).
  constexpr WireWindow advertise(Seq rcv_nxt, Window window, WindowScale scale) noexcept {
    WireWindow wire = window >> scale;
    if ((wire << scale).bytes() < usable(rcv_nxt) && wire.value < 0xffff) ++wire.value;
    const Seq edge = rcv_nxt + (wire << scale).bytes();
    if (edge.after(edge_)) edge_ = edge;
    return wire;
  }

 private:
  Seq edge_;
};

}  // namespace tidewire::tcp
