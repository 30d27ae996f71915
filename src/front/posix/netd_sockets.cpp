// The table of sockets and the life of twins.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "front/posix/netd.hpp"

namespace tidewire::posix {

Netd::Target Netd::find(const Call& call) {
  Target t;
  if (resuming_ != nullptr) {
    t.socket = by_serial(resuming_->serial);
    t.app = resuming_->app ? resuming_->app.get() : (t.socket ? t.socket->held.get() : -1);
    return t;
  }
  const int number = static_cast<int>(call.args[0]);
  auto found = tasks_.identify(call.tid, number);
  if (!found) return t;
  const auto known = by_key_.find(found->key);
  const bool unknown = known == by_key_.end();
  t.socket = unknown ? recognise(*found) : by_serial(known->second);
  if (t.socket == nullptr) return t;
  if (unknown) t.socket->program = tasks_.program_of(call.tid);
  t.copy = std::move(found->copy);
  t.app = t.copy ? t.copy.get() : t.socket->held.get();
  t.socket->hint_process = call.tid;
  t.socket->hint_fd = number;
  if (t.socket->untold) finish_reset(*t.socket, t.app);
  return t;
}

Socket* Netd::by_serial(std::uint32_t serial) {
  const auto found = sockets_.find(serial);
  return found == sockets_.end() ? nullptr : found->second.get();
}

Socket& Netd::create(Transport transport, int domain, int type, int protocol, SocketRef ref) {
  auto made = std::make_unique<Socket>();
  Socket& s = *made;
  s.serial = ++last_serial_;
  s.transport = transport;
  s.domain = domain;
  s.type = type;
  s.protocol = protocol;
  s.ref = ref;
  if (!s.is_stream()) s.phase = Phase::datagram;
  sockets_.emplace(s.serial, std::move(made));
  by_ref_[ref] = s.serial;
  return s;
}

// The program's end exists: it can be recognised from now on.
void Netd::adopt(Socket& s, int app) {
  s.key = tasks_.key_of(app);
  by_key_[s.key] = s.serial;
  const bool keep = !tasks_.can_copy() && (!s.peer || !s.is_stream());
  if (keep) s.held.reset(::fcntl(app, F_DUPFD_CLOEXEC, 3));
  if (!s.peer || keep) living_.add(app, s.serial, s.key);
}

void Netd::watch_peer(Socket& s, Fd peer) {
  const int on = 1;
  if (!s.is_stream()) {
    ::setsockopt(peer.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  } else if (features_.unix_oob) {
    ::setsockopt(peer.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  }
  s.peer = std::move(peer);
  s.peer_readable = s.peer_writable = true;
  s.peer_hung_up = s.peer_ended = false;
  s.peer_urgent = s.knows_urgent = s.plain_head = s.urgent_over = false;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = s.serial;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, s.peer.get(), &event);
}

void Netd::drop_peer(Socket& s) {
  s.peer.reset();
  s.peer_readable = s.peer_writable = false;
}

// A copy of the program's end outside a call, from where it was last seen; may fail.
Fd Netd::copy_of_app(Socket& s) {
  if (s.held) return Fd(::fcntl(s.held.get(), F_DUPFD_CLOEXEC, 3));
  const auto where_seen = [&] {
    Fd copy = s.hint_fd < 0 ? Fd{} : tasks_.take(s.hint_process, s.hint_fd);
    if (copy && tasks_.key_of(copy.get()) != s.key) copy.reset();
    return copy;
  };
  Fd copy = where_seen();
  if (copy || !native_accept_ || s.parent != 0) return copy;
  seek_sockets();
  return where_seen();
}

void Netd::forget(Socket& s) {
  closed_in_turn_ = true;
  while (!s.waiters.empty()) {
    const std::uint64_t id = s.waiters.front();
    const auto found = parked_.find(id);
    if (found != parked_.end()) notifier_.give_error(found->second.call, EBADF);
    unpark(id);
  }
  if (s.phase == Phase::listening) --listeners_;
  living_.forget(s.serial);
  by_ref_.erase(s.ref);
  const auto key = by_key_.find(s.key);
  if (key != by_key_.end() && key->second == s.serial) by_key_.erase(key);
  if (s.parent != 0) {
    if (Socket* listener = by_serial(s.parent)) std::erase(listener->offered, s.serial);
  }
  sockets_.erase(s.serial);
}

// What was offered and never accepted is reset, as by the kernel.
void Netd::reset_offered(Socket& listener) {
  const std::vector<std::uint32_t> offered = listener.offered;
  for (const std::uint32_t serial : offered) {
    Socket* connection = by_serial(serial);
    if (connection == nullptr) continue;
    backend_.abort(connection->ref, now_);
    forget(*connection);
  }
}

// The last descriptor of the program is gone.
void Netd::app_closed(Socket& s) {
  switch (s.phase) {
    case Phase::listening: {
      // What nobody accepted is told by the twins' hang-up where somebody may have, unseen.
      if (native_accept_) {
        accepted_all(s);
      } else {
        reset_offered(s);
      }
      backend_.close(s.ref, now_);
      break;
    }
    case Phase::connected:
      // Unread bytes or zero linger: the peer must learn that data was lost.
      if (s.linger_zero || !backend_.received(s.ref).empty()) {
        backend_.abort(s.ref, now_);
      } else {
        backend_.close(s.ref, now_);
      }
      break;
    case Phase::connecting:
    case Phase::reset:
      backend_.abort(s.ref, now_);
      break;
    case Phase::fresh:
    case Phase::failed:
    case Phase::datagram:
      backend_.close(s.ref, now_);
      break;
    case Phase::netlink:
      break;
  }
  forget(s);
}

// Connects the twin, so that the program's end behaves as a connected socket. With filler it is
// not writable until the handshake is over.
void Netd::pair_for_connect(Socket& s, int app, bool with_filler) {
  Fd ours = twins_.connect(app);
  if (!ours) return;
  if (with_filler) s.filler = fill(app);
  living_.remove(app, s.serial);
  watch_peer(s, std::move(ours));
  if (with_filler) return;
  leave_tail(s, app);
  s.held.reset();
}

// Where no copy of the program's end can be had later, a byte lies ready in our queue: closing our
// end with it unread is what makes a reset visible (see pump_up, which keeps one byte there).
void Netd::leave_tail(Socket& s, int app) {
  if (tasks_.can_copy() || app < 0 || s.tail) return;
  ::setsockopt(app, SOL_SOCKET, SO_SNDBUF, &tail_send_buffer, sizeof tail_send_buffer);
  s.tail = ::send(app, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

// The connection is gone: make the program's end say so. The kernel reports a reset to a unix
// socket whose peer closes with unread data, so there must be some.
void Netd::reset_app(Socket& s, int error) {
  const bool was_connecting = s.phase == Phase::connecting;
  s.error = error;
  s.phase = was_connecting ? Phase::failed : Phase::reset;
  // Not accepted yet: whoever accepts it gets the reset then.
  if (s.parent != 0 && !native_accept_) return;
  tell_reset(s);
}

void Netd::tell_reset(Socket& s) {
  if (native_accept_ && s.key == 0) return tell_reset_unseen(s);
  const Fd app = copy_of_app(s);
  // After a shutdown of both directions the socket is watched already, and a hang-up says nothing.
  if (app || s.shut_write || !tasks_.can_copy()) return finish_reset(s, app.get());
  // Closed a moment ago: nobody is left to be told.
  if (hung_up(s.peer.get())) return app_closed(s);
  // A program that is ending gives no copy any more, and its descriptors are closed a moment later;
  // or others have it than those we know. The hang-up of our end is what will tell us; meanwhile
  // reading ends, and what is written gets nowhere.
  if (!std::exchange(s.untold, true)) ::shutdown(s.peer.get(), SHUT_WR);
  constexpr int kReads = 64;  // a writer in another process could keep up with this for ever
  for (int i = 0; i < kReads; ++i) {
    if (::recv(s.peer.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT) <= 0) break;
  }
  wake(s);
}

void Netd::finish_reset(Socket& s, int app) {
  s.untold = false;
  if (app >= 0 && !s.filler && !s.tail) (void)::send(app, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  living_.add(app, s.serial, s.key);
  drop_peer(s);
  // After that, or the program would see it writable before it sees the error.
  if (app >= 0 && s.filler) {
    ::setsockopt(app, SOL_SOCKET, SO_SNDBUF, &s.filler->send_buffer, sizeof(int));
  }
  s.filler.reset();
  wake(s);
}

}  // namespace tidewire::posix
