// What tools/instructions.py runs under callgrind: one kind of work, N times.
// Usage: tidewire_instructions data_segment|data_segment_copied|super_segment|round_trip|connection
// N Prints `units U` and `allocations A`: what was done, and the allocations while it was done.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "pair.hpp"

namespace {
std::uint64_t heap_allocations = 0;
}

// Counts every allocation of the process, not only the stacks' own.
void* operator new(std::size_t size) {
  ++heap_allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace tidewire::bench {
namespace {

std::uint64_t allocations(const Pair& pair) {
  return heap_allocations + pair.client_memory.allocations() + pair.server_memory.allocations();
}

struct Work {
  std::uint64_t units = 0;
  std::uint64_t allocations = 0;
};

/// Sends `segments` × 1448 bytes after a start that fills the window and the buffers. The
/// applications work in the stacks' buffers, or copy from and to their own. `offload`: in
/// super-segments.
Work data_segments(std::uint64_t segments, bool copied, bool offload = false) {
  Pair pair(offload);
  const auto [client, server] = pair.connect(pair.listen(80), 80);
  const std::vector<std::byte> data(65'536);
  std::vector<std::byte> sink(65'536);
  const auto produce = [&](std::size_t wanted) -> std::size_t {
    if (copied)
      return pair.client.send(client, Bytes(data).first(wanted), {}, pair.now).value_or(0);
    const std::size_t size = pair.client.send_space(client, wanted).size();
    if (size == 0 || !pair.client.sent(client, size, {}, pair.now)) return 0;
    return size;
  };
  const auto consume = [&]() -> std::size_t {
    if (copied) return pair.server.receive(server, sink, {}, pair.now).value_or(0);
    const std::size_t size = pair.server.received(server).size();
    if (size == 0 || !pair.server.consumed(server, size, pair.now)) return 0;
    return size;
  };
  const auto run = [&](std::uint64_t bytes) {
    std::uint64_t received = 0, sent = 0;
    for (std::uint64_t turns = 0; received < bytes; ++turns) {
      must(turns < 10 * bytes, "transfer");
      while (sent < bytes) {
        const std::size_t done = produce(std::min<std::uint64_t>(bytes - sent, data.size()));
        if (done == 0) break;
        sent += done;
      }
      pair.turn();
      while (const std::size_t got = consume()) received += got;
    }
  };
  run(64U << 20);
  const std::uint64_t before = allocations(pair);
  run(segments * 1448);
  return {segments, allocations(pair) - before};
}

Work round_trips(std::uint64_t count) {
  Pair pair(false);
  const auto [client, server] = pair.connect(pair.listen(80), 80);
  (void)pair.client.set_option(client, SocketOption::no_delay, 1, pair.now);
  (void)pair.server.set_option(server, SocketOption::no_delay, 1, pair.now);
  std::byte byte{};
  const auto pass = [&](Stack& from, SocketId out, Stack& to, SocketId in) {
    must(static_cast<bool>(from.send(out, Bytes(&byte, 1), {}, pair.now)), "send");
    for (int i = 0; i < 8; ++i) {
      pair.turn();
      if (to.receive(in, MutBytes(&byte, 1), {}, pair.now)) return;
    }
    must(false, "round trip");
  };
  const auto run = [&](std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
      pass(pair.client, client, pair.server, server);
      pass(pair.server, server, pair.client, client);
    }
  };
  run(1000);
  const std::uint64_t before = allocations(pair);
  run(count);
  return {count, allocations(pair) - before};
}

/// Connect, one byte each way, close by the client, close by the server.
Work connections(std::uint64_t count) {
  Pair pair(false);
  const SocketId listener = pair.listen(80);
  std::byte byte{};
  const auto run = [&](std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
      const auto [client, server] = pair.connect(listener, 80);
      must(static_cast<bool>(pair.client.send(client, Bytes(&byte, 1), {}, pair.now)), "send");
      pair.turn();
      must(static_cast<bool>(pair.server.receive(server, MutBytes(&byte, 1), {}, pair.now)),
           "receive");
      must(static_cast<bool>(pair.server.send(server, Bytes(&byte, 1), {}, pair.now)), "send");
      pair.turn();
      pair.turn();
      must(static_cast<bool>(pair.client.receive(client, MutBytes(&byte, 1), {}, pair.now)),
           "receive");
      pair.client.close(client, pair.now);
      pair.turn();
      pair.server.close(server, pair.now);
      pair.turn();
      pair.turn();
    }
  };
  run(200);
  const std::uint64_t before = allocations(pair);
  run(count);
  return {count, allocations(pair) - before};
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  tidewire::bench::Work work;
  if (what == "data_segment") {
    work = tidewire::bench::data_segments(count, false);
  } else if (what == "data_segment_copied") {
    work = tidewire::bench::data_segments(count, true);
  } else if (what == "super_segment") {
    work = tidewire::bench::data_segments(count, false, true);
  } else if (what == "round_trip") {
    work = tidewire::bench::round_trips(count);
  } else if (what == "connection") {
    work = tidewire::bench::connections(count);
  } else {
    std::fputs(
        "usage: tidewire_instructions "
        "data_segment|data_segment_copied|super_segment|round_trip|connection N\n",
        stderr);
    return 2;
  }
  std::printf("units %llu\nallocations %llu\n", static_cast<unsigned long long>(work.units),
              static_cast<unsigned long long>(work.allocations));
}
