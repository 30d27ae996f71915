// TCP_INFO in Linux's layout, which is longer than the C library's struct tcp_info.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/stack.hpp"

namespace tidewire::posix {

/// The bytes of Linux 6.18's answer to TCP_INFO. Times are microseconds, except `last_*`
/// (milliseconds) and `busy_time`, `*_limited` (microseconds); rates bytes a second.
struct LinuxTcpInfo {
  std::uint8_t state = 0, ca_state = 0, retransmits = 0, probes = 0, backoff = 0, options = 0;
  std::uint8_t snd_wscale : 4 = 0, rcv_wscale : 4 = 0;
  std::uint8_t delivery_rate_app_limited : 1 = 0, fastopen_client_fail : 2 = 0;
  std::uint32_t rto = 0, ato = 0, snd_mss = 0, rcv_mss = 0;
  std::uint32_t unacked = 0, sacked = 0, lost = 0, retrans = 0, fackets = 0;
  std::uint32_t last_data_sent = 0, last_ack_sent = 0, last_data_recv = 0, last_ack_recv = 0;
  std::uint32_t pmtu = 0, rcv_ssthresh = 0, rtt = 0, rttvar = 0, snd_ssthresh = 0, snd_cwnd = 0;
  std::uint32_t advmss = 0, reordering = 0, rcv_rtt = 0, rcv_space = 0, total_retrans = 0;
  std::uint64_t pacing_rate = 0, max_pacing_rate = 0, bytes_acked = 0, bytes_received = 0;
  std::uint32_t segs_out = 0, segs_in = 0, notsent_bytes = 0, min_rtt = 0;
  std::uint32_t data_segs_in = 0, data_segs_out = 0;
  std::uint64_t delivery_rate = 0, busy_time = 0, rwnd_limited = 0, sndbuf_limited = 0;
  std::uint32_t delivered = 0, delivered_ce = 0;
  std::uint64_t bytes_sent = 0, bytes_retrans = 0;
  std::uint32_t dsack_dups = 0, reord_seen = 0, rcv_ooopack = 0, snd_wnd = 0, rcv_wnd = 0;
  std::uint32_t rehash = 0;
  std::uint16_t total_rto = 0, total_rto_recoveries = 0;
  std::uint32_t total_rto_time = 0;
  std::uint32_t received_ce = 0, delivered_e1_bytes = 0, delivered_e0_bytes = 0;
  std::uint32_t delivered_ce_bytes = 0, received_e1_bytes = 0, received_e0_bytes = 0;
  std::uint32_t received_ce_bytes = 0;
  std::uint16_t accecn_fail_mode = 0, accecn_opt_seen = 0;
};
static_assert(offsetof(LinuxTcpInfo, total_retrans) == 100);
static_assert(offsetof(LinuxTcpInfo, delivery_rate) == 160);
static_assert(offsetof(LinuxTcpInfo, bytes_sent) == 200);
static_assert(sizeof(LinuxTcpInfo) == 280);

LinuxTcpInfo linux_tcp_info(const SocketInfo& about, Instant now);

}  // namespace tidewire::posix
