// Every default of the stack, with its source. All of it can be set at run time.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.hpp"
#include "wire/shard_map.hpp"

namespace tidewire {

/// When a listener answers a SYN with a cookie instead of keeping a record (as tcp_syncookies).
enum class SynCookieUse : std::uint8_t { never, when_full, always };

/// TcpConfig::fast_open, as tcp_fastopen (RFC 7413).
enum FastOpenBits : std::uint32_t {
  kFastOpenClient = 0x1,
  kFastOpenServer = 0x2,            ///< for listeners with SocketOption::fast_open
  kFastOpenClientNoCookie = 0x4,    ///< data in a SYN without a cookie
  kFastOpenServerNoCookie = 0x200,  ///< takes data in a SYN without a cookie
  kFastOpenAllListeners = 0x400,    ///< listeners need no option: their backlog is the limit
};

/// Explicit congestion notification, with the numbers of Linux's tcp_ecn.
enum class EcnUse : std::uint8_t {
  never,     ///< not even when asked
  request,   ///< ask for it, and agree when asked
  accept,    ///< agree when asked
  accurate,  ///< RFC 9768: ask for accurate feedback, and agree to it or to plain ECN
};

/// Path MTU by probing with segments, with the numbers of Linux's tcp_mtu_probing.
enum class MtuProbing : std::uint8_t {
  never,
  black_hole,  ///< once full segments have timed out again and again: start small and grow
  always,      ///< start small and grow
};

struct TcpConfig {
  Duration rto_initial = Duration::seconds(1);          ///< RFC 6298 §2.1
  Duration rto_min = Duration::millis(200);             ///< RFC 6298 §2.4 says 1 s; as Linux
  Duration rto_max = Duration::seconds(120);            ///< RFC 6298 §2.5: at least 60 s
  Duration delayed_ack = Duration::millis(40);          ///< RFC 9293 §3.8.6.3: below 500 ms
  std::uint32_t initial_window_segments = 10;           ///< RFC 6928
  Duration msl = Duration::seconds(30);                 ///< RFC 9293 §3.4.2 has 2 min; as Linux
  Duration fin_wait_2_timeout = Duration::seconds(60);  ///< once no owner is left; as Linux
  std::uint8_t syn_retries = 6;                         ///< R2 of an active open; as Linux (127 s)
  std::uint8_t syn_ack_retries = 5;                     ///< as Linux
  std::uint8_t retries_r1 = 3;                          ///< RFC 9293 §3.8.3 (MUST-20)
  std::uint8_t retries_r2 = 15;                         ///< as Linux; RFC 1122: at least 100 s
  std::uint8_t orphan_retries = 8;                      ///< R2 once no owner is left
  Duration keep_idle = Duration::seconds(7200);         ///< RFC 9293 §3.8.4 (MUST-28)
  Duration keep_interval = Duration::seconds(75);
  std::uint8_t keep_count = 9;
  std::uint32_t send_buffer = 87'040;  ///< starting size; grows to the maximum
  std::uint32_t send_buffer_max = 4U << 20;
  std::uint32_t receive_buffer = 131'072;  ///< starting size; grows to the maximum
  std::uint32_t receive_buffer_max = 6U << 20;
  std::size_t buffer_memory_max = SIZE_MAX;  ///< of all stream buffers; the provider has its own
  bool window_scaling = true;                ///< RFC 7323 §2
  bool timestamps = true;                    ///< RFC 7323 §3
  bool timestamps_required = false;          ///< RFC 7323 §3.2 drops segments without; as Linux
  bool sack = true;                          ///< RFC 2018
  bool rack = true;                          ///< RFC 8985; false: RFC 6675
  bool slow_start_after_idle = true;         ///< RFC 5681 §4.1; as Linux
  std::uint8_t burst_segments_min = 2;       ///< leave in one piece however slow; as Linux
  bool undo = true;   ///< reductions after what was no loss are taken back (RFC 3522, 3708, 4015)
  bool frto = true;   ///< RFC 5682: sees needless timeouts without timestamps
  bool nagle = true;  ///< RFC 9293 §3.7.4
  /// Segments of the usual kind take a short way through the stack. Without it the same comes out
  /// step by step: to compare.
  bool prediction = true;
  EcnUse ecn = EcnUse::accept;  ///< RFC 3168; as Linux
  /// RFC 4821. Linux has `never`; a connection that would hang for ever goes on with this.
  MtuProbing mtu_probing = MtuProbing::black_hole;
  std::uint16_t mtu_base = 1024;                         ///< bytes of text; as Linux tcp_base_mss
  std::uint16_t mtu_floor = 88;                          ///< bytes of text; Linux has 48
  Duration mtu_probe_interval = Duration::seconds(600);  ///< RFC 8899 §5.1.1; as Linux
  std::uint32_t challenge_ack_per_second = 10;           ///< RFC 5961 §7, per connection
  /// SYN-RECEIVED records of a listener; its backlog is a limit too (as Linux).
  std::uint32_t half_open_max = 4096;
  SynCookieUse syn_cookies = SynCookieUse::when_full;  ///< RFC 4987 §3.6; as Linux
  bool abort_on_overflow = false;             ///< RST when the accept queue is full; as Linux: off
  std::uint32_t fast_open = kFastOpenClient;  ///< FastOpenBits; as Linux
  std::uint32_t fast_open_entries = 1024;     ///< cookies of servers (RFC 7413 §4.1.3)
  Duration fast_open_retry = Duration::seconds(60);  ///< after data in SYNs was lost twice
  bool user_timeout_option = false;  ///< RFC 5482: send and obey; Linux has no such option
  /// What sockets without a user timeout of their own advise: as long as 15 retransmissions take.
  Duration user_timeout_advice = Duration::seconds(924);
  Duration user_timeout_least = Duration::seconds(100);  ///< of what a peer may ask for (§3.1)
  Duration user_timeout_most = Duration::seconds(3600);
  std::uint32_t somaxconn = 4096;  ///< greatest accept backlog
  std::uint32_t time_wait_max = 262'144;
  std::uint32_t out_of_order_max = 5461;  ///< islands a connection keeps; 64 KiB at most
  std::string_view congestion_control = "cubic";
};

struct IpConfig {
  std::uint8_t ttl = 64;                                ///< RFC 1122 §3.2.1.7
  std::uint8_t multicast_ttl = 1;                       ///< RFC 1112 §6.1
  bool forwarding = false;                              ///< RFC 1122 §3.3.1.1: off by default
  std::uint32_t reassembly_bytes = 4U << 20;            ///< as Linux ipfrag_high_thresh
  Duration reassembly_timeout = Duration::seconds(60);  ///< RFC 1122 §3.3.2: 60 to 120 s
  std::uint32_t reassembly_queues = 1024;
  std::uint32_t path_mtu_entries = 4096;
  Duration path_mtu_age = Duration::seconds(600);  ///< RFC 1191 §6.3
  std::uint16_t path_mtu_min = 552;                ///< as Linux min_pmtu
  std::uint32_t neighbor_entries = 1024;
  Duration neighbor_reachable = Duration::seconds(30);
  Duration neighbor_stale = Duration::seconds(60);  ///< RFC 1122 §2.3.2.1
  Duration neighbor_retry = Duration::seconds(1);   ///< RFC 1122 §2.3.2.1: at most one a second
  std::uint8_t neighbor_probes = 3;
  std::uint32_t neighbor_queue_bytes = 65'536 + 4096;  ///< held for one unresolved neighbor
  std::uint32_t icmp_per_second = 1000;                ///< whole stack, RFC 1812 §4.3.2.8
  std::uint32_t icmp_burst = 50;
  bool echo_broadcast = false;            ///< RFC 1122 §3.2.2.6
  bool accept_redirects = true;           ///< RFC 1122 §3.2.2.2
  std::uint32_t redirect_entries = 256;   ///< host routes learned from redirects
  std::uint32_t outbox_bytes = 1U << 20;  ///< of an interface: replies and forwarded packets
};

struct UdpConfig {
  std::uint32_t send_buffer = 212'992;  ///< as Linux net.core.wmem_default
  std::uint32_t receive_buffer = 212'992;
  std::uint32_t buffer_max = 16U << 20;
  std::uint32_t datagrams_max = 4096;
};

struct PortConfig {
  std::uint16_t ephemeral_first = 32'768;  ///< as Linux ip_local_port_range
  std::uint16_t ephemeral_last = 60'999;
};

/// One of several stacks with the same addresses, each with its part of the flows. Whoever gives it
/// frames gives it those of its own flows (wire/steering.hpp).
struct ShardConfig {
  std::uint32_t index = 0;  ///< below map.count
  wire::ShardMap map;  ///< the same in all of them; its ephemeral ports are those of PortConfig
};

struct StackConfig {
  TcpConfig tcp;
  IpConfig ip;
  UdpConfig udp;
  PortConfig ports;
  ShardConfig shard;
  std::uint32_t sockets_max = 1U << 20;
  std::uint32_t flows_pending_max = 4096;      ///< forward flows that wait for a decision
  Duration timer_accuracy = Duration::zero();  ///< how late on_timeout may come (pacing bursts)
  std::uint32_t timeouts_per_call = 1024;      ///< expiries one on_timeout handles
};

}  // namespace tidewire
