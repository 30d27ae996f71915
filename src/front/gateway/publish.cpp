#include "front/gateway/publish.hpp"

#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

namespace {

constexpr int kAcceptAtOnce = 64;
// Connections after one that came alone that are not followed by a look for another.
constexpr std::uint8_t kAloneAgain = 8;
constexpr int kBacklog = 1024;
constexpr int kErrorsAtOnce = 16;

std::string why_not(const PublishSpec& spec, int error) {
  const std::string where = tidewire::to_string(spec.host);
  const char* protocol = spec.protocol == Protocol::udp ? " (UDP)" : "";
  switch (error) {
    case EADDRINUSE: {
      PublishSpec other = spec;
      other.host.port =
          static_cast<std::uint16_t>(spec.host.port < 32'768 ? spec.host.port + 10'000 : 0);
      return "cannot publish " + where + protocol +
             ": the port is taken on this host; choose another one, for example --publish " +
             to_string(other);
    }
    case EACCES:
    case EPERM: {
      PublishSpec other = spec;
      other.host.port = static_cast<std::uint16_t>(spec.host.port + 8000);
      return "cannot publish " + where + protocol +
             ": ports below net.ipv4.ip_unprivileged_port_start need privileges on this host; "
             "choose a higher one, for example --publish " +
             to_string(other);
    }
    case EADDRNOTAVAIL:
      return "cannot publish " + where + protocol + ": " + tidewire::to_string(spec.host.address) +
             " is not an address of this host; use 127.0.0.1, 0.0.0.0 or one that `ip address` "
             "shows";
    default:
      return "cannot publish " + where + protocol + ": " + std::strerror(error);
  }
}

/// Binds a new socket to spec.host; a port of 0 is replaced by the one the host chose.
Result<runtime::Fd, std::string> open_bound(PublishSpec& spec, int type) {
  const int family = spec.host.address.is_v4() ? AF_INET : AF_INET6;
  runtime::Fd fd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(why_not(spec, errno));
  const int on = 1;
  if (type == SOCK_STREAM) (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const runtime::SocketAddress address = runtime::to_socket_address(spec.host);
  if (bind(fd.get(), address.get(), address.length) != 0) return fail(why_not(spec, errno));
  if (type == SOCK_STREAM && listen(fd.get(), kBacklog) != 0) return fail(why_not(spec, errno));
  runtime::SocketAddress bound;
  if (getsockname(fd.get(), bound.get(), &bound.length) == 0) {
    spec.host = runtime::to_endpoint(bound);
  }
  return fd;
}

}  // namespace

// --- TCP ---

PublishedTcp::~PublishedTcp() { context_.poller.remove(watch_); }

Result<void, std::string> PublishedTcp::open(const PublishSpec& spec) {
  spec_ = spec;
  auto fd = open_bound(spec_, SOCK_STREAM);
  if (!fd) return fail(std::move(fd.error()));
  listener_ = std::move(*fd);
  // What it accepts inherits this.
  const int on = 1;
  (void)setsockopt(listener_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)setsockopt(listener_.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  auto watch = context_.poller.add(listener_.get(), runtime::kIoRead, *this);
  if (!watch) return fail(why_not(spec_, watch.error()));
  watch_ = *watch;
  return {};
}

void PublishedTcp::on_io(int, std::uint32_t, Instant now) {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    runtime::Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (i == 1) alone_ = kAloneAgain;
      return;
    }
    relays_.accept_inward(std::move(fd), {context_.config.address, 0, 0},
                          target_of(context_, spec_), now);
    // The poller tells of those that are left.
    if (alone_ > 0) {
      --alone_;
      return;
    }
  }
}

// --- UDP ---

PublishedUdp::PublishedUdp(Context& context)
    : context_(context), buffer_(65'536), idle_(context.config.udp_idle) {}

PublishedUdp::~PublishedUdp() {
  context_.poller.remove(watch_);
  for (auto& [host, peer] : peers_) context_.users.erase(peer.socket);
}

Result<void, std::string> PublishedUdp::open(const PublishSpec& spec) {
  spec_ = spec;
  auto fd = open_bound(spec_, SOCK_DGRAM);
  if (!fd) return fail(std::move(fd.error()));
  host_ = std::move(*fd);
  auto watch = context_.poller.add(host_.get(), runtime::kIoRead, *this);
  if (!watch) return fail(why_not(spec_, watch.error()));
  watch_ = *watch;
  return {};
}

void PublishedUdp::on_io(int, std::uint32_t, Instant now) {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    runtime::SocketAddress from;
    const ssize_t n = recvfrom(host_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT,
                               from.get(), &from.length);
    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      continue;  // an ICMP error about an earlier datagram
    }
    Peer* peer = peer_for(runtime::to_endpoint(from), now);
    const Bytes data = Bytes(buffer_).first(static_cast<std::size_t>(n));
    if (peer == nullptr ||
        !context_.stack.send_datagram(peer->socket, std::span(&data, 1), {}, now)) {
      ++context_.counters.udp_dropped;
      continue;
    }
    context_.counters.bytes_from_host += data.size();
    idle_.touch(peer->idle, *peer, now);
  }
}

PublishedUdp::Peer* PublishedUdp::peer_for(const Endpoint& host, Instant now) {
  if (const auto it = peers_.find(host); it != peers_.end()) return &it->second;
  if (peers_.size() >= context_.config.udp_max) {
    ++context_.counters.udp_over_limit;
    return nullptr;
  }
  const auto socket = context_.stack.open(SocketKind::udp, Family::v4);
  if (!socket) return nullptr;
  if (!context_.stack.bind(*socket, {context_.config.address, 0, 0}, now) ||
      !context_.stack.connect(*socket, target_of(context_, spec_), now)) {
    context_.stack.close(*socket, now);
    return nullptr;
  }
  Peer& peer = peers_.try_emplace(host, *this).first->second;
  peer.host = host;
  peer.socket = *socket;
  context_.users[*socket] = &peer;
  ++context_.counters.published_opened;
  return &peer;
}

void PublishedUdp::Peer::on_socket(SocketId, std::uint16_t bits, Instant now) {
  if ((bits & kReadable) != 0) port.send_to_host(*this, now);
}

void PublishedUdp::send_to_host(Peer& peer, Instant now) {
  const runtime::SocketAddress to = runtime::to_socket_address(peer.host);
  for (int errors = 0; errors < kErrorsAtOnce;) {
    const auto datagram = context_.stack.receive_datagram(peer.socket, buffer_, false, now);
    if (!datagram) {
      if (datagram.error() == SocketError::would_block ||
          datagram.error() == SocketError::unknown_socket) {
        return;
      }
      ++errors;  // nobody listens yet: a UDP client of the host cannot be told
      continue;
    }
    idle_.touch(peer.idle, peer, now);
    context_.counters.bytes_to_host += datagram->copied;
    (void)sendto(host_.get(), buffer_.data(), datagram->copied, MSG_DONTWAIT | MSG_NOSIGNAL,
                 to.get(), to.length);
  }
}

void PublishedUdp::expire(Instant now) {
  while (Peer* peer = idle_.expired(now)) {
    ++context_.counters.udp_timed_out;
    context_.users.erase(peer->socket);
    context_.stack.close(peer->socket, now);
    peers_.erase(peer->host);
  }
}

}  // namespace tidewire::gateway
