// Connections that programs accept without a call that is seen (native_accept.hpp): when that has
// happened is found out when it matters.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "front/abi/sockaddr.hpp"
#include "front/posix/native_accept.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

using native_accept::Kind;

constexpr std::size_t most_at_once = 16;
constexpr Duration offer_interval = Duration::millis(1);

bool readable(int fd) {
  pollfd look{fd, POLLIN, 0};
  return ::poll(&look, 1, 0) > 0 && (look.revents & POLLIN) != 0;
}

}  // namespace

// So many lie in the twin's queue, the others in the backend's: together as many as the program
// wants to have waiting, where that matters.
std::size_t Netd::at_once(int backlog) const {
  const bool many = native_accept_ && backlog >= static_cast<int>(2 * most_at_once);
  return many ? most_at_once : 1;
}

// What the library in the program learns from the name of our end.
std::vector<std::byte> Netd::introduction(const Socket& s) {
  std::vector<std::byte> text;
  if (!native_accept_) return text;
  bool told = s.phase == Phase::reset;
  for (const int name : inherited_options) told = told || s.option(SOL_SOCKET, name) != 0;
  text.push_back(static_cast<std::byte>(told ? Kind::told : Kind::plain));
  const auto remote = backend_.remote(s.ref);
  const RawAddress raw = to_raw(remote ? *remote : Endpoint{}, s.domain);
  text.insert(text.end(), raw.bytes().begin(), raw.bytes().end());
  return text;
}

// For those who wait in accept() of a listener that was shut down, and those who poll it.
void Netd::mark_shut(Socket& listener) {
  const auto mark = static_cast<std::byte>(Kind::mark);
  listener.shut_mark = twins_.offer(listener.twin_name, ++last_serial_, Bytes(&mark, 1));
}

// An accept() that came here may have taken it out of the twin's queue.
void Netd::restore_mark(Socket& listener, int app) {
  if (native_accept_ && listener.shut_read && app >= 0 && !readable(app)) mark_shut(listener);
}

bool Netd::may_offer(Socket& listener) {
  const bool starved = std::exchange(listener.starved, false);
  if (listener.offered.size() < listener.at_once) return true;
  if (!native_accept_) return false;
  const Fd copy = copy_of_app(listener);
  if (copy && readable(copy.get())) {
    listener.starved = true;
    if (!starved) starved_.push_back(listener.serial);
    if (next_offer_ == Instant::never()) next_offer_ = now_ + offer_interval;
    return false;
  }
  accepted_all(listener);
  return true;
}

void Netd::offer_to_starved() {
  if (next_offer_ > now_) return;
  next_offer_ = Instant::never();
  for (const std::uint32_t serial : std::exchange(starved_, {})) {
    Socket* listener = by_serial(serial);
    if (listener == nullptr || !std::exchange(listener->starved, false)) continue;
    offer_connections(*listener);
  }
}

void Netd::accepted_all(Socket& listener) {
  for (const std::uint32_t serial : listener.offered) {
    if (Socket* s = by_serial(serial)) s->parent = 0;
  }
  listener.offered.clear();
}

// Something shows that a program has this connection: also those which were offered before it.
void Netd::accepted_unseen(Socket& s) {
  Socket* listener = by_serial(std::exchange(s.parent, 0));
  if (listener == nullptr) return;
  auto& offered = listener->offered;
  const auto found = std::ranges::find(offered, s.serial);
  if (found == offered.end()) return;
  for (auto at = offered.begin(); at != found; ++at) {
    if (Socket* earlier = by_serial(*at)) earlier->parent = 0;
  }
  offered.erase(offered.begin(), found + 1);
  if (listener->starved) offer_connections(*listener);
}

// It was reset before anybody is known to have accepted it. If it still waits, it is offered anew,
// so that whoever accepts it says so. False: somebody has it already. It may be gone afterwards.
bool Netd::still_waits(Socket& s) {
  if (!native_accept_) return true;
  const std::uint32_t serial = s.serial;
  Socket* listener = by_serial(s.parent);
  const Fd copy = listener == nullptr ? Fd{} : copy_of_app(*listener);
  bool waits = false;
  std::vector<std::pair<Fd, std::uint32_t>> queue_of_twin;
  for (std::uint32_t next = 0; copy;) {
    Fd app = twins_.accept(copy.get(), next);
    if (!app) break;
    waits = waits || next == serial;
    queue_of_twin.emplace_back(std::move(app), next);
  }
  for (auto& [app, next] : queue_of_twin) {
    Socket* connection = by_serial(next);
    if (connection == nullptr) continue;
    std::erase(listener->offered, next);
    offer_again(*listener, *connection, app);
  }
  if (!waits) accepted_unseen(s);
  return waits;
}

// Of a socket that nobody asked about so far. Null: it is none of ours.
Socket* Netd::recognise(const AppFd& app) {
  if (!native_accept_ || !app.copy) return nullptr;
  const auto serial = twins_.serial_of(app.copy.get());
  Socket* s = serial ? by_serial(*serial) : nullptr;
  if (s == nullptr || s->key != 0 || !s->is_stream()) return nullptr;
  if (s->parent != 0) accepted_unseen(*s);
  s->untold = s->untold || (s->phase == Phase::reset && s->peer);
  settle_accepted(*s, app.copy.get());
  return s;
}

// Looks where programs have the sockets that they have accepted unseen, and those which are no
// longer where they were.
void Netd::seek_sockets() {
  if (!native_accept_ || std::exchange(sought_in_, turn_) == turn_) return;
  for (const pid_t pid : living_.family()) {
    for (const int fd : sockets_of(pid)) {
      const auto found = tasks_.identify(pid, fd);
      if (!found) continue;
      const auto known = by_key_.find(found->key);
      Socket* s = known == by_key_.end() ? recognise(*found) : by_serial(known->second);
      if (s == nullptr) continue;
      s->hint_process = pid;
      s->hint_fd = fd;
    }
  }
}

}  // namespace tidewire::posix
