// What the stack counts. Plain numbers, read through Stack::counters().
#pragma once

#include <array>
#include <cstdint>

#include "core/drop_reason.hpp"

namespace tidewire {

struct Counters {
  std::array<std::uint64_t, static_cast<std::size_t>(DropReason::count_)> drops{};

  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t ip_in = 0, ip_out = 0, ip_forwarded = 0;
  std::uint64_t ip_fragments_in = 0, ip_reassembled = 0, ip_fragments_out = 0;
  std::uint64_t icmp_in = 0, icmp_out = 0, arp_in = 0, arp_out = 0, igmp_in = 0, igmp_out = 0;
  std::uint64_t udp_in = 0, udp_out = 0;
  std::uint64_t tcp_segs_in = 0, tcp_segs_out = 0, tcp_resets_in = 0, tcp_resets_out = 0;
  std::uint64_t tcp_predicted_in = 0, tcp_predicted_out = 0;  ///< of these, by the short way
  std::uint64_t tcp_active_opens = 0, tcp_passive_opens = 0, tcp_attempt_fails = 0;
  std::uint64_t tcp_retransmits = 0, tcp_fast_retransmits = 0, tcp_timeouts = 0;
  std::uint64_t tcp_dsacks_in = 0, tcp_spurious = 0, tcp_spurious_retransmits = 0,
                tcp_challenge_acks = 0;
  std::uint64_t tcp_cookies_sent = 0, tcp_cookies_received = 0, tcp_cookies_failed = 0;
  std::uint64_t tcp_defer_accept_drops = 0;
  std::uint64_t tcp_icmp_out_of_window = 0;  ///< errors about what a connection had not in flight
  // When memory ran out: connections that lost what lay beyond a gap, whose buffers shrank;
  // handshakes and TIME-WAIT records that were given up.
  std::uint64_t tcp_shed_out_of_order = 0, tcp_shed_excess = 0;
  std::uint64_t tcp_shed_half_open = 0, tcp_shed_time_wait = 0;
  // RFC 7413: data in our SYNs acknowledged, or not; in SYNs of peers taken, or not.
  std::uint64_t tcp_fast_open_active = 0, tcp_fast_open_active_fails = 0;
  std::uint64_t tcp_fast_open_passive = 0, tcp_fast_open_passive_fails = 0;
  std::uint64_t tcp_fast_open_overflows = 0, tcp_fast_open_requests = 0;

  std::uint64_t dropped(DropReason reason) const noexcept {
    return drops[static_cast<std::size_t>(reason)];
  }
  void drop(DropReason reason) noexcept { ++drops[static_cast<std::size_t>(reason)]; }
  std::uint64_t dropped_total() const noexcept {
    std::uint64_t total = 0;
    for (const std::uint64_t n : drops) total += n;
    return total;
  }
};

}  // namespace tidewire
