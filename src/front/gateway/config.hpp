// What the gateway may do and how much of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.hpp"
#include "core/types.hpp"
#include "wire/address.hpp"

namespace tidewire::gateway {

struct GatewayConfig {
  /// The gateway's own address on the link. Flows to it go to the host's 127.0.0.1.
  IpAddress address = IpAddress::v4(10, 0, 2, 2);
  /// The network behind the link: what is in it and nobody's does not exist. An empty one (/0)
  /// means none.
  IpCidr network;
  /// Where published ports lead that name no target.
  IpAddress default_target;
  /// DNS queries to this address go to the host's resolver.
  IpAddress resolver = IpAddress::v4(10, 0, 2, 3);
  /// The host's resolver; none: no DNS there.
  std::optional<Endpoint> host_resolver;
  /// This name resolves to `address`, whatever server is asked.
  std::string host_name = "host.tidewire";
  /// False: nothing behind the gateway reaches the host's own services.
  bool allow_host = true;
  /// The host's other addresses, which allow_host = false forbids as well.
  std::vector<IpAddress> host_addresses;

  std::size_t tcp_max = 4096;     ///< relayed connections
  std::size_t udp_max = 4096;     ///< flows (internal endpoint, destination)
  std::size_t udp_sockets = 512;  ///< host sockets: one for each internal endpoint
  std::size_t echo_max = 64;

  Duration tcp_established = Duration::seconds(7440);  ///< RFC 5382 REQ-5: at least 2 h 4 min
  Duration tcp_transitory = Duration::seconds(240);    ///< RFC 5382 REQ-5: at least 4 min
  Duration udp_idle = Duration::seconds(300);          ///< RFC 4787 REQ-5: 5 min recommended
  Duration udp_dns = Duration::seconds(30);    ///< RFC 4787 REQ-5 a: known ports may be shorter
  Duration echo_idle = Duration::seconds(60);  ///< RFC 5508 REQ-2: at least 60 s
};

/// What has been done, for summaries and tests.
struct GatewayCounters {
  std::uint64_t tcp_opened = 0, tcp_refused = 0, tcp_failed = 0, tcp_over_limit = 0;
  std::uint64_t tcp_timed_out = 0;
  std::uint64_t udp_opened = 0, udp_refused = 0, udp_over_limit = 0, udp_dropped = 0;
  std::uint64_t udp_timed_out = 0;
  std::uint64_t echo_opened = 0, echo_refused = 0;
  std::uint64_t published_opened = 0, forbidden = 0;
  std::uint64_t bytes_to_host = 0, bytes_from_host = 0;
};

}  // namespace tidewire::gateway
