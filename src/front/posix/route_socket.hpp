// Asks the kernel to configure the interfaces of this process's network namespace (rtnetlink).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "front/posix/fd.hpp"
#include "wire/address.hpp"

namespace tidewire::posix {

/// All calls return 0 or an errno value. The socket stays in the namespace it was opened in.
class RouteSocket {
 public:
  /// Null descriptor on failure, with errno.
  static RouteSocket open();
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  /// Makes an interface that takes every packet and gives none.
  int add_dummy(const std::string& name, const MacAddress& mac, std::uint32_t mtu);
  /// Makes a pair of interfaces; `peer` appears in the network namespace that `peer_namespace` is.
  int add_veth(const std::string& name, const MacAddress& mac, std::uint32_t mtu,
               const std::string& peer, const MacAddress& peer_mac, int peer_namespace);
  /// Without address resolution every packet is sent to the interface's own address.
  int set_up(unsigned index, bool address_resolution = true);
  int set_mtu(unsigned index, std::uint32_t mtu);
  int add_address(unsigned index, const IpCidr& address);
  int add_default_route(unsigned index, const IpAddress& gateway);

 private:
  class Request;
  int ask(Request& request);
  Fd fd_;
  std::uint32_t sequence_ = 0;
};

}  // namespace tidewire::posix
