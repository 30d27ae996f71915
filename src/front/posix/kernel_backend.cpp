#include "front/posix/kernel_backend.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "front/abi/sockaddr.hpp"
#include "runtime/urgent.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;
constexpr int events_in_a_turn = 256;

int socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

int forget_peer(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  return ::connect(fd, &none, sizeof none) == 0 ? 0 : errno;
}

void want_controls(int fd, int domain) {
  const int on = 1;
  for (const int name : {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS}) {
    ::setsockopt(fd, IPPROTO_IP, name, &on, sizeof on);
  }
  if (domain != AF_INET6) return;
  for (const int name : {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS}) {
    ::setsockopt(fd, IPPROTO_IPV6, name, &on, sizeof on);
  }
}

}  // namespace

KernelBackend::KernelBackend() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

KernelBackend::Entry* KernelBackend::entry(SocketRef socket) {
  const auto found = entries_.find(socket);
  return found == entries_.end() ? nullptr : found->second.get();
}

SocketRef KernelBackend::add(Fd fd, Transport transport, int domain, bool connected) {
  const SocketRef ref = ++last_;
  auto made = std::make_unique<Entry>();
  made->fd = std::move(fd);
  made->transport = transport;
  made->domain = domain;
  made->connected = connected;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = ref;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, made->fd.get(), &event);
  entries_.emplace(ref, std::move(made));
  return ref;
}

Result<SocketRef, int> KernelBackend::open(Transport transport, Family family) {
  const int domain = family == Family::v4 ? AF_INET : AF_INET6;
  const bool stream = transport == Transport::tcp;
  int protocol = 0;
  if (transport == Transport::udp_lite) protocol = IPPROTO_UDPLITE;
  if (transport == Transport::icmp_echo) {
    protocol = domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  }
  Fd fd(::socket(domain, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                 protocol));
  if (!fd) return fail(int{errno});
  if (!stream) want_controls(fd.get(), domain);
  return add(std::move(fd), transport, domain, false);
}

void KernelBackend::process(Instant) {
  epoll_event events[events_in_a_turn];
  const int n = ::epoll_wait(epoll_.get(), events, events_in_a_turn, 0);
  for (int i = 0; i < n; ++i) look(events[i].data.u64, events[i].events);
}

void KernelBackend::look(SocketRef socket, std::uint32_t events) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  std::uint32_t levels = 0;
  if (e->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    e->connecting = false;
    e->error = socket_error(e->fd.get());
    e->connected = e->error == 0;
    // So that the socket can be connected again.
    if (!e->connected) forget_peer(e->fd.get());
    levels |= e->connected ? level::connected : level::failed;
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0) {
    e->readable = true;
    levels |= level::readable | level::acceptable;
  }
  if ((events & EPOLLPRI) != 0) levels |= level::urgent;
  if ((events & EPOLLOUT) != 0 && flush(*e)) levels |= level::writable;
  if (e->orphan) {
    if (e->out_at == e->out_end) entries_.erase(socket);
    return;
  }
  if (levels != 0) events_.push_back({socket, levels});
}

std::optional<BackendEvent> KernelBackend::poll_event() {
  while (!events_.empty()) {
    const BackendEvent event = events_.front();
    events_.pop_front();
    if (entries_.contains(event.socket)) return event;
  }
  return std::nullopt;
}

// Writes what is left over; true if nothing is.
bool KernelBackend::flush(Entry& e) {
  while (e.out_at < e.out_end) {
    std::size_t size = e.out_end - e.out_at;
    const ssize_t n = ::send(e.fd.get(), e.out.data() + e.out_at, size,
                             MSG_NOSIGNAL | (e.out_urgent ? int{MSG_OOB} : 0));
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) {
      if (e.error == 0) e.error = errno == EPIPE ? ECONNRESET : errno;
      e.out_at = e.out_end;
      break;
    }
    e.out_at += static_cast<std::size_t>(n);
  }
  e.out_at = e.out_end = 0;
  e.out_urgent = false;
  if (e.shut) {
    e.shut = false;
    ::shutdown(e.fd.get(), SHUT_WR);
  }
  return true;
}

void KernelBackend::close(SocketRef socket, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  if (flush(*e)) {
    entries_.erase(socket);
  } else {
    e->orphan = true;
  }
}

void KernelBackend::abort(SocketRef socket, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  const linger reset{1, 0};
  ::setsockopt(e->fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  entries_.erase(socket);
}

int KernelBackend::bind(SocketRef socket, const Endpoint& local) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const RawAddress raw = to_raw(local, e->domain);
  return ::bind(e->fd.get(), reinterpret_cast<const sockaddr*>(&raw.storage), raw.size) == 0
             ? 0
             : errno;
}

int KernelBackend::connect(SocketRef socket, const Endpoint& remote, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const RawAddress raw = to_raw(remote, e->domain);
  e->error = 0;
  e->last_remote = remote;
  if (::connect(e->fd.get(), reinterpret_cast<const sockaddr*>(&raw.storage), raw.size) == 0) {
    e->connected = true;
    if (e->transport == Transport::tcp) events_.push_back({socket, level::connected});
    return 0;
  }
  if (errno != EINPROGRESS) return errno;
  e->connecting = true;
  return 0;
}

int KernelBackend::disconnect(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  e->connected = false;
  return forget_peer(e->fd.get());
}

int KernelBackend::listen(SocketRef socket, int backlog, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  if (backlog < 0) return ::shutdown(e->fd.get(), SHUT_RD) == 0 ? 0 : errno;
  return ::listen(e->fd.get(), backlog) == 0 ? 0 : errno;
}

Result<SocketRef, int> KernelBackend::accept(SocketRef listener, Instant) {
  Entry* e = entry(listener);
  if (e == nullptr) return fail(EBADF);
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  Fd fd(::accept4(e->fd.get(), reinterpret_cast<sockaddr*>(&from), &size,
                  SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return fail(int{errno});
  const auto remote = from_raw(as_bytes(&from, size), e->domain);
  const SocketRef ref = add(std::move(fd), Transport::tcp, e->domain, true);
  if (remote) entry(ref)->last_remote = *remote;
  return ref;
}

StreamState KernelBackend::state(SocketRef socket) {
  const Entry* e = entry(socket);
  if (e == nullptr) return {false, true, EBADF};
  return {e->connected, e->fin, e->error};
}

std::span<const MutBytes> KernelBackend::send_space(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr || !flush(*e)) return {};
  if (e->out.empty()) e->out.resize(buffer_bytes);
  room_ = e->out;
  return {&room_, 1};
}

void KernelBackend::sent(SocketRef socket, std::size_t bytes, bool urgent_end, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  e->out_at = 0;
  e->out_end = bytes;
  e->out_urgent = urgent_end;
  flush(*e);
}

void KernelBackend::fill(Entry& e) {
  if (!e.in.empty() || !e.readable || e.fin) return;
  // A plain read would drop an urgent byte.
  if (!e.urgent_taken && runtime::at_urgent_mark(e.fd.get())) return;
  e.in.resize(buffer_bytes);
  const ssize_t n = ::recv(e.fd.get(), e.in.data(), e.in.size(), 0);
  const int error = errno;
  e.in.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  e.in_at = 0;
  if (n > 0) e.urgent_taken = false;
  if (n == 0) e.fin = true;
  if (n >= 0) return;
  if (error == EAGAIN) {
    e.readable = false;
  } else if (e.error == 0) {
    e.error = error;
    e.readable = false;
  }
}

std::span<const Bytes> KernelBackend::received(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr || !e->connected) return {};
  fill(*e);
  if (e->in.empty()) return {};
  data_ = Bytes(e->in).subspan(e->in_at);
  return {&data_, 1};
}

void KernelBackend::consumed(SocketRef socket, std::size_t bytes, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  e->in_at += bytes;
  if (e->in_at >= e->in.size()) e->in.clear();
}

std::optional<std::byte> KernelBackend::take_urgent(SocketRef socket, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr || !e->in.empty() || e->urgent_taken || !runtime::at_urgent_mark(e->fd.get())) {
    return std::nullopt;
  }
  std::byte byte{};
  if (::recv(e->fd.get(), &byte, 1, MSG_OOB) != 1) return std::nullopt;
  // The mark stays until the next read passes it.
  e->urgent_taken = true;
  e->readable = true;
  return byte;
}

void KernelBackend::shutdown_send(SocketRef socket, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  e->shut = true;
  flush(*e);
}

std::size_t KernelBackend::unacknowledged(SocketRef socket) {
  Entry* e = entry(socket);
  int value = 0;
  if (e == nullptr || ::ioctl(e->fd.get(), SIOCOUTQ, &value) != 0) return 0;
  return static_cast<std::size_t>(value) + (e->out_end - e->out_at);
}

Endpoint KernelBackend::local(SocketRef socket) {
  Entry* e = entry(socket);
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  if (e == nullptr || ::getsockname(e->fd.get(), reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return {};
  }
  const auto endpoint = from_raw(as_bytes(&raw, size), e->domain);
  return endpoint ? *endpoint : Endpoint{};
}

Result<Endpoint, int> KernelBackend::remote(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(EBADF);
  if (e->transport == Transport::tcp) {
    if (!e->connected) return fail(ENOTCONN);
    return e->last_remote;
  }
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  if (::getpeername(e->fd.get(), reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return fail(int{errno});
  }
  const auto endpoint = from_raw(as_bytes(&raw, size), e->domain);
  if (!endpoint) return fail(ENOTCONN);
  return *endpoint;
}

}  // namespace tidewire::posix
