// Moving bytes.
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>

#include "front/abi/errno_map.hpp"
#include "front/abi/sockaddr.hpp"
#include "front/packetdrill/sockets.hpp"

namespace tidewire::packetdrill {
namespace {

// MSG_TRUNC takes bytes without giving them.
constexpr std::size_t discard_at_once = 65'536;

bool points_nowhere(const iovec& buffer) {
  return buffer.iov_base == nullptr && buffer.iov_len > 0;
}

std::size_t total(Sockets::Buffers buffers) {
  std::size_t sum = 0;
  for (const iovec& buffer : buffers) sum += buffer.iov_len;
  return sum;
}

}  // namespace

ssize_t Sockets::receive(Lock& lock, int fd, Buffers buffers, int flags) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if ((flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  const ReceiveOptions options{.peek = (flags & MSG_PEEK) != 0, .urgent = (flags & MSG_OOB) != 0};
  const bool wait = !s->nonblocking && (flags & MSG_DONTWAIT) == 0;
  const std::size_t wanted = total(buffers);
  std::vector<std::byte> nowhere((flags & MSG_TRUNC) != 0 ? discard_at_once : 0);
  std::size_t done = 0;
  std::size_t skip = 0;  // bytes of the first buffer that are filled
  while (true) {
    while (!buffers.empty() && skip == buffers[0].iov_len) {
      buffers = buffers.subspan(1);
      skip = 0;
    }
    if (buffers.empty() && done > 0) break;
    // Nothing more is there: an error that is pending is for the next call.
    if (done > 0 && (flags & MSG_WAITALL) == 0 &&
        host_.stack().get_option(s->id, SocketOption::unread).value_or(0) == 0) {
      break;
    }
    MutBytes out;
    if (!buffers.empty()) {
      out = {static_cast<std::byte*>(buffers[0].iov_base) + skip, buffers[0].iov_len - skip};
      if (!nowhere.empty()) out = MutBytes(nowhere).first(std::min(nowhere.size(), out.size()));
    }
    // The kernel notices only when there is something to copy.
    if (!buffers.empty() && points_nowhere(buffers[0]) && nowhere.empty() && readable(*s)) {
      return -EFAULT;
    }
    const auto n = host_.stack().receive(s->id, out, options, host_.now());
    if (n) {
      done += *n;
      skip += *n;
      if (*n == 0 || options.peek || options.urgent) break;
      continue;
    }
    const bool all = (flags & MSG_WAITALL) != 0 && done < wanted;
    if (done > 0 && !(all && wait)) break;
    if (n.error() != SocketError::would_block || !wait) {
      return done > 0 ? static_cast<ssize_t>(done) : -posix::errno_of(n.error());
    }
    host_.settle();
    if (!host_.wait(lock, [&] { return readable(*s); })) {
      return done > 0 ? static_cast<ssize_t>(done) : -EAGAIN;
    }
  }
  return static_cast<ssize_t>(done);
}

ssize_t Sockets::send_some(Socket& s, Bytes data, bool more, bool urgent) {
  const auto n = host_.stack().send(s.id, data, {.more = more, .urgent = urgent}, host_.now());
  if (!n) return -posix::errno_of(n.error());
  return static_cast<ssize_t>(*n);
}

/// Connects with the first data in the SYN, as far as it fits (TCP Fast Open). Who waits for the
/// end of the handshake hands the rest over at once, before anything is sent about it.
ssize_t Sockets::send_opening(Lock& lock, Socket& s, Bytes data, bool wait, Bytes address) {
  std::optional<Endpoint> to;
  if (!s.deferred) {
    if (posix::family_of(address) == AF_UNSPEC) return -EOPNOTSUPP;
    const auto endpoint = posix::from_raw(address, s.domain);
    if (!endpoint) return -endpoint.error();
    to = for_domain(*endpoint, s.domain);
  }
  const auto taken = host_.stack().connect_send(s.id, to, data, host_.now());
  if (!taken) return -posix::errno_of(taken.error());
  s.deferred = false;
  s.connecting = true;
  host_.settle();
  std::size_t done = *taken;
  if (!wait) return done > 0 ? static_cast<ssize_t>(done) : -EINPROGRESS;
  const bool ended = host_.wait(lock, [&] {
    if (!holds(s, kConnected | kError | kClosed)) return false;
    if (holds(s, kConnected) && done == *taken && done < data.size()) {
      done += static_cast<std::size_t>(
          std::max<ssize_t>(send_some(s, data.subspan(done), false, false), 0));
    }
    return true;
  });
  s.connecting = false;
  if (!ended) return -EAGAIN;
  const int error = pending_error(s);
  return error != 0 ? -error : static_cast<ssize_t>(done);
}

ssize_t Sockets::send(Lock& lock, int fd, Buffers buffers, int flags, Bytes address) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  const ssize_t n = send_copied(lock, *s, buffers, flags, address);
  s = find(fd);  // it may have waited
  if (n > 0 && s != nullptr && s->zerocopy && (flags & MSG_ZEROCOPY) != 0) ++s->zerocopy_sends;
  return n;
}

ssize_t Sockets::send_copied(Lock& lock, Socket& socket, Buffers buffers, int flags,
                             Bytes address) {
  Socket* s = &socket;
  if (std::ranges::any_of(buffers, points_nowhere)) return -EFAULT;
  const bool wait = !s->nonblocking && (flags & MSG_DONTWAIT) == 0;
  std::vector<std::byte> joined;  // one write is one push, however it is scattered
  joined.reserve(total(buffers));
  for (const iovec& buffer : buffers) {
    const auto* from = static_cast<const std::byte*>(buffer.iov_base);
    joined.insert(joined.end(), from, from + buffer.iov_len);
  }
  Bytes rest = joined;
  // The first call after a handshake that was not waited for only ends the connecting.
  const bool connected = s->connecting && holds(*s, kConnected);
  if (connected) s->connecting = false;
  if (s->deferred || ((flags & MSG_FASTOPEN) != 0 && !connected)) {
    const ssize_t n = send_opening(lock, *s, rest, wait, address);
    if (n < 0 || !wait) return n;
    rest = rest.subspan(static_cast<std::size_t>(n));
    if (rest.empty()) return n;
  }
  while (true) {
    const ssize_t n = send_some(*s, rest, (flags & MSG_MORE) != 0, (flags & MSG_OOB) != 0);
    if (n >= 0) rest = rest.subspan(static_cast<std::size_t>(n));
    if (rest.empty() && n >= 0) break;
    if (n > 0) continue;
    if (n != -EAGAIN || !wait) {
      if (rest.size() < joined.size()) break;
      return n;
    }
    host_.settle();
    const std::uint16_t bits = s->connecting ? kConnected | kError | kClosed : kWritable;
    if (!host_.wait(lock, [&] { return holds(*s, bits); })) break;
  }
  const std::size_t written = joined.size() - rest.size();
  return written == 0 && !joined.empty() ? -EAGAIN : static_cast<ssize_t>(written);
}

}  // namespace tidewire::packetdrill
