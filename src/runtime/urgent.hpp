// Urgent data on sockets of this host's kernel.
#pragma once

#include <sys/ioctl.h>
#include <sys/socket.h>

namespace tidewire::runtime {

/// Whether the next octet to read is urgent (SIOCATMARK). Of one that has not come it may be so a
/// moment later. False for what is not a socket, or one without such data.
inline bool at_urgent_mark(int fd) noexcept {
  int answer = 0;
  return ::ioctl(fd, SIOCATMARK, &answer) == 0 && answer != 0;
}

}  // namespace tidewire::runtime
