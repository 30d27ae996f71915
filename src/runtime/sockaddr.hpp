// Endpoints to and from the kernel's socket addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "wire/address.hpp"

namespace tidewire::runtime {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress to_socket_address(const Endpoint& endpoint) noexcept;
/// 0.0.0.0:0 for families other than IPv4 and IPv6.
Endpoint to_endpoint(const SocketAddress& address) noexcept;

}  // namespace tidewire::runtime
