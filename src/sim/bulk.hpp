// One-way streams whose content nobody looks at, for figures on large flows.
#pragma once

#include <cstdint>
#include <string>

#include "sim/host.hpp"

namespace tidewire::sim {

/// Connects and sends as fast as the send buffer takes it, until told to stop.
class BulkSource final : public Application {
 public:
  explicit BulkSource(Host& host) : host_(host) {}

  /// An error ends it at once; see error().
  void connect(const Endpoint& remote);
  /// Nothing more is written; what was, still arrives.
  void stop() noexcept { stopped_ = true; }
  void on_event(const Event& event, Instant now) override;
  SocketId socket() const noexcept { return socket_; }
  SocketError error() const noexcept { return error_; }

 private:
  Host& host_;
  SocketId socket_;
  SocketError error_ = SocketError::none;
  bool stopped_ = false;
};

/// Accepts one connection and throws away what it brings.
class BulkSink final : public Application {
 public:
  BulkSink(Host& host, std::uint16_t port);

  void on_event(const Event& event, Instant now) override;
  std::uint64_t bytes_received() const noexcept { return received_; }
  SocketId socket() const noexcept { return socket_; }  ///< names nothing before the accept

 private:
  Host& host_;
  SocketId listener_;
  SocketId socket_;
  std::uint64_t received_ = 0;
};

}  // namespace tidewire::sim
