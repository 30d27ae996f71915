// rtnetlink and sock_diag as a virtual host answers them: getifaddrs, `ip`, `ss`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "front/posix/backend.hpp"

namespace tidewire::posix {

/// A socket as sock_diag lists it.
struct ListedSocket {
  Transport transport = Transport::tcp;
  int domain = 0;
  std::uint8_t state = 0;  ///< TCP_ESTABLISHED, ...
  Endpoint local;
  Endpoint remote;
  std::uint32_t receive_queue = 0;
  std::uint32_t send_queue = 0;
  std::uint64_t inode = 0;
};

/// What a netlink socket's replies are made from.
struct NetlinkHost {
  std::span<const InterfaceInfo> interfaces;
  std::span<const ListedSocket> sockets;
};

/// One datagram to the asking program.
using NetlinkReply = std::vector<std::byte>;

/// Answers the requests that one datagram to NETLINK_ROUTE holds, in order. `port` is the asker's.
/// What would change the host is refused with EPERM; lists that a virtual host does not have are
/// empty. Malformed messages end the datagram, as in the kernel.
std::vector<NetlinkReply> answer_route(Bytes requests, const NetlinkHost& host, std::uint32_t port);

/// The same for NETLINK_SOCK_DIAG: Internet sockets are those of the host; for other families
/// ENOENT, which makes programs look elsewhere.
std::vector<NetlinkReply> answer_diag(Bytes requests, const NetlinkHost& host, std::uint32_t port);

}  // namespace tidewire::posix
