#include "front/abi/errno_map.hpp"

#include <cerrno>

namespace tidewire::posix {

int errno_of(SocketError error) noexcept {
  switch (error) {
    case SocketError::none:
      return 0;
    case SocketError::would_block:
      return EAGAIN;
    case SocketError::in_progress:
      return EINPROGRESS;
    case SocketError::already:
      return EALREADY;
    case SocketError::is_connected:
      return EISCONN;
    case SocketError::not_connected:
      return ENOTCONN;
    case SocketError::not_bound:
    case SocketError::invalid:
      return EINVAL;
    case SocketError::unknown_socket:
      return EBADF;
    case SocketError::not_supported:
      return EOPNOTSUPP;
    case SocketError::address_in_use:
      return EADDRINUSE;
    case SocketError::address_not_available:
      return EADDRNOTAVAIL;
    case SocketError::address_family:
      return EAFNOSUPPORT;
    case SocketError::access_denied:
      return EACCES;
    case SocketError::no_buffers:
      return ENOBUFS;
    case SocketError::message_too_long:
      return EMSGSIZE;
    case SocketError::connection_refused:
      return ECONNREFUSED;
    case SocketError::connection_reset:
      return ECONNRESET;
    case SocketError::connection_aborted:
      return ECONNABORTED;
    case SocketError::broken_pipe:
      return EPIPE;
    case SocketError::timed_out:
      return ETIMEDOUT;
    case SocketError::host_unreachable:
      return EHOSTUNREACH;
    case SocketError::network_unreachable:
      return ENETUNREACH;
    case SocketError::network_down:
      return ENETDOWN;
    case SocketError::protocol_error:
      return EPROTO;
    case SocketError::destination_required:
      return EDESTADDRREQ;
  }
  return EIO;
}

}  // namespace tidewire::posix
