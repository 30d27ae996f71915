// Source routes (RFC 791 §3.1, RFC 1122 §3.2.1.8(c)): what a host at the end of one does with it.
#pragma once

#include "base/bytes.hpp"
#include "wire/address.hpp"

namespace tidewire::icmp {

/// The options of a reply to a packet that came by a finished source route: the recorded route
/// backwards, without `own` and without naming the first hop twice. `header` is the received IP
/// header, its options have been checked. Writes to `out` (40 bytes) and returns what to put into
/// the reply, empty if there was no source route. `first_hop` becomes the destination to write
/// into the IP header; it is left alone if there is no route.
Bytes reverse_source_route(Bytes header, const IpAddress& own, MutBytes out,
                           IpAddress& first_hop) noexcept;

}  // namespace tidewire::icmp
