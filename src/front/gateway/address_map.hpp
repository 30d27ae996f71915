// Which host endpoint a virtual destination stands for.
#pragma once

#include "base/result.hpp"
#include "front/gateway/config.hpp"

namespace tidewire::gateway {

/// Where on the host `destination` is; or how the flow has to be rejected.
Result<Endpoint, ForwardReject> map_destination(const GatewayConfig& config, Protocol protocol,
                                                const Endpoint& destination);

/// The ICMP error or reset that tells a peer what the host's errno means.
ForwardReject reject_for(int error) noexcept;

/// The first IPv4 resolver (or the first of any family) named in resolv.conf text.
std::optional<Endpoint> parse_resolv_conf(std::string_view text);
/// That of this host; none if it names none.
std::optional<Endpoint> host_resolver();
/// Addresses of the host's interfaces, loopback left out.
std::vector<IpAddress> host_addresses();

}  // namespace tidewire::gateway
