// What the layers below say: full, unresolved, failed, too big; budgets; no memory; every option.
#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

TEST(TcpDevice, NothingIsCommittedUntilItIsTaken) {
  Trace t;
  t.accept("<mss 1000>");
  t.host.out.room = 0;
  t.write(2500);
  t.quiet();
  EXPECT_EQ(t.host.engine.info(t.socket)->send_unsent, 2500U);
  EXPECT_EQ(t.host.poll(), Transmit::blocked);
  const int attempts = t.host.out.attempts;
  for (int i = 0; i < 10; ++i) t.poll();
  EXPECT_EQ(t.host.out.attempts, attempts);  // a blocked interface costs nothing
  t.host.out.room = 10;
  t.host.out.is_blocked = false;
  t.host.engine.on_writable(0);
  t.out(". 1(1000) ack 1");
  t.out(". 1001(1000) ack 1");
  t.out("P. 2001(500) ack 1");
  EXPECT_EQ(t.host.poll(), Transmit::idle);
}

// Another flow has learned of it: nobody told this one.
TEST(TcpDevice, APathThatGotNarrowerIsSegmentedForAtOnce) {
  Trace t;
  t.accept("<mss 1460,sackOK,ts 100>");
  t.set(SocketOption::no_delay, 1);
  t.host.out.path_limit = 576;
  t.write(1448);
  t.out(". 1(524) ack 1");
  t.out(". 525(524) ack 1");
  t.out("P. 1049(400) ack 1");
  t.quiet();
}

TEST(TcpDevice, AResetWaitsForTheDevice) {
  Trace t;
  t.accept();
  t.host.out.room = 0;
  t.host.engine.abort(t.socket);
  t.quiet();
  t.host.out.room = 1;
  t.host.out.is_blocked = false;
  t.host.engine.on_writable(0);
  t.out("R. 1(0) ack 1");
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpDevice, AConnectOverADeadDeviceEndsInTime) {
  Trace t;
  t.host.out.room = 0;
  t.start_connect();
  t.pass(300'000);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

TEST(TcpDevice, AFlowIsParkedUntilTheNeighborIsKnown) {
  Trace t;
  t.host.out.unresolved = true;
  t.start_connect();
  t.quiet();
  EXPECT_EQ(t.host.poll(), Transmit::idle);
  t.host.out.unresolved = false;
  t.quiet();
  t.host.engine.on_neighbor_resolved(0);
  t.out("S 0(0)");
}

TEST(TcpDevice, AConnectThroughADeadNeighborFails) {
  Trace t;
  t.host.out.unresolved = true;
  t.start_connect();
  t.quiet();
  t.host.out.unresolved = false;
  t.host.out.failure = SocketError::host_unreachable;
  t.host.engine.on_neighbor_failed(0, t.peer);
  t.poll();
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.error(), SocketError::host_unreachable);
}

TEST(TcpDevice, AnEstablishedConnectionOutlivesADeadNeighbor) {
  Trace t;
  t.accept("<mss 1000>");
  t.host.out.failure = SocketError::host_unreachable;
  t.write(100);
  t.pass(10'000);
  EXPECT_EQ(t.state(), established);
  t.host.out.failure.reset();
  t.pass(60'000);
  t.out("P. 1(100) ack 1");
}

TEST(TcpDevice, NoRouteFailsTheConnect) {
  Trace t;
  t.host.out.unreachable = true;
  const SocketId id = t.host.open();
  EXPECT_EQ(t.host.engine.connect(id, Endpoint{t.peer, 80, 0}).error(),
            SocketError::network_unreachable);
}

TEST(TcpDevice, SuperSegmentsCarryTheSegmentSize) {
  StackConfig config;
  config.tcp.initial_window_segments = 80;
  Trace t{config};
  t.host.out.segment = false;
  t.accept("<mss 1000>", "65535");
  t.write(30'500);
  t.out("P. 1(30500) ack 1");
  EXPECT_EQ(t.last.seg_size, 1000U);
  EXPECT_EQ(t.last.segs, 31);
}

TEST(TcpDevice, TheBudgetIsKept) {
  StackConfig config;
  config.tcp.initial_window_segments = 60;
  Trace t{config};
  t.accept("<mss 1000>", "65535");
  ASSERT_TRUE(t.host.engine.send(t.socket, std::vector<std::byte>(60'000), {}));
  TxBudget budget{1, 1 << 20};
  EXPECT_EQ(t.host.engine.poll_transmit(budget), Transmit::budget_spent);
  EXPECT_EQ(budget.frames, 0U);
}

TEST(TcpDevice, FlowsShareTheLinkFairly) {
  Link link;
  std::vector<std::pair<SocketId, SocketId>> flows;
  for (int i = 0; i < 4; ++i) flows.push_back(link.connect());
  std::vector<std::unique_ptr<Transfer>> transfers;
  for (const auto& [client, server] : flows) {
    transfers.push_back(std::make_unique<Transfer>(link.a, client, link.b, server, 2'000'000));
  }
  link.app = [&] {
    for (auto& t : transfers) t->drive();
  };
  EXPECT_TRUE(link.run([&] { return transfers[0]->read > 1'000'000; }));
  for (auto& t : transfers) EXPECT_GT(t->read, 500'000U);
}

TEST(TcpDevice, EveryByteArrivesWithMemoryFailingNowAndThen) {
  Link link;
  const auto [client, server] = link.connect();
  Transfer t{link.a, client, link.b, server, 500'000};
  Rng rng{RandomSeed{5, 5}};
  link.app = [&] {
    link.a.memory.set_failing(rng.below(4) == 0);
    link.b.memory.set_failing(rng.below(4) == 0);
    t.drive();
  };
  EXPECT_TRUE(link.run([&] { return t.done(); }, Duration::seconds(3000)));
  EXPECT_TRUE(t.intact);
  EXPECT_EQ(t.read, t.size);
}

TEST(TcpDevice, WithoutMemoryEveryCallSaysSo) {
  Host host{{}, 1, 0};
  EXPECT_EQ(host.engine.open(Family::v4).error(), SocketError::no_buffers);
  EXPECT_EQ(host.poll(), Transmit::idle);
  EXPECT_TRUE(host.engine.next_deadline().is_never());
  EXPECT_EQ(host.engine.listen({SocketKind::tcp, 0, 1}, 1).error(), SocketError::unknown_socket);
  EXPECT_FALSE(host.engine.next_socket({}));
}

// Everything that can be set reads back.
TEST(TcpDevice, OptionsReadBack) {
  struct Case {
    SocketOption option;
    std::int64_t value;
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  const Case cases[] = {{SocketOption::reuse_address, 1},
                        {SocketOption::reuse_port, 1},
                        {SocketOption::keep_alive, 1},
                        {SocketOption::linger, 5 * kSecond},
                        {SocketOption::linger, -1},
                        {SocketOption::linger2, 9 * kSecond},
                        {SocketOption::send_buffer, 50'000},
                        {SocketOption::receive_buffer, 60'000},
                        {SocketOption::receive_low_water, 100},
                        {SocketOption::oob_inline, 1},
                        {SocketOption::bound_interface, 3},
                        {SocketOption::ttl, 5},
                        {SocketOption::tos, 0x20},
                        {SocketOption::mtu_discover, 2},
                        {SocketOption::receive_errors, 1},
                        {SocketOption::no_delay, 1},
                        {SocketOption::cork, 1},
                        {SocketOption::max_segment, 1000},
                        {SocketOption::keep_idle, 7 * kSecond},
                        {SocketOption::keep_interval, 8 * kSecond},
                        {SocketOption::keep_count, 4},
                        {SocketOption::user_timeout, 30 * kSecond},
                        {SocketOption::syn_count, 2},
                        {SocketOption::quick_ack, 0},
                        {SocketOption::defer_accept, kSecond},
                        {SocketOption::not_sent_low_water, 4096},
                        {SocketOption::window_clamp, 20'000}};
  Host host;
  const SocketId id = host.open();
  for (const Case& c : cases) {
    EXPECT_TRUE(host.engine.set_option(id, c.option, c.value)) << static_cast<int>(c.option);
    EXPECT_EQ(host.engine.get_option(id, c.option).value_or(-99), c.value)
        << static_cast<int>(c.option);
  }
  EXPECT_EQ(host.engine.set_option(id, SocketOption::ttl, 256).error(), SocketError::invalid);
  EXPECT_EQ(host.engine.set_option(id, SocketOption::keep_count, 0).error(), SocketError::invalid);
  EXPECT_EQ(host.engine.set_option(id, SocketOption::multicast_ttl, 1).error(),
            SocketError::not_supported);
  EXPECT_EQ(host.engine.set_option(id, SocketOption::v6_only, 1).error(),
            SocketError::not_supported);
}

// req: RFC9293-MUST-47
TEST(TcpDevice, CallsInTheWrongStateAreRefused) {
  Trace t;
  const SocketId fresh = t.host.open();
  Engine& e = t.host.engine;
  std::byte b{};
  EXPECT_EQ(e.receive(fresh, {&b, 1}, {}).error(), SocketError::not_connected);
  EXPECT_EQ(e.send(fresh, {&b, 1}, {}).error(), SocketError::broken_pipe);
  EXPECT_EQ(e.shutdown(fresh, ShutdownHow::both).error(), SocketError::not_connected);
  EXPECT_EQ(e.remote_endpoint(fresh).error(), SocketError::not_connected);
  EXPECT_EQ(e.accept(fresh).error(), SocketError::invalid);
  EXPECT_EQ(e.connect(fresh, Endpoint{IpAddress::any(Family::v6), 1, 0}).error(),
            SocketError::address_family);
  t.start_connect();
  EXPECT_EQ(e.connect(t.socket, Endpoint{t.peer, 80, 0}).error(), SocketError::already);
  EXPECT_EQ(e.send(t.socket, {&b, 1}, {}).error(), SocketError::would_block);
  EXPECT_EQ(e.receive(t.socket, {&b, 1}, {}).error(), SocketError::would_block);
  EXPECT_EQ(e.listen(t.socket, 1).error(), SocketError::invalid);
  t.out("S 0(0)");
  t.in("S. 0(0) ack 1 win 100");
  EXPECT_EQ(e.connect(t.socket, Endpoint{t.peer, 80, 0}).error(), SocketError::is_connected);
  EXPECT_EQ(e.listen(t.socket, 1).error(), SocketError::invalid);
  EXPECT_EQ(e.bind(t.socket, Endpoint{t.host.out.v4, 1, 0}).error(), SocketError::invalid);
  EXPECT_EQ(e.set_congestion_control(t.socket, "no such").error(), SocketError::invalid);
  EXPECT_TRUE(e.set_congestion_control(t.socket, "reno"));
  EXPECT_EQ(e.info(t.socket)->congestion_control, "reno");
  EXPECT_EQ(e.send({SocketKind::tcp, 9999, 1}, {&b, 1}, {}).error(), SocketError::unknown_socket);
}

TEST(TcpDevice, ATupleInUseCannotBeConnectedAgain) {
  Trace t;
  t.socket = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(t.socket, SocketOption::reuse_address, 1));
  ASSERT_TRUE(t.host.engine.bind(t.socket, {t.host.out.v4, 999, 0}));
  t.start_connect();
  const SocketId other = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(other, SocketOption::reuse_address, 1));
  ASSERT_TRUE(t.host.engine.bind(other, {t.host.out.v4, 999, 0}));
  EXPECT_EQ(t.host.engine.connect(other, Endpoint{t.peer, 80, 0}).error(),
            SocketError::address_not_available);
  EXPECT_TRUE(t.host.engine.connect(other, Endpoint{t.peer, 81, 0}));
}

TEST(TcpDevice, EventsAreQueuedOnceAndAgainAfterTheConditionWasFalse) {
  Trace t;
  t.accept();
  while (t.host.events.pop()) {
  }
  (void)t.host.engine.report(t.socket);
  t.in("P. 1(10) ack 1");
  t.in("P. 11(10) ack 1");
  EXPECT_TRUE(t.host.events.pop());
  EXPECT_FALSE(t.host.events.pop());
  EXPECT_NE(t.host.engine.report(t.socket) & kReadable, 0);
  t.in("P. 21(10) ack 1");
  EXPECT_FALSE(t.host.events.pop());
  EXPECT_EQ(t.read(), 30U);
  t.in("P. 31(10) ack 1");
  EXPECT_TRUE(t.host.events.pop());
}

}  // namespace
}  // namespace tidewire::tcp
