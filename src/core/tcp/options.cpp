// Socket options and names.
#include <algorithm>

#include "core/tcp/sockets.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kLeastBuffer = 2304;
constexpr std::int64_t kMostBuffer = std::int64_t{256} << 20;
constexpr std::int64_t kMostMillis = 0x7fffffff;

std::uint32_t to_millis(std::int64_t nanos) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp((nanos + kMilli - 1) / kMilli, std::int64_t{0}, kMostMillis));
}
std::uint32_t to_size(std::int64_t value) noexcept {
  return static_cast<std::uint32_t>(std::clamp(value, kLeastBuffer, kMostBuffer));
}
std::uint32_t to_u32(std::int64_t value) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(value, 0, std::int64_t{Settings::kUnlimited}));
}

/// TCP_DEFER_ACCEPT counts SYN-ACK timeouts, as Linux: as many as make up the time, and the time
/// that these make up.
std::uint8_t to_timeouts(std::int64_t nanos, const TcpConfig& config) noexcept {
  if (nanos <= 0) return 0;
  std::uint8_t count = 1;
  Duration wait = config.rto_initial;
  for (Duration sum = wait; sum.count_nanos() < nanos && count < 255; ++count) {
    wait = std::min(wait * 2, config.rto_max);
    sum += wait;
  }
  return count;
}
std::int64_t from_timeouts(std::uint8_t count, const TcpConfig& config) noexcept {
  Duration sum;
  Duration wait = config.rto_initial;
  for (; count > 0; --count) {
    sum += wait;
    wait = std::min(wait * 2, config.rto_max);
  }
  return sum.count_nanos();
}

}  // namespace

/// What Nagle's algorithm, a cork or MSG_MORE holds back leaves now; as Linux, once also of a cork
/// that stays.
void Sockets::release_held(Connection& c) noexcept {
  if (c.active == nullptr) return;
  c.active->more = false;
  c.override_sws = !c.fin_sent && c.snd.nxt != end_of_data(c);
  s.mark_ready(c);
}

bool Sockets::set_flag(Connection& c, SocketOption option, bool on) noexcept {
  Settings& o = c.settings;
  switch (option) {
    case SocketOption::reuse_address:
      o.reuse_address = on;
      return true;
    case SocketOption::reuse_port:
      o.reuse_port = on;
      return true;
    case SocketOption::oob_inline:
      o.oob_inline = on;
      return true;
    case SocketOption::receive_errors:
      o.receive_errors = on;
      return true;
    //= RFC 9293 §3.7.4 MUST-17
    case SocketOption::no_delay:
      o.no_delay = on;
      if (on) release_held(c);
      return true;
    case SocketOption::cork:
      o.cork = on;
      if (!on) release_held(c);
      return true;
    //= RFC 9293 §3.8.4 MUST-24
    case SocketOption::keep_alive:
      o.keep_alive = on;
      if (on && is_synchronized(c.state)) {
        s.arm(c, TimerKind::keepalive, s.now() + Duration::millis(o.keep_idle_ms));
      } else if (!on) {
        s.disarm(c, TimerKind::keepalive);
      }
      return true;
    case SocketOption::user_timeout_option:
      o.user_timeout_option = on;
      s.advise_user_timeout(c);
      return true;
    case SocketOption::quick_ack:
      c.ack.quick(on ? AckPolicy::kQuickSegments : std::uint8_t{0});
      if (on && c.ack.delayed()) {
        c.ack.now();
        s.mark_ready(c);
      }
      return true;
    default:
      return false;
  }
}

bool Sockets::set_size(Connection& c, SocketOption option, std::int64_t value) noexcept {
  Settings& o = c.settings;
  switch (option) {
    case SocketOption::send_buffer:
      o.send_buffer = to_size(value);
      o.send_buffer_set = true;
      if (c.active != nullptr) c.active->snd_ring.set_limit(o.send_buffer);
      return true;
    case SocketOption::receive_buffer:
      o.receive_buffer = to_size(value);
      o.receive_buffer_set = true;
      if (c.active != nullptr) c.active->rcv_ring.set_limit(o.receive_buffer);
      return true;
    case SocketOption::receive_low_water:
      o.receive_low_water = std::max(1U, to_u32(value));
      return true;
    case SocketOption::not_sent_low_water:
      o.not_sent_low_water = value == 0 ? Settings::kUnlimited : to_u32(value);
      return true;
    case SocketOption::window_clamp:
      o.window_clamp =
          value == 0 ? Settings::kUnlimited : std::max<std::uint32_t>(to_u32(value), 1152);
      return true;
    case SocketOption::max_pacing_rate:
      o.max_pacing_rate = value <= 0 ? Settings::kUnpacedRate : static_cast<std::uint64_t>(value);
      Shared::update_pacing(c);
      s.mark_ready(c);
      return true;
    case SocketOption::keep_idle:
      o.keep_idle_ms = std::max(1U, to_millis(value));
      if (s.armed(c, TimerKind::keepalive) && c.probes == 0) {
        s.arm(c, TimerKind::keepalive,
              later(c.last_received + Duration::millis(o.keep_idle_ms), s.now()));
      }
      return true;
    case SocketOption::keep_interval:
      o.keep_interval_ms = std::max(1U, to_millis(value));
      return true;
    case SocketOption::user_timeout:
      o.user_timeout_ms = to_millis(value);
      s.advise_user_timeout(c);
      return true;
    case SocketOption::defer_accept:
      o.defer_accept = to_timeouts(value, s.config());
      return true;
    case SocketOption::linger:
      o.linger_ms = value < 0 ? -1 : static_cast<std::int32_t>(to_millis(value));
      return true;
    case SocketOption::linger2:
      o.linger2_ms = value < 0 ? -1 : static_cast<std::int32_t>(to_millis(value));
      return true;
    default:
      return false;
  }
}

SocketResult<void> Sockets::set_option(Connection& c, SocketOption option,
                                       std::int64_t value) noexcept {
  if (set_flag(c, option, value != 0) || set_size(c, option, value)) {
    s.update_events(c);
    return {};
  }
  Settings& o = c.settings;
  const auto in = [value](std::int64_t low, std::int64_t high) noexcept {
    return value >= low && value <= high;
  };
  switch (option) {
    case SocketOption::v6_only:
      if (!c.family_v6) return fail(SocketError::not_supported);
      if (c.bind != 0) return fail(SocketError::invalid);
      o.v6_only = value != 0;
      return {};
    case SocketOption::bound_interface:
      if (!in(0, kNoInterface)) return fail(SocketError::invalid);
      o.bound = static_cast<InterfaceId>(value);
      return {};
    //= RFC 9293 §3.9.2 MUST-49
    case SocketOption::ttl:
      if (!in(0, 255)) return fail(SocketError::invalid);
      o.ttl = static_cast<std::uint8_t>(value);
      return {};
    //= RFC 9293 §3.9.1.9 MUST-48
    case SocketOption::tos:
      if (!in(0, 255)) return fail(SocketError::invalid);
      // As Linux: the ECN field is TCP's own.
      o.tos = wire::with_ecn(static_cast<std::uint8_t>(value), wire::Ecn::not_ect);
      return {};
    case SocketOption::mtu_discover:
      if (!in(0, 5)) return fail(SocketError::invalid);
      o.mtu_discover = static_cast<std::uint8_t>(value);
      return {};
    case SocketOption::max_segment:
      if (value != 0 && !in(88, 32'767)) return fail(SocketError::invalid);
      o.max_segment = static_cast<std::uint16_t>(value);
      return {};
    case SocketOption::keep_count:
      if (!in(1, 127)) return fail(SocketError::invalid);
      o.keep_count = static_cast<std::uint8_t>(value);
      return {};
    case SocketOption::syn_count:
      if (!in(1, 127)) return fail(SocketError::invalid);
      o.syn_count = static_cast<std::uint8_t>(value);
      return {};
    case SocketOption::fast_open:
    case SocketOption::fast_open_connect:
    case SocketOption::fast_open_no_cookie:
      return set_fast_open(c, option, value);
    case SocketOption::broadcast:
      return {};  // without meaning for a stream, but not an error
    default:
      return fail(SocketError::not_supported);
  }
}

std::optional<std::int64_t> Sockets::get_flag(const Connection& c,
                                              SocketOption option) const noexcept {
  const Settings& o = c.settings;
  switch (option) {
    case SocketOption::reuse_address:
      return o.reuse_address;
    case SocketOption::reuse_port:
      return o.reuse_port;
    case SocketOption::broadcast:
      return 0;
    case SocketOption::keep_alive:
      return o.keep_alive;
    case SocketOption::oob_inline:
      return o.oob_inline;
    case SocketOption::v6_only:
      return o.v6_only;
    case SocketOption::receive_errors:
      return o.receive_errors;
    case SocketOption::no_delay:
      return o.no_delay;
    case SocketOption::cork:
      return o.cork;
    case SocketOption::quick_ack:
      return c.ack.is_quick();
    case SocketOption::fast_open_connect:
      return o.fast_open_connect;
    case SocketOption::fast_open_no_cookie:
      return o.fast_open_no_cookie;
    case SocketOption::user_timeout_option:
      return o.user_timeout_option;
    default:
      return std::nullopt;
  }
}

std::optional<std::int64_t> Sockets::get_size(const Connection& c,
                                              SocketOption option) const noexcept {
  const Settings& o = c.settings;
  const auto sized = [](std::uint32_t v) noexcept {
    return v == Settings::kUnlimited ? std::int64_t{0} : std::int64_t{v};
  };
  switch (option) {
    case SocketOption::linger:
      return o.linger_ms < 0 ? -1 : o.linger_ms * kMilli;
    case SocketOption::linger2:
      return o.linger2_ms < 0 ? s.config().fin_wait_2_timeout.count_nanos() : o.linger2_ms * kMilli;
    case SocketOption::send_buffer:
      return c.active != nullptr ? static_cast<std::int64_t>(c.active->snd_ring.limit())
                                 : std::int64_t{o.send_buffer};
    case SocketOption::receive_buffer:
      return c.active != nullptr ? static_cast<std::int64_t>(c.active->rcv_ring.limit())
                                 : std::int64_t{o.receive_buffer};
    case SocketOption::receive_low_water:
      return o.receive_low_water;
    case SocketOption::not_sent_low_water:
      return sized(o.not_sent_low_water);
    case SocketOption::window_clamp:
      return sized(o.window_clamp);
    case SocketOption::max_pacing_rate:
      return o.max_pacing_rate == Settings::kUnpacedRate
                 ? -1
                 : static_cast<std::int64_t>(o.max_pacing_rate);
    case SocketOption::bound_interface:
      return o.bound;
    case SocketOption::ttl:
      return o.ttl == 0 ? s.ctx.config.ip.ttl : o.ttl;
    case SocketOption::tos:
      return o.tos;
    case SocketOption::mtu_discover:
      return o.mtu_discover;
    case SocketOption::keep_idle:
      return o.keep_idle_ms * kMilli;
    case SocketOption::keep_interval:
      return o.keep_interval_ms * kMilli;
    case SocketOption::keep_count:
      return o.keep_count;
    case SocketOption::user_timeout:
      return o.user_timeout_ms * kMilli;
    case SocketOption::syn_count:
      return o.syn_count != 0 ? o.syn_count : s.config().syn_retries;
    case SocketOption::fast_open:
      return o.fast_open_pending;
    case SocketOption::defer_accept:
      return from_timeouts(o.defer_accept, s.config());
    default:
      return std::nullopt;
  }
}

std::optional<std::int64_t> Sockets::get_state(const Connection& c,
                                               SocketOption option) const noexcept {
  const Active* a = c.active;
  switch (option) {
    case SocketOption::accepting:
      return c.state == TcpState::listen;
    case SocketOption::max_segment:
      return c.connected ? Shared::eff_mss(c)
                         : (c.settings.max_segment != 0 ? c.settings.max_segment : 536);
    case SocketOption::mtu:
      if (!c.connected) return std::nullopt;
      return s.out.path_mtu(c.tuple.remote_address(), c.settings.bound);
    case SocketOption::unsent:
      if (a == nullptr || c.fin_sent) return 0;
      return std::max(Seq::distance(c.snd.nxt, end_of_data(c)), 0);  // after a reset nothing waits
    case SocketOption::unacked:
      return a == nullptr ? 0 : static_cast<std::int64_t>(a->snd_ring.size());
    case SocketOption::unread: {
      if (a == nullptr) return 0;
      const auto mark = bytes_to_mark(c);
      const auto size = static_cast<std::int64_t>(a->rcv_ring.size());
      if (!mark || c.settings.oob_inline) return size;
      // As Linux: up to the mark, and the urgent octet is not part of it.
      return *mark > 0 ? std::min<std::int64_t>(*mark, size) : std::max<std::int64_t>(size - 1, 0);
    }
    case SocketOption::urgent_mark:
      return bytes_to_mark(c) == 0U;
    default:
      return std::nullopt;
  }
}

SocketResult<std::int64_t> Sockets::get_option(const Connection& c,
                                               SocketOption option) const noexcept {
  if (const auto v = get_flag(c, option)) return *v;
  if (const auto v = get_size(c, option)) return *v;
  if (const auto v = get_state(c, option)) return *v;
  return fail(option == SocketOption::mtu ? SocketError::not_connected
                                          : SocketError::not_supported);
}

SocketResult<void> Sockets::set_congestion_control(Connection& c, std::string_view name) noexcept {
  const std::string_view known = s.controllers.known(name);
  if (known.empty()) return fail(SocketError::invalid);
  if (c.active != nullptr) {
    Active& a = *c.active;
    const std::uint64_t cwnd = a.cc.window();
    // A recovery that goes on ends at the threshold: there must be one.
    const std::uint64_t ssthresh =
        a.recovery.in_recovery() ? std::min(a.cc.ssthresh(), cwnd) : a.cc.ssthresh();
    const auto made = s.controllers.make(known, s.controller_config(c, cwnd, ssthresh));
    if (!made) return fail(SocketError::invalid);
    a.cc = *made;
    Shared::update_pacing(c);
    s.mark_ready(c);
  }
  c.controller = known;
  return {};
}

SocketResult<Endpoint> Sockets::local_endpoint(const Connection& c) const noexcept {
  return Endpoint{shown(c, c.tuple.local_address()), c.tuple.local_port, 0};
}

SocketResult<Endpoint> Sockets::remote_endpoint(const Connection& c) const noexcept {
  if (c.tuple.remote_port == 0 || !(c.connected || c.state == TcpState::syn_received) ||
      (c.state == TcpState::closed)) {
    return fail(SocketError::not_connected);
  }
  return Endpoint{shown(c, c.tuple.remote_address()), c.tuple.remote_port, 0};
}

}  // namespace tidewire::tcp
