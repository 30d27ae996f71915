// The name under which the virtual network reaches its host.
#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "wire/address.hpp"

namespace tidewire::gateway {

/// If `query` is a DNS query (RFC 1035 §4) for exactly one name and that name is `name`, writes the
/// answer to `out` and returns its size: the address for A, no data for every other type. 0: not
/// ours, ask a real server.
std::size_t answer_for_host_name(Bytes query, std::string_view name, const IpAddress& address,
                                 MutBytes out) noexcept;

}  // namespace tidewire::gateway
