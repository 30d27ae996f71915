#include "front/control/client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "front/control/address.hpp"
#include "runtime/clock.hpp"
#include "runtime/passed_fd.hpp"

namespace tidewire::control {

Result<std::optional<Client>, std::string> Client::connect(const Place& place,
                                                           std::string_view name) {
  runtime::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address(place.directory.get(), std::string(name) + ".sock");
  const std::string who = "host " + std::string(name);
  // A full backlog: wait, but not for ever.
  const timeval patience{2, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (!fd || ::connect(fd.get(), address.get(), address.size()) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::optional<Client>{};
    if (errno == EAGAIN) return fail(who + " does not answer");
    return fail(who + ": " + std::strerror(errno));
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) {
    return fail(who + " belongs to user " + std::to_string(peer.uid) + ", not to you");
  }
  return std::optional<Client>(Client(std::move(fd), std::string(name)));
}

bool Client::send_line(const std::string& line, int passed) {
  return runtime::send_with_fd(fd_.get(), line.data(), line.size(), passed) ==
         static_cast<ssize_t>(line.size());
}

/// Reads what is there. False: nothing came in time, or the host is gone.
bool Client::fill(int timeout_ms) {
  pollfd look{fd_.get(), POLLIN, 0};
  if (::poll(&look, 1, timeout_ms) <= 0) return false;
  std::array<char, 65536> room;
  const ssize_t n = recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    ended_ = true;
    return false;
  }
  in_.append(room.data(), static_cast<std::size_t>(n));
  return true;
}

std::optional<std::string> Client::take_line() {
  const std::size_t end = in_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line = in_.substr(0, end);
  in_.erase(0, end + 1);
  return line;
}

Result<std::vector<Record>, std::string> Client::ask(const Record& request, int passed,
                                                     Duration patience) {
  const std::string who = "host " + name_;
  // One that refuses at once says so before it closes: its answer counts, not our failure.
  (void)send_line(to_line(request), passed);
  std::vector<Record> records;
  Instant until = runtime::Clock::now() + patience;
  for (;;) {
    while (auto line = take_line()) {
      auto record = parse_record(*line);
      if (!record) return fail(who + " answers with something that is not understood");
      if (record->kind() == "ok") return records;
      if (record->kind() == "error") return fail(who + ": " + std::string(record->get("text")));
      records.push_back(std::move(*record));
      until = runtime::Clock::now() + patience;
    }
    const auto left = (until - runtime::Clock::now()).count_millis();
    if (left <= 0) return fail(who + " does not answer");
    if (!fill(static_cast<int>(left)) && ended_) return fail(who + " has ended");
  }
}

std::optional<Record> Client::poll() {
  if (in_.find('\n') == std::string::npos) (void)fill(0);
  const auto line = take_line();
  return line ? parse_record(*line) : std::nullopt;
}

}  // namespace tidewire::control
