// `tidewire perf ... udp FROM TO`: a datagram of every size there and back.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/pattern.hpp"
#include "core/stack.hpp"

namespace tidewire::apps {

/// Sends every datagram it gets back to where it came from.
class DatagramEcho {
 public:
  DatagramEcho(Stack& stack, SocketId socket) : stack_(stack), socket_(socket), room_(65'536) {}
  SocketId socket() const noexcept { return socket_; }
  void on_event(Instant now);

 private:
  bool reply(Instant now);

  Stack& stack_;
  SocketId socket_;
  std::vector<std::byte> room_;
  Bytes pending_;  ///< waits for room in the send queue
  Endpoint to_;
};

/// Sends one datagram of each size, the next when the echo of the last has come; tells at the end
/// what was lost or damaged.
class DatagramSizes {
 public:
  DatagramSizes(Stack& stack, const Pattern& pattern, SocketId socket, std::uint32_t from,
                std::uint32_t to)
      : stack_(stack), pattern_(pattern), socket_(socket), size_(from), last_(to), room_(65'536) {}

  void start(Instant now) { send(now); }
  void on_event(Instant now);
  /// An echo did not come in time: counts it as lost and goes on.
  void on_timeout(Instant now);
  Instant deadline() const noexcept { return deadline_; }
  bool finished() const noexcept { return size_ > last_; }
  std::uint64_t intact() const noexcept { return intact_; }
  std::uint64_t lost() const noexcept { return lost_; }
  std::uint64_t damaged() const noexcept { return damaged_; }

 private:
  void send(Instant now);

  Stack& stack_;
  const Pattern& pattern_;
  SocketId socket_;
  std::uint32_t size_, last_;
  std::vector<std::byte> room_;
  Instant deadline_ = Instant::never();
  std::uint64_t intact_ = 0, lost_ = 0, damaged_ = 0;
};

}  // namespace tidewire::apps
