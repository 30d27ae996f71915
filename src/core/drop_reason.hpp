// Why a packet was dropped. One counter each; peer input never causes anything louder.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidewire {

enum class DropReason : std::uint8_t {
  none = 0,
  // link
  frame_too_short,
  not_for_us_mac,
  unknown_ethertype,
  bad_frame_metadata,
  interface_down,
  // ARP
  arp_malformed,
  arp_not_for_us,
  arp_spoof,
  // IP
  ip_truncated,
  ip_bad_version,
  ip_bad_header_length,
  ip_bad_total_length,
  ip_bad_checksum,
  ip_bad_option,
  ip_bad_source,
  ip_martian,
  ip_not_for_us,
  ip_ttl_exceeded,
  ip_no_route,
  ip_unknown_protocol,
  ip_fragmentation_needed,
  ip_unsupported_header,
  // fragments
  fragment_bad_length,
  fragment_too_long,
  fragment_overlap,
  fragment_limit,
  fragment_timeout,
  fragment_ecn,
  // ICMP, IGMP
  icmp_truncated,
  icmp_bad_checksum,
  icmp_unknown_type,
  icmp_rate_limited,
  icmp_error_about_error,
  icmp_quote_mismatch,
  icmp_broadcast,
  igmp_malformed,
  // UDP
  udp_truncated,
  udp_bad_length,
  udp_bad_checksum,
  udp_no_port,
  udp_buffer_full,
  udp_port_zero,
  // TCP
  tcp_truncated,
  tcp_bad_offset,
  tcp_bad_checksum,
  tcp_bad_option,
  tcp_port_zero,
  tcp_no_socket,
  tcp_broadcast,
  tcp_bad_flags,
  tcp_bad_ack,
  tcp_out_of_window,
  tcp_paws,
  tcp_bad_reset,
  tcp_syn_in_window,
  tcp_backlog_full,
  tcp_accept_full,
  tcp_duplicate,
  tcp_no_ack,
  tcp_time_wait,
  tcp_out_of_order_limit,
  tcp_after_close,
  tcp_challenge_limited,
  // resources
  no_memory,
  outbox_full,
  neighbor_queue_full,
  neighbor_failed,
  neighbor_limit,
  flow_limit,
  count_,
};

/// "ip_bad_checksum" and so on; stable, used in reports and JSON.
std::string_view to_string(DropReason reason) noexcept;

}  // namespace tidewire
