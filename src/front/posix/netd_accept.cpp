// accept, accept4.
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>

#include "front/posix/netd.hpp"

namespace tidewire::posix {

Outcome Netd::on_accept(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  const int flags = call.number == SYS_accept4 ? static_cast<int>(call.args[3]) : 0;
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return Outcome::error(EINVAL);
  if (!s.is_stream()) return Outcome::error(EOPNOTSUPP);
  if (s.phase != Phase::listening || s.shut_read) return Outcome::error(EINVAL);
  for (;;) {
    std::uint32_t serial = 0;
    Fd app = twins_.accept(t.app, serial, flags & SOCK_NONBLOCK);
    if (!app) {
      if (resuming_ == nullptr && is_nonblocking(t.app)) return Outcome::error(EAGAIN);
      return park(call, s, std::move(t.copy), SO_RCVTIMEO, EAGAIN);
    }
    Socket* connection = by_serial(serial);
    if (connection == nullptr) continue;
    std::erase(s.offered, serial);
    connection->parent = 0;
    const Outcome outcome = hand_out(call, *connection, s, app, flags);
    offer_connections(s);
    return outcome;
  }
}

Outcome Netd::hand_out(const Call& call, Socket& s, Socket& listener, Fd& app, int flags) {
  if (call.args[1] != 0) {
    const auto remote = backend_.remote(s.ref);
    const int error =
        write_address(call, remote ? *remote : Endpoint{}, s.domain, call.args[1], call.args[2]);
    if (error != 0) {
      backend_.abort(s.ref, now_);
      forget(s);
      return Outcome::error(error);
    }
  }
  for (const int name : {SO_SNDBUF, SO_RCVLOWAT, SO_OOBINLINE}) {
    const int value = s.option(SOL_SOCKET, name);
    if (value != 0) ::setsockopt(app.get(), SOL_SOCKET, name, &value, sizeof value);
  }
  if (s.phase == Phase::reset) {
    (void)::send(app.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    drop_peer(s);
  } else {
    leave_tail(s, app.get());
  }
  adopt(s, app.get());
  s.program = tasks_.program_of(call.tid);
  const int number = notifier_.give_fd(call, app.get(), (flags & SOCK_CLOEXEC) != 0);
  if (number < 0) {
    offer_again(listener, s, app);
    return Outcome::done();
  }
  s.hint_process = call.tid;
  s.hint_fd = number;
  if (hooks_.on_open) hooks_.on_open(s.ref, s.program);
  return Outcome::done();
}

// The caller vanished or has no room for a descriptor: the connection goes back to the queue, with
// the bytes that already lay in the twin.
void Netd::offer_again(Socket& listener, Socket& s, Fd& app) {
  std::vector<std::byte> unread;
  ssize_t n = 0;
  while ((n = ::recv(app.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT)) > 0) {
    unread.insert(unread.end(), scratch_.begin(), scratch_.begin() + n);
  }
  living_.remove(app.get(), s.serial);
  by_key_.erase(s.key);
  s.key = 0;
  s.held.reset();
  const bool had_peer = static_cast<bool>(s.peer);
  s.tail = false;
  drop_peer(s);
  app.reset();
  Fd ours = twins_.offer(listener.twin_name, s.serial);
  if (!ours) {
    backend_.abort(s.ref, now_);
    forget(s);
    return;
  }
  (void)::send(ours.get(), unread.data(), unread.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  s.parent = listener.serial;
  listener.offered.push_back(s.serial);
  queue(listener);  // others may wait for it
  if (!had_peer) return;
  if (s.down_closed) ::shutdown(ours.get(), SHUT_WR);
  watch_peer(s, std::move(ours));
  queue(s);
}

}  // namespace tidewire::posix
