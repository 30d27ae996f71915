// IPv4 options (RFC 791 §3.1, RFC 1122 §3.2.1.8): what a host does with source routes, recorded
// routes and timestamps. All functions take options that wire::scan_ipv4_options has accepted.
#pragma once

#include <array>
#include <optional>

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "wire/address.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::ip {

/// Options of one header: at most 40 bytes.
struct OptionBytes {
  std::array<std::byte, wire::kIpv4MaxOptionsLen> bytes{};
  std::uint8_t size = 0;
  Bytes view() const noexcept { return Bytes{bytes}.first(size); }
};

/// True if a source route still names a host to go to.
bool source_route_pending(Bytes options) noexcept;

/// Options of a caller who sends to `destination`. If they hold a source route, its first address
/// is the first hop, taken out of it, and `destination` its last.
struct OutgoingOptions {
  OptionBytes options;
  std::optional<IpAddress> first_hop;
};
/// Empty if the options are malformed, too long or hold two source routes.
std::optional<OutgoingOptions> prepare_options(Bytes options,
                                               const IpAddress& destination) noexcept;

/// Options of an echo reply from `own` to the sender of a request with this IP header: a finished
/// source route backwards and without repetition, recorded route and timestamps as received with
/// this host added. `first_hop` is set if the reply must go another way than to the sender.
OutgoingOptions reply_options(Bytes header, const IpAddress& own, Instant now) noexcept;

/// Adds this host to a recorded route and to timestamps, in place. Returns false if a timestamp
/// option has no room and its overflow counter is full (RFC 791: an error).
bool record_hop(MutBytes options, const IpAddress& own, Instant now) noexcept;

}  // namespace tidewire::ip
