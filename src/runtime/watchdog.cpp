#include "runtime/watchdog.hpp"

#include <string>

#include "core/trace.hpp"
#include "runtime/clock.hpp"

namespace tidewire::runtime {

namespace {

bool owes_something(const SocketInfo& info) noexcept {
  if (info.protocol != Protocol::tcp) return false;
  switch (info.state) {
    case TcpState::closed:
    case TcpState::listen:
    case TcpState::time_wait:
      return false;
    case TcpState::established:
    case TcpState::close_wait:
    case TcpState::fin_wait_2:
      return info.in_flight != 0 || info.send_queue != 0 || info.receive_queue != 0;
    default:
      return true;  // a handshake or a close is under way
  }
}

std::uint64_t progress_of(const SocketInfo& info) noexcept {
  return info.bytes_acked + info.bytes_received * 3 + info.receive_queue +
         (std::uint64_t{info.send_queue} << 20) + (static_cast<std::uint64_t>(info.state) << 58);
}

std::string seconds(Duration d) {
  const auto tenths = d.count_millis() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

Watchdog::Watchdog(Driver& driver, const WatchdogOptions& options, Report report)
    : driver_(driver),
      options_(options),
      report_(std::move(report)),
      next_(Clock::now() + options.check_every) {
  driver_.add_task(*this);
}

Watchdog::~Watchdog() { driver_.remove_task(*this); }

void Watchdog::run(Instant now) {
  next_ = now + options_.check_every;
  for (Watched& watched : watched_) look(watched, now);
}

void Watchdog::look(Watched& watched, Instant now) {
  for (auto& [id, seen] : watched.seen) seen.visited = false;
  SocketId after;
  while (const auto info = watched.stack->next_socket(after)) {
    after = info->id;
    if (!owes_something(*info)) continue;
    auto [it, fresh] = watched.seen.try_emplace(info->id);
    Seen& seen = it->second;
    seen.visited = true;
    const std::uint64_t progress = progress_of(*info);
    if (fresh || seen.progress != progress) {
      seen.progress = progress;
      seen.since = now;
      continue;
    }
    if (now - seen.since < options_.patience) continue;
    if (seen.reported && now - *seen.reported < options_.repeat_after) continue;
    seen.reported = now;
    speak(watched, *info, seen.since, now);
  }
  std::erase_if(watched.seen, [](const auto& entry) { return !entry.second.visited; });
}

void Watchdog::speak(const Watched& watched, const SocketInfo& info, Instant since, Instant now) {
  std::string line = watched.name + ": no progress for " + seconds(now - since) + ": ";
  line += explain(info, now);
  const Instant deadline = watched.stack->next_deadline();
  line += deadline.is_never() ? std::string("; no timer is armed")
                              : "; next timer in " + seconds(deadline - now);
  for (const Driver::PortState& port : driver_.ports()) {
    if (port.stack != watched.stack) continue;
    if (!port.up) line += "; link " + std::string(port.device) + " is down";
    if (port.blocked) line += "; device " + std::string(port.device) + " is full";
  }
  report_(line);
}

std::string Watchdog::explain(const SocketInfo& info, Instant now) {
  std::string line = to_string(info.local) + " > " + to_string(info.remote) + " ";
  line += to_string(info.state);
  line += ", " + std::to_string(info.send_queue) + " bytes to send (" +
          std::to_string(info.in_flight) + " in flight), " + std::to_string(info.receive_queue) +
          " unread";
  line += ", cwnd " + std::to_string(info.cwnd) + ", send window " +
          std::to_string(info.send_window) + ", receive window " +
          std::to_string(info.receive_window);
  line += ", rto " + seconds(info.rto);
  if (info.backoff != 0) line += " (backed off " + std::to_string(info.backoff) + " times)";
  if (info.last_received > Instant{}) {
    line += ", last heard " + seconds(now - info.last_received) + " ago";
  }
  if (!info.limited_by.empty()) line += ", limited by " + std::string(info.limited_by);
  if (info.receive_queue != 0 && info.receive_window == 0) {
    line += "; its reader does not read";
  } else if (info.send_queue != 0 && info.send_window == 0) {
    line += "; the peer's window is closed: the peer does not read";
  }
  return line;
}

}  // namespace tidewire::runtime
