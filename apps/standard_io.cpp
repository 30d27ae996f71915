#include "apps/standard_io.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

namespace tidewire::apps {

StandardStream::StandardStream(int fd, Use use) : fd_(fd), use_(use) {
  struct stat status{};
  if (fstat(fd, &status) != 0) return;
  is_socket_ = S_ISSOCK(status.st_mode);
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const int mode = use == Use::input ? O_RDONLY : O_WRONLY;
    reopened_.reset(::open(path.c_str(), mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (reopened_) {
      fd_ = reopened_.get();
    } else {
      blocking_ = true;
    }
  }
}

std::optional<std::size_t> StandardStream::read(MutBytes room) {
  if (blocking_) {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 0) == 0) return std::nullopt;
  }
  for (;;) {
    const ssize_t n = is_socket_ ? recv(fd_, room.data(), room.size(), MSG_DONTWAIT)
                                 : ::read(fd_, room.data(), room.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) return std::nullopt;
    if (errno != EINTR) return 0;
  }
}

std::optional<std::size_t> StandardStream::write(Bytes data) {
  if (blocking_) {
    pollfd waiting{.fd = fd_, .events = POLLOUT, .revents = 0};
    if (poll(&waiting, 1, 0) == 0) return std::nullopt;
    data = data.first(std::min<std::size_t>(data.size(), PIPE_BUF));
  }
  for (;;) {
    const ssize_t n = is_socket_ ? send(fd_, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                 : ::write(fd_, data.data(), data.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) return std::nullopt;
    if (errno != EINTR) return 0;
  }
}

void StandardStream::watch(runtime::Poller& poller, runtime::IoHandler& handler) {
  const auto watch =
      poller.add(fd_, use_ == Use::input ? runtime::kIoRead : runtime::kIoWrite, handler);
  // epoll refuses regular files and /dev/null: they never block.
  always_ready_ = !watch;
  if (watch) watch_ = *watch;
}

void StandardStream::want(runtime::Poller& poller, bool wanted) {
  const std::uint32_t bit = use_ == Use::input ? runtime::kIoRead : runtime::kIoWrite;
  poller.set(watch_, wanted ? bit : std::uint32_t{runtime::kIoNone});
}

void StandardStream::unwatch(runtime::Poller& poller) {
  poller.remove(watch_);
  watch_ = {};
}

}  // namespace tidewire::apps
