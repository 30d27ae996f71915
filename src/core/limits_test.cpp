// Names of the closed sets, and limits that only a flood reaches.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

TEST(Names, EveryDropReasonHasItsOwn) {
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < static_cast<std::size_t>(DropReason::count_); ++i) {
    const std::string_view name = to_string(static_cast<DropReason>(i));
    EXPECT_FALSE(name.empty());
    EXPECT_NE(name, "unknown");
    EXPECT_TRUE(seen.insert(name).second) << name;
  }
  EXPECT_EQ(to_string(DropReason::count_), "unknown");
  EXPECT_EQ(to_string(DropReason::frame_too_short), "frame_too_short");
  EXPECT_EQ(to_string(DropReason::ip_martian), "ip_martian");
  EXPECT_EQ(to_string(DropReason::udp_no_port), "udp_no_port");
  EXPECT_EQ(to_string(DropReason::tcp_challenge_limited), "tcp_challenge_limited");
  EXPECT_EQ(to_string(DropReason::flow_limit), "flow_limit");
}

TEST(Names, ErrorsAndStates) {
  EXPECT_EQ(to_string(SocketError::none), "no error");
  EXPECT_EQ(to_string(SocketError::connection_refused), "connection refused");
  EXPECT_EQ(to_string(SocketError::destination_required), "destination required");
  EXPECT_EQ(to_string(TcpState::closed), "CLOSED");
  EXPECT_EQ(to_string(TcpState::time_wait), "TIME-WAIT");
  EXPECT_EQ(to_string(LossCause::window_probe), "window_probe");
}

TEST(Limits, RepliesForABlockedInterfaceAreBounded) {
  Host host;
  const InterfaceId tun = host.tun("10.0.0.1/24");
  const std::string data(1400, 'x');
  for (int i = 0; i < 2000; ++i) host.receive(tun, echo_request("10.0.0.2", "10.0.0.1", data));
  EXPECT_GT(host.dropped(DropReason::outbox_full), 1000U);
  EXPECT_LT(host.memory.in_use(), 8U << 20);
  const std::size_t kept = host.sent().size();
  EXPECT_EQ(kept + host.dropped(DropReason::outbox_full), 2000U);
}

TEST(Limits, NeighborsThatAreBeingAskedForAreBounded) {
  StackConfig config;
  config.ip.neighbor_entries = 4;
  Host host{1, config};
  (void)host.ethernet("10.0.0.1/24", 1);
  const SocketId socket = host.udp("0.0.0.0:5000");
  for (int i = 10; i < 20; ++i) {
    ASSERT_TRUE(host.send_to(socket, "x", "10.0.0." + std::to_string(i) + ":7"));
    (void)host.sent();
  }
  EXPECT_EQ(host.dropped(DropReason::neighbor_limit), 6U);
  // Those that did not answer make room.
  host.advance(Duration::seconds(4));
  (void)host.sent();
  ASSERT_TRUE(host.send_to(socket, "x", "10.0.0.99:7"));
  EXPECT_EQ(host.sent().size(), 1U);
  EXPECT_EQ(host.dropped(DropReason::neighbor_limit), 6U);
}

TEST(Limits, AtMostSoManyTimersInOneCall) {
  StackConfig config;
  config.timeouts_per_call = 10;
  config.ip.reassembly_queues = 100;
  Host host{1, config};
  const InterfaceId tun = host.tun("10.0.0.1/24");
  for (std::uint16_t id = 0; id < 35; ++id) {
    wire::Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", wire::protocol::udp);
    repr.id = id;
    repr.fragment_offset = 8;
    host.receive(tun, ipv4(repr, Frame(8)));
  }
  host.now += Duration::seconds(61);
  int calls = 0;
  while (host.stack.next_deadline() <= host.now) {
    host.stack.on_timeout(host.now);
    ++calls;
    EXPECT_LE(host.dropped(DropReason::fragment_timeout), calls * 10U);
  }
  EXPECT_EQ(calls, 4);
}

// Time that a caller lets run backwards stands still.
TEST(Limits, TimeNeverRunsBackwards) {
  Host host;
  const InterfaceId tun = host.tun("10.0.0.1/24");
  const SocketId socket = host.udp("0.0.0.0:5000");
  host.now = Instant::from_nanos(1'000'000'000);
  host.receive(tun, udp4("10.0.0.2:1", "10.0.0.1:5000", "a"));
  const Frame packet = udp4("10.0.0.2:1", "10.0.0.1:5000", "b");
  RxFrame frame;
  frame.head = packet;
  frame.ingress = Instant::from_nanos(5'000'000'000);  // later than now: not believed
  host.stack.on_frames(tun, {&frame, 1}, Instant::from_nanos(5));
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info), "a");
  EXPECT_EQ(info.ingress, Instant::from_nanos(1'000'000'000));
  EXPECT_EQ(host.receive_text(socket, &info), "b");
  EXPECT_EQ(info.ingress, Instant::from_nanos(1'000'000'000));
}

// The cap of a process: what one stack holds another cannot have, and gets once it was given back.
TEST(Limits, TwoStacksShareOneBudget) {
  MemoryBudget budget{1U << 20};
  HeapMemory heap_a{SIZE_MAX};
  HeapMemory heap_b{SIZE_MAX};
  BudgetedMemory memory_a{heap_a, budget};
  BudgetedMemory memory_b{heap_b, budget};
  const Instant start = Instant::from_nanos(0);
  auto a = std::make_unique<Stack>(StackConfig{}, memory_a, RandomSeed{1, 1}, start);
  Stack b{StackConfig{}, memory_b, RandomSeed{2, 2}, start};
  const auto open_all = [](Stack& stack) {
    int opened = 0;
    for (;; ++opened) {
      const auto socket = stack.open(SocketKind::tcp, Family::v4);
      if (socket) continue;
      EXPECT_EQ(socket.error(), SocketError::no_buffers);
      return opened;
    }
  };
  EXPECT_GT(open_all(*a), 100);
  EXPECT_LT(open_all(b), 40);
  EXPECT_LE(budget.used(), 1U << 20);
  a.reset();
  EXPECT_EQ(heap_a.in_use(), 0U);
  EXPECT_GT(open_all(b), 100);
}

}  // namespace
}  // namespace tidewire::testing
