// accept, accept4.
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>

#include "front/posix/netd.hpp"

namespace tidewire::posix {

namespace {

int flags_of(const Call& call) {
  return call.number == SYS_accept4 ? static_cast<int>(call.args[3]) : 0;
}

// Why the call fails whatever waits; 0 if it does not.
int refusal(const Socket& s, int flags) {
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return EINVAL;
  if (!s.is_stream()) return EOPNOTSUPP;
  return s.phase != Phase::listening || s.shut_read ? EINVAL : 0;
}

}  // namespace

Outcome Netd::on_accept(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  restore_mark(s, t.app);
  if (const int error = refusal(s, flags_of(call)); error != 0) return Outcome::error(error);
  if (const auto outcome = accept_offered(call, s, t.app)) return *outcome;
  // The twin's queue is empty, and more than may lie there may wait.
  if (resuming_ == nullptr && s.starved) {
    const std::uint32_t serial = s.serial;
    offer_connections(s);
    if (by_serial(serial) == nullptr) return Outcome::error(EBADF);
    if (const auto outcome = accept_offered(call, s, t.app)) return *outcome;
  }
  if (resuming_ == nullptr && is_nonblocking(t.app)) return Outcome::error(EAGAIN);
  return park(call, s, std::move(t.copy), SO_RCVTIMEO, EAGAIN);
}

// A connection from elsewhere that waits is handed over at once, and its program goes on while the
// rest of the turn is done. Whether one waits is for the turn to find out; and what is done at the
// other end, if that is a program here, comes before.
void Netd::answer_accepts() {
  while (!calls_.empty()) {
    const Call call = calls_.front();
    if (call.number != SYS_accept && call.number != SYS_accept4) return;
    const Target t = find(call);
    if (t.socket == nullptr || t.socket->offered.empty()) return;
    if (refusal(*t.socket, flags_of(call)) != 0) return;
    const Socket* first = by_serial(t.socket->offered.front());
    if (first == nullptr || both_ends_here(first->ref)) return;
    const auto outcome = accept_offered(call, *t.socket, t.app);
    if (!outcome) return;
    calls_.pop_front();
    finish(call, *outcome);
  }
}

bool Netd::both_ends_here(SocketRef connection) {
  const auto remote = backend_.remote(connection);
  return !remote || leads_here(connection, remote->address);
}

bool Netd::leads_here(SocketRef connection, const IpAddress& remote) {
  return remote.is_loopback() || remote == backend_.local(connection).address;
}

// None: no connection waits in the twin's queue.
std::optional<Outcome> Netd::accept_offered(const Call& call, Socket& listener, int app_listener) {
  const int flags = flags_of(call);
  for (;;) {
    std::uint32_t serial = 0;
    Fd app = twins_.accept(app_listener, serial, flags & SOCK_NONBLOCK);
    if (!app) return std::nullopt;
    Socket* connection = by_serial(serial);
    if (connection == nullptr) continue;
    accepted_unseen(*connection);
    const Outcome outcome = hand_out(call, *connection, listener, app, flags);
    offer_connections(listener);
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
  settle_accepted(s, app.get());
  s.program = tasks_.program_of(call.tid);
  const int number = notifier_.give_fd(call, app.get(), (flags & SOCK_CLOEXEC) != 0);
  if (number < 0) {
    offer_again(listener, s, app);
    return Outcome::done();
  }
  s.hint_process = call.tid;
  s.hint_fd = number;
  if (s.untold) finish_reset(s, app.get());
  if (hooks_.on_open) hooks_.on_open(s.ref, s.program);
  return Outcome::done();
}

// `app` is a copy of the program's end, or will be.
void Netd::settle_accepted(Socket& s, int app) {
  for (const int name : inherited_options) {
    const int value = s.option(SOL_SOCKET, name);
    if (value != 0) ::setsockopt(app, SOL_SOCKET, name, &value, sizeof value);
  }
  if (s.phase == Phase::reset && !s.untold) {
    (void)::send(app, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    drop_peer(s);
  } else {
    leave_tail(s, app);
  }
  adopt(s, app);
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
  Fd ours = twins_.offer(listener.twin_name, s.serial, introduction(s));
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
