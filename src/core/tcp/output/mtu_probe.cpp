// Segments that are larger than the path is known to carry (RFC 4821, RFC 8899).
#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

//= RFC 4821 §7.4, §7.5
std::optional<std::uint16_t> Sender::mtu_probe_due(Connection& c, const Room& room) noexcept {
  // As Linux: only where loss would be noticed at once, and with a window that can spare a segment.
  constexpr std::uint32_t kLeastWindow = 11;
  constexpr std::uint32_t kBehind = Scoreboard::kDupThresh + 1;
  const LossRecovery& recovery = c.active->recovery;
  const std::uint32_t mss = Shared::eff_mss(c);
  if (c.mtu.probing() || recovery.phase() != RecoveryPhase::open || c.settings.mtu_discover == 0 ||
      recovery.scoreboard().sacked() != 0 || c.urgent_out ||
      c.active->cc.window() < std::uint64_t{kLeastWindow} * mss) {
    return std::nullopt;
  }
  const auto size = c.mtu.next(s.largest_mss(c), s.config().mtu_probe_interval, s.now());
  if (!size) return std::nullopt;
  const std::uint64_t needed = *size + std::uint64_t{kBehind} * mss;
  if (room.unsent < needed || room.usable < needed || c.active->cc.window() < *size) {
    return std::nullopt;
  }
  return size;
}

Sender::Step Sender::send_mtu_probe(Connection& c, const Room& room, std::uint16_t size) noexcept {
  Outgoing out;
  out.seq = c.snd.nxt;
  out.flags = wire::TcpFlag::ack;
  out.options = common_options(c);
  out.per_seg = out.text = size - static_cast<std::uint32_t>(wire::options_len(out.options));
  out.mtu_probe = true;
  // What is in flight makes room for it.
  if (room.allowed < out.text && c.active->recovery.in_flight() > 0) {
    c.active->cwnd_was_limited = true;
    c.active->cwnd_limited_until = c.snd.nxt;
    return Step::nothing;
  }
  const Step result = emit(c, out, false);
  if (result == Step::sent) c.mtu.on_sent(size);
  return result;
}

}  // namespace tidewire::tcp
