// Figures without any I/O: two stacks in one process, one thread, virtual time;
// median of five.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "pair.hpp"
#include "report.hpp"

namespace tidewire::bench {
namespace {

void transfer(Pair& pair, SocketId client, SocketId server, std::uint64_t bytes) {
  const std::vector<std::byte> data(262'144);
  std::uint64_t sent = 0, received = 0;
  while (received < bytes) {
    while (sent < bytes) {
      const std::size_t wanted = std::min<std::uint64_t>(bytes - sent, data.size());
      const auto done = pair.client.send(client, Bytes(data).first(wanted), {}, pair.now);
      if (!done) break;
      sent += *done;
    }
    pair.turn();
    while (const std::size_t ready = pair.server.received(server).size()) {
      must(static_cast<bool>(pair.server.consumed(server, ready, pair.now)), "consumed");
      received += ready;
    }
  }
}

double goodput(bool offload) {
  Pair pair(offload);
  const auto [client, server] = pair.connect(pair.listen(80), 80);
  transfer(pair, client, server, 64U << 20);
  constexpr std::uint64_t kBytes = 1U << 30;
  const double seconds = seconds_of([&] { transfer(pair, client, server, kBytes); });
  return static_cast<double>(kBytes) * 8 / seconds / 1e9;
}

double round_trips() {
  Pair pair(false);
  const auto [client, server] = pair.connect(pair.listen(80), 80);
  (void)pair.client.set_option(client, SocketOption::no_delay, 1, pair.now);
  (void)pair.server.set_option(server, SocketOption::no_delay, 1, pair.now);
  constexpr int kTrips = 200'000;
  std::byte byte{};
  const double seconds = seconds_of([&] {
    for (int i = 0; i < kTrips; ++i) {
      (void)pair.client.send(client, Bytes(&byte, 1), {}, pair.now);
      while (!pair.server.receive(server, MutBytes(&byte, 1), {}, pair.now)) pair.turn();
      (void)pair.server.send(server, Bytes(&byte, 1), {}, pair.now);
      while (!pair.client.receive(client, MutBytes(&byte, 1), {}, pair.now)) pair.turn();
    }
  });
  return kTrips / seconds / 1e3;
}

double connections() {
  Pair pair(false);
  const SocketId listener = pair.listen(80);
  constexpr int kConnections = 20'000;
  std::byte byte{};
  const double seconds = seconds_of([&] {
    for (int i = 0; i < kConnections; ++i) {
      const auto [client, server] = pair.connect(listener, 80);
      (void)pair.client.send(client, Bytes(&byte, 1), {}, pair.now);
      while (!pair.server.receive(server, MutBytes(&byte, 1), {}, pair.now)) pair.turn();
      pair.client.close(client, pair.now);
      pair.turn();
      pair.server.close(server, pair.now);
      pair.turn();
    }
  });
  return kConnections / seconds / 1e3;
}

/// Memory of both stacks for one more established connection over which nothing
/// was sent.
void idle_bytes() {
  Pair pair(false);
  const SocketId listener = pair.listen(80);
  const auto in_use = [&] { return pair.client_memory.in_use() + pair.server_memory.in_use(); };
  for (int i = 0; i < 1000; ++i) (void)pair.connect(listener, 80);
  pair.settle(true);
  pair.settle(true);
  const std::size_t before = in_use();
  constexpr int kConnections = 20'000;
  for (int i = 0; i < kConnections; ++i) (void)pair.connect(listener, 80);
  for (int i = 0; i < 8; ++i) pair.settle(true);
  std::printf("%-44s %10.0f bytes an end\n", "idle connection, established, no data yet",
              static_cast<double>(in_use() - before) / kConnections / 2);
}

}  // namespace
}  // namespace tidewire::bench

int main() {
  namespace bench = tidewire::bench;
  bench::report("one flow, MTU 1500, checksums", "Gbit/s", [] { return bench::goodput(false); });
  bench::report("one flow, super-segments, no checksums", "Gbit/s",
                [] { return bench::goodput(true); });
  bench::report("1-byte round trips", "thousand/s", bench::round_trips);
  bench::report("connect, a byte, close", "thousand/s", bench::connections);
  bench::idle_bytes();
}
