// Listeners, their backlogs, dual stack, SO_REUSEPORT, and flows held for a forwarding owner.
#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

/// A client of its own port, in words.
void from_port(Trace& t, std::uint16_t port, std::string_view text) {
  WireSegment s = t.make(text);
  wire::store_u16(s.bytes.data(), port);
  store_checksum(s);
  t.host.receive(s);
}
Seq handshake(Trace& t, std::uint16_t port) {
  from_port(t, port, "S 0(0) win 1000");
  t.poll();
  if (t.host.out.sent.empty()) return Seq{};
  const Seq isn = t.host.out.sent.front().view().seq();
  t.host.out.sent.clear();
  WireSegment ack = t.make(". 1(0) ack 1 win 1000");
  wire::store_u16(ack.bytes.data(), port);
  wire::store_u32(ack.bytes.data() + 8, isn.value() + 1);
  store_checksum(ack);
  t.host.receive(ack);
  return isn;
}

TEST(TcpListen, AFullAcceptQueueIgnoresTheAckSoThatSynAckComesAgain) {
  Trace t;
  t.listener = t.host.listen(80, 1);
  for (std::uint16_t port = 1; port <= 2; ++port) handshake(t, port);
  from_port(t, 3, "S 0(0) win 1000");  // backlog 1 holds two, as in Linux; now it is full
  t.quiet();
  EXPECT_EQ(t.host.dropped(DropReason::tcp_accept_full), 1U);

  EXPECT_TRUE(t.host.engine.accept(t.listener));
  from_port(t, 3, "S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  handshake(t, 4);  // takes the free place
  from_port(t, 3, ". 1(0) ack 1 win 1000");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_accept_full), 2U);
  t.skip();
  t.pass(1000);
  t.out("S. 0(0) ack 1");
  EXPECT_TRUE(t.host.engine.accept(t.listener));
  from_port(t, 3, ". 1(0) ack 1 win 1000");
  EXPECT_TRUE(t.host.engine.accept(t.listener));
  EXPECT_TRUE(t.host.engine.accept(t.listener));
  EXPECT_EQ(t.host.engine.accept(t.listener).error(), SocketError::would_block);
}

TEST(TcpListen, HalfOpenConnectionsAreBounded) {
  StackConfig config;
  config.tcp.half_open_max = 100;
  config.tcp.syn_cookies = SynCookieUse::never;
  Trace t{config};
  t.listener = t.host.listen(80, 500);
  for (std::uint16_t port = 1; port <= 1000; ++port) from_port(t, port, "S 0(0) win 1000");
  EXPECT_EQ(t.skip(), 100U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_backlog_full), 900U);
  t.pass(64'000);
  t.skip();
  EXPECT_EQ(t.states(), std::vector{listen});
  handshake(t, 7);
  EXPECT_TRUE(t.host.engine.accept(t.listener));
}

// An answer to the SYN-ACK beyond the window that it offered makes no connection, and nothing is
// left of it when the listener is gone.
TEST(TcpListen, AnAckBeyondASmallWindowIsNoAnswer) {
  for (const bool reset : {false, true}) {
    StackConfig config;
    config.tcp.receive_buffer = 4096;
    Trace t{config};
    t.listen();
    t.in("S 0(0) win 65535 <mss 1000>");
    t.out("S. 0(0) ack 1");
    t.in(". 30001(0) ack 1 win 65535");
    EXPECT_EQ(t.host.dropped(DropReason::tcp_out_of_window), 1U);
    EXPECT_EQ(t.states(), (std::vector{listen, syn_received}));
    if (reset) {
      t.in("R 1(0)");
      EXPECT_EQ(t.states(), (std::vector{listen}));
      continue;
    }
    t.host.engine.close(t.listener);
    t.poll();
    t.skip();
    t.in(". 1(0) ack 1 win 65535");
    t.out("R 1(0)");
    EXPECT_TRUE(t.states().empty());
  }
}

TEST(TcpListen, AcceptedSocketsInheritSettings) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::no_delay, 1));
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::receive_buffer, 10'000));
  t.accept();
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::no_delay).value(), 1);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::receive_buffer).value(), 10'000);
  EXPECT_EQ(t.host.engine.get_option(t.listener, SocketOption::accepting).value(), 1);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::accepting).value(), 0);
}

TEST(TcpListen, SpecificAddressComesBeforeWildcard) {
  Trace t;
  const SocketId any = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(any, SocketOption::reuse_port, 1));
  ASSERT_TRUE(t.host.engine.bind(any, {IpAddress::any(Family::v4), 80, 0}));
  ASSERT_TRUE(t.host.engine.listen(any, 5));
  const SocketId exact = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(exact, SocketOption::reuse_port, 1));
  ASSERT_TRUE(t.host.engine.bind(exact, {t.host.out.v4, 80, 0}));
  ASSERT_TRUE(t.host.engine.listen(exact, 5));
  handshake(t, 9);
  EXPECT_TRUE(t.host.engine.accept(exact));
  t.host.engine.close(exact);
  handshake(t, 10);
  EXPECT_TRUE(t.host.engine.accept(any));
}

TEST(TcpListen, ReusePortSpreadsFlows) {
  Trace t;
  std::array<SocketId, 3> listeners;
  for (SocketId& id : listeners) {
    id = t.host.open();
    ASSERT_TRUE(t.host.engine.set_option(id, SocketOption::reuse_port, 1));
    ASSERT_TRUE(t.host.engine.bind(id, {IpAddress::any(Family::v4), 80, 0}));
    ASSERT_TRUE(t.host.engine.listen(id, 100));
  }
  for (std::uint16_t port = 1; port <= 90; ++port) handshake(t, port);
  std::size_t total = 0;
  for (const SocketId id : listeners) {
    std::size_t n = 0;
    while (t.host.engine.accept(id)) ++n;
    EXPECT_GT(n, 10U);
    total += n;
  }
  EXPECT_EQ(total, 90U);
  t.host.engine.close(listeners[1]);
  for (std::uint16_t port = 100; port <= 130; ++port) handshake(t, port);
  std::size_t rest = 0;
  for (const SocketId id : {listeners[0], listeners[2]}) {
    while (t.host.engine.accept(id)) ++rest;
  }
  EXPECT_EQ(rest, 31U);
}

TEST(TcpListen, ADualStackSocketSeesMappedAddresses) {
  Trace t;
  t.listener = t.host.listen(80, 8, Family::v6);
  t.accept();
  EXPECT_EQ(t.host.engine.remote_endpoint(t.socket)->address, t.peer.mapped());
  EXPECT_EQ(t.host.engine.local_endpoint(t.socket)->address, t.host.out.v4.mapped());
}

TEST(TcpListen, V6OnlyDoesNotTakeV4) {
  Trace t;
  const SocketId id = t.host.open(Family::v6);
  ASSERT_TRUE(t.host.engine.set_option(id, SocketOption::v6_only, 1));
  ASSERT_TRUE(t.host.engine.bind(id, {IpAddress::any(Family::v6), 80, 0}));
  ASSERT_TRUE(t.host.engine.listen(id, 5));
  t.in("S 0(0) win 1000");
  t.skip();
  EXPECT_EQ(t.states(), std::vector{listen});
  EXPECT_EQ(t.host.dropped(DropReason::tcp_no_socket), 1U);
  const SocketId other = t.host.open(Family::v6);
  ASSERT_TRUE(t.host.engine.set_option(other, SocketOption::v6_only, 1));
  EXPECT_EQ(t.host.engine.connect(other, Endpoint{t.peer.mapped(), 80, 0}).error(),
            SocketError::address_family);
}

// --- forwarding ---

struct Gateway : Trace {
  Gateway() {
    host.forwarding.tcp = true;
    foreign = IpAddress::v4(203, 0, 113, 5);
  }
  void foreign_in(std::string_view text) {
    WireSegment s = make(text);
    s.destination = foreign;
    store_checksum(s);
    host.receive(s);
    poll();
  }
  std::optional<Event> event() { return host.events.pop(); }
  IpAddress foreign;
};

TEST(TcpForward, AcceptAnswersTheHeldSyn) {
  Gateway t;
  t.foreign_in("S 0(0) win 1000 <mss 1460>");
  t.foreign_in("S 0(0) win 1000 <mss 1460>");  // absorbed
  t.quiet();
  const auto event = t.event();
  ASSERT_TRUE(event && event->kind == Event::Kind::forward);
  EXPECT_EQ(event->tuple.local, (Endpoint{t.foreign, 80, 0}));
  EXPECT_EQ(event->tuple.remote, (Endpoint{t.peer, 5000, 0}));
  EXPECT_FALSE(t.event());
  t.socket = t.host.engine.forward_accept(event->flow).value();
  EXPECT_EQ(t.ready() & kConnected, 0);
  t.out("S. 0(0) ack 1");
  EXPECT_EQ(t.last.source, t.foreign);
  t.pass(1000);
  t.out("S. 0(0) ack 1");
  t.foreign_in(". 1(0) ack 1");
  EXPECT_EQ(t.ready() & kConnected, kConnected);
  t.foreign_in("P. 1(10) ack 1");
  EXPECT_EQ(t.read(), 10U);
  EXPECT_EQ(t.host.engine.forward_accept(event->flow).error(), SocketError::unknown_socket);
}

// A guest that uses a port again, to an address of ours as to a foreign one.
TEST(TcpForward, AFlowInTimeWaitMayComeAgain) {
  for (const bool local : {false, true}) {
    Gateway t;
    t.host.forwarding.include_local = local;
    if (local) t.foreign = t.host.out.v4;
    t.foreign_in("S 0(0) win 1000 <mss 1460>");
    t.socket = t.host.engine.forward_accept(t.event()->flow).value();
    t.out("S. 0(0) ack 1");
    t.foreign_in(". 1(0) ack 1");
    t.close();
    t.out("F. 1(0) ack 1");
    t.foreign_in("F. 1(0) ack 2");
    t.out(". 2(0) ack 2");
    while (t.event()) {
    }
    t.foreign_in("S 70000(0) win 1000 <mss 1460>");
    const auto again = t.event();
    ASSERT_TRUE(again && again->kind == Event::Kind::forward) << (local ? "local" : "foreign");
    EXPECT_TRUE(t.host.engine.forward_accept(again->flow));
  }
}

TEST(TcpForward, RejectAndDrop) {
  Gateway t;
  t.foreign_in("S 0(0) win 1000");
  t.host.engine.forward_reject(t.event()->flow, ForwardReject::reset);
  ASSERT_EQ(t.host.out.sent.size(), 1U);
  EXPECT_TRUE(t.host.out.sent[0].view().has(wire::TcpFlag::rst));
  EXPECT_EQ(t.host.out.sent[0].view().ack(), t.peer_isn + 1);
  t.host.out.sent.clear();
  t.foreign_in("S 0(0) win 1000");
  t.host.engine.forward_reject(t.event()->flow, ForwardReject::host_unreachable);
  EXPECT_EQ(t.host.out.rejected, ForwardReject::host_unreachable);
  t.foreign_in("S 0(0) win 1000");
  t.host.engine.forward_drop(t.event()->flow);
  t.quiet();
  EXPECT_TRUE(t.states().empty());
}

TEST(TcpForward, HeldFlowsAreBoundedAndExpire) {
  Gateway t;
  for (int i = 0; i < 10'000; ++i) {
    WireSegment s = t.make("S 0(0) win 1000");
    s.destination = IpAddress::v4(0xcb000000U + static_cast<std::uint32_t>(i));
    store_checksum(s);
    t.host.receive(s);
  }
  EXPECT_EQ(t.host.dropped(DropReason::flow_limit), 10'000U - 4096U);
  const FlowId first = t.event()->flow;
  t.pass(61'000);
  EXPECT_EQ(t.host.engine.forward_accept(first).error(), SocketError::unknown_socket);
  t.quiet();
}

TEST(TcpForward, WithoutAPolicyForeignSegmentsAreNoneOfOurBusiness) {
  Gateway t;
  t.host.forwarding.tcp = false;
  t.foreign_in("S 0(0) win 1000");
  t.quiet();
  EXPECT_EQ(t.host.dropped(DropReason::ip_not_for_us), 1U);
  t.host.forwarding.tcp = true;
  t.foreign_in(". 1(0) ack 1");
  EXPECT_EQ(t.skip(), 1U);  // RST
}

}  // namespace
}  // namespace tidewire::tcp
