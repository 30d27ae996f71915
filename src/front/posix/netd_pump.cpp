// Moving bytes between twins and the backend.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "front/posix/netd.hpp"
#include "runtime/urgent.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t max_spans = 16;
constexpr int rounds_in_a_turn = 16;
// The kernel takes twice what it is told, and no more than this as a rule: twice what it began
// with.
constexpr int wide_twin = 212'992;
// What takes part in a connection within this machine answers in fewer turns.
constexpr std::uint64_t turns_for_last_words = 4;

template <typename Spans>
int to_iovec(const Spans& spans, std::array<iovec, max_spans>& out) {
  std::size_t n = 0;
  for (const auto& span : spans) {
    if (n == max_spans) break;
    out[n++] = {const_cast<std::byte*>(span.data()), span.size()};
  }
  return static_cast<int>(n);
}

bool fills(std::span<const MutBytes> room, ssize_t n) {
  std::size_t size = 0;
  for (const MutBytes& part : room) size += part.size();
  return static_cast<std::size_t>(n) >= size;
}

void drop_tail(Socket& s) {
  char byte = 0;
  (void)::recv(s.peer.get(), &byte, 1, MSG_DONTWAIT);
  s.tail = false;
}

int unread(int fd) {
  int bytes = 0;
  return ::ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

// The program closed its end while bytes for it lay there.
bool closed_with_unread(const Socket& s) {
  return s.peer_hung_up && !s.shut_write &&
         native_int(s.peer.get(), SOL_SOCKET, SO_ERROR, 0) == ECONNRESET;
}

}  // namespace

void Netd::queue(Socket& s) {
  if (s.queued) return;
  s.queued = true;
  pump_list_.push_back(s.serial);
}

void Netd::pump_queued() {
  for (std::size_t n = pump_list_.size(); n > 0; --n) {
    const std::uint32_t serial = pump_list_.front();
    pump_list_.pop_front();
    Socket* s = by_serial(serial);
    if (s == nullptr) continue;
    s->queued = false;
    pump(*s);
  }
}

void Netd::pump(Socket& s) {
  if (s.phase == Phase::listening) {
    const std::uint32_t serial = s.serial;
    if (s.starved) offer_connections(s);
    Socket* still = by_serial(serial);
    if (still != nullptr) wake(*still);
    return;
  }
  if (!s.peer) return;
  switch (s.phase) {
    case Phase::datagram:
      if (pump_datagrams_up(s)) pump_datagrams_down(s);
      return;
    case Phase::netlink:
      pump_netlink(s);
      if (s.peer_hung_up) app_closed(s);
      return;
    case Phase::connecting:
      // The program's end sent nothing but filler; a hang-up is its close.
      if (s.peer_hung_up && !s.shut_write) app_closed(s);
      return;
    case Phase::connected: {
      const std::uint32_t serial = s.serial;
      if (s.abort_after != 0) return reset_after_last_words(s);
      if (!pump_up(s)) return;
      pump_down(s);
      Socket* still = by_serial(serial);
      if (still == nullptr || !still->peer_hung_up || !still->up_closed) return;
      // Both directions were shut before: only the kernel's list tells a close from that.
      still->peer_hung_up = false;
      if (living_.dead().contains(serial)) app_closed(*still);
      return;
    }
    default:
      if (s.untold) tell_reset(s);
      return;
  }
}

// As readv: > 0 bytes, 0 at the end, -1 and errno.
ssize_t Netd::take_bytes(Socket& s, std::span<const MutBytes> room, bool urgent) {
  if (!tasks_.can_copy() && !urgent && !s.peer_urgent) return take_all_but_tail(s, room);
  std::array<iovec, max_spans> parts;
  int count = to_iovec(room, parts);
  if (urgent) {
    parts[0].iov_len = 1;
    count = 1;
    s.peer_urgent = false;
  }
  return ::readv(s.peer.get(), parts.data(), count);
}

// Reads, but leaves the last byte in the queue, where it was passed on already.
ssize_t Netd::take_all_but_tail(Socket& s, std::span<const MutBytes> room) {
  std::array<iovec, max_spans> spans;
  const auto count = static_cast<std::size_t>(to_iovec(room, spans));
  std::array<iovec, max_spans + 1> parts;
  char old = 0;
  parts[0] = {&old, 1};
  std::copy_n(spans.begin(), count, parts.begin() + 1);
  const bool skip = s.tail;
  msghdr header{};
  header.msg_iov = parts.data() + (skip ? 0 : 1);
  header.msg_iovlen = count + (skip ? 1 : 0);
  const ssize_t seen = ::recvmsg(s.peer.get(), &header, MSG_PEEK | MSG_DONTWAIT);
  const ssize_t fresh = seen - (skip ? 1 : 0);
  if (fresh > 0) {
    for (ssize_t left = seen - 1; left > 0;) {
      const auto n =
          ::recv(s.peer.get(), scratch_.data(),
                 std::min(static_cast<std::size_t>(left), scratch_.size()), MSG_DONTWAIT);
      if (n <= 0) break;
      left -= n;
    }
    s.tail = true;
    return fresh;
  }
  if (!skip || seen <= 0) return seen;
  if (!s.peer_ended) {
    errno = EAGAIN;
    return -1;
  }
  drop_tail(s);
  return ::recv(s.peer.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
}

// As take_bytes; what was read is the backend's then.
ssize_t Netd::carry_up(Socket& s, std::span<const MutBytes> room) {
  if (s.peer_urgent && s.tail) drop_tail(s);
  const bool plain = (std::exchange(s.plain_head, false) && tasks_.can_copy()) || s.urgent_over;
  const bool urgent = features_.unix_oob && !plain && runtime::at_urgent_mark(s.peer.get());
  const ssize_t n = take_bytes(s, room, urgent);
  if (n <= 0) return n;
  // The queue is empty: what comes from now on, the end as well, is another edge.
  const bool all = !fills(room, n) && !s.knows_urgent && !s.peer_ended && tasks_.can_copy();
  if (all) s.peer_readable = false;
  backend_.sent(s.ref, static_cast<std::size_t>(n), urgent, now_);
  if (!s.waiters.empty()) wake(s);
  return n;
}

// From the program to the backend. False: the socket is gone or about to go.
bool Netd::pump_up(Socket& s) {
  for (int round = 0; s.peer_readable && !s.up_closed; ++round) {
    if (round == rounds_in_a_turn) {
      queue(s);
      return true;
    }
    const auto room = backend_.send_space(s.ref);
    if (room.empty() && closed_with_unread(s)) {
      reset_after_last_words(s);
      return false;
    }
    if (room.empty()) return true;
    const ssize_t n = carry_up(s, room);
    if (n > 0) continue;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      s.peer_readable = errno == EINTR;
      continue;
    }
    s.up_closed = true;
    if (n == 0 && s.shut_write) {
      backend_.shutdown_send(s.ref, now_);
      return true;
    }
    if (n == 0 && !s.linger_zero && backend_.received(s.ref).empty()) {
      app_closed(s);
    } else {
      // Closed with bytes unread: there (ECONNRESET) or here.
      reset_after_last_words(s);
    }
    return false;
  }
  return true;
}

// The program has closed, and the connection will be reset: bytes for it were not read, or arrive
// still. What it wrote before leaves first as far as nobody has to wait for the network, since a
// kernel would have sent it when it was written. The rest is gone, there as well.
void Netd::reset_after_last_words(Socket& s) {
  bool moved = s.abort_after == 0;
  while (!s.up_closed) {
    const auto room = backend_.send_space(s.ref);
    if (room.empty()) break;
    const ssize_t n = carry_up(s, room);
    moved = moved || n > 0;
    s.up_closed = n == 0 || (n < 0 && errno != EINTR);
  }
  const std::size_t left = backend_.unacknowledged(s.ref);
  if (moved || left < s.last_words) s.abort_after = turn_ + turns_for_last_words;
  s.last_words = left;
  if ((s.up_closed && left == 0) || turn_ >= s.abort_after) {
    backend_.abort(s.ref, now_);
    forget(s);
    return;
  }
  closed_in_turn_ = true;
  queue(s);
}

bool Netd::send_urgent_down(Socket& s) {
  if (!s.stuck_urgent) s.stuck_urgent = backend_.take_urgent(s.ref, now_);
  if (!s.stuck_urgent) return false;
  const int flags = (features_.unix_oob ? MSG_OOB : 0) | MSG_DONTWAIT | MSG_NOSIGNAL;
  if (::send(s.peer.get(), &*s.stuck_urgent, 1, flags) < 0 && errno == EAGAIN) {
    s.peer_writable = false;
    return false;
  }
  s.stuck_urgent.reset();
  return true;
}

// A program that is slower than its connection finds more at once then, and is woken more rarely.
// Not where it has said how much it wants to have waiting.
bool Netd::widen_twin(Socket& s) {
  if (s.widened || s.option(SOL_SOCKET, SO_RCVBUF) != 0) return false;
  s.widened = true;
  int held = 0;
  socklen_t size = sizeof held;
  // The kernel tells twice what it is asked for. Where sockets begin with more they keep it.
  if (::getsockopt(s.peer.get(), SOL_SOCKET, SO_SNDBUF, &held, &size) != 0 ||
      held >= 2 * wide_twin) {
    return false;
  }
  return ::setsockopt(s.peer.get(), SOL_SOCKET, SO_SNDBUF, &wide_twin, sizeof wide_twin) == 0;
}

// From the backend to the program.
void Netd::pump_down(Socket& s) {
  bool moved = false;
  for (int round = 0; s.peer_writable; ++round) {
    if (round == rounds_in_a_turn) {
      queue(s);
      break;
    }
    if (s.stuck_urgent && !send_urgent_down(s)) break;
    const auto bytes = backend_.received(s.ref);
    if (bytes.empty()) {
      if (!send_urgent_down(s)) break;
      moved = true;
      continue;
    }
    std::array<iovec, max_spans> parts;
    msghdr header{};
    header.msg_iov = parts.data();
    header.msg_iovlen = static_cast<std::size_t>(to_iovec(bytes, parts));
    std::size_t total = 0;
    for (std::size_t i = 0; i < header.msg_iovlen; ++i) total += parts[i].iov_len;
    const ssize_t n = ::sendmsg(s.peer.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      backend_.consumed(s.ref, static_cast<std::size_t>(n), now_);
      moved = true;
    } else if (errno == EAGAIN) {
      s.peer_writable = widen_twin(s);
    } else if (errno == EPIPE && s.shut_read) {
      backend_.consumed(s.ref, total, now_);
    } else if (errno != EINTR) {
      // The program has closed, perhaps just now: what arrives is answered with a reset.
      reset_after_last_words(s);
      return;
    }
  }
  const StreamState state = backend_.state(s.ref);
  // Bytes that arrived before a reset can still be read. But a program that writes must be told, or
  // it would wait for room for ever.
  if (state.error != 0 &&
      (backend_.received(s.ref).empty() || unread(s.peer.get()) > (s.tail ? 1 : 0))) {
    reset_app(s, state.error);
    return;
  }
  if (state.fin && !s.down_closed && !s.stuck_urgent) {
    s.down_closed = true;
    ::shutdown(s.peer.get(), SHUT_WR);
    moved = true;
  }
  if (moved && !s.waiters.empty()) wake(s);
}

void Netd::backend_event(const BackendEvent& event) {
  const auto found = by_ref_.find(event.socket);
  Socket* s = found == by_ref_.end() ? nullptr : by_serial(found->second);
  if (s == nullptr) return;
  switch (s->phase) {
    case Phase::connecting:
      connect_finished(*s);
      return;
    case Phase::listening:
      offer_connections(*s);
      return;
    case Phase::connected:
      queue(*s);
      return;
    case Phase::datagram:
      queue(*s);
      if ((event.levels & level::writable) != 0 && !s->waiters.empty()) wake(*s);
      return;
    default:
      return;
  }
}

// An active open may have ended.
void Netd::connect_finished(Socket& s) {
  const StreamState state = backend_.state(s.ref);
  if (state.error == 0 && !state.connected) return;
  if (!s.peer) {
    // The waiting call does the rest, with its copy of the program's end.
    if (!s.waiters.empty()) wake(s);
    return;
  }
  if (state.error != 0) {
    reset_app(s, state.error);
    return;
  }
  const Fd app = copy_of_app(s);
  if (s.filler) {
    if (s.send_buffer_wanted > 0) s.filler->send_buffer = s.send_buffer_wanted;
    // The program may write as soon as the filler is gone: the byte of leave_tail must lie there
    // before that, or it would end up behind the program's first bytes.
    s.tail = !tasks_.can_copy() && s.filler->bytes > 0;
    if (s.tail) s.filler->send_buffer = std::max(s.filler->send_buffer, tail_send_buffer);
    unfill(*s.filler, app.get(), s.peer.get(), s.tail ? 1 : 0);
  }
  s.filler.reset();
  leave_tail(s, s.held.get());
  s.held.reset();
  s.phase = Phase::connected;
  s.peer_readable = true;
  s.plain_head = false;  // that was the filler
  queue(s);
}

// Passes connections of the backend on to the listening twin.
void Netd::offer_connections(Socket& listener) {
  if (listener.shut_read) return;
  // With a copy of our own the twin outlives its program; without, nobody can be connected to it.
  if (!tasks_.can_copy() && living_.dead().contains(listener.serial)) {
    app_closed(listener);
    return;
  }
  bool offered = false;
  // Few at a time: how many may wait is for the backend to say.
  while (may_offer(listener)) {
    const auto ref = backend_.accept(listener.ref, now_);
    if (!ref) break;
    Socket& s = create(Transport::tcp, listener.domain, listener.type, listener.protocol, *ref);
    s.phase = Phase::connected;
    s.connect_reported = true;
    s.program = listener.program;
    s.options = listener.options;
    s.linger_zero = listener.linger_zero;
    Fd ours = twins_.offer(listener.twin_name, s.serial, introduction(s));
    if (!ours) {
      backend_.abort(*ref, now_);
      forget(s);
      if (!living_.dead().contains(listener.serial)) continue;
      app_closed(listener);
      return;
    }
    s.parent = listener.serial;
    listener.offered.push_back(s.serial);
    watch_peer(s, std::move(ours));
    s.peer_readable = false;  // nobody has it yet who could write
    if (hooks_.on_open) hooks_.on_open(*ref, s.program);
    queue(s);
    offered = true;
  }
  if (offered && !listener.waiters.empty()) wake(listener);
}

}  // namespace tidewire::posix
