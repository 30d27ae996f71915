// Connections that are opened, carry a byte each way and are closed, many at a time: the kernel as
// server and as client, and tidewire as client.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "core/stack.hpp"
#include "kernel_side.hpp"
#include "runtime/driver.hpp"

namespace tidewire::bench {

inline void watch(int epoll, int fd, std::uint32_t events) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
}

inline void set_non_blocking(int fd) {
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) give_up("O_NONBLOCK");
}

/// Serves kOneByte on as many connections as come, until the process is killed.
inline void serve_many() {
  signal(SIGPIPE, SIG_IGN);
  const int listener = kernel_listen(kOneByte);
  set_non_blocking(listener);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener, EPOLLIN);
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd != listener) {
        char byte = 0;
        if (read(fd, &byte, 1) == 1) (void)!write(fd, &byte, 1);
        close(fd);
        continue;
      }
      for (int one = 0; (one = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
        watch(epoll, one, EPOLLIN);
      }
    }
  }
}

/// Connections a second of the kernel as client, `in_flight` of them at any time.
inline double kernel_client_many(const char* ip, int in_flight, double seconds) {
  close(kernel_connect(ip, kOneByte));  // the server is there
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const sockaddr_in to = socket_address(ip, kOneByte);
  const auto start = [&] {
    const int fd = kernel_socket();
    set_non_blocking(fd);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
      give_up("connect");
    watch(epoll, fd, EPOLLOUT);
  };
  for (int i = 0; i < in_flight; ++i) start();
  Meter meter(seconds);
  std::array<epoll_event, 64> events;
  while (meter.running()) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const int fd = event.data.fd;
      char byte = 'x';
      if ((event.events & (EPOLLERR | EPOLLHUP)) != 0 && (event.events & EPOLLIN) == 0) {
        give_up("a connection");
      }
      if ((event.events & EPOLLIN) == 0) {
        if (write(fd, &byte, 1) != 1) give_up("write");
        epoll_event next{.events = EPOLLIN, .data = {.fd = fd}};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &next) != 0) give_up("epoll_ctl");
        continue;
      }
      if (read(fd, &byte, 1) != 1) give_up("read");
      close(fd);
      meter.add(1);
      start();
    }
  }
  return meter.rate(kOneByte);
}

/// The same on a tidewire stack.
class ManyClients final : public runtime::StackOwner {
 public:
  ManyClients(Stack& stack, const Endpoint& to, Meter& meter)
      : stack_(stack), to_(to), meter_(meter) {}

  void start(int in_flight, Instant now) {
    for (int i = 0; i < in_flight; ++i) open(now);
  }
  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket) return;
    if ((event.bits & kError) != 0) {
      std::fprintf(stderr, "bench: %s\n", to_string(stack_.take_error(event.socket)).data());
      std::exit(1);
    }
    std::byte byte{};
    if ((event.bits & kReadable) != 0) {
      if (stack_.receive(event.socket, MutBytes(&byte, 1), {}, now).value_or(0) != 1) return;
      stack_.close(event.socket, now);
      meter_.add(1);
      open(now);
    } else if ((event.bits & kConnected) != 0) {
      if (!stack_.send(event.socket, Bytes(&byte, 1), {}, now)) give_up("send");
    }
  }

 private:
  void open(Instant now) {
    const auto socket = stack_.open(SocketKind::tcp, Family::v4);
    if (!socket) give_up("open");
    const auto started = stack_.connect(*socket, to_, now);
    if (!started && started.error() != SocketError::in_progress) give_up("connect");
  }

  Stack& stack_;
  Endpoint to_;
  Meter& meter_;
};

}  // namespace tidewire::bench
