// A listener under pressure: SYN cookies, a full accept queue, deferred accept.
#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

StackConfig with(SynCookieUse use) {
  StackConfig config;
  config.tcp.syn_cookies = use;
  return config;
}
/// A client of its own port, in words.
void from_port(Trace& t, std::uint16_t port, std::string_view text) {
  WireSegment s = t.make(text);
  wire::store_u16(s.bytes.data(), port);
  store_checksum(s);
  t.host.receive(s);
}
const Counters& counters(const Trace& t) { return t.host.context.counters; }

// req: RFC4987-3.6-1
TEST(TcpSynCookies, KeepNothingAndMakeTheSameConnection) {
  Trace t{with(SynCookieUse::always)};
  t.listen();
  t.in("S 0(0) win 1000 <mss 1400,sackOK,ws 3,ts 100>");
  t.out("S. 0(0) ack 1 <mss 1460,sackOK,ws 7,ts 100>");
  EXPECT_EQ(t.states(), std::vector{listen});
  EXPECT_EQ(counters(t).tcp_cookies_sent, 1U);
  t.pass(500);
  t.in(". 1(0) ack 1 win 50 <ts 101>");
  EXPECT_EQ(counters(t).tcp_cookies_received, 1U);
  t.socket = t.host.engine.accept(t.listener).value();
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.state, established);
  EXPECT_TRUE(info.sack && info.timestamps && info.window_scaling);
  EXPECT_EQ(info.send_scale, 3);
  EXPECT_EQ(info.receive_scale, 7);
  EXPECT_EQ(info.send_window, 400U);
  EXPECT_EQ(info.mss, 1300U - 12U);        // the next smaller of the table
  EXPECT_EQ(info.srtt, Duration::zero());  // the hidden bits would make it wrong
  t.quiet();
  t.write(100);
  t.out("P. 1(100) ack 1 <ts 101>");
  t.in(". 1(10) ack 101 <ts 102>");
  EXPECT_EQ(t.read(), 10U);
}

TEST(TcpSynCookies, WithoutTimestampsOnlyTheMssIsKept) {
  Trace t{with(SynCookieUse::always)};
  t.listen();
  t.in("S 0(0) win 1000 <mss 1460,sackOK,ws 3>");
  t.out("S. 0(0) ack 1 <mss 1460>");
  t.in("P. 1(10) ack 1 win 2000");  // the ACK may bring text
  t.socket = t.host.engine.accept(t.listener).value();
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_FALSE(info.sack || info.timestamps || info.window_scaling);
  EXPECT_EQ(info.send_window, 2000U);
  EXPECT_EQ(info.mss, 1460U);
  EXPECT_EQ(t.read(), 10U);
}

TEST(TcpSynCookies, OnlyWhenTheQueueIsFull) {
  Trace t;
  t.listener = t.host.listen(80, 2);
  for (std::uint16_t port = 1; port <= 3; ++port) from_port(t, port, "S 0(0) win 1000");
  EXPECT_EQ(counters(t).tcp_cookies_sent, 0U);
  for (std::uint16_t port = 4; port <= 9; ++port) from_port(t, port, "S 0(0) win 1000");
  EXPECT_EQ(counters(t).tcp_cookies_sent, 6U);
  EXPECT_EQ(t.states().size(), 4U);  // the listener and three records
  EXPECT_EQ(t.skip(), 9U);
}

TEST(TcpSynCookies, SwitchedOffTheSynIsDropped) {
  Trace t{with(SynCookieUse::never)};
  t.listener = t.host.listen(80, 0);
  from_port(t, 1, "S 0(0) win 1000");
  from_port(t, 2, "S 0(0) win 1000");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_backlog_full), 1U);
  EXPECT_EQ(t.skip(), 1U);
}

// A flood of ACKs costs a hash each while cookies are out, and not even that otherwise.
TEST(TcpSynCookies, ForgedAcksAreAnsweredWithAReset) {
  Trace t{with(SynCookieUse::when_full)};
  t.listen();
  t.in(". 1(0) ack 1");
  t.out("R 1(0)");
  EXPECT_EQ(counters(t).tcp_cookies_failed, 0U);  // none is out: nothing was tried

  t.listener = {};
  Trace u{with(SynCookieUse::always)};
  u.listen();
  u.in("S 0(0) win 1000");
  u.out("S. 0(0) ack 1");
  u.in(". 1(0) ack 1001");
  u.out("R 1001(0)");
  u.in(". 1001(0) ack 1");
  u.out("R 1(0)");
  EXPECT_EQ(counters(u).tcp_cookies_failed, 2U);
  EXPECT_EQ(u.states(), std::vector{listen});
}

TEST(TcpSynCookies, GrowOld) {
  Trace t{with(SynCookieUse::always)};
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.pass(120'000);
  t.in(". 1(0) ack 1");
  t.out("R 1(0)");
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpSynCookies, AResetForACookieChangesNothing) {
  Trace t{with(SynCookieUse::always)};
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in("R 1(0)");
  t.in("S. 0(0) ack 1");
  t.out("R 1(0)");
  t.in(". 1(0) ack 1");
  EXPECT_TRUE(t.host.engine.accept(t.listener));
}

TEST(TcpSynCookies, AFullAcceptQueueTakesNoCookie) {
  Trace t{with(SynCookieUse::always)};
  t.listener = t.host.listen(80, 0);
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  from_port(t, 4999, "S 0(0) win 1000");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_accept_full), 1U);
  EXPECT_EQ(t.skip(), 0U);
}

TEST(TcpAcceptQueue, AbortOnOverflowResets) {
  StackConfig config;
  config.tcp.abort_on_overflow = true;
  Trace t{config};
  t.listener = t.host.listen(80, 1);
  const auto shake = [&](std::uint16_t port) {
    from_port(t, port, "S 0(0) win 1000");
    t.poll();
    WireSegment ack = t.make(". 1(0) ack 1");
    wire::store_u16(ack.bytes.data(), port);
    wire::store_u32(ack.bytes.data() + 8, t.host.out.sent.front().view().seq().value() + 1);
    store_checksum(ack);
    t.host.out.sent.clear();
    t.host.receive(ack);
  };
  shake(1);
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  shake(2);  // takes the last place
  t.in(". 1(0) ack 1");
  t.out("R 1(0)");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_accept_full), 1U);
  EXPECT_EQ(t.states().size(), 3U);  // the listener and the two that wait
}

TEST(TcpAcceptQueue, OldHandshakesMakeRoomForNewOnes) {
  StackConfig config = with(SynCookieUse::never);
  Trace t{config};
  t.listener = t.host.listen(80, 20);
  for (std::uint16_t port = 1; port <= 20; ++port) from_port(t, port, "S 0(0) win 1000");
  t.skip();
  t.pass(16'000);  // after two retransmissions instead of five
  EXPECT_LE(t.states().size(), 11U);
  t.pass(64'000);
  EXPECT_EQ(t.states(), std::vector{listen});
}

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(TcpDeferAccept, WaitsForData) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::defer_accept, kSecond));
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  EXPECT_EQ(t.host.engine.readiness(t.listener), 0);
  EXPECT_EQ(counters(t).tcp_defer_accept_drops, 1U);
  t.in("P. 1(10) ack 1");
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
}

// As Linux: 5 s are three timeouts (1, 2 and 4 s). Who has answered hears nothing but the last one
// of them, and the answer to that makes the connection.
TEST(TcpDeferAccept, TheLastSynAckLetsABareAckThrough) {
  Trace t;
  t.listen();
  EXPECT_TRUE(t.host.engine.set_option(t.listener, SocketOption::defer_accept, 5 * kSecond));
  EXPECT_EQ(t.host.engine.get_option(t.listener, SocketOption::defer_accept).value(), 7 * kSecond);
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.pass(6'900);
  t.quiet();
  t.pass(200);
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
}

TEST(TcpDeferAccept, WithoutAnyAnswerTheSynAckIsRetransmittedAsUsual) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::defer_accept, 5 * kSecond));
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.pass(1'000);
  t.out("S. 0(0) ack 1");
  t.pass(2'000);
  t.out("S. 0(0) ack 1");
  t.pass(120'000);
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpDeferAccept, AFinMakesTheConnection) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::defer_accept, 5 * kSecond));
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in("F. 1(0) ack 1");
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
}

}  // namespace
}  // namespace tidewire::tcp
