// Socket options as values, whoever carries them out.
#pragma once

#include <cstdint>

#include "wire/address.hpp"

namespace tidewire::posix {

/// Socket options that reach a stack. The table in options.cpp maps them from (level, name).
enum class Option : std::uint8_t {
  none,
  no_delay,
  cork,
  quick_ack,
  max_segment,
  keep_alive,
  keep_idle,
  keep_interval,
  keep_count,
  user_timeout,
  syn_count,
  defer_accept,
  window_clamp,
  fin_timeout,
  unsent_low_water,
  fast_open,
  fast_open_connect,
  fast_open_no_cookie,
  reuse_address,
  reuse_port,
  broadcast,
  v6_only,
  ttl,
  tos,
  hop_limit,
  traffic_class,
  multicast_ttl,
  multicast_loop,
  multicast_hops,
  multicast_loop_v6,
  multicast_interface_v6,
  mtu_discover,
  max_pacing_rate,  ///< bytes per second as 32 bits; all ones: unlimited
  send_buffer,      ///< bytes the application asked for
  receive_buffer,   ///< bytes the application asked for
  linger,           ///< seconds, -1 for off
  receive_errors,
  receive_errors_v6,
  path_mtu,  ///< to the peer; can be read only
  last
};

/// Joining or leaving a multicast group, or choosing the outgoing interface of multicast.
struct Membership {
  enum class Action : std::uint8_t { join, leave, choose_interface };
  Action action = Action::join;
  IpAddress group;
  IpAddress interface_address;  ///< unspecified: any
  std::uint32_t interface_index = 0;
};

}  // namespace tidewire::posix
