// Habits that no RFC asks for but that peers and programs know from Linux.
#include <cstdio>
#include <string>
#include <vector>

#include "core/tcp/fast_open.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

std::string hex_of(Bytes bytes) {
  std::string out;
  char two[3];
  for (const std::byte b : bytes) {
    std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
    out += two;
  }
  return out;
}

// So that servers of both kinds can stand behind one address with one key. The figures are
// SipHash-2-4 over the addresses, the client's first, computed apart from this code.
TEST(TcpAsLinux, FastOpenCookiesAreMadeInTheSameWay) {
  const RandomSeed key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  const auto cookie = [&](std::string_view local, std::string_view remote) {
    const Tuple tuple = Tuple::of(addr(local), 80, addr(remote), 1234);
    return hex_of(make_fast_open_cookie(key, tuple).bytes());
  };
  EXPECT_EQ(cookie("203.0.113.1", "198.51.100.7"), "49136188acdc9c96");
  EXPECT_EQ(cookie("2001:db8::1", "2001:db8::7"), "a59d162f72f36c5d");
}

TEST(TcpAsLinux, TheStacksFastOpenKeysAreForListenersWithoutTheirOwn) {
  Host host;
  const SocketId listener = host.listen(80);
  std::vector<std::byte> keys(32);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::byte>(i);
  ASSERT_TRUE(host.engine.set_fast_open_keys(keys));
  std::vector<std::byte> back(32);
  EXPECT_EQ(host.engine.fast_open_keys(listener, back).value(), 32U);
  EXPECT_EQ(back, keys);
  EXPECT_EQ(host.engine.set_fast_open_keys(Bytes{keys}.first(20)).error(), SocketError::invalid);
  ASSERT_TRUE(host.engine.set_fast_open_keys(listener, Bytes{keys}.first(16)));
  EXPECT_EQ(host.engine.fast_open_keys(listener, back).value(), 16U);
}

TEST(TcpAsLinux, ServersCanBeForgotten) {
  Host host;
  FastOpen cache{host.context};
  const Tuple tuple = Tuple::of(IpAddress::v4(1), 1, IpAddress::v4(2), 2);
  FastOpen::Outcome outcome;
  outcome.cookie = make_fast_open_cookie({1, 2}, tuple);
  cache.learn(tuple, outcome);
  EXPECT_EQ(cache.find(tuple).cookie.size, 8);
  cache.forget();
  EXPECT_EQ(cache.find(tuple).cookie.size, 0);
  EXPECT_EQ(cache.size(), 0U);
}

std::uint32_t cwnd(Trace& t) { return t.host.engine.info(t.socket)->cwnd / 1000; }
bool pushed(const Trace& t) { return t.last.view().has(wire::TcpFlag::psh); }

/// A peer at some distance, whose round trip the handshake measures.
void accept_from(Trace& t, std::int64_t round_trip_ms, const std::string& options) {
  t.listen();
  t.in("S 0(0) win 60000 " + options);
  t.out("S. 0(0) ack 1");
  t.pass(round_trip_ms);
  t.in(". 1(0) ack 1 win 60000");
  t.socket = t.host.engine.accept(t.listener).value();
}

TEST(TcpAsLinux, WhatLeavesAsSeveralSegmentsAtOnceEndsInPush) {
  Trace t;
  t.accept("<mss 1000>", "50000");
  t.write(12'000);  // the window lets ten out, half of them in one piece
  for (std::uint32_t seq = 1; seq < 10'001; seq += 1000) {
    t.out(". " + std::to_string(seq) + "(1000) ack 1");
    EXPECT_EQ(pushed(t), seq == 4001 || seq == 9001);
  }
  t.in(". 1(0) ack 1001");
  t.out(". 10001(1000) ack 1");
  EXPECT_FALSE(pushed(t));
  t.out(". 11001(1000) ack 1");
  EXPECT_TRUE(pushed(t));
  t.in(". 1(0) ack 12001");
  t.write(1500);
  t.out(". 12001(1000) ack 1");
  EXPECT_FALSE(pushed(t));
}

TEST(TcpAsLinux, SlowStartReachesTwiceOfWhatWasOut) {
  Trace t;
  t.accept("<mss 1000>", "50000");
  t.write(9000);
  EXPECT_EQ(t.skip(), 9U);
  t.in(". 1(0) ack 2001");
  EXPECT_EQ(cwnd(t), 12U);
  t.in(". 1(0) ack 8001");
  EXPECT_EQ(cwnd(t), 18U);
  t.in(". 1(0) ack 9001");
  EXPECT_EQ(cwnd(t), 18U);
  t.write(1000);  // little is used: nothing grows
  t.skip();
  t.in(". 1(0) ack 10001");
  EXPECT_EQ(cwnd(t), 18U);
}

TEST(TcpAsLinux, SlowStartAfterIdleCanBeSwitchedOff) {
  for (const bool on : {true, false}) {
    StackConfig config;
    config.tcp.slow_start_after_idle = on;
    Trace t{config};
    t.accept("<mss 1000>", "50000");
    t.write(10'000);
    t.skip();
    t.in(". 1(0) ack 10001");
    EXPECT_EQ(cwnd(t), 20U);
    t.pass(5000);
    t.write(30'000);
    EXPECT_EQ(t.skip(), on ? 10U : 20U);
  }
}

// What is written before a closed window keeps its congestion window; when something can leave at
// last, that has been idle.
// req: RFC5681-4.1-1
TEST(TcpAsLinux, AClosedWindowIsNoRestart) {
  Trace t;
  accept_from(t, 100, "<mss 1000>");
  t.write(10'000);
  t.skip();
  t.pass(100);
  t.in(". 1(0) ack 10001 win 0");
  EXPECT_EQ(cwnd(t), 20U);
  t.write(30'000);
  t.pass(2000);
  EXPECT_EQ(t.skip(), 2U);  // probes
  EXPECT_EQ(cwnd(t), 20U);
  t.in(". 1(0) ack 10001 win 60000");
  EXPECT_EQ(cwnd(t), 10U);
  EXPECT_EQ(t.skip(), 10U);
}

TEST(TcpAsLinux, NoDelayLetsOutOfACorkOnce) {
  Trace t;
  t.accept("<mss 1000>");
  t.set(SocketOption::cork, 1);
  t.write(40);
  t.quiet();
  t.set(SocketOption::no_delay, 1);
  t.out("P. 1(40) ack 1");
  EXPECT_TRUE(pushed(t));
  t.in(". 1(0) ack 41");
  t.write(40);
  t.quiet();
}

TEST(TcpAsLinux, WhatWasWrittenWithMoreIsNotPushed) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(40, {.more = true});
  t.set(SocketOption::no_delay, 1);
  t.out(". 1(40) ack 1");
  EXPECT_FALSE(pushed(t));
  t.write(40, {.more = true});
  t.quiet();
  t.in(". 1(0) ack 41");  // an ACK lets out what waited
  t.out(". 41(40) ack 1");
  EXPECT_FALSE(pushed(t));
  t.in(". 1(0) ack 81");
  t.write(40, {.more = true});
  t.pass(200);
  t.out("P. 81(40) ack 1");
  EXPECT_TRUE(pushed(t));
}

// Who only sends, or sends long after it has received, does not answer: its ACKs have nothing to
// ride on.
TEST(TcpAsLinux, AcksAreDelayedOnlyBySomeoneWhoAnswers) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(500);
  t.out("P. 1(500) ack 1");
  t.in("P. 1(100) ack 501");
  t.out(". 501(0) ack 101");
  t.pass(100);
  t.write(500);
  t.out("P. 501(500) ack 101");
  t.in("P. 101(100) ack 1001");
  t.out(". 1001(0) ack 201");
  t.write(500);  // at once
  t.out("P. 1001(500) ack 201");
  t.in("P. 201(100) ack 1501");
  t.quiet();
  t.pass(40);
  t.out(". 1501(0) ack 301");
}

TEST(TcpAsLinux, AFinIsNoAnswer) {
  Trace t;
  t.accept("<mss 1000>");
  t.in("P. 1(100) ack 1");
  t.out(". 1(0) ack 101");
  t.shutdown();
  t.out("F. 1(0) ack 101");
  t.in("P. 101(100) ack 2");
  t.out(". 2(0) ack 201");
}

// Also as long as nobody has accepted it.
TEST(TcpAsLinux, WhatCameBeforeAResetCanBeRead) {
  Trace t;
  t.listen();
  t.in("S 0(0) <mss 1000>");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.in("P. 1(10) ack 1");
  t.in("R 11(0) ack 1");
  t.skip();
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(t.state(), TcpState::closed);
  EXPECT_EQ(t.read(), 10U);
  EXPECT_EQ(t.error(), SocketError::connection_reset);
  EXPECT_EQ(t.read(), 0U);
}

// Its SYN-ACK may be lost: then ours is what tells it.
TEST(TcpAsLinux, ASynThatCameAgainIsReported) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("S 0(0) win 65535 <mss 1460,sackOK>");
  t.out("S. 0(0) ack 1");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460,sackOK>");
  t.out(". 1(0) ack 1 <sack 0-1>");
  t.quiet();
}

// A peer at some distance: what leaves in one piece is a millisecond's worth, two segments at
// least.
TEST(TcpAsLinux, WhatLeavesInOnePieceIsBounded) {
  Trace t;
  t.host.out.segment = false;
  accept_from(t, 100, "<mss 1000>");
  t.write(9000);
  t.poll();
  std::vector<std::size_t> pieces;
  for (const WireSegment& s : t.host.out.sent) pieces.push_back(s.text().size());
  EXPECT_EQ(pieces, (std::vector<std::size_t>{2000, 2000, 2000, 2000, 1000}));
}

TEST(TcpAsLinux, HowMuchLeavesInOnePieceCanBeRaised) {
  StackConfig config;
  config.tcp.burst_segments_min = 10;
  Trace t{config};
  t.host.out.segment = false;
  accept_from(t, 100, "<mss 1000>");
  t.write(26'000);
  t.pass(100);
  t.in(". 1(0) ack 10001");
  std::vector<std::size_t> pieces;
  for (const WireSegment& s : t.host.out.sent) pieces.push_back(s.text().size());
  EXPECT_EQ(pieces, (std::vector<std::size_t>{5000, 5000, 10'000, 6000})) << "half of the window";
}

// Of ten segments seven may stay: what is in flight stands at that all the way, so each report lets
// one segment out.
TEST(TcpAsLinux, ARecoveryAtItsTargetSendsASegmentForEachThatArrived) {
  Trace t;
  accept_from(t, 100, "<mss 1000,sackOK>");
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-2001>");
  t.in(". 1(0) ack 1 <sack 1001-3001>");
  t.in(". 1(0) ack 1 <sack 1001-4001>");
  t.out(". 1(1000) ack 1");
  t.write(10'000);
  for (std::uint32_t n = 0; n < 6; ++n) {
    t.quiet();
    t.in(". 1(0) ack 1 <sack 1001-" + std::to_string(5001 + n * 1000) + ">");
    t.out(". " + std::to_string(10'001 + n * 1000) + "(1000) ack 1");
  }
  t.in(". 1(0) ack 10001");
  t.out(". 16001(1000) ack 1");
  t.quiet();
  EXPECT_EQ(cwnd(t), 7U);
}

TEST(TcpAsLinux, WhatIsSentAgainInOnePieceEndsInPushToo) {
  Trace t;
  accept_from(t, 100, "<mss 1000,sackOK>");
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 4001-10001>");
  for (const std::uint32_t seq : {1, 1001, 2001, 3001}) {
    t.out(". " + std::to_string(seq) + "(1000)");
    EXPECT_EQ(pushed(t), seq == 1001 || seq == 3001);
  }
}

// The second of these ACKs was overtaken by the first; what it reports counts all the same.
TEST(TcpAsLinux, ReportsOfAnAckThatWasOvertakenLetSegmentsOut) {
  Trace t;
  accept_from(t, 10, "<mss 1000,sackOK>");
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(10);
  t.in(". 1(0) ack 1 <sack 1001-2001>");
  t.in(". 1(0) ack 1 <sack 1001-3001>");
  t.in(". 1(0) ack 1 <sack 1001-3001,sack 8001-9001>");
  t.out(". 1(1000) ack 1");
  t.quiet();
  t.pass(12);
  t.in(". 1(0) ack 4001 <sack 8001-9001>");
  for (const std::uint32_t seq : {4001, 5001, 6001}) t.out(". " + std::to_string(seq) + "(1000)");
  t.write(10'000);
  t.quiet();
  t.pass(2);
  t.in(". 1(0) ack 3001 <sack 5001-7001>");
  t.out(". 7001(1000) ack 1");
  t.out(". 10001(1000) ack 1");
  t.quiet();
}

TEST(TcpAsLinux, TheWindowIsAtItsTargetWhenRecoveryEnds) {
  Trace t;
  accept_from(t, 100, "<mss 1000,sackOK>");
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 4001-7001>");
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 1 <sack 4001-10001>");
  for (const std::uint32_t seq : {1001, 2001, 3001}) t.out(". " + std::to_string(seq) + "(1000)");
  t.pass(100);
  t.in(". 1(0) ack 10001");
  t.write(20'000);
  EXPECT_EQ(t.skip(), 7U);
}

}  // namespace
}  // namespace tidewire::tcp
