// Sizes of segments that follow from the path: probes, and black holes.
#include <algorithm>

#include "core/tcp/shared.hpp"

namespace tidewire::tcp {
namespace {

/// As Linux min_snd_mss: whatever is configured, and however large the options.
constexpr std::uint16_t kLeastText = 48;

std::uint16_t with_options(const Connection& c, std::uint16_t text) noexcept {
  text = std::max(text, kLeastText);
  const std::uint32_t options = c.timestamps_on ? kTimestampOptionBytes : 0U;
  return static_cast<std::uint16_t>(std::min(text + options, 0xffffU));
}

}  // namespace

std::uint16_t Shared::largest_mss(const Connection& c) const noexcept {
  const std::uint16_t mss = std::min(c.snd.peer_mss, path_mss(c.tuple, c.settings.bound));
  return c.settings.max_segment != 0 ? std::min(mss, c.settings.max_segment) : mss;
}

void Shared::start_mtu_search(Connection& c) noexcept {
  if (config().mtu_probing != MtuProbing::always || c.settings.mtu_discover == 0) return;
  c.mtu.start(with_options(c, config().mtu_base), largest_mss(c), now());
  c.snd.mss = std::min(c.snd.mss, c.mtu.limit());
}

//= RFC 4821 §7.7; RFC 8899 §4.3
void Shared::suspect_black_hole(Connection& c) noexcept {
  if (config().mtu_probing == MtuProbing::never || c.settings.mtu_discover == 0) return;
  // Only what is as large as segments get can be too large.
  const auto first = c.active->recovery.scoreboard().first_segment();
  if (!first || first->size() + wire::kTcpMaxOptionsLen < eff_mss(c)) return;
  c.mtu.on_black_hole(c.snd.mss, with_options(c, config().mtu_base),
                      with_options(c, config().mtu_floor), largest_mss(c), now());
  (void)refresh_mss(c);
}

void Shared::on_mtu_probe(Connection& c, MtuProbe result) noexcept {
  if (result == MtuProbe::arrived) {
    c.mtu.on_arrived(now());
    (void)refresh_mss(c);
  } else {
    c.mtu.on_lost(now());
  }
  mark_ready(c);
}

}  // namespace tidewire::tcp
