// How long a connection waits for its peer, and what the peers tell each other of it (RFC 5482).
#include <algorithm>

#include "core/tcp/shared.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint16_t kMinutes = 0x8000;  // the granularity bit
constexpr std::int64_t kMost = 0x7fff;

Duration time_of(std::uint16_t option) noexcept {
  const std::int64_t count = option & kMost;
  return Duration::seconds((option & kMinutes) != 0 ? count * 60 : count);
}

/// Not less than `time`, if the option can say so much.
std::uint16_t option_of(Duration time) noexcept {
  const std::int64_t seconds = std::max<std::int64_t>((time.count_millis() + 999) / 1000, 1);
  if (seconds <= kMost) return static_cast<std::uint16_t>(seconds);
  return static_cast<std::uint16_t>(std::min((seconds + 59) / 60, kMost) | kMinutes);
}

}  // namespace

Duration Shared::user_timeout(const Connection& c) const noexcept {
  // Once the application has decided the peer's advice counts no more (CHANGEABLE).
  if (c.settings.user_timeout_ms != 0) return Duration::millis(c.settings.user_timeout_ms);
  if (c.peer_user_timeout == 0 || !c.settings.user_timeout_option) return Duration::zero();
  const Duration asked = std::max({time_of(user_timeout_advice(c.settings)),
                                   time_of(c.peer_user_timeout), config().user_timeout_least});
  return std::min(asked, config().user_timeout_most);
}

std::uint16_t Shared::user_timeout_advice(const Settings& settings) const noexcept {
  return option_of(settings.user_timeout_ms != 0 ? Duration::millis(settings.user_timeout_ms)
                                                 : config().user_timeout_advice);
}

void Shared::advise_user_timeout(Connection& c) noexcept {
  if (!c.settings.user_timeout_option || !c.syn_acked || !is_synchronized(c.state)) return;
  if (c.state == TcpState::time_wait) return;
  c.owe_user_timeout = true;
  mark_ready(c);
}

}  // namespace tidewire::tcp
