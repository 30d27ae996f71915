// connect.
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "front/abi/sockaddr.hpp"
#include "front/posix/epoll_items.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

// To a listener or a refusal and back.
constexpr std::uint64_t turns_of_a_handshake = 3;

// Whether the caller's descriptor closes on exec; a copy of it does not tell.
bool closes_on_exec(pid_t tid, int fd) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", tid, fd);
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[512];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
  if (n <= 0) return true;
  const std::string_view all(text, static_cast<std::size_t>(n));
  const std::size_t at = all.find("flags:");
  if (at == std::string_view::npos) return true;
  const std::size_t from = all.find_first_of("01234567", at);
  unsigned flags = 0;
  if (from != std::string_view::npos) {
    std::from_chars(all.data() + from, all.data() + all.size(), flags, 8);
  }
  return (flags & static_cast<unsigned>(O_CLOEXEC)) != 0;
}

}  // namespace

Outcome Netd::on_connect(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return name_netlink(call, s);
  const auto raw = read_address(call, call.args[1], call.args[2]);
  if (!raw) return Outcome::error(raw.error());
  if (raw->size() < sizeof(sa_family_t)) return Outcome::error(EINVAL);
  if (family_of(*raw) == AF_UNSPEC) {
    if (s.is_stream()) return disconnect_stream(call, t);
    s.has_peer = false;
    return Outcome::from(backend_.disconnect(s.ref));
  }
  const auto to = from_raw(*raw, s.domain);
  if (!to) return Outcome::error(to.error());
  if (s.is_stream()) return connect_stream(call, t, *to);
  // A receiver that was closed a moment ago must refuse.
  if (!tasks_.can_copy()) sweep();
  const int error = backend_.connect(s.ref, *to, now_);
  if (error == 0) s.has_peer = true;
  return Outcome::from(error);
}

Outcome Netd::connect_stream(const Call& call, Target& t, const Endpoint& to) {
  Socket& s = *t.socket;
  switch (s.phase) {
    case Phase::fresh: {
      // A listener that was closed a moment ago must refuse.
      if (listeners_ > 0) sweep();
      int error = backend_.connect(s.ref, to, now_);
      if (error == EADDRNOTAVAIL) {
        // Ports may be held by sockets whose close was not seen yet.
        take_peer_events();
        pump_queued();
        error = backend_.connect(s.ref, to, now_);
      }
      if (error != 0) return Outcome::error(error);
      s.phase = Phase::connecting;
      s.connect_reported = false;
      if (!is_nonblocking(t.app)) return connect_under_way(call, t);
      pair_for_connect(s, t.app, true);
      connect_finished(s);
      if (s.phase != Phase::connected) {
        // On the kernel's loopback the answer is there when the call returns.
        if (leads_here(s.ref, to.address)) settled_in_ = turn_ + turns_of_a_handshake;
        return Outcome::error(EINPROGRESS);
      }
      s.connect_reported = true;  // it waits for the first data
      return Outcome::ok();
    }
    case Phase::connecting:
      return connect_under_way(call, t);
    case Phase::connected:
      if (s.connect_reported) return Outcome::error(EISCONN);
      s.connect_reported = true;
      return Outcome::ok();
    case Phase::failed: {
      const int error = s.error != 0 ? s.error : ECONNABORTED;
      s.error = 0;
      const int trouble = renew_twin(call, s, t.app);
      return Outcome::error(trouble != 0 ? trouble : error);
    }
    default:
      return Outcome::error(EISCONN);
  }
}

Outcome Netd::connect_under_way(const Call& call, Target& t) {
  Socket& s = *t.socket;
  const StreamState state = backend_.state(s.ref);
  if (state.error != 0 && !s.peer) {
    s.phase = Phase::fresh;
    return Outcome::error(state.error);
  }
  if (s.peer && (state.error != 0 || state.connected)) {
    connect_finished(s);
    return connect_stream(call, t, {});
  }
  if (state.connected) {
    pair_for_connect(s, t.app, false);
    if (!s.peer) return Outcome::error(ENOBUFS);
    s.phase = Phase::connected;
    s.connect_reported = true;
    queue(s);
    return Outcome::ok();
  }
  if (resuming_ == nullptr && is_nonblocking(t.app)) return Outcome::error(EALREADY);
  return park(call, s, std::move(t.copy), SO_SNDTIMEO, EINPROGRESS);
}

// connect(AF_UNSPEC) on a stream: back to an unconnected socket.
Outcome Netd::disconnect_stream(const Call& call, Target& t) {
  Socket& s = *t.socket;
  if (s.phase == Phase::fresh) return Outcome::ok();
  const int error = renew_ref(s);
  if (error != 0) return Outcome::error(error);
  s.error = 0;
  return Outcome::from(renew_twin(call, s, t.app));
}

// Gives up what the backend has for a stream, and starts anew with the options of the program.
int Netd::renew_ref(Socket& s) {
  const auto ref = backend_.open(s.transport, s.domain == AF_INET ? Family::v4 : Family::v6);
  if (!ref) return ref.error();
  backend_.abort(s.ref, now_);
  by_ref_.erase(s.ref);
  s.ref = *ref;
  by_ref_[s.ref] = s.serial;
  for (const auto& [name, value] : s.options) {
    const OptionRow* row = find_option(name.first, name.second);
    if (row != nullptr && row->keeper == Keeper::backend) {
      (void)backend_.set_option(s.ref, row->option, value, now_);
    }
  }
  return 0;
}

// A connected unix socket cannot be connected again: the caller's descriptor gets a fresh one, also
// in the epoll sets of its process. Other descriptors of the same socket keep the old one.
int Netd::renew_twin(const Call& call, Socket& s, int app) {
  Fd fresh = twins_.unconnected();
  if (!fresh) return ENOBUFS;
  if (app >= 0 && is_nonblocking(app)) ::fcntl(fresh.get(), F_SETFL, O_NONBLOCK);
  const int number = static_cast<int>(call.args[0]);
  const auto watched =
      tasks_.can_copy() ? epoll_items_of(call.tid, number) : std::vector<EpollItem>{};
  if (!notifier_.replace_fd(call, fresh.get(), number, closes_on_exec(call.tid, number))) {
    return ENOBUFS;
  }
  for (const EpollItem& item : watched) {
    const Fd set = tasks_.take(call.tid, item.set);
    if (set) add_epoll_item(set.get(), fresh.get(), number, item);
  }
  living_.remove(app, s.serial);
  by_key_.erase(s.key);
  drop_peer(s);
  s.filler.reset();
  s.phase = Phase::fresh;
  s.up_closed = s.down_closed = s.shut_read = s.shut_write = false;
  adopt(s, fresh.get());
  return 0;
}

}  // namespace tidewire::posix
