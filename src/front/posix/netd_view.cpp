// What others may want to know of a program's socket.
#include <sys/ioctl.h>

#include <algorithm>

#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

/// Bytes that wait to be read from a socket.
std::size_t waiting(int fd) {
  int bytes = 0;
  if (fd < 0 || ::ioctl(fd, FIONREAD, &bytes) != 0) return 0;
  return static_cast<std::size_t>(std::max(bytes, 0));
}

}  // namespace

std::optional<SocketUse> Netd::use_of(SocketRef ref) {
  const auto serial = by_ref_.find(ref);
  Socket* s = serial == by_ref_.end() ? nullptr : by_serial(serial->second);
  if (s == nullptr) return std::nullopt;
  const Fd app = s->phase == Phase::listening || !s->peer ? Fd{} : copy_of_app(*s);
  SocketUse use;
  use.program = s->program;
  if (s->hint_fd >= 0) {
    use.pid = tasks_.process_of(s->hint_process);
    use.fd = s->hint_fd;
  }
  if (s->phase == Phase::listening || !s->peer) return use;
  const std::size_t ours = s->tail ? 1 : 0;
  // While a connect is under way nothing but filler lies there.
  if (!s->filler) use.unsent = std::max(waiting(s->peer.get()), ours) - ours;
  if (app) use.unread = waiting(app.get());
  return use;
}

}  // namespace tidewire::posix
