// Small public types of the core: handles, events, options.
#pragma once

#include <compare>
#include <cstdint>

#include "base/time.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire {

enum class Protocol : std::uint8_t { icmp = 1, igmp = 2, tcp = 6, udp = 17, icmpv6 = 58 };

enum class SocketKind : std::uint8_t { none, tcp, udp, icmp };

/// Names a socket until Stack::close, also after a reset; a stale one is recognised
/// (SocketError::unknown_socket).
struct SocketId {
  SocketKind kind = SocketKind::none;
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  friend constexpr auto operator<=>(const SocketId&, const SocketId&) noexcept = default;
  constexpr explicit operator bool() const noexcept { return kind != SocketKind::none; }
};

struct FiveTuple {
  Protocol protocol = Protocol::tcp;
  Endpoint local;
  Endpoint remote;
  friend constexpr bool operator==(const FiveTuple&, const FiveTuple&) noexcept = default;
};

/// A flow that waits for Stack::forward_accept, forward_reject or forward_drop.
struct FlowId {
  Protocol protocol = Protocol::tcp;
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  friend constexpr auto operator<=>(const FlowId&, const FlowId&) noexcept = default;
};

/// Level bits of a socket. They describe a condition, not an edge.
enum EventBits : std::uint16_t {
  kReadable = 1 << 0,    ///< data, a datagram, a connection to accept, end of stream or an error
  kWritable = 1 << 1,    ///< room to send (a third of the buffer: hysteresis) or an error
  kConnected = 1 << 2,   ///< the handshake has completed
  kPeerClosed = 1 << 3,  ///< FIN received: reading ends after what is buffered
  kError = 1 << 4,       ///< take_error() has something
  kClosed = 1 << 5,      ///< both directions are done, or the connection was aborted
  kUrgent = 1 << 6,      ///< urgent data is pending
  kErrorQueue = 1 << 7,  ///< take_error_info() has something
};

struct Event {
  enum class Kind : std::uint8_t { socket, forward };
  Kind kind = Kind::socket;
  SocketId socket;         ///< kind == socket
  std::uint16_t bits = 0;  ///< EventBits true now
  FlowId flow;             ///< kind == forward
  FiveTuple tuple;         ///< kind == forward; `local` is what the peer wants to reach
  InterfaceId interface = kNoInterface;
};

enum class ForwardReject : std::uint8_t {
  reset,  ///< TCP RST (for UDP: port unreachable)
  port_unreachable,
  host_unreachable,
  network_unreachable,
  prohibited,
};

/// What to do with unmatched flows that arrive on an interface.
struct ForwardPolicy {
  bool tcp = false;
  bool udp = false;
  bool icmp_echo = false;
  /// Also flows to the stack's own addresses that no socket wants (else: RST, port unreachable).
  bool include_local = false;
};

enum class ShutdownHow : std::uint8_t { read, write, both };

/// Integer options of a socket. Durations are nanoseconds, sizes bytes, booleans 0 or 1.
enum class SocketOption : std::uint8_t {
  reuse_address,
  reuse_port,
  broadcast,
  keep_alive,
  linger,  ///< -1: off; else nanoseconds, 0: RST on close
  send_buffer,
  receive_buffer,
  receive_low_water,
  oob_inline,
  v6_only,
  bound_interface,
  ttl,
  tos,
  multicast_ttl,
  multicast_loop,
  multicast_interface,
  mtu_discover,  ///< as IP_PMTUDISC_*: 0 don't, 1 want, 2 do, 3 probe
  mtu,
  receive_errors,  ///< IP_RECVERR
  no_delay,
  cork,
  max_segment,
  keep_idle,
  keep_interval,
  keep_count,
  user_timeout,
  syn_count,
  linger2,
  quick_ack,
  defer_accept,
  not_sent_low_water,
  window_clamp,
  fast_open,            ///< of a listener: pending fast opens at most; 0: none
  fast_open_connect,    ///< connect waits for the first data if a cookie is known
  fast_open_no_cookie,  ///< neither side of this socket needs a cookie
  max_pacing_rate,      ///< bytes per second; <= 0: unlimited
  user_timeout_option,  ///< 1: the option of RFC 5482 is sent, and the peer's obeyed
  // read only
  accepting,    ///< 1 for a listener
  unsent,       ///< SIOCOUTQNSD
  unacked,      ///< SIOCOUTQ
  unread,       ///< FIONREAD
  urgent_mark,  ///< SIOCATMARK
};

/// Why text did not travel with a SYN, with the numbers of tcp_info::tcpi_fastopen_client_fail.
enum class FastOpenFailure : std::uint8_t { none, no_cookie, not_acknowledged, retransmitted };

enum class LinkState : std::uint8_t { down, up };

enum class Transmit : std::uint8_t { idle, budget_spent, blocked };

struct TxBudget {
  std::uint32_t frames = 64;
  std::uint64_t bytes = 4U << 20;
};

/// What the two ends of a connection agreed on about explicit congestion notification.
enum class EcnMode : std::uint8_t {
  off,
  classic,   ///< RFC 3168: ECE until CWR
  accurate,  ///< RFC 9768: packets and bytes are counted
};

std::string_view to_string(EcnMode mode) noexcept;

/// RFC 9293 §3.3.2.
enum class TcpState : std::uint8_t {
  closed,
  listen,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait,
};

}  // namespace tidewire
