// What all processes of a soak do with signals, random numbers and sockets.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "shared.hpp"

namespace soak {

enum class Signals : int { none, restarting, interrupting };

inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() { return mix(state_++); }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  std::uint64_t state() const { return state_; }

 private:
  std::uint64_t state_;
};

/// The byte at `offset` of the stream `key`.
inline char byte_at(std::uint64_t key, std::uint64_t offset) {
  return static_cast<char>(mix(key ^ (offset >> 3)) >> (8 * (offset & 7)));
}

/// A process of the soak, as it sees itself.
struct Worker {
  Shared& shared;
  Slot& slot;
  Signals signals;
  Random random;

  void step(const char* what) const { slot.doing.store(what, std::memory_order_relaxed); }
  void begin() const { slot.busy_since = milliseconds(); }
  void done() const { slot.busy_since = 0; }

  /// Runs `call` until a signal does not end it. With SA_RESTART no signal may.
  template <typename Function>
  auto again(const char* name, Function call) const {
    for (;;) {
      step(name);
      errno = 0;
      const auto result = call();
      if (result >= 0 || errno != EINTR) return result;
      ++shared.interrupted;
      if (signals == Signals::restarting) report(shared, "%s: EINTR in spite of SA_RESTART", name);
    }
  }

  /// As again(), for calls that the kernel never restarts.
  bool wait_for(int fd, short events, int timeout) const {
    for (;;) {
      pollfd look{fd, events, 0};
      const int n = poll(&look, 1, timeout);
      if (n >= 0 || errno != EINTR) return n > 0;
      if (timeout > 0) return false;
    }
  }

  /// The number of bytes: less than `size` at the end or after an error, which is in errno.
  std::size_t read_all(int fd, char* out, std::size_t size) const {
    std::size_t have = 0;
    errno = 0;
    while (have < size) {
      const ssize_t n = again("read", [&] { return read(fd, out + have, size - have); });
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    return have;
  }
  bool write_all(int fd, const char* data, std::size_t size) const {
    while (size > 0) {
      const ssize_t n = again("write", [&] { return write(fd, data, size); });
      if (n <= 0) return false;
      data += n;
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
};

inline void start_signals(Signals signals) {
  signal(SIGPIPE, SIG_IGN);
  if (signals == Signals::none) return;
  struct sigaction action{};
  action.sa_handler = [](int) {};
  action.sa_flags = signals == Signals::restarting ? SA_RESTART : 0;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval every{{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &every, nullptr);
}

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace soak
