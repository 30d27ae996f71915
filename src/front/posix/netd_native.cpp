// Connections that programs accept without a call that is seen (native_accept.hpp): when that has
// happened is found out when it matters.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "front/abi/sockaddr.hpp"
#include "front/posix/native_accept.hpp"
#include "front/posix/netd.hpp"
#include "runtime/clock.hpp"

namespace tidewire::posix {
namespace {

using native_accept::Kind;

constexpr std::size_t most_at_once = 16;
constexpr Duration least_interval = Duration::millis(1);
constexpr Duration most_interval = Duration::millis(64);
// It costs more, and is for programs that accept nothing for a while.
constexpr Duration most_look_interval = Duration::millis(512);

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
  bool told = false;
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
  if (native_accept_ && listener.shut_read && app >= 0 && !something_waits(app))
    mark_shut(listener);
}

bool Netd::may_offer(Socket& listener) {
  listener.starved = false;
  if (listener.offered.size() < listener.at_once) return true;
  if (!native_accept_) return false;
  const Fd copy = copy_of_app(listener);
  if (copy && !something_waits(copy.get())) accepted_all(listener);
  if (listener.offered.size() < listener.at_once) {
    offer_interval_ = least_interval;
    next_offer_ = earlier(next_offer_, now_ + least_interval);
    return true;
  }
  listener.starved = true;
  if (std::ranges::find(starved_, listener.serial) == starved_.end()) {
    starved_.push_back(listener.serial);
    offer_interval_ = least_interval;
    next_offer_ = now_ + offer_interval_;
  }
  return false;
}

// What tells that a place is free comes late, or never.
void Netd::offer_to_starved() {
  if (next_offer_ > now_) return;
  offer_interval_ = std::min(offer_interval_ * 2, most_interval);
  next_offer_ = now_ + offer_interval_;
  const std::vector<std::uint32_t> serials = starved_;
  for (const std::uint32_t serial : serials) {
    Socket* listener = by_serial(serial);
    if (listener != nullptr && listener->starved) offer_connections(*listener);
  }
  std::erase_if(starved_, [this](std::uint32_t serial) {
    const Socket* listener = by_serial(serial);
    return listener == nullptr || !listener->starved;
  });
}

void Netd::accepted_all(Socket& listener) {
  for (const std::uint32_t serial : listener.offered) {
    if (Socket* s = by_serial(serial)) no_longer_offered(*s);
  }
  listener.offered.clear();
}

void Netd::no_longer_offered(Socket& s) {
  s.parent = 0;
  if (!s.untold) return;
  look_interval_ = least_interval;
  next_look_ = earlier(next_look_, now_ + least_interval);
}

// Something shows that a program has this connection: also those which were offered before it.
void Netd::accepted_unseen(Socket& s) {
  Socket* listener = by_serial(s.parent);
  no_longer_offered(s);
  if (listener == nullptr) return;
  auto& offered = listener->offered;
  const auto found = std::ranges::find(offered, s.serial);
  if (found == offered.end()) return;
  for (auto at = offered.begin(); at != found; ++at) {
    if (Socket* earlier = by_serial(*at)) no_longer_offered(*earlier);
  }
  offered.erase(offered.begin(), found + 1);
  if (listener->starved) queue(*listener);
}

// The connection is gone, and nobody knows who has accepted it, or whether anybody has: it is
// looked for until it is found or its twin is closed.
void Netd::tell_reset_unseen(Socket& s) {
  if (hung_up(s.peer.get())) return app_closed(s);
  if (std::exchange(s.untold, true)) return;
  untold_.push_back(s.serial);
  look_interval_ = least_interval;
  next_look_ = now_;
}

void Netd::look_for_untold() {
  if (next_look_ > now_) return;
  seek_sockets();
  look_interval_ = std::min(look_interval_ * 2, most_look_interval);
  next_look_ = later(now_ + look_interval_, next_seek_);
  const std::vector<std::uint32_t> serials = untold_;
  for (const std::uint32_t serial : serials) {
    Socket* s = by_serial(serial);
    if (s == nullptr || !s->untold) continue;
    if (s->key != 0) {
      // If even now no copy is to be had, reading ends at least.
      s->untold = false;
      tell_reset(*s);
    } else if (hung_up(s->peer.get())) {
      app_closed(*s);
    }
  }
  std::erase_if(untold_, [this](std::uint32_t serial) {
    const Socket* s = by_serial(serial);
    return s == nullptr || !s->untold || s->key != 0;
  });
}

// Of a socket that nobody asked about so far. Null: it is none of ours.
Socket* Netd::recognise(const AppFd& app) {
  if (!native_accept_ || !app.copy) return nullptr;
  const auto serial = twins_.serial_of(app.copy.get());
  Socket* s = serial ? by_serial(*serial) : nullptr;
  if (s == nullptr || s->key != 0 || !s->is_stream()) return nullptr;
  if (s->parent != 0) accepted_unseen(*s);
  settle_accepted(*s, app.copy.get());
  return s;
}

// Looks where programs have the sockets that they have accepted unseen, and those which are no
// longer where they were. Peers can make that necessary: it takes a tenth of the time at most.
void Netd::seek_sockets() {
  if (!native_accept_ || now_ < next_seek_) return;
  const Instant began = runtime::Clock::now();
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
  next_seek_ = now_ + (runtime::Clock::now() - began) * 10;
}

}  // namespace tidewire::posix
