// Which TCP options we offer, and what both sides together agreed on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/tcp/window.hpp"

namespace tidewire::tcp {

/// What we are willing to use.
struct OptionPolicy {
  bool timestamps = true;      ///< RFC 7323 §3
  bool sack = true;            ///< RFC 2018
  bool window_scaling = true;  ///< RFC 7323 §2
  WindowScale window_scale;    ///< the shift for our receive buffer
  std::uint16_t mss = 536;     ///< largest segment we can receive, in payload bytes
};

/// What the peer's SYN or SYN-ACK carried. Absent options are empty.
struct SynOptions {
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_shift;  ///< as received; above 14 counts as 14
  bool sack_permitted = false;
  std::optional<std::uint32_t> tsval;
};

/// What is in effect on a connection once both SYNs were seen.
struct Negotiated {
  bool timestamps = false;
  bool sack = false;
  bool scaling = false;
  WindowScale snd_scale;      ///< for windows we receive
  WindowScale rcv_scale;      ///< for windows we send
  std::uint16_t snd_mss = 0;  ///< largest payload to send before options are taken off
};

/// Bytes of each segment taken by options once timestamps are in effect: <NOP,NOP,TSopt>.
inline constexpr std::uint16_t kTimestampOptionBytes = 12;

//= RFC 7323 §2.2, §3.2; RFC 2018 §2; RFC 9293 §3.7.1
/// An option is in effect only if both sides sent it. Without an MSS option the peer's is
/// `default_mss` (536 for IPv4, 1220 for IPv6); a ridiculous value is raised to `min_mss`.
/// `path_mss` is what the outgoing path carries.
constexpr Negotiated negotiate(const OptionPolicy& ours, const SynOptions& theirs,
                               std::uint16_t path_mss, std::uint16_t default_mss = 536,
                               std::uint16_t min_mss = 88) noexcept {
  Negotiated n;
  n.timestamps = ours.timestamps && theirs.tsval.has_value();
  n.sack = ours.sack && theirs.sack_permitted;
  n.scaling = ours.window_scaling && theirs.window_shift.has_value();
  if (n.scaling) {
    n.snd_scale = WindowScale{*theirs.window_shift};
    n.rcv_scale = ours.window_scale;
  }
  n.snd_mss =
      std::min(std::max(theirs.mss.value_or(default_mss), min_mss), std::max(path_mss, min_mss));
  return n;
}

}  // namespace tidewire::tcp
