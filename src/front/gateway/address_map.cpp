#include "front/gateway/address_map.hpp"

#include <ifaddrs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

namespace {

constexpr std::uint16_t kDnsPort = 53;

bool is_host_itself(const GatewayConfig& config, const IpAddress& address) {
  return address.is_loopback() || address.is_unspecified() ||
         std::ranges::find(config.host_addresses, address) != config.host_addresses.end();
}

/// One that runs on this host is a port of it.
bool may_ask_resolver(const GatewayConfig& config) {
  return config.allow_host || !is_host_itself(config, config.host_resolver->address);
}

}  // namespace

Result<Endpoint, ForwardReject> map_destination(const GatewayConfig& config, Protocol protocol,
                                                const Endpoint& destination) {
  const bool tcp = protocol == Protocol::tcp;
  if (destination.address == config.resolver) {
    if (destination.port != kDnsPort || !config.host_resolver || !may_ask_resolver(config)) {
      return fail(ForwardReject::port_unreachable);
    }
    return *config.host_resolver;
  }
  const bool to_gateway = destination.address == config.address;
  // A resolver on the host's loopback (systemd-resolved) is meant by DNS queries to the gateway.
  if (to_gateway && destination.port == kDnsPort && config.host_resolver &&
      config.host_resolver->address.is_loopback() && may_ask_resolver(config)) {
    return *config.host_resolver;
  }
  if (to_gateway || is_host_itself(config, destination.address)) {
    if (!config.allow_host) return fail(tcp ? ForwardReject::reset : ForwardReject::prohibited);
    return Endpoint{to_gateway ? IpAddress::loopback(Family::v4) : destination.address,
                    destination.port, 0};
  }
  if (config.network.prefix_len != 0 && config.network.contains(destination.address)) {
    return fail(ForwardReject::host_unreachable);
  }
  if (destination.address.is_multicast() || destination.address.is_limited_broadcast()) {
    return fail(ForwardReject::network_unreachable);
  }
  return destination;
}

ForwardReject reject_for(int error) noexcept {
  switch (error) {
    case ENETUNREACH:
    case ENETDOWN:
    case EAFNOSUPPORT:
      return ForwardReject::network_unreachable;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ETIMEDOUT:
    case EADDRNOTAVAIL:
      return ForwardReject::host_unreachable;
    case EACCES:
    case EPERM:
      return ForwardReject::prohibited;
    default:
      return ForwardReject::reset;
  }
}

std::optional<Endpoint> parse_resolv_conf(std::string_view text) {
  std::optional<Endpoint> first;
  constexpr std::string_view kKey = "nameserver";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos) continue;
    line.remove_prefix(start);
    if (!line.starts_with(kKey)) continue;
    line.remove_prefix(kKey.size());
    const std::size_t value = line.find_first_not_of(" \t");
    if (value == 0 || value == std::string_view::npos) continue;
    line.remove_prefix(value);
    line = line.substr(0, line.find_first_of(" \t\r#;"));
    const auto address = parse_ip(line);
    if (!address) continue;
    if (address->is_v4()) return Endpoint{*address, kDnsPort, 0};
    if (!first) first = Endpoint{*address, kDnsPort, 0};
  }
  return first;
}

std::optional<Endpoint> host_resolver() {
  std::ifstream file("/etc/resolv.conf");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_resolv_conf(text);
}

std::vector<IpAddress> host_addresses() {
  std::vector<IpAddress> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    runtime::SocketAddress address;
    std::memcpy(&address.storage, entry->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const IpAddress ip = runtime::to_endpoint(address).address;
    if (!ip.is_loopback()) found.push_back(ip);
  }
  freeifaddrs(list);
  return found;
}

}  // namespace tidewire::gateway
