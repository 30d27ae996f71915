// The timestamps option of one connection: clock, echo, PAWS (RFC 7323 §3 to §5).
#pragma once

#include <cstdint>
#include <optional>

#include "base/seq.hpp"
#include "base/time.hpp"

namespace tidewire::tcp {

/// Timestamp values of one connection. The clock ticks every millisecond (RFC 7323 §5.4) from a
/// random offset (§7). Used only if both sides sent the option in their SYN.
class Timestamps {
 public:
  /// TS.Recent is not trusted after this long without an update (§5.5).
  static constexpr Duration kRecentLifetime = Duration::seconds(24 * 86'400);

  /// Ticks by which a segment may have been overtaken, about a second. So little cannot be mistaken
  /// for a wrap of the sequence space (RFC 7323 §5.2) below 34 Gbit/s.
  static constexpr std::uint32_t kOvertaken = 1024;

  constexpr Timestamps() noexcept = default;
  explicit constexpr Timestamps(std::uint32_t offset) noexcept : offset_(offset) {}

  /// TSval of a segment sent now.
  constexpr std::uint32_t value(Instant now) const noexcept {
    return static_cast<std::uint32_t>(now.nanos() / 1'000'000) + offset_;
  }
  /// TSecr of a segment with ACK; 0 before anything was received.
  constexpr std::uint32_t echo() const noexcept { return valid_ ? recent_ : 0; }

  /// The TSval of the peer's SYN.
  constexpr void start(std::uint32_t tsval, Instant now) noexcept {
    recent_ = floor_ = tsval;
    recent_at_ = now;
    valid_ = true;
  }

  //= RFC 7323 §5.3 R1
  /// True if a segment with this TSval is older than what was seen and must be dropped with an ACK.
  /// Not to be asked for a RST.
  constexpr bool paws_reject(std::uint32_t tsval, Instant now) const noexcept {
    if (!valid_ || now.since(recent_at_) > kRecentLifetime) return false;
    return Seq{tsval}.before(Seq{floor_});
  }

  //= RFC 7323 §4.3
  /// For an acceptable segment: TS.Recent moves only if the segment covers the last ACK we sent.
  /// `gap`: data beyond rcv.nxt waits. The segment may be a retransmission then, which has
  /// overtaken data sent before it: that must not look old to PAWS, so what was TS.Recent before
  /// counts there, if it is not more than kOvertaken ticks ago.
  constexpr void on_segment(std::uint32_t tsval, Seq seg_seq, Seq last_ack_sent, bool gap,
                            Instant now) noexcept {
    const bool stale = !valid_ || now.since(recent_at_) > kRecentLifetime;
    if (!stale && Seq{tsval}.before(Seq{recent_})) return;
    if (seg_seq.after(last_ack_sent)) return;
    const Seq before{floor_};
    start(tsval, now);
    if (gap && !stale) floor_ = later(before, Seq{tsval} - kOvertaken).value();
  }

  /// The round trip that an ACK with this TSecr shows; nothing if the value cannot be ours. To be
  /// asked only for an ACK that advances snd.una (§4.1). Whole milliseconds; at least 1 ns.
  constexpr std::optional<Duration> round_trip(std::uint32_t tsecr, Instant now) const noexcept {
    const std::int32_t ticks = Seq::distance(Seq{tsecr}, Seq{value(now)});
    if (ticks < 0 || ticks > 24 * 3'600 * 1'000) return std::nullopt;
    return ticks == 0 ? Duration::nanos(500'000) : Duration::millis(ticks);
  }

  constexpr bool has_recent() const noexcept { return valid_; }
  constexpr std::uint32_t recent() const noexcept { return recent_; }
  constexpr Instant recent_at() const noexcept { return recent_at_; }
  constexpr std::uint32_t offset() const noexcept { return offset_; }

 private:
  Instant recent_at_;
  std::uint32_t offset_ = 0;
  std::uint32_t recent_ = 0;
  std::uint32_t floor_ = 0;  // nothing older is taken: recent_, or less while data is missing
  bool valid_ = false;
};

}  // namespace tidewire::tcp
