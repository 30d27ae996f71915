// What the message calls do: datagrams with addresses, and the rare stream calls with one.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "front/abi/sockaddr.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t max_datagram = 65535;
constexpr std::size_t max_control = 10240;

bool must_not_wait(int flags, int app) {
  return (flags & MSG_DONTWAIT) != 0 || (app >= 0 && is_nonblocking(app));
}

}  // namespace

Outcome Netd::send_datagram(const Call& call, Target& t, const Message& m) {
  Socket& s = *t.socket;
  if ((m.flags & MSG_OOB) != 0) return Outcome::error(EOPNOTSUPP);
  if (m.total() > max_datagram) return Outcome::error(EMSGSIZE);
  SendMeta meta;
  if (m.control_room > 0) {
    if (m.control_room > max_control) return Outcome::error(ENOBUFS);
    std::vector<std::byte> control(m.control_room);
    if (!tasks_.read(call.tid, m.control_at, control)) return Outcome::error(EFAULT);
    const auto parsed = parse_controls(control, s.domain);
    if (!parsed) return Outcome::error(parsed.error());
    meta = *parsed;
  }
  if (m.name_at != 0) {
    const auto raw = read_address(call, m.name_at, static_cast<std::uint64_t>(m.name_room));
    if (!raw) return Outcome::error(raw.error());
    const auto to = from_raw(*raw, s.domain);
    if (!to) return Outcome::error(to.error());
    meta.destination = *to;
  } else if (!s.has_peer) {
    return Outcome::error(EDESTADDRREQ);
  }
  if (s.shut_write) {
    raise_sigpipe(call, m.flags);
    return Outcome::error(EPIPE);
  }
  if (s.error != 0) {
    if (t.app >= 0) {
      drop_error_tokens(s, t.app);
      keep_error_token(s);
    }
    return Outcome::error(std::exchange(s.error, 0));
  }
  std::vector<std::byte> payload;
  const int gathered = gather(call, m, payload);
  if (gathered != 0) return Outcome::error(gathered);
  // What plain send() calls left in the twin goes first.
  if (!s.is_stuck_up && resuming_ == nullptr) pump_datagrams_up(s);
  const int error = s.is_stuck_up ? EAGAIN : send_up(s, payload, meta);
  if (error == 0) return Outcome::ok(static_cast<std::int64_t>(payload.size()));
  if (error != EAGAIN) return Outcome::error(error);
  if (resuming_ == nullptr && must_not_wait(m.flags, t.app)) return Outcome::error(EAGAIN);
  return park(call, s, std::move(t.copy), SO_SNDTIMEO, EAGAIN);
}

Outcome Netd::receive_datagram(const Call& call, Target& t, Message& m) {
  const Outcome outcome = take_datagram(call, t, m);
  keep_error_token(*t.socket);
  return outcome;
}

Outcome Netd::take_datagram(const Call& call, Target& t, Message& m) {
  Socket& s = *t.socket;
  if ((m.flags & MSG_ERRQUEUE) != 0) {
    // To a raw socket errors come as packets.
    return s.type == SOCK_RAW ? Outcome::error(EAGAIN) : receive_error(call, t, m);
  }
  if ((m.flags & MSG_OOB) != 0) return Outcome::error(EOPNOTSUPP);
  pump_datagrams_down(s);
  drop_error_tokens(s, t.app);
  // An error that SO_ERROR already reported is not reported again.
  if (s.error != 0) return Outcome::error(std::exchange(s.error, 0));
  const bool peek = (m.flags & MSG_PEEK) != 0;
  const ssize_t n =
      ::recv(t.app, scratch_.data(), scratch_.size(), MSG_DONTWAIT | (m.flags & MSG_PEEK));
  if (n < 0 && errno == EAGAIN) {
    if (resuming_ == nullptr && must_not_wait(m.flags, t.app)) return Outcome::error(EAGAIN);
    return park(call, s, std::move(t.copy), SO_RCVTIMEO, EAGAIN);
  }
  if (n < 0) return Outcome::error(errno);
  if (s.fifo.empty()) return Outcome::ok(0);  // shut down for reading
  const QueuedDatagram about = s.fifo.front();
  if (!peek) s.fifo.pop_front();
  s.last_stamp = about.arrived;
  const auto size = static_cast<std::size_t>(n);
  const std::size_t copied = std::min<std::size_t>(size, m.total());
  if (!scatter(call, m, 0, Bytes(scratch_).first(copied))) return Outcome::error(EFAULT);
  m.from = about.about.source;
  if (copied < size) m.out_flags |= MSG_TRUNC;
  put_datagram_controls(m, s, about);
  return Outcome::ok(static_cast<std::int64_t>((m.flags & MSG_TRUNC) != 0 ? size : copied));
}

// Hands bytes to the backend directly, once the twin holds none that go first.
ssize_t Netd::send_past_twin(Socket& s, Bytes payload) {
  if (s.shut_write || s.phase != Phase::connected) {
    errno = EPIPE;
    return -1;
  }
  // The caller's descriptor keeps the socket alive: pumping cannot end it.
  pump_up(s);
  const auto room = s.peer_readable ? std::span<const MutBytes>{} : backend_.send_space(s.ref);
  if (room.empty()) {
    errno = EAGAIN;
    return -1;
  }
  const std::size_t n = std::min(payload.size(), room[0].size());
  std::copy_n(payload.begin(), n, room[0].begin());
  backend_.sent(s.ref, n, false, now_);
  return static_cast<ssize_t>(n);
}

// sendto and sendmsg that connect (TCP Fast Open).
Outcome Netd::fast_open_send(const Call& call, Target& t, const Message& m) {
  Socket& s = *t.socket;
  if (s.phase != Phase::fresh && resuming_ == nullptr) {
    return Outcome::error(s.phase == Phase::connecting ? EALREADY : EISCONN);
  }
  Message part = m;
  std::uint64_t room = scratch_.size();
  for (Part& p : part.parts) room -= p.size = std::min(p.size, room);
  std::vector<std::byte> payload;
  const int gathered = gather(call, part, payload);
  if (gathered != 0) return Outcome::error(gathered);
  if (s.phase == Phase::fresh) {
    const auto raw = read_address(call, m.name_at, static_cast<std::uint64_t>(m.name_room));
    if (!raw) return Outcome::error(raw.error());
    const auto to = from_raw(*raw, s.domain);
    if (!to) return Outcome::error(to.error());
    if (listeners_ > 0) sweep();  // a listener that was closed a moment ago must refuse
    const auto taken = backend_.connect_send(s.ref, *to, payload, now_);
    if (!taken) return Outcome::error(taken.error());
    s.phase = Phase::connecting;
    s.connect_reported = false;
    s.syn_taken = *taken;
    if (must_not_wait(m.flags, t.app)) {
      pair_for_connect(s, t.app, true);
      connect_finished(s);
      return *taken > 0 ? Outcome::ok(static_cast<std::int64_t>(*taken))
                        : Outcome::error(EINPROGRESS);
    }
  }
  const Outcome connected = connect_under_way(call, t);
  if (connected.kind != Outcome::Kind::value || connected.value < 0) return connected;
  const std::size_t first = std::min(std::exchange(s.syn_taken, 0), payload.size());
  const Bytes rest = Bytes(payload).subspan(first);
  const ssize_t n =
      rest.empty() ? 0 : ::send(t.app, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return Outcome::ok(static_cast<std::int64_t>(first) + std::max<ssize_t>(n, 0));
}

// A stream ignores the address, but a unix socket would not.
Outcome Netd::stream_send(const Call& call, Target& t, const Message& m) {
  Socket& s = *t.socket;
  if ((m.flags & MSG_FASTOPEN) != 0) return fast_open_send(call, t, m);
  if (s.phase != Phase::connected && s.phase != Phase::connecting) {
    raise_sigpipe(call, m.flags);
    return Outcome::error(s.phase == Phase::reset && s.error != 0 ? std::exchange(s.error, 0)
                                                                  : EPIPE);
  }
  Message part = m;
  std::uint64_t room = scratch_.size();
  for (Part& p : part.parts) room -= p.size = std::min(p.size, room);
  std::vector<std::byte> payload;
  const int gathered = gather(call, part, payload);
  if (gathered != 0) return Outcome::error(gathered);
  const ssize_t n = t.app >= 0 ? ::send(t.app, payload.data(), payload.size(),
                                        (m.flags & MSG_OOB) | MSG_DONTWAIT | MSG_NOSIGNAL)
                               : send_past_twin(s, payload);
  if (n >= 0) return Outcome::ok(n);
  if (errno == EPIPE) raise_sigpipe(call, m.flags);
  if (errno != EAGAIN) return Outcome::error(errno == EPIPE ? EPIPE : errno);
  if (resuming_ == nullptr && must_not_wait(m.flags, t.app)) return Outcome::error(EAGAIN);
  return park(call, s, std::move(t.copy), SO_SNDTIMEO, EAGAIN);
}

Outcome Netd::stream_receive(const Call& call, Target& t, Message& m) {
  Socket& s = *t.socket;
  if ((m.flags & MSG_ERRQUEUE) != 0) return Outcome::error(EAGAIN);
  if (s.phase == Phase::fresh || s.phase == Phase::listening) return Outcome::error(ENOTCONN);
  const bool all = (m.flags & MSG_WAITALL) != 0 && (m.flags & (MSG_PEEK | MSG_OOB)) == 0;
  std::size_t done = resuming_ != nullptr ? resuming_->progress : 0;
  for (;;) {
    const std::size_t wanted = std::min<std::size_t>(m.total() - done, scratch_.size());
    const ssize_t n =
        ::recv(t.app, scratch_.data(), wanted, (m.flags & (MSG_PEEK | MSG_OOB)) | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
      const bool wait = resuming_ != nullptr || !must_not_wait(m.flags, t.app);
      if (!wait)
        return done > 0 ? Outcome::ok(static_cast<std::int64_t>(done)) : Outcome::error(EAGAIN);
      const Outcome parked = park(call, s, std::move(t.copy), SO_RCVTIMEO, EAGAIN);
      (resuming_ != nullptr ? *resuming_ : parked_.rbegin()->second).progress = done;
      return parked;
    }
    if (n < 0 && done == 0) return Outcome::error(errno);
    const auto got = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    // MSG_TRUNC on TCP: the bytes are thrown away.
    if ((m.flags & MSG_TRUNC) == 0 && !scatter(call, m, done, Bytes(scratch_).first(got))) {
      return Outcome::error(EFAULT);
    }
    done += got;
    if (!all || got == 0 || done == m.total()) return Outcome::ok(static_cast<std::int64_t>(done));
  }
}

}  // namespace tidewire::posix
