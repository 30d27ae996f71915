// socket, bind, listen, getsockname, getpeername, shutdown.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "front/abi/sockaddr.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr int creation_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
constexpr int somaxconn = 4096;

// Some connections lie in the twin's queue, the others in the backend's.
int queue_behind(int backlog, std::size_t in_twin) {
  return std::max(backlog - static_cast<int>(in_twin), 0);
}

// Which transport socket(domain, type, protocol) asks for; the errno of Linux otherwise.
Result<Transport, int> transport_of(int domain, int type, int protocol, bool raw_allowed) {
  if (domain == AF_PACKET) return fail(EPERM);
  switch (type) {
    case SOCK_STREAM:
      if (protocol == 0 || protocol == IPPROTO_TCP) return Transport::tcp;
      return fail(EPROTONOSUPPORT);
    case SOCK_DGRAM:
      if (protocol == 0 || protocol == IPPROTO_UDP) return Transport::udp;
      if (protocol == IPPROTO_UDPLITE) return Transport::udp_lite;
      if (protocol == (domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) {
        return Transport::icmp_echo;
      }
      return fail(EPROTONOSUPPORT);
    case SOCK_RAW:
      if (raw_allowed &&
          protocol == (domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) {
        return Transport::icmp_echo;
      }
      return fail(EPERM);
    default:
      return fail(type > SOCK_PACKET ? EINVAL : ESOCKTNOSUPPORT);
  }
}

int default_protocol(Transport transport, int domain) {
  switch (transport) {
    case Transport::tcp:
      return IPPROTO_TCP;
    case Transport::udp:
      return IPPROTO_UDP;
    case Transport::udp_lite:
      return IPPROTO_UDPLITE;
    case Transport::icmp_echo:
      return domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  }
  return 0;
}

}  // namespace

Outcome Netd::on_socket(const Call& call) {
  const int domain = static_cast<int>(call.args[0]);
  const int flags = static_cast<int>(call.args[1]) & creation_flags;
  const int type = static_cast<int>(call.args[1]) & ~creation_flags;
  const int protocol = static_cast<int>(call.args[2]);
  if (domain == AF_NETLINK) {
    const bool known = type == SOCK_RAW || type == SOCK_DGRAM;
    if (!known || !answers_netlink(protocol)) return Outcome::through();
    Socket& s = create(Transport::udp, domain, type, protocol, 0);
    s.phase = Phase::netlink;
    Fd app;
    if (auto pair = twins_.datagram_pair()) {
      app = std::move(pair->first);
      watch_peer(s, std::move(pair->second));
    }
    return give_socket(call, s, std::move(app), flags);
  }
  const auto transport =
      transport_of(domain, type, protocol, type == SOCK_RAW && tasks_.may_open_raw(call.tid));
  if (!transport) return Outcome::error(transport.error());
  const auto ref = backend_.open(*transport, domain == AF_INET ? Family::v4 : Family::v6);
  if (!ref) return Outcome::error(ref.error());
  Socket& s = create(*transport, domain, type, default_protocol(*transport, domain), *ref);
  s.program = tasks_.program_of(call.tid);
  look_at_program(call.tid);
  if (type == SOCK_RAW) (void)backend_.set_option(*ref, Option::receive_errors, 1, now_);
  Fd app;
  if (s.is_stream()) {
    app = twins_.unconnected();
  } else if (auto pair = twins_.datagram_pair()) {
    app = std::move(pair->first);
    watch_peer(s, std::move(pair->second));
  }
  return give_socket(call, s, std::move(app), flags);
}

// Hands a new socket to its program; without `app` it could not be made.
Outcome Netd::give_socket(const Call& call, Socket& s, Fd app, int flags) {
  const int failure = app ? 0 : errno;
  if (!app) {
    app_closed(s);
    return Outcome::error(failure == EMFILE ? ENFILE : failure);
  }
  if ((flags & SOCK_NONBLOCK) != 0) ::fcntl(app.get(), F_SETFL, O_NONBLOCK);
  adopt(s, app.get());
  const int number = notifier_.give_fd(call, app.get(), (flags & SOCK_CLOEXEC) != 0);
  if (number < 0) {
    app_closed(s);
    return Outcome::done();
  }
  s.hint_process = call.tid;
  s.hint_fd = number;
  if (hooks_.on_open && s.phase != Phase::netlink) hooks_.on_open(s.ref, s.program);
  return Outcome::done();
}

Result<std::vector<std::byte>, int> Netd::read_address(const Call& call, std::uint64_t at,
                                                       std::uint64_t size) {
  const auto length = static_cast<std::int32_t>(size);
  if (length < 0 || length > static_cast<std::int32_t>(sizeof(sockaddr_storage))) {
    return fail(EINVAL);
  }
  std::vector<std::byte> raw(static_cast<std::size_t>(length));
  if (!tasks_.read(call.tid, at, raw)) return fail(EFAULT);
  return raw;
}

// As move_addr_to_user: truncates, and reports the true length. Returns an errno value or 0.
int Netd::write_address(const Call& call, const Endpoint& e, int domain, std::uint64_t at,
                        std::uint64_t size_at) {
  return write_raw_address(call, to_raw(e, domain), at, size_at);
}

int Netd::write_raw_address(const Call& call, const RawAddress& raw, std::uint64_t at,
                            std::uint64_t size_at) {
  std::int32_t room = 0;
  if (!tasks_.read(call.tid, size_at, std::as_writable_bytes(std::span(&room, 1)))) return EFAULT;
  if (room < 0) return EINVAL;
  const auto size = static_cast<std::int32_t>(raw.size);
  const std::size_t n = static_cast<std::size_t>(std::min(room, size));
  const bool written =
      tasks_.write(call.tid, at, raw.bytes().first(n), size_at, std::as_bytes(std::span(&size, 1)));
  return written ? 0 : EFAULT;
}

// A close may be queued behind this call: before a port counts as taken, look again.
int Netd::bind_retrying(Socket& s, const Endpoint& local) {
  int error = backend_.bind(s.ref, local);
  if (error != EADDRINUSE) return error;
  const std::uint32_t serial = s.serial;
  take_peer_events();
  pump_queued();
  sweep();
  Socket* still = by_serial(serial);
  return still == nullptr ? EBADF : backend_.bind(still->ref, local);
}

Outcome Netd::on_bind(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return name_netlink(call, s);
  auto raw = read_address(call, call.args[1], call.args[2]);
  if (!raw) return Outcome::error(raw.error());
  // Linux lets AF_UNSPEC with the wildcard address pass as AF_INET.
  if (s.domain == AF_INET && raw->size() >= sizeof(sockaddr_in) && family_of(*raw) == AF_UNSPEC) {
    sockaddr_in in;
    std::memcpy(&in, raw->data(), sizeof in);
    in.sin_family = AF_INET;
    if (in.sin_addr.s_addr == INADDR_ANY) std::memcpy(raw->data(), &in, sizeof in);
  }
  const auto local = from_raw(*raw, s.domain);
  if (!local) return Outcome::error(local.error());
  if (s.domain == AF_INET6 && family_of(*raw) == AF_INET) return Outcome::error(EAFNOSUPPORT);
  const int error = bind_retrying(s, *local);
  if (error == 0 && !s.is_stream() && hooks_.on_listen) {
    hooks_.on_listen(s.transport, backend_.local(s.ref), s.program);
  }
  return Outcome::from(error);
}

Outcome Netd::on_listen(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (!s.is_stream()) return Outcome::error(EOPNOTSUPP);
  if (s.phase != Phase::fresh && s.phase != Phase::listening) return Outcome::error(EINVAL);
  const auto wanted = static_cast<unsigned>(call.args[1]);
  const int backlog = wanted > somaxconn ? somaxconn : static_cast<int>(wanted);
  const std::size_t in_twin = at_once(backlog);
  int error = backend_.listen(s.ref, queue_behind(backlog, in_twin), now_);
  if (error == EADDRINUSE) {
    take_peer_events();
    pump_queued();
    sweep();
    error = backend_.listen(s.ref, queue_behind(backlog, in_twin), now_);
  }
  if (error != 0) return Outcome::error(error);
  s.at_once = in_twin;
  if (s.phase == Phase::listening) {
    if (s.shut_read) listen_again(s, t.app);
    return Outcome::ok();
  }
  const auto name = t.app >= 0 ? twins_.listen(t.app) : std::nullopt;
  if (!name) return Outcome::error(ENOBUFS);
  s.twin_name = *name;
  s.phase = Phase::listening;
  ++listeners_;
  if (hooks_.on_listen) hooks_.on_listen(s.transport, backend_.local(s.ref), s.program);
  offer_connections(s);
  return Outcome::ok();
}

// shutdown() of a listener ends it: nobody waits in accept() any more, and what was not accepted is
// reset. The descriptor stays and may listen again.
Outcome Netd::shutdown_listener(Socket& s, int app, bool read) {
  if (s.shut_read) return Outcome::error(ENOTCONN);
  if (!read) return Outcome::ok();
  s.shut_read = true;
  if (!native_accept_) reset_offered(s);
  backend_.listen(s.ref, -1, now_);
  drain_twin(app);
  accepted_all(s);
  s.starved = false;
  // Something for those who poll it to look at: accept() says EINVAL.
  mark_shut(s);
  wake(s);
  return Outcome::ok();
}

void Netd::listen_again(Socket& s, int app) {
  s.shut_read = false;
  s.shut_mark.reset();
  drain_twin(app);
  offer_connections(s);
}

// Takes what lies in the queue of a listening twin, and resets what is a connection.
void Netd::drain_twin(int app) {
  std::uint32_t serial = 0;
  while (app >= 0 && twins_.accept(app, serial)) {
    Socket* s = by_serial(serial);
    if (s == nullptr) continue;
    backend_.abort(s->ref, now_);
    forget(*s);
  }
}

// shutdown() before the handshake is over: as the kernel, back to an unconnected socket.
Outcome Netd::abandon_connect(Socket& s) {
  const int error = renew_ref(s);
  if (error != 0) return Outcome::error(error);
  if (s.peer) {
    reset_app(s, ECONNRESET);
    return Outcome::ok();
  }
  s.phase = Phase::fresh;
  const std::vector<std::uint64_t> waiting = s.waiters;
  for (const std::uint64_t id : waiting) {
    notifier_.give_error(parked_.at(id).call, ECONNRESET);
    unpark(id);
  }
  return Outcome::ok();
}

Outcome Netd::on_names(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return name_netlink(call, s);
  Endpoint e;
  if (call.number == SYS_getsockname) {
    e = backend_.local(s.ref);
  } else {
    if (s.is_stream() && s.phase != Phase::connected) return Outcome::error(ENOTCONN);
    const auto remote = backend_.remote(s.ref);
    if (!remote) return Outcome::error(remote.error());
    e = *remote;
  }
  return Outcome::from(write_address(call, e, s.domain, call.args[1], call.args[2]));
}

Outcome Netd::on_shutdown(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return Outcome::error(EOPNOTSUPP);
  const int how = static_cast<int>(call.args[1]);
  if (how < SHUT_RD || how > SHUT_RDWR) return Outcome::error(EINVAL);
  const bool read = how != SHUT_WR;
  const bool write = how != SHUT_RD;
  if (s.phase == Phase::listening) return shutdown_listener(s, t.app, read);
  if (s.phase == Phase::connecting) return abandon_connect(s);
  const bool connected = s.phase == Phase::connected || (s.phase == Phase::datagram && s.has_peer);
  if (!connected && s.phase != Phase::datagram) return Outcome::error(ENOTCONN);
  s.shut_read |= read;
  s.shut_write |= write;
  living_.add(t.app, s.serial, s.key);
  if (t.app < 0) return Outcome::through();
  ::shutdown(t.app, how);
  queue(s);
  if (!s.waiters.empty()) wake(s);
  return connected ? Outcome::ok() : Outcome::error(ENOTCONN);
}

}  // namespace tidewire::posix
