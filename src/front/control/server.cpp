#include "front/control/server.hpp"
#include "runtime/passed_fd.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

namespace tidewire::control {

namespace {

constexpr int kAcceptsInATurn = 16;
constexpr std::size_t kReadAtOnce = 4096;
constexpr Duration kPause = Duration::millis(100);

bool is_allowed(const ucred& peer) noexcept { return peer.uid == geteuid() || peer.uid == 0; }

/// Bytes and perhaps a descriptor; what else came along is closed.
ssize_t receive(int fd, std::span<char> room, runtime::Fd& passed) {
  int descriptor = -1;
  const ssize_t n =
      runtime::receive_with_fd(fd, room.data(), room.size(), MSG_DONTWAIT, descriptor);
  if (descriptor >= 0) passed.reset(descriptor);
  return n;
}

std::string error_line(std::string_view why) { return to_line(Record("error").add("text", why)); }

}  // namespace

Server::Server(runtime::Driver& driver, int listener, Handler& handler, const ServerLimits& limits)
    : driver_(driver), listener_(listener), handler_(handler), limits_(limits) {
  if (auto watch = driver_.poller().add(listener_, runtime::kIoRead, *this)) watch_ = *watch;
  driver_.add_task(*this);
}

Server::~Server() {
  driver_.remove_task(*this);
  driver_.poller().remove(watch_);
  for (auto& [id, c] : connections_) driver_.poller().remove(c->watch);
}

void Server::on_io(int fd, std::uint32_t ready, Instant now) {
  if (fd == listener_) return accept_some(now);
  const auto found =
      std::ranges::find_if(connections_, [fd](const auto& c) { return c.second->fd.get() == fd; });
  if (found == connections_.end()) return;
  Connection& c = *found->second;
  if (!c.out.empty() || c.more) return write_to(c, now);
  if (ready != 0) read_from(c, now);
}

void Server::accept_some(Instant now) {
  for (int i = 0; i < kAcceptsInATurn; ++i) {
    runtime::Fd fd(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      welcome(std::move(fd), now);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      // No descriptor is left: they wait in the backlog for a while.
      driver_.poller().set(watch_, runtime::kIoNone);
      resume_ = now + kPause;
    }
    return;
  }
}

void Server::welcome(runtime::Fd fd, Instant now) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || !is_allowed(peer)) {
    return refuse(fd, "this host belongs to user " + std::to_string(geteuid()) + ", not to you");
  }
  if (connections_.size() - kept_ >= limits_.connections) {
    return refuse(fd, "the host answers too many requests already; try again");
  }
  auto made = std::make_unique<Connection>();
  Connection& c = *made;
  c.id = ++last_;
  c.fd = std::move(fd);
  c.pid = peer.pid;
  c.deadline = now + limits_.request_time;
  auto watch = driver_.poller().add(c.fd.get(), runtime::kIoRead, *this);
  if (!watch) return;
  c.watch = *watch;
  connections_.emplace(c.id, std::move(made));
}

void Server::refuse(const runtime::Fd& fd, std::string_view why) {
  const std::string line = error_line(why);
  (void)::send(fd.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Server::read_from(Connection& c, Instant now) {
  std::array<char, kReadAtOnce> room;
  const ssize_t n = receive(c.fd.get(), room, c.passed);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  if (n <= 0) return close(c);
  if (c.in.empty() && c.kept) c.deadline = now + limits_.request_time;
  c.in.append(room.data(), static_cast<std::size_t>(n));
  (void)take_line(c, now);
}

/// Answers a line if one is complete.
bool Server::take_line(Connection& c, Instant now) {
  const std::size_t end = c.in.find('\n');
  if (std::min(end, c.in.size()) > limits_.request_bytes) {
    fail_request(
        c, "a request is one line of at most " + std::to_string(limits_.request_bytes) + " bytes",
        now);
    return false;
  }
  if (end == std::string::npos) return false;
  const std::string line = c.in.substr(0, end);
  c.in.erase(0, end + 1);
  answer(c, line, now);
  return true;
}

void Server::answer(Connection& c, std::string_view line, Instant now) {
  auto record = parse_record(line);
  if (!record) {
    return fail_request(c, "that is no request; the form is WORD NAME=VALUE ... in one line", now);
  }
  Request request{std::move(*record), c.id, c.pid, std::move(c.passed)};
  Reply reply = handler_.answer(request, now);
  if (!reply.error.empty()) return fail_request(c, reply.error, now);
  if (reply.keep && !c.kept) {
    if (kept_ >= limits_.kept) {
      handler_.gone(c.id);
      return fail_request(c, "too many programs have joined already", now);
    }
    c.kept = true;
    ++kept_;
  }
  c.answering = true;
  c.out = std::move(reply.lines);
  c.more = std::move(reply.more);
  if (!c.more) c.out += to_line(Record("ok"));
  c.deadline = now + limits_.reply_time;
  write_to(c, now);
}

/// An error ends the conversation, whatever it was about.
void Server::fail_request(Connection& c, std::string_view why, Instant now) {
  if (c.kept) {
    c.kept = false;
    --kept_;
    handler_.gone(c.id);
  }
  c.answering = true;
  c.more = nullptr;
  c.out = error_line(why);
  c.deadline = now + limits_.reply_time;
  write_to(c, now);
}

void Server::write_to(Connection& c, Instant now) {
  if (c.out.empty() && c.more && !c.more(c.out)) {
    c.more = nullptr;
    c.out += to_line(Record("ok"));
  }
  const ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return close(c);
  if (n > 0) {
    c.out.erase(0, static_cast<std::size_t>(n));
    c.deadline = now + limits_.reply_time;
  }
  if (!c.out.empty() || c.more) {
    // The rest in another turn: the stack comes first.
    driver_.poller().set(c.watch, runtime::kIoWrite);
    return;
  }
  if (!c.kept) return close(c);
  c.answering = false;
  driver_.poller().set(c.watch, runtime::kIoRead);
}

bool Server::say(ConnectionId connection, const Record& record) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return false;
  const std::string line = to_line(record);
  return ::send(found->second->fd.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(line.size());
}

void Server::end(ConnectionId connection, const Record& record) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  (void)say(connection, record);
  Connection& c = *found->second;
  if (c.kept) --kept_;
  c.kept = false;
  close(c);
}

void Server::close(Connection& c) {
  if (c.kept) {
    --kept_;
    handler_.gone(c.id);
  }
  driver_.poller().remove(c.watch);
  connections_.erase(c.id);
}

Instant Server::next_deadline() {
  Instant next = resume_;
  for (const auto& [id, c] : connections_) {
    // One that is kept may be silent for ever, but not in the middle of something.
    if (!c->kept || c->answering || !c->in.empty()) next = earlier(next, c->deadline);
  }
  return next;
}

void Server::run(Instant now) {
  if (resume_ <= now) {
    resume_ = Instant::never();
    driver_.poller().set(watch_, runtime::kIoRead);
  }
  std::vector<Connection*> late;
  for (const auto& [id, c] : connections_) {
    const bool waits = !c->kept || c->answering || !c->in.empty();
    if (waits && c->deadline <= now) late.push_back(c.get());
  }
  for (Connection* c : late) {
    if (!c->answering) refuse(c->fd, "no whole request came in time");
    close(*c);
  }
}

}  // namespace tidewire::control
