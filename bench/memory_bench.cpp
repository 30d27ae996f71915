// Figures without any I/O: two stacks in one process, one thread, virtual time; median of five.
// Usage: memory_bench [CASE SECONDS]: memory_super or memory_1500, one line each for the flow and
// for memcpy of 64 KiB blocks, measured by turns.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
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

/// A link on a machine where everybody trusts everybody: the receiver reads the sender's memory.
/// Each stack has one interface, and both got the same number.
class DirectLink final : public TxSink {
 public:
  DirectLink(Stack& to, const Instant& now) : to_(to), now_(now) {}

  PushResult push(const TxFrame& frame) noexcept override {
    RxFrame received;
    must(frame.payload.size() <= received.more.size(), "a frame of few pieces");
    received.head = frame.headers;
    std::copy(frame.payload.begin(), frame.payload.end(), received.more.begin());
    received.seg_size = static_cast<std::uint16_t>(frame.seg_size);
    received.segs = frame.segs;
    received.checksum = frame.checksum_pending ? ChecksumState::partial : ChecksumState::verified;
    received.ingress = now_;
    to_.on_frames(frame.interface, std::span(&received, 1), now_);
    return PushResult::taken;
  }

 private:
  Stack& to_;
  const Instant& now_;
};

/// A flow of super-segments over direct links; bytes are produced and consumed in place.
class SuperFlow {
 public:
  SuperFlow() : sockets_(pair_.connect(pair_.listen(80), 80)) {}

  void transfer(std::uint64_t bytes) {
    for (std::uint64_t received = 0; received < bytes;) {
      while (const std::size_t room = pair_.client.send_space(sockets_[0], 262'144).size()) {
        must(static_cast<bool>(pair_.client.sent(sockets_[0], room, {}, pair_.now)), "sent");
      }
      turn();
      while (const std::size_t ready = pair_.server.received(sockets_[1]).size()) {
        must(static_cast<bool>(pair_.server.consumed(sockets_[1], ready, pair_.now)), "consumed");
        received += ready;
      }
    }
  }

 private:
  void turn() {
    pair_.now += Duration::micros(10);
    pump(pair_.client, up_);
    pump(pair_.server, down_);
  }
  void pump(Stack& stack, DirectLink& link) {
    if (stack.next_deadline() <= pair_.now) stack.on_timeout(pair_.now);
    while (stack.poll_transmit(link, pair_.now) == Transmit::budget_spent) {
    }
    while (stack.poll_event()) {
    }
  }

  Pair pair_{true};
  std::array<SocketId, 2> sockets_;
  DirectLink up_{pair_.server, pair_.now};
  DirectLink down_{pair_.client, pair_.now};
};

/// The flow of a segment's size, bytes copied in by the application, each wire packet made and
/// its checksum computed.
class PlainFlow {
 public:
  PlainFlow() : sockets_(pair_.connect(pair_.listen(80), 80)) {}
  void transfer(std::uint64_t bytes) { bench::transfer(pair_, sockets_[0], sockets_[1], bytes); }

 private:
  Pair pair_{false};
  std::array<SocketId, 2> sockets_;
};

void copy_blocks(std::uint64_t bytes) {
  constexpr std::size_t kBlock = 65'536;
  static std::vector<std::byte> from(kBlock), to(kBlock);
  for (std::uint64_t done = 0; done < bytes; done += kBlock) {
    std::memcpy(to.data(), from.data(), kBlock);
    asm volatile("" : : "r"(to.data()) : "memory");
  }
}

/// The flow and memcpy by turns, so that what else the machine does meets both.
template <typename Flow>
void beside_memcpy(const char* name, double seconds) {
  Flow flow;
  flow.transfer(64U << 20);
  copy_blocks(64U << 20);
  constexpr std::uint64_t kSlice = 64U << 20;
  double flow_time = 0, copy_time = 0;
  std::uint64_t bytes = 0;
  while (flow_time < seconds) {
    flow_time += seconds_of([&] { flow.transfer(kSlice); });
    copy_time += seconds_of([&] { copy_blocks(kSlice); });
    bytes += kSlice;
  }
  const double bits = static_cast<double>(bytes) * 8e-9;
  print_row(name, bits / flow_time, "Gbit/s");
  print_row((std::string(name) + "_memcpy").c_str(), bits / copy_time, "Gbit/s");
}

int run_case(std::string_view name, double seconds) {
  if (name == "memory_super") {
    beside_memcpy<SuperFlow>("memory_super", seconds);
  } else if (name == "memory_1500") {
    beside_memcpy<PlainFlow>("memory_1500", seconds);
  } else {
    std::fputs("usage: memory_bench [memory_super|memory_1500 SECONDS]\n", stderr);
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  if (argc > 1) return bench::run_case(argv[1], bench::seconds_argument(argc, argv));
  bench::report("one flow, MTU 1500, checksums", "Gbit/s", [] { return bench::goodput(false); });
  bench::report("one flow, super-segments, no checksums", "Gbit/s",
                [] { return bench::goodput(true); });
  bench::report("1-byte round trips", "thousand/s", bench::round_trips);
  bench::report("connect, a byte, close", "thousand/s", bench::connections);
  bench::idle_bytes();
}
