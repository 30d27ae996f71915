// The error queue of datagram sockets (IP_RECVERR, MSG_ERRQUEUE).
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

// Each family has its own switch; errors about IPv4 go by that of IPv4 on IPv6 sockets too.
bool wanted(const Socket& s, const QueuedError& error) {
  if (s.type == SOCK_RAW) return true;
  const bool v4 = error.destination.address.unmapped().is_v4();
  return (v4 ? s.option(IPPROTO_IP, IP_RECVERR) : s.option(IPPROTO_IPV6, IPV6_RECVERR)) != 0;
}

}  // namespace

void Netd::fetch_errors(Socket& s) {
  while (const auto error = backend_.take_queued_error(s.ref, scratch_)) {
    if (!wanted(s, *error)) continue;
    const auto size = static_cast<std::ptrdiff_t>(std::min(error->size, scratch_.size()));
    s.errors.push_back({*error, {scratch_.begin(), scratch_.begin() + size}});
  }
}

// An error has no bytes in the twin, only a token that makes the program look. Takes away those
// that lie in front of the next datagram.
void Netd::drop_error_tokens(Socket& s, int app) {
  resync(s);
  while (!s.fifo.empty() && s.fifo.front().error != 0) {
    (void)::recv(app, scratch_.data(), scratch_.size(), MSG_DONTWAIT);
    s.fifo.pop_front();
  }
}

// As long as the error queue holds something, there must be something to look at.
void Netd::keep_error_token(Socket& s) {
  const bool asked =
      s.option(IPPROTO_IP, IP_RECVERR) != 0 || s.option(IPPROTO_IPV6, IPV6_RECVERR) != 0;
  if (!asked || s.type == SOCK_RAW) return;
  fetch_errors(s);
  const bool has_token =
      std::ranges::any_of(s.fifo, [](const QueuedDatagram& d) { return d.error != 0; });
  if (s.errors.empty() || has_token) return;
  if (::send(s.peer.get(), "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0) {
    s.fifo.push_back({{}, datagram_truesize(0), s.errors.front().about.error, {}});
  }
}

void Netd::forget_errors(Socket& s, int app) {
  if (s.is_stream()) return;
  fetch_errors(s);
  s.errors.clear();
  if (app >= 0) drop_error_tokens(s, app);
}

// recvmsg(MSG_ERRQUEUE): never waits. The error that was pending for the next call is the one that
// heads the queue, so it goes or changes with it.
Outcome Netd::receive_error(const Call& call, Target& t, Message& m) {
  Socket& s = *t.socket;
  fetch_errors(s);
  if (s.errors.empty()) return Outcome::error(EAGAIN);
  const KeptError kept = std::move(s.errors.front());
  s.errors.pop_front();
  if (!kept.about.local) s.error = s.errors.empty() ? 0 : s.errors.front().about.error;
  drop_error_tokens(s, t.app);
  keep_error_token(s);
  const std::size_t copied = std::min<std::size_t>(kept.quote.size(), m.total());
  if (!scatter(call, m, 0, Bytes(kept.quote).first(copied))) return Outcome::error(EFAULT);
  m.from = kept.about.destination;
  m.out_flags |= MSG_ERRQUEUE | (copied < kept.about.size ? int{MSG_TRUNC} : 0);
  put_error_control(m, s.domain, kept.about);
  return Outcome::ok(static_cast<std::int64_t>(copied));
}

}  // namespace tidewire::posix
