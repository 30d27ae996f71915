// poll and epoll.
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "front/packetdrill/sockets.hpp"

namespace tidewire::packetdrill {
namespace {

static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLRDHUP == EPOLLRDHUP);
static_assert(POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLPRI == EPOLLPRI);

constexpr std::uint32_t always = EPOLLERR | EPOLLHUP;

bool never_opened(TcpState state) { return state == TcpState::closed; }

}  // namespace

/// The bits of poll that hold. They have the same values for epoll.
std::uint32_t Sockets::levels(const Socket& s) const {
  const std::uint16_t bits = host_.stack().readiness(s.id);
  if (s.listening) return (bits & kReadable) != 0 ? EPOLLIN | EPOLLRDNORM : 0;
  std::uint32_t out = 0;
  if ((bits & kReadable) != 0) out |= EPOLLIN | EPOLLRDNORM;
  if ((bits & kWritable) != 0) out |= EPOLLOUT | EPOLLWRNORM;
  if ((bits & kPeerClosed) != 0) out |= EPOLLRDHUP;
  if ((bits & kUrgent) != 0) out |= EPOLLPRI;
  if ((bits & kError) != 0 || s.zerocopy_told != s.zerocopy_sends) out |= EPOLLERR;
  if ((bits & kClosed) != 0) out |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP;
  const auto about = host_.stack().info(s.id);
  if (about && never_opened(about->state)) out |= EPOLLOUT | EPOLLWRNORM | EPOLLHUP;
  return out;
}

/// Grows with everything that wakes a reader of Linux, also where it has not read before.
std::uint64_t Sockets::arrivals(const Socket& s) const {
  const auto about = host_.stack().info(s.id);
  if (!about) return 0;
  return s.listening ? about->receive_queue : about->bytes_received + s.zerocopy_sends;
}

void Sockets::look() {
  for (auto& [epoll, watches] : epolls_) {
    for (auto& [fd, watch] : watches) {
      const Socket* s = find(fd);
      if (s == nullptr) continue;
      const std::uint32_t now = levels(*s);
      const std::uint64_t came = arrivals(*s);
      if ((now & ~watch.seen) != 0 || came > watch.arrivals) watch.edge = true;
      watch.seen = now;
      watch.arrivals = came;
    }
  }
}

Instant Sockets::deadline(int timeout_ms) const {
  return timeout_ms < 0 ? Instant::never() : host_.now() + Duration::millis(timeout_ms);
}

int Sockets::poll(Lock& lock, std::span<pollfd> fds, int timeout_ms) {
  const auto count = [&] {
    int ready = 0;
    for (pollfd& entry : fds) {
      entry.revents = 0;
      if (entry.fd < 0) continue;
      const Socket* s = find(entry.fd);
      const auto wanted = static_cast<std::uint32_t>(static_cast<unsigned short>(entry.events));
      const std::uint32_t now = s == nullptr ? POLLNVAL : levels(*s) & (wanted | always);
      entry.revents = static_cast<short>(now);
      if (now != 0) ++ready;
    }
    return ready;
  };
  (void)host_.wait(lock, [&] { return count() > 0; }, deadline(timeout_ms));
  return count();
}

int Sockets::epoll_open() {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) return -errno;
  epolls_[fd];
  return fd;
}

int Sockets::epoll_control(int epoll, int operation, int fd, const epoll_event* event) {
  const auto found = epolls_.find(epoll);
  const Socket* s = find(fd);
  if (found == epolls_.end()) return owns(epoll) ? -EINVAL : -EBADF;
  if (s == nullptr) return -EBADF;
  Watches& watches = found->second;
  const bool known = watches.contains(fd);
  if (operation == EPOLL_CTL_DEL) return watches.erase(fd) > 0 ? 0 : -ENOENT;
  if (event == nullptr) return -EFAULT;
  if (operation == EPOLL_CTL_ADD && known) return -EEXIST;
  if (operation == EPOLL_CTL_MOD && !known) return -ENOENT;
  if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD) return -EINVAL;
  Watch& watch = watches[fd];
  watch = {.events = event->events, .data = event->data};
  watch.seen = levels(*s);
  watch.arrivals = arrivals(*s);
  watch.edge = true;
  return 0;
}

std::vector<epoll_event> Sockets::collect(Watches& watches, std::size_t most) {
  std::vector<epoll_event> out;
  for (auto& [fd, watch] : watches) {
    const Socket* s = find(fd);
    if (s == nullptr || out.size() == most) continue;
    const std::uint32_t wanted = watch.events & ~(EPOLLET | EPOLLONESHOT);
    if (wanted == 0) continue;  // reported once already (EPOLLONESHOT)
    const std::uint32_t now = levels(*s) & (wanted | always);
    if (now == 0 || ((watch.events & EPOLLET) != 0 && !watch.edge)) continue;
    epoll_event event{};
    event.events = now;
    event.data = watch.data;
    out.push_back(event);
    watch.edge = false;
    if ((watch.events & EPOLLONESHOT) != 0) watch.events = EPOLLONESHOT;
  }
  return out;
}

int Sockets::epoll_wait(Lock& lock, int epoll, std::span<epoll_event> out, int timeout_ms) {
  const auto found = epolls_.find(epoll);
  if (found == epolls_.end()) return owns(epoll) ? -EINVAL : -EBADF;
  if (out.empty()) return -EINVAL;
  std::vector<epoll_event> events;
  const auto ready = [&] {
    if (events.empty()) events = collect(found->second, out.size());
    return !events.empty();
  };
  (void)host_.wait(lock, ready, deadline(timeout_ms));
  std::ranges::copy(events, out.begin());
  return static_cast<int>(events.size());
}

}  // namespace tidewire::packetdrill
