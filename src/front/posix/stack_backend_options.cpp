// Options of the stack backend.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/abi/errno_map.hpp"
#include "front/abi/stack_options.hpp"
#include "front/abi/tcp_info.hpp"
#include "front/posix/stack_backend.hpp"

namespace tidewire::posix {

int StackBackend::set_option(SocketRef socket, Option option, int value, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  e->options[option] = value;
  const bool stream = e->transport == Transport::tcp;
  // Streams have no multicast; the interface of multicast has its own call for IPv4.
  if (option == Option::multicast_interface_v6) {
    const InterfaceId chosen = interface_of(static_cast<std::uint32_t>(value), {});
    if (value != 0 && chosen == kNoInterface) return ENODEV;
    if (stream) return 0;
    const auto done = stack_.set_option(e->id, SocketOption::multicast_interface, chosen, now);
    return done ? 0 : errno_of(done.error());
  }
  // The stack has one error queue for both families.
  if (option == Option::receive_errors || option == Option::receive_errors_v6) {
    value = e->options[Option::receive_errors] | e->options[Option::receive_errors_v6];
  }
  return set_stack_option(stack_, e->id, option, value, now);
}

Result<int, int> StackBackend::get_option(SocketRef socket, Option option) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(ENOPROTOOPT);
  if (option == Option::receive_errors || option == Option::receive_errors_v6) {
    return e->options[option];
  }
  return get_stack_option(stack_, e->id, option);
}

int StackBackend::set_fast_open_keys(SocketRef socket, Bytes keys, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const auto done = stack_.set_fast_open_keys(e->id, keys, now);
  return done ? 0 : errno_of(done.error());
}

std::size_t StackBackend::fast_open_keys(SocketRef socket, MutBytes out) {
  Entry* e = entry(socket);
  return e == nullptr ? 0 : stack_.fast_open_keys(e->id, out).value_or(0);
}

int StackBackend::set_congestion(SocketRef socket, std::string_view name) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  return stack_.set_congestion_control(e->id, name, now_) ? 0 : ENOENT;
}

std::string StackBackend::congestion(SocketRef socket) {
  Entry* e = entry(socket);
  const auto about = e == nullptr ? std::nullopt : stack_.info(e->id);
  if (!about) return {};
  return std::string(about->congestion_control);
}

std::size_t StackBackend::info(SocketRef socket, MutBytes out) {
  Entry* e = entry(socket);
  const auto about = e == nullptr ? std::nullopt : stack_.info(e->id);
  if (!about) return 0;
  const LinuxTcpInfo whole = linux_tcp_info(*about, now_);
  const std::size_t size = std::min(out.size(), sizeof whole);
  std::memcpy(out.data(), &whole, size);
  return size;
}

}  // namespace tidewire::posix
