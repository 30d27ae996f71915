// What socket options set on one TCP socket. Accepted sockets inherit them from their listener.
#pragma once

#include <cstdint>
#include <limits>

#include "base/time.hpp"
#include "core/config.hpp"
#include "wire/frame.hpp"

namespace tidewire::tcp {

struct Settings {
  static constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint64_t kUnpacedRate = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t max_pacing_rate = kUnpacedRate;  ///< bytes per second
  std::uint32_t keep_idle_ms = 0;
  std::uint32_t keep_interval_ms = 0;
  std::uint32_t user_timeout_ms = 0;  ///< 0: R2 by count (RFC 9293 §3.8.3, RFC 5482)
  std::int32_t linger_ms = -1;        ///< -1: off
  std::int32_t linger2_ms = -1;       ///< FIN-WAIT-2 of an orphan; -1: the configured time
  std::uint32_t send_buffer = 0;
  std::uint32_t receive_buffer = 0;
  std::uint32_t receive_low_water = 1;
  std::uint32_t not_sent_low_water = kUnlimited;
  std::uint32_t window_clamp = kUnlimited;
  std::uint16_t max_segment = 0;        ///< 0: what the interface carries
  std::uint16_t fast_open_pending = 0;  ///< of a listener: fast opens whose handshake goes on
  InterfaceId bound = kNoInterface;
  std::uint8_t keep_count = 0;
  std::uint8_t syn_count = 0;  ///< of SYNs and SYN-ACKs; 0: as configured
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;           ///< 0: the configured default
  std::uint8_t mtu_discover = 1;  ///< IP_PMTUDISC_*: 0 don't, 1 want, 2 do, 3 probe
  std::uint8_t defer_accept = 0;  ///< SYN-ACK timeouts for which a bare ACK makes no connection
  bool reuse_address : 1 = false;
  bool reuse_port : 1 = false;
  bool keep_alive : 1 = false;  //= RFC 9293 §3.8.4 MUST-25
  bool oob_inline : 1 = false;
  bool v6_only : 1 = false;
  bool no_delay : 1 = false;
  bool cork : 1 = false;
  bool receive_errors : 1 = false;
  bool send_buffer_set : 1 = false;     ///< no automatic growth
  bool receive_buffer_set : 1 = false;  ///< no automatic growth
  bool fast_open_connect : 1 = false;
  bool fast_open_no_cookie : 1 = false;
  bool user_timeout_option : 1 = false;

  friend bool operator==(const Settings&, const Settings&) noexcept = default;

  static Settings from(const TcpConfig& config) noexcept {
    Settings s;
    s.keep_idle_ms = static_cast<std::uint32_t>(config.keep_idle.count_millis());
    s.keep_interval_ms = static_cast<std::uint32_t>(config.keep_interval.count_millis());
    s.keep_count = config.keep_count;
    s.send_buffer = config.send_buffer;
    s.receive_buffer = config.receive_buffer;
    s.no_delay = !config.nagle;
    s.user_timeout_option = config.user_timeout_option;
    return s;
  }
};
static_assert(sizeof(Settings) <= 64);

}  // namespace tidewire::tcp
