// Life of a socket.
#include "front/packetdrill/sockets.hpp"

#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/abi/errno_map.hpp"
#include "front/abi/sockaddr.hpp"

namespace tidewire::packetdrill {
namespace {

template <typename T>
int error_of(const SocketResult<T>& result) {
  return result ? 0 : -posix::errno_of(result.error());
}

/// As accept and getpeername leave an address: cut to the room that there is.
void write_address(const Endpoint& endpoint, int domain, sockaddr* address, socklen_t* size) {
  if (address == nullptr || size == nullptr) return;
  const posix::RawAddress raw = posix::to_raw(endpoint, domain);
  std::memcpy(address, &raw.storage, std::min(*size, raw.size));
  *size = raw.size;
}

/// Past a preloaded close(), which would come back here.
void close_for_real(int fd) { ::syscall(SYS_close, fd); }

}  // namespace

Endpoint for_domain(Endpoint endpoint, int domain) {
  if (domain == AF_INET6) endpoint.address = endpoint.address.mapped();
  return endpoint;
}

Sockets::Sockets(Host& host) : host_(host) {
  host_.on_step([this] { look(); });
}

Sockets::~Sockets() {
  host_.on_step({});
  for (const auto& [fd, socket] : sockets_) close_for_real(fd);
  for (const auto& [fd, watches] : epolls_) close_for_real(fd);
}

Socket* Sockets::find(int fd) {
  const auto found = sockets_.find(fd);
  return found == sockets_.end() ? nullptr : found->second.get();
}

bool Sockets::holds(const Socket& s, std::uint16_t bits) const {
  return (host_.stack().readiness(s.id) & bits) != 0;
}

int Sockets::pending_error(Socket& s) { return posix::errno_of(host_.stack().take_error(s.id)); }

int Sockets::add(SocketId id, int domain, bool nonblocking) {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) return -errno;
  auto socket = std::make_unique<Socket>();
  socket->id = id;
  socket->domain = domain;
  socket->nonblocking = nonblocking;
  sockets_[fd] = std::move(socket);
  return fd;
}

int Sockets::open(int domain, int type, int protocol) {
  if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
  if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) return -ESOCKTNOSUPPORT;
  if (protocol != 0 && protocol != IPPROTO_TCP) return -EPROTONOSUPPORT;
  const auto id = host_.stack().open(SocketKind::tcp, domain == AF_INET ? Family::v4 : Family::v6);
  if (!id) return error_of(id);
  return add(*id, domain, (type & SOCK_NONBLOCK) != 0);
}

int Sockets::bind(int fd, Bytes address) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  const auto endpoint = posix::from_raw(address, s->domain);
  if (!endpoint) return -endpoint.error();
  return error_of(host_.stack().bind(s->id, for_domain(*endpoint, s->domain), host_.now()));
}

int Sockets::listen(int fd, int backlog) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  // A negative backlog is a very great one, as for Linux.
  const int error =
      error_of(host_.stack().listen(s->id, static_cast<std::uint32_t>(backlog), host_.now()));
  s->listening = s->listening || error == 0;
  return error;
}

int Sockets::accept(Lock& lock, int fd, sockaddr* address, socklen_t* size) {
  while (true) {
    Socket* s = find(fd);
    if (s == nullptr) return -EBADF;
    if (!s->listening) return -EINVAL;
    const auto id = host_.stack().accept(s->id, host_.now());
    if (id) {
      // Also of a connection that has died meanwhile.
      if (const auto about = host_.stack().info(*id)) {
        write_address(about->remote, s->domain, address, size);
      }
      const bool zerocopy = s->zerocopy;
      const int taken = add(*id, s->domain, false);
      if (taken >= 0) find(taken)->zerocopy = zerocopy;
      return taken;
    }
    if (id.error() != SocketError::would_block || s->nonblocking) return error_of(id);
    const auto ready = [&] { return find(fd) == nullptr || readable(*s); };
    if (!host_.wait(lock, ready)) return -EAGAIN;
  }
}

int Sockets::wait_connected(Lock& lock, Socket& s) {
  const bool done = host_.wait(lock, [&] { return holds(s, kConnected | kError | kClosed); });
  s.connecting = false;
  if (!done) return -EAGAIN;
  return -pending_error(s);
}

int Sockets::connect(Lock& lock, int fd, Bytes address) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if (posix::family_of(address) == AF_UNSPEC) {
    return error_of(host_.stack().connect(s->id, std::nullopt, host_.now()));
  }
  const auto endpoint = posix::from_raw(address, s->domain);
  if (!endpoint) return -endpoint.error();
  // The second call tells how the first one ended.
  if (s->connecting && holds(*s, kConnected | kError | kClosed)) {
    s->connecting = false;
    return -pending_error(*s);
  }
  const auto done = host_.stack().connect(s->id, for_domain(*endpoint, s->domain), host_.now());
  if (!done && done.error() != SocketError::in_progress) return error_of(done);
  // TCP_FASTOPEN_CONNECT with a cookie at hand.
  s->deferred = (host_.stack().readiness(s->id) & (kWritable | kConnected)) == kWritable;
  if (s->deferred) return 0;
  s->connecting = true;
  host_.settle();
  if (s->nonblocking) return -EINPROGRESS;
  return wait_connected(lock, *s);
}

int Sockets::shutdown(int fd, int how) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  constexpr ShutdownHow ways[] = {ShutdownHow::read, ShutdownHow::write, ShutdownHow::both};
  const int error = error_of(host_.stack().shutdown(s->id, ways[how], host_.now()));
  if (error == 0 && how != SHUT_WR) s->listening = false;
  return error;
}

int Sockets::close(int fd) {
  for (auto& [epoll, watches] : epolls_) watches.erase(fd);
  if (epolls_.erase(fd) > 0) {
    close_for_real(fd);
    return 0;
  }
  const auto found = sockets_.find(fd);
  if (found == sockets_.end()) return -EBADF;
  host_.stack().close(found->second->id, host_.now());
  sockets_.erase(found);
  close_for_real(fd);
  return 0;
}

int Sockets::name(int fd, bool remote, sockaddr* address, socklen_t* size) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  const auto endpoint =
      remote ? host_.stack().remote_endpoint(s->id) : host_.stack().local_endpoint(s->id);
  if (!endpoint) return error_of(endpoint);
  write_address(*endpoint, s->domain, address, size);
  return 0;
}

}  // namespace tidewire::packetdrill
