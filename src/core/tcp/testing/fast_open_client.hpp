// For tests: a client of TCP Fast Open (RFC 7413).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/tcp/fast_open.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp::testing {

/// Without the options that only make traces longer.
inline StackConfig bare(std::uint32_t fast_open) {
  StackConfig config;
  config.tcp.timestamps = config.tcp.window_scaling = config.tcp.sack = false;
  config.tcp.fast_open = fast_open;
  return config;
}

inline std::vector<std::byte> text(std::size_t size, std::size_t from = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = Trace::pattern(static_cast<std::uint32_t>(from + i));
  }
  return bytes;
}
/// A client under test; each connection is a new socket and starts its numbers afresh.
struct Client : Trace {
  explicit Client(std::uint32_t use = kFastOpenClient) : Trace(bare(use)) { connected_out = true; }

  void fresh() {
    socket = host.open();
    isn_known = false;
    written = consumed = 0;
    our_isn = Seq{0};
  }
  /// sendto(MSG_FASTOPEN): how much was taken.
  SocketResult<std::size_t> connect_send(std::size_t bytes) {
    const auto taken = host.engine.connect_send(socket, Endpoint{peer, kPort, 0}, text(bytes));
    local_port = host.engine.info(socket)->local.port;
    written += taken.value_or(0);
    poll();
    return taken;
  }
  /// A first connection that brings a cookie.
  void learn(std::string_view cookie = "fo 0102030405060708", std::string_view asked = "fo") {
    fresh();
    EXPECT_EQ(connect_send(100).value(), 0U);
    out("S 0(0) <mss 1460," + std::string{asked} + ">");
    in("S. 0(0) ack 1 <mss 1400," + std::string{cookie} + ">");
    out(". 1(0) ack 1");
    host.engine.abort(socket);
    skip();
    fresh();
  }
  const Counters& counters() const { return host.context.counters; }
};

}  // namespace tidewire::tcp::testing
