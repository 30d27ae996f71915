// What a program of tools/run_bench.py does with its sockets, under `tidewire run` or on the
// kernel's. Usage: socket_calls calls SECONDS     nanoseconds of a call, one line each: `NAME VALUE
// ns`
//        socket_calls echo              listens on 127.0.0.1, prints the port, echoes one
//        connection socket_calls ping PORT SECONDS round trips of a byte with 127.0.0.1:
//        `round_trip VALUE us`
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "arguments.hpp"
#include "report.hpp"

namespace tidewire::bench {
namespace {

/// Calls `work` for `seconds`; the nanoseconds of one call, the median of ten parts.
double nanoseconds_of(double seconds, auto&& work) {
  std::array<double, 10> parts{};
  for (double& part : parts) {
    std::size_t done = 0;
    double spent = 0;
    while (spent < seconds / 10) {
      constexpr int kAtOnce = 50;
      spent += seconds_of([&] {
        for (int i = 0; i < kAtOnce; ++i) work();
      });
      done += kAtOnce;
    }
    part = spent / static_cast<double>(done) * 1e9;
  }
  std::ranges::sort(parts);
  return parts[5];
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int open_stream() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd >= 0, "socket");
  return fd;
}

void no_delay(int fd) {
  const int on = 1;
  must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
}

void calls(double seconds) {
  const double each = seconds / 4;
  const int fd = open_stream();
  print_row("getppid", nanoseconds_of(each, [] { (void)syscall(SYS_getppid); }), "ns");
  print_row("getsockname",
            nanoseconds_of(each,
                           [&] {
                             sockaddr_in name{};
                             socklen_t size = sizeof name;
                             must(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0,
                                  "getsockname");
                           }),
            "ns");
  print_row("setsockopt", nanoseconds_of(each, [&] { no_delay(fd); }), "ns");
  print_row("socket_close", nanoseconds_of(each, [] { close(open_stream()); }), "ns");
  close(fd);
}

void echo() {
  const int listener = open_stream();
  sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  must(bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0, "bind");
  must(listen(listener, 1) == 0, "listen");
  must(getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) == 0, "getsockname");
  std::printf("%u\n", ntohs(at.sin_port));
  std::fflush(stdout);
  const int fd = accept(listener, nullptr, nullptr);
  must(fd >= 0, "accept");
  no_delay(fd);
  char byte = 0;
  while (read(fd, &byte, 1) == 1) must(write(fd, &byte, 1) == 1, "write");
}

void ping(std::uint16_t port, double seconds) {
  const int fd = open_stream();
  const sockaddr_in to = loopback(port);
  must(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0, "connect");
  no_delay(fd);
  char byte = 0;
  print_row("round_trip",
            nanoseconds_of(seconds,
                           [&] {
                             must(write(fd, &byte, 1) == 1, "write");
                             must(read(fd, &byte, 1) == 1, "read");
                           }) /
                1e3,
            "us");
  close(fd);
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "calls") {
    calls(argument(argc, argv, 2, "SECONDS", 1.0, 0.01, 60.0));
  } else if (what == "echo") {
    echo();
  } else if (what == "ping" && argc > 2) {
    const auto port = argument<unsigned>(argc, argv, 2, "PORT", 0, 1, 65535);
    ping(static_cast<std::uint16_t>(port), argument(argc, argv, 3, "SECONDS", 1.0, 0.01, 60.0));
  } else {
    std::fprintf(stderr, "usage: socket_calls calls [SECONDS] | echo | ping PORT [SECONDS]\n");
    return 2;
  }
  return 0;
}
