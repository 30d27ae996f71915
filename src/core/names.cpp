// Stable names of the core's closed sets.
#include <array>

#include "core/drop_reason.hpp"
#include "core/socket_error.hpp"
#include "core/trace.hpp"

namespace tidewire {
namespace {

// clang-format off: one name a line would make this table longer than a function may be.
constexpr std::array<std::string_view, static_cast<std::size_t>(DropReason::count_)> kDropNames{
    "none", "frame_too_short", "not_for_us_mac", "unknown_ethertype", "bad_frame_metadata",
    "interface_down", "arp_malformed", "arp_not_for_us", "arp_spoof", "ip_truncated",
    "ip_bad_version", "ip_bad_header_length", "ip_bad_total_length", "ip_bad_checksum",
    "ip_bad_option", "ip_bad_source", "ip_martian", "ip_not_for_us", "ip_ttl_exceeded",
    "ip_no_route", "ip_unknown_protocol", "ip_fragmentation_needed", "ip_unsupported_header",
    "fragment_bad_length", "fragment_too_long", "fragment_overlap", "fragment_limit",
    "fragment_timeout", "fragment_ecn", "icmp_truncated", "icmp_bad_checksum", "icmp_unknown_type",
    "icmp_rate_limited", "icmp_error_about_error", "icmp_quote_mismatch", "icmp_broadcast",
    "igmp_malformed", "udp_truncated", "udp_bad_length", "udp_bad_checksum", "udp_no_port",
    "udp_buffer_full", "udp_port_zero", "tcp_truncated", "tcp_bad_offset", "tcp_bad_checksum",
    "tcp_bad_option", "tcp_port_zero", "tcp_no_socket", "tcp_broadcast", "tcp_bad_flags",
    "tcp_bad_ack", "tcp_out_of_window", "tcp_paws", "tcp_bad_reset", "tcp_syn_in_window",
    "tcp_backlog_full", "tcp_accept_full", "tcp_duplicate", "tcp_no_ack", "tcp_time_wait",
    "tcp_out_of_order_limit", "tcp_after_close", "tcp_challenge_limited", "no_memory",
    "outbox_full", "neighbor_queue_full", "neighbor_failed", "neighbor_limit", "flow_limit",
};
// clang-format on
static_assert(!kDropNames.back().empty());

constexpr std::array<std::string_view, 26> kSocketErrors{
    "no error",
    "would block",
    "in progress",
    "already in progress",
    "already connected",
    "not connected",
    "not bound",
    "invalid argument or state",
    "unknown socket",
    "not supported",
    "address in use",
    "address not available",
    "address family not supported",
    "access denied",
    "no buffers",
    "message too long",
    "connection refused",
    "connection reset",
    "connection aborted",
    "broken pipe",
    "timed out",
    "host unreachable",
    "network unreachable",
    "network down",
    "protocol error",
    "destination required",
};
static_assert(kSocketErrors.size() ==
              static_cast<std::size_t>(SocketError::destination_required) + 1);

constexpr std::array<std::string_view, 10> kLossCauses{
    "none",       "duplicate_acks", "sack",        "rto",      "rack",
    "tail_probe", "partial_ack",    "syn_timeout", "path_mtu", "window_probe",
};
constexpr std::array<std::string_view, 4> kUndoCauses{"none", "timestamps", "dsack", "frto"};
constexpr std::array<std::string_view, 11> kTcpStates{
    "CLOSED",     "LISTEN",     "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
    "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",  "LAST-ACK",     "TIME-WAIT",
};

template <typename E, std::size_t N>
std::string_view name_of(const std::array<std::string_view, N>& names, E value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view{"unknown"};
}

}  // namespace

std::string_view to_string(DropReason reason) noexcept { return name_of(kDropNames, reason); }
std::string_view to_string(SocketError error) noexcept { return name_of(kSocketErrors, error); }
std::string_view to_string(LossCause cause) noexcept { return name_of(kLossCauses, cause); }
std::string_view to_string(UndoCause cause) noexcept { return name_of(kUndoCauses, cause); }
std::string_view to_string(EcnMode mode) noexcept {
  switch (mode) {
    case EcnMode::off:
      return "off";
    case EcnMode::classic:
      return "classic";
    case EcnMode::accurate:
      return "accurate";
  }
  return "off";
}

std::string_view to_string(TcpState state) noexcept { return name_of(kTcpStates, state); }

}  // namespace tidewire
