// Datagrams of a host socket, many with one system call where the kernel can (Linux 4.18, 5.0).
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "base/bytes.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

/// True if the kernel cuts what is sent on `fd` (UDP_SEGMENT).
bool can_segment(int fd) noexcept;
/// From now on datagrams that arrive together may be read together (UDP_GRO), where the kernel can.
void ask_for_coalescing(int fd) noexcept;

/// Sends `data` as datagrams of `segment` bytes, the last may be shorter; 0, or not less than
/// `data`: as one. All or nothing: false and errno.
bool send_datagrams(int fd, Bytes data, std::size_t segment,
                    const runtime::SocketAddress& to) noexcept;
/// True if `error` says that the kernel or the way to this destination cuts nothing.
bool refuses_segments(int error) noexcept;

struct HostDatagrams {
  ssize_t size = -1;        ///< bytes; -1: none, see errno
  std::size_t segment = 0;  ///< of each datagram but the last; `size` if it is one
  runtime::SocketAddress from;
};
/// Reads what has arrived next into `out` (65,536 bytes).
HostDatagrams receive_datagrams(int fd, MutBytes out) noexcept;

}  // namespace tidewire::gateway
