// Netlink sockets of programs, answered for the virtual host.
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/posix/netd.hpp"
#include "front/posix/netlink.hpp"

namespace tidewire::posix {
namespace {

RawAddress name_of_port(std::uint32_t port) {
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_pid = port;
  RawAddress raw;
  raw.size = sizeof name;
  std::memcpy(&raw.storage, &name, sizeof name);
  return raw;
}

Result<sockaddr_nl, int> read_name(Bytes raw) {
  sockaddr_nl name{};
  if (raw.size() < sizeof name) return fail(EINVAL);
  std::memcpy(&name, raw.data(), sizeof name);
  if (name.nl_family != AF_NETLINK) return fail(EINVAL);
  return name;
}

}  // namespace

bool Netd::answers_netlink(int protocol) {
  if (backend_.interfaces().empty()) return false;
  return protocol == NETLINK_SOCK_DIAG || (protocol == NETLINK_ROUTE && !hooks_.namespace_tells);
}

// 0: the process's number, if none of its other sockets has it.
int Netd::bind_netlink(Socket& s, std::uint32_t wanted, pid_t tid) {
  if (s.netlink_port != 0) return wanted == 0 || wanted == s.netlink_port ? 0 : EINVAL;
  const auto taken = [&](std::uint32_t port) {
    return std::ranges::any_of(sockets_, [&](const auto& entry) {
      const Socket& other = *entry.second;
      return other.phase == Phase::netlink && other.protocol == s.protocol &&
             other.netlink_port == port;
    });
  };
  if (wanted != 0 && taken(wanted)) return EADDRINUSE;
  std::uint32_t port = wanted != 0 ? wanted : static_cast<std::uint32_t>(tasks_.process_of(tid));
  if (taken(port)) port = ~std::uint32_t{4096} - s.serial;
  s.netlink_port = port;
  return 0;
}

Outcome Netd::name_netlink(const Call& call, Socket& s) {
  if (call.number == SYS_getsockname || call.number == SYS_getpeername) {
    const std::uint32_t port = call.number == SYS_getsockname ? s.netlink_port : 0;
    return Outcome::from(write_raw_address(call, name_of_port(port), call.args[1], call.args[2]));
  }
  const auto raw = read_address(call, call.args[1], call.args[2]);
  if (!raw) return Outcome::error(raw.error());
  const auto name = read_name(*raw);
  if (!name) return Outcome::error(name.error());
  // Only the kernel answers here; nobody is told of changes, for there are none.
  const bool bind = call.number == SYS_bind;
  if (!bind && name->nl_pid != 0) return Outcome::error(ECONNREFUSED);
  return Outcome::from(bind_netlink(s, bind ? name->nl_pid : 0, call.tid));
}

Outcome Netd::netlink_option(const Call& call, Socket& s) {
  const int level = static_cast<int>(call.args[1]);
  const int name = static_cast<int>(call.args[2]);
  if (call.number == SYS_setsockopt) {
    if (level == SOL_SOCKET) return Outcome::through();
    return level == SOL_NETLINK ? Outcome::ok() : Outcome::error(ENOPROTOOPT);
  }
  int value = 0;
  switch (level == SOL_SOCKET ? name : -1) {
    case SO_TYPE:
      value = s.type;
      break;
    case SO_DOMAIN:
      value = s.domain;
      break;
    case SO_PROTOCOL:
      value = s.protocol;
      break;
    default:
      return level == SOL_SOCKET ? Outcome::through() : Outcome::error(ENOPROTOOPT);
  }
  std::int32_t room = 0;
  if (!tasks_.read(call.tid, call.args[4], std::as_writable_bytes(std::span(&room, 1)))) {
    return Outcome::error(EFAULT);
  }
  if (room < 0) return Outcome::error(EINVAL);
  const std::int32_t size = std::min(room, static_cast<std::int32_t>(sizeof value));
  const Bytes bytes = as_bytes(&value, static_cast<std::size_t>(size));
  const bool written = tasks_.write(call.tid, call.args[3], bytes) &&
                       tasks_.write(call.tid, call.args[4], as_bytes(&size, sizeof size));
  return written ? Outcome::ok() : Outcome::error(EFAULT);
}

Outcome Netd::send_netlink(const Call& call, Socket& s, const Message& m) {
  if ((m.flags & MSG_OOB) != 0) return Outcome::error(EOPNOTSUPP);
  if (m.name_at != 0) {
    const auto raw = read_address(call, m.name_at, static_cast<std::uint64_t>(m.name_room));
    if (!raw) return Outcome::error(raw.error());
    const auto name = read_name(*raw);
    if (!name) return Outcome::error(name.error());
    if (name->nl_groups != 0) return Outcome::error(EPERM);
    if (name->nl_pid != 0) return Outcome::error(ECONNREFUSED);
  }
  if (m.total() > scratch_.size()) return Outcome::error(EMSGSIZE);
  std::vector<std::byte> request;
  const int gathered = gather(call, m, request);
  if (gathered != 0) return Outcome::error(gathered);
  (void)bind_netlink(s, 0, call.tid);
  pump_netlink(s);  // what plain send() calls left goes first
  answer_netlink(s, request);
  return Outcome::ok(static_cast<std::int64_t>(request.size()));
}

Outcome Netd::receive_netlink(const Call& call, Target& t, Message& m) {
  Socket& s = *t.socket;
  if ((m.flags & MSG_ERRQUEUE) != 0) return Outcome::error(EAGAIN);
  if ((m.flags & MSG_OOB) != 0) return Outcome::error(EOPNOTSUPP);
  pump_netlink(s);
  const ssize_t n =
      ::recv(t.app, scratch_.data(), scratch_.size(), MSG_DONTWAIT | (m.flags & MSG_PEEK));
  if (n < 0 && errno == EAGAIN) {
    const bool wait = (m.flags & MSG_DONTWAIT) == 0 && !is_nonblocking(t.app);
    if (resuming_ == nullptr && !wait) return Outcome::error(EAGAIN);
    return park(call, s, std::move(t.copy), SO_RCVTIMEO, EAGAIN);
  }
  if (n < 0) return Outcome::error(errno);
  const auto size = static_cast<std::size_t>(n);
  const std::size_t copied = std::min<std::size_t>(size, m.total());
  if (!scatter(call, m, 0, Bytes(scratch_).first(copied))) return Outcome::error(EFAULT);
  m.name = name_of_port(0);
  if (copied < size) m.out_flags |= MSG_TRUNC;
  return Outcome::ok(static_cast<std::int64_t>((m.flags & MSG_TRUNC) != 0 ? size : copied));
}

// Requests that the program wrote without asking us.
void Netd::pump_netlink(Socket& s) {
  while (s.peer_readable) {
    const ssize_t n = ::recv(s.peer.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      s.peer_readable = false;
      return;
    }
    const std::vector<std::byte> request(scratch_.begin(), scratch_.begin() + n);
    answer_netlink(s, request);
  }
}

void Netd::answer_netlink(Socket& s, Bytes request) {
  const bool diag = s.protocol == NETLINK_SOCK_DIAG;
  const std::vector<ListedSocket> listed = diag ? list_sockets() : std::vector<ListedSocket>{};
  const NetlinkHost host{backend_.interfaces(), listed};
  const auto replies = diag ? answer_diag(request, host, s.netlink_port)
                            : answer_route(request, host, s.netlink_port);
  for (const NetlinkReply& reply : replies) {
    // No room: lost, as by the kernel.
    (void)::send(s.peer.get(), reply.data(), reply.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  if (!replies.empty() && !s.waiters.empty()) wake(s);
}

std::vector<ListedSocket> Netd::list_sockets() {
  std::vector<ListedSocket> all;
  for (const auto& [serial, socket] : sockets_) {
    Socket& s = *socket;
    if (s.phase == Phase::netlink) continue;
    ListedSocket listed;
    listed.transport = s.transport;
    listed.domain = s.domain;
    listed.local = backend_.local(s.ref);
    listed.remote = {IpAddress::any(s.domain == AF_INET ? Family::v4 : Family::v6), 0, 0};
    const auto remote = backend_.remote(s.ref);
    if (remote) listed.remote = *remote;
    listed.state = TCP_CLOSE;
    if (s.is_stream()) {
      std::byte state{TCP_CLOSE};
      if (backend_.info(s.ref, std::span(&state, 1)) == 1) {
        listed.state = std::to_integer<std::uint8_t>(state);
      }
      if (s.phase == Phase::listening) listed.state = TCP_LISTEN;
    } else if (remote) {
      listed.state = TCP_ESTABLISHED;
    }
    // What has neither port nor state is in no table of the kernel's either.
    if (listed.local.port == 0) continue;
    if (s.is_stream() && listed.state == TCP_CLOSE) continue;
    if (const auto use = use_of(s.ref))
      listed.receive_queue = static_cast<std::uint32_t>(use->unread);
    listed.send_queue = static_cast<std::uint32_t>(unsent(s));
    all.push_back(listed);
  }
  std::ranges::sort(all, {}, [](const ListedSocket& s) { return s.local; });
  return all;
}

}  // namespace tidewire::posix
