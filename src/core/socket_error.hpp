// Every way a socket call or a connection can fail. One table in front/posix maps these to errno.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidewire {

enum class SocketError : std::uint8_t {
  none = 0,
  would_block,  ///< nothing to read, no room to write, or a connect is under way
  in_progress,  ///< connect started
  already,      ///< connect is under way already
  is_connected,
  not_connected,
  not_bound,       ///< a call that needs a local address has none
  invalid,         ///< does not fit the socket's state, or an argument is out of range
  unknown_socket,  ///< the id is stale
  not_supported,   ///< this kind of socket has no such call or option
  address_in_use,
  address_not_available,  ///< not an address of this host, no ephemeral port is left, or answers
                          ///< to the port that was bound would come to another shard
  address_family,         ///< IPv6 address on an IPv4 socket or the other way round
  access_denied,          ///< broadcast without the broadcast option
  no_buffers,             ///< out of memory or over a limit
  message_too_long,
  connection_refused,  ///< RST to our SYN, or ICMP port unreachable
  connection_reset,    ///< RST
  connection_aborted,  ///< a ready connection died before accept, or a local abort
  broken_pipe,         ///< write after the sending side was shut down
  timed_out,           ///< R2, user timeout or keepalive
  host_unreachable,
  network_unreachable,
  network_down,
  protocol_error,  ///< ICMP parameter problem or protocol unreachable
  destination_required,
};

/// A short English text for a diagnostic, such as "connection refused".
std::string_view to_string(SocketError error) noexcept;

}  // namespace tidewire
