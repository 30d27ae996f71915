// The demo's own little web server, on ordinary sockets of the host.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.hpp"
#include "runtime/fd.hpp"

namespace tidewire::apps {

/// Serves /SIZE: that many bytes of a fixed pseudo-random content. One connection at a time, in a
/// thread of its own, on a free port of 127.0.0.1.
class WebServer {
 public:
  /// `largest` bounds SIZE. Throws Failure if no port can be had.
  explicit WebServer(std::size_t largest);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  Bytes content(std::size_t size) const noexcept { return Bytes(content_).first(size); }

 private:
  void serve();
  void answer(int connection);

  std::vector<std::byte> content_;
  runtime::Fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace tidewire::apps
