#include "apps/web_server.hpp"

#include <poll.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "apps/failure.hpp"
#include "base/random.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::apps {

namespace {

bool send_all(int connection, Bytes data) {
  while (!data.empty()) {
    const ssize_t n = send(connection, data.data(), data.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

WebServer::WebServer(std::size_t largest) : content_(largest) {
  Rng rng({20, 26});
  for (std::byte& b : content_) b = static_cast<std::byte>(rng.next());
  listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  runtime::SocketAddress address =
      runtime::to_socket_address({IpAddress::loopback(Family::v4), 0, 0});
  if (!listener_ || bind(listener_.get(), address.get(), address.length) != 0 ||
      listen(listener_.get(), 16) != 0 ||
      getsockname(listener_.get(), address.get(), &address.length) != 0) {
    throw Failure(std::string("the demo's web server cannot start: ") + std::strerror(errno));
  }
  port_ = runtime::to_endpoint(address).port;
  thread_ = std::thread([this] { serve(); });
}

WebServer::~WebServer() {
  stopping_ = true;
  thread_.join();
}

void WebServer::serve() {
  while (!stopping_) {
    pollfd waiting{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 100) <= 0) continue;
    const runtime::Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) answer(connection.get());
  }
}

void WebServer::answer(int connection) {
  std::string request;
  std::array<char, 4096> buffer{};
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < 65'536) {
    const ssize_t n = recv(connection, buffer.data(), buffer.size(), 0);
    if (n <= 0) return;
    request.append(buffer.data(), static_cast<std::size_t>(n));
  }
  std::size_t size = 0;
  constexpr std::string_view kStart = "GET /";
  if (request.starts_with(kStart)) {
    std::from_chars(request.data() + kStart.size(), request.data() + request.size(), size);
  }
  if (size == 0 || size > content_.size()) {
    const std::string_view refusal =
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    (void)send_all(connection, as_bytes(refusal.data(), refusal.size()));
    return;
  }
  const std::string header =
      "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
      "Connection: close\r\nContent-Length: " +
      std::to_string(size) + "\r\n\r\n";
  if (!send_all(connection, as_bytes(header.data(), header.size()))) return;
  (void)send_all(connection, content(size));
  shutdown(connection, SHUT_WR);
  // Read to the end, so that closing does not reset what is still under way.
  while (recv(connection, buffer.data(), buffer.size(), 0) > 0) {
  }
}

}  // namespace tidewire::apps
