// The kernel's side of a benchmark: a network namespace of its own, and peers on its sockets.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace tidewire::bench {

[[noreturn]] inline void give_up(const std::string& what) {
  std::fprintf(stderr, "bench: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

inline void shell(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  std::fprintf(stderr, "bench: failed: %s\n", command.c_str());
  std::exit(1);
}

/// Moves this process into a fresh network namespace.
inline void enter_namespace() {
  if (unshare(CLONE_NEWNET) != 0) give_up("a network namespace (needs root)");
  shell("ip link set lo up");
}

inline void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(core), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) give_up("sched_setaffinity");
}

/// A child process that is killed with this object.
class Child {
 public:
  template <typename F>
  explicit Child(F&& body) : pid_(fork()) {
    if (pid_ < 0) give_up("fork");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // however the parent ends
      std::forward<F>(body)();
      _exit(0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (kill(pid_, SIGKILL) == 0) waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

inline sockaddr_in socket_address(const char* ip, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, ip, &address.sin_addr);
  return address;
}

/// CUBIC whatever the machine's default is, so that figures compare.
inline int kernel_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) give_up("socket");
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  return fd;
}

inline int kernel_listen(std::uint16_t port) {
  const int fd = kernel_socket();
  const sockaddr_in any = socket_address("0.0.0.0", port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || listen(fd, 1024) != 0) {
    give_up("listen");
  }
  return fd;
}

inline int kernel_connect(const char* ip, std::uint16_t port) {
  const int fd = kernel_socket();
  const sockaddr_in to = socket_address(ip, port);
  for (int i = 0; connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0; ++i) {
    if (i == 200) give_up("connect");
    usleep(10'000);
  }
  return fd;
}

/// What a server does with each connection, chosen by its port.
enum Service : std::uint16_t { kSink = 5001, kSource = 5002, kEcho = 5003, kOneByte = 5004 };

inline bool is_bulk(Service service) { return service == kSink || service == kSource; }

inline constexpr std::size_t kBlock = 256U << 10;

/// `block` has kBlock bytes: filling one anew would cost a short connection more than its segments.
inline void serve_connection(int fd, Service service, std::vector<char>& block) {
  switch (service) {
    case kSink:
      while (read(fd, block.data(), block.size()) > 0) {
      }
      break;
    case kSource:
      while (write(fd, block.data(), block.size()) > 0) {
      }
      break;
    case kEcho:
      while (read(fd, block.data(), 1) == 1 && write(fd, block.data(), 1) == 1) {
      }
      break;
    case kOneByte:
      if (read(fd, block.data(), 1) == 1) (void)!write(fd, block.data(), 1);
      break;
  }
  close(fd);
}

/// Serves one connection after the other until the process is killed.
inline void serve(Service service) {
  signal(SIGPIPE, SIG_IGN);
  const int listener = kernel_listen(service);
  std::vector<char> block(kBlock);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) give_up("accept");
    serve_connection(fd, service, block);
  }
}

inline double seconds_now() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

/// Counts from the end of a warm-up of a fifth of the time.
class Meter {
 public:
  explicit Meter(double seconds)
      : seconds_(seconds), start_(seconds_now()), warm_(start_ + seconds / 5), last_(start_) {}
  void add(std::uint64_t n) { count_ += n; }
  /// False once the time is over.
  bool running() {
    const double now = seconds_now();
    if (!counting_ && now >= warm_) {
      counting_ = true;
      start_ = now;
      count_ = 0;
    }
    last_ = now;
    return !counting_ || now < start_ + seconds_;
  }
  /// Gbit/s, round trips a second or connections a second.
  double rate(Service service) const {
    return static_cast<double>(count_) / (last_ - start_) * (is_bulk(service) ? 8e-9 : 1);
  }

 private:
  double seconds_, start_, warm_, last_;
  std::uint64_t count_ = 0;
  bool counting_ = false;
};

/// The kernel as client: the figure to compare with.
inline double kernel_client(const char* ip, Service service, double seconds) {
  std::vector<char> block(kBlock);
  const bool per_connection = service == kOneByte;
  int fd = per_connection ? -1 : kernel_connect(ip, service);
  Meter meter(seconds);
  while (meter.running()) {
    if (per_connection) fd = kernel_connect(ip, service);
    const std::size_t size = is_bulk(service) ? block.size() : 1;
    ssize_t done =
        service == kSource ? read(fd, block.data(), size) : write(fd, block.data(), size);
    if (!is_bulk(service) && done == 1) done = read(fd, block.data(), 1);
    if (done <= 0) give_up("the kernel's client");
    meter.add(static_cast<std::uint64_t>(done));
    if (per_connection) close(fd);
  }
  if (!per_connection) close(fd);
  return meter.rate(service);
}

}  // namespace tidewire::bench
