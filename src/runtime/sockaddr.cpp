#include "runtime/sockaddr.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace tidewire::runtime {

SocketAddress to_socket_address(const Endpoint& endpoint) noexcept {
  SocketAddress result;
  if (endpoint.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.address.v4_value());
    std::memcpy(&result.storage, &in, sizeof in);
    result.length = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    in.sin6_scope_id = endpoint.scope_id;
    std::memcpy(&in.sin6_addr, endpoint.address.octets().data(), 16);
    std::memcpy(&result.storage, &in, sizeof in);
    result.length = sizeof in;
  }
  return result;
}

Endpoint to_endpoint(const SocketAddress& address) noexcept {
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address.storage, sizeof in);
    return {IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port), 0};
  }
  if (address.storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address.storage, sizeof in);
    std::array<std::uint8_t, 16> octets{};
    std::copy_n(in.sin6_addr.s6_addr, octets.size(), octets.begin());
    return {IpAddress::v6(octets), ntohs(in.sin6_port), in.sin6_scope_id};
  }
  return {};
}

}  // namespace tidewire::runtime
