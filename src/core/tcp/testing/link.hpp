// For tests: two hosts and a link with delay, loss and reordering, in virtual time.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "core/tcp/testing/host.hpp"

namespace tidewire::tcp::testing {

struct Link {
  explicit Link(const StackConfig& config_a = {}, const StackConfig& config_b = {})
      : a(config_a, 11), b(config_b, 22) {
    b.out.v4 = IpAddress::v4(10, 0, 0, 2);
    b.out.v6 = parse_ip("fd00::2").value();
  }

  void pump(Host& from, Host& to, std::uint32_t& ordinal) {
    (void)from.poll();
    while (!from.out.sent.empty()) {
      WireSegment s = std::move(from.out.sent.front());
      from.out.sent.pop_front();
      Host& target = from.out.is_local(s.destination) ? from : to;
      ++ordinal;
      if (watch) watch(&from == &a, s);
      if (lose && lose(&from == &a, ordinal)) continue;
      const Duration extra = jitter ? jitter(ordinal) : Duration::zero();
      flying.emplace(std::pair{now() + delay + extra, ++count}, std::pair{&target, std::move(s)});
    }
  }
  Instant now() const { return a.context.now; }

  /// One event: a timer or an arrival. False: nothing will ever happen again.
  bool step() {
    pump(a, b, ordinal_a);
    pump(b, a, ordinal_b);
    Instant next = earlier(a.engine.next_deadline(), b.engine.next_deadline());
    if (!flying.empty()) next = earlier(next, flying.begin()->first.first);
    if (next.is_never()) return false;
    next = later(next, now());
    a.context.now = b.context.now = next;
    while (!flying.empty() && flying.begin()->first.first <= next) {
      auto node = flying.extract(flying.begin());
      node.mapped().first->receive(node.mapped().second);
    }
    if (a.engine.next_deadline() <= next) a.engine.on_timeout(1024);
    if (b.engine.next_deadline() <= next) b.engine.on_timeout(1024);
    if (app) app();
    ++steps;
    return true;
  }
  /// Runs until `done`, at most `limit` of virtual time.
  bool run(const std::function<bool()>& done, Duration limit = Duration::seconds(600)) {
    const Instant end = now() + limit;
    if (app) app();
    while (!done()) {
      if (now() > end || !step()) return false;
    }
    return true;
  }
  void run_for(Duration time) {
    const Instant end = now() + time;
    (void)run([&] { return now() >= end || (flying.empty() && idle(end)); }, time);
    a.context.now = b.context.now = later(now(), end);
  }
  bool idle(Instant until) {
    pump(a, b, ordinal_a);
    pump(b, a, ordinal_b);
    return flying.empty() && earlier(a.engine.next_deadline(), b.engine.next_deadline()) > until;
  }

  /// A connection from a to port 80 of b; client and server socket.
  std::pair<SocketId, SocketId> connect() {
    if (!listener) listener = b.listen(80);
    const SocketId client = a.open();
    EXPECT_TRUE(a.engine.connect(client, Endpoint{b.out.v4, 80, 0}));
    SocketId server;
    EXPECT_TRUE(run([&] {
      if (!server) {
        if (const auto accepted = b.engine.accept(listener)) server = *accepted;
      }
      return server && (a.engine.readiness(client) & kConnected) != 0;
    }));
    return {client, server};
  }

  Host a, b;
  Duration delay = Duration::millis(10);
  std::function<bool(bool from_a, std::uint32_t ordinal)> lose;
  std::function<Duration(std::uint32_t ordinal)> jitter;
  std::function<void(bool from_a, const WireSegment&)> watch;
  std::function<void()> app;
  std::map<std::pair<Instant, std::uint64_t>, std::pair<Host*, WireSegment>> flying;
  std::uint64_t count = 0, steps = 0;
  std::uint32_t ordinal_a = 0, ordinal_b = 0;
  SocketId listener;
};

/// Sends `size` patterned bytes from one socket to another and checks them on arrival.
struct Transfer {
  Transfer(Host& from, SocketId from_socket, Host& to, SocketId to_socket, std::size_t bytes)
      : source(from), out(from_socket), sink(to), in(to_socket), size(bytes) {}

  static std::byte pattern(std::size_t i) {
    return static_cast<std::byte>((i * 131 + i / 251) & 0xff);
  }

  void drive() {
    std::vector<std::byte> buffer(64 * 1024);
    while (written < size) {
      const std::size_t n = std::min(buffer.size(), size - written);
      for (std::size_t i = 0; i < n; ++i) buffer[i] = pattern(written + i);
      const auto sent = source.engine.send(out, Bytes{buffer}.first(n), {});
      if (!sent) break;
      written += *sent;
    }
    if (written == size && !shut) {
      shut = true;
      EXPECT_TRUE(source.engine.shutdown(out, ShutdownHow::write));
    }
    while (!finished) {
      const auto got = sink.engine.receive(in, buffer, {});
      if (!got) {
        if (got.error() != SocketError::would_block) failed = got.error();
        break;
      }
      if (*got == 0) finished = true;
      for (std::size_t i = 0; i < *got; ++i) intact = intact && buffer[i] == pattern(read + i);
      read += *got;
    }
  }
  bool done() const { return (finished && read == size) || failed; }

  Host& source;
  SocketId out;
  Host& sink;
  SocketId in;
  std::size_t size, written = 0, read = 0;
  bool shut = false, finished = false, intact = true;
  std::optional<SocketError> failed;
};

}  // namespace tidewire::tcp::testing
