// Options and group membership of datagram sockets.
#include <algorithm>

#include "core/udp/sockets.hpp"

namespace tidewire::udp {

bool* Sockets::flag_of(Socket& socket, SocketOption option) noexcept {
  switch (option) {
    case SocketOption::reuse_address:
      return &socket.reuse_address;
    case SocketOption::reuse_port:
      return &socket.reuse_port;
    case SocketOption::broadcast:
      return &socket.broadcast;
    case SocketOption::multicast_loop:
      return &socket.multicast_loop;
    case SocketOption::receive_errors:
      return &socket.receive_errors;
    case SocketOption::v6_only:
      return &socket.v6_only;
    default:
      return nullptr;
  }
}

SocketResult<void> Sockets::set_buffers(Socket& socket, SocketOption option,
                                        std::int64_t value) noexcept {
  constexpr std::int64_t kMinimum = 2048;
  if (value < 0) return fail(SocketError::invalid);
  const auto size = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(value, kMinimum, context_.config.udp.buffer_max));
  (option == SocketOption::send_buffer ? socket.send_buffer : socket.receive_buffer) = size;
  update(socket);
  return {};
}

SocketResult<void> Sockets::set_option(SocketId id, SocketOption option,
                                       std::int64_t value) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (bool* flag = flag_of(*socket, option)) {
    const bool fixed =
        option == SocketOption::v6_only && (socket->bound || socket->family == Family::v4);
    if (fixed) return fail(SocketError::invalid);
    *flag = value != 0;
    return {};
  }
  const auto in_range = [value](std::int64_t low, std::int64_t high) {
    return value >= low && value <= high;
  };
  const auto set_octet = [&](std::uint8_t& field, std::int64_t low) -> SocketResult<void> {
    if (!in_range(low, 255)) return fail(SocketError::invalid);
    field = static_cast<std::uint8_t>(value);
    return {};
  };
  const auto set_interface = [&](InterfaceId& field) -> SocketResult<void> {
    if (value != kNoInterface && !in_range(0, ip_.interfaces().count() - 1)) {
      return fail(SocketError::invalid);
    }
    field = static_cast<InterfaceId>(value);
    return {};
  };
  switch (option) {
    case SocketOption::send_buffer:
    case SocketOption::receive_buffer:
      return set_buffers(*socket, option, value);
    case SocketOption::ttl:
      //= RFC 1122 §3.2.1.7
      return set_octet(socket->ttl, 1);
    case SocketOption::tos:
      return set_octet(socket->tos, 0);
    case SocketOption::multicast_ttl:
      return set_octet(socket->multicast_ttl, 1);
    case SocketOption::multicast_interface:
      return set_interface(socket->multicast_interface);
    case SocketOption::bound_interface:
      return set_interface(socket->bound_interface);
    case SocketOption::mtu_discover:
      if (!in_range(0, 3)) return fail(SocketError::invalid);
      socket->mtu_discover = static_cast<std::uint8_t>(value);
      return {};
    default:
      return fail(SocketError::not_supported);
  }
}

SocketResult<std::int64_t> Sockets::get_option(SocketId id, SocketOption option) const noexcept {
  const Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (const bool* flag = flag_of(const_cast<Socket&>(*socket), option)) return *flag ? 1 : 0;
  switch (option) {
    case SocketOption::send_buffer:
      return socket->send_buffer;
    case SocketOption::receive_buffer:
      return socket->receive_buffer;
    case SocketOption::ttl:
      return socket->ttl == 0 ? context_.config.ip.ttl : socket->ttl;
    case SocketOption::tos:
      return socket->tos;
    case SocketOption::multicast_ttl:
      return socket->multicast_ttl;
    case SocketOption::multicast_interface:
      return socket->multicast_interface;
    case SocketOption::bound_interface:
      return socket->bound_interface;
    case SocketOption::mtu_discover:
      return socket->mtu_discover;
    case SocketOption::mtu:
      if (!socket->connected) return fail(SocketError::not_connected);
      return ip_.path_mtu(socket->remote.address, socket->bound_interface);
    case SocketOption::accepting:
      return 0;
    case SocketOption::unsent:
    case SocketOption::unacked:
      return static_cast<std::int64_t>(socket->queued.payload());
    case SocketOption::unread:
      return socket->received.empty() ? 0
                                      : static_cast<std::int64_t>(socket->received.front().size());
    default:
      return fail(SocketError::not_supported);
  }
}

SocketResult<void> Sockets::join_group(SocketId id, const IpAddress& group,
                                       InterfaceId interface) noexcept {
  const Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (!group.is_multicast()) return fail(SocketError::invalid);
  const auto on = ip_.join_group(group, interface);
  if (!on) return fail(on.error());
  for (const Membership& member : memberships_) {
    if (member.socket != id || member.group != group || member.interface != *on) continue;
    ip_.leave_group(group, *on);
    return fail(SocketError::address_in_use);
  }
  if (!memberships_.push_back({id, group, *on})) {
    ip_.leave_group(group, *on);
    return fail(SocketError::no_buffers);
  }
  return {};
}

SocketResult<void> Sockets::leave_group(SocketId id, const IpAddress& group,
                                        InterfaceId interface) noexcept {
  if (get(id) == nullptr) return fail(SocketError::unknown_socket);
  for (std::size_t i = 0; i < memberships_.size(); ++i) {
    const Membership member = memberships_[i];
    if (member.socket != id || member.group != group) continue;
    if (interface != kNoInterface && interface != member.interface) continue;
    memberships_.erase(i);
    ip_.leave_group(group, member.interface);
    return {};
  }
  return fail(SocketError::address_not_available);
}

void Sockets::leave_all(Socket& socket) noexcept {
  for (std::size_t i = memberships_.size(); i-- > 0;) {
    const Membership member = memberships_[i];
    if (member.socket != socket.id) continue;
    memberships_.erase(i);
    ip_.leave_group(member.group, member.interface);
  }
}

}  // namespace tidewire::udp
