// What the parts of a gateway share.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "core/stack.hpp"
#include "front/gateway/config.hpp"
#include "runtime/poller.hpp"

namespace tidewire::gateway {

struct SocketIdHash {
  std::size_t operator()(const SocketId& id) const noexcept {
    return std::hash<std::uint64_t>{}(std::uint64_t{id.generation} << 32 ^
                                      std::uint64_t{id.index} << 4 ^
                                      static_cast<std::uint64_t>(id.kind));
  }
};

/// Gets the events of one socket of the gateway's stack.
class SocketUser {
 public:
  virtual void on_socket(SocketId socket, std::uint16_t bits, Instant now) = 0;

 protected:
  ~SocketUser() = default;
};

/// One per gateway; everything in one thread.
struct Context {
  Stack& stack;
  runtime::Poller& poller;
  GatewayConfig config;
  GatewayCounters counters;
  std::unordered_map<SocketId, SocketUser*, SocketIdHash> users;
};

}  // namespace tidewire::gateway
