// Explicit congestion notification by RFC 3168, as segments on the wire.
#include "core/tcp/ecn.hpp"

#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

StackConfig with(EcnUse use) {
  StackConfig config;
  config.tcp.ecn = use;
  config.tcp.timestamps = false;
  return config;
}

/// A listener's connection on which the peer asked for ECN.
void accept_ecn(Trace& t) {
  t.listen();
  t.in("SEW 0(0) win 65535 <mss 1000>");
  t.out("SE. 0(0) ack 1 ecn 0");
  t.in(". 1(0) ack 1");
  t.socket = t.host.engine.accept(t.listener).value();
}

EcnMode mode(const Trace& t) { return t.host.engine.info(t.socket)->ecn; }

// req: RFC3168-MUST-1 RFC3168-MUST-2
TEST(TcpEcn, AgreesWhenAsked) {
  Trace t;  // the default
  accept_ecn(t);
  EXPECT_EQ(mode(t), EcnMode::classic);
  EXPECT_FALSE(t.host.engine.info(t.socket)->ecn_seen);
}

// req: RFC3168-MUST-2
TEST(TcpEcn, DoesNotAgreeToWhatIsNotARequest) {
  for (const char* syn : {"S", "SE", "SW"}) {
    Trace t;
    t.listen();
    t.in(std::string{syn} + " 0(0) win 65535 <mss 1000>");
    t.out("S. 0(0) ack 1 ecn 0");
    t.in(". 1(0) ack 1");
    t.socket = t.host.engine.accept(t.listener).value();
    EXPECT_EQ(mode(t), EcnMode::off);
    t.write(100);
    t.out("P. 1(100) ack 1 ecn 0");
  }
  Trace marked;  // a SYN in an ECN-capable packet
  marked.listen();
  marked.in("SEW 0(0) win 65535 ecn 2 <mss 1000>");
  marked.out("S. 0(0) ack 1");
  Trace off{with(EcnUse::never)};
  off.listen();
  off.in("SEW 0(0) win 65535 <mss 1000>");
  off.out("S. 0(0) ack 1");
}

// req: RFC3168-MUST-1 RFC3168-MUST-3
TEST(TcpEcn, AsksIfTold) {
  Trace t{with(EcnUse::request)};
  t.start_connect();
  t.out("SEW 0(0) ecn 0");
  t.in("SE. 0(0) ack 1 win 65535 <mss 1000>");
  t.out(". 1(0) ack 1 ecn 0");
  EXPECT_EQ(mode(t), EcnMode::classic);
  for (const char* answer : {"S.", "SEW.", "SW."}) {
    Trace other{with(EcnUse::request)};
    other.start_connect();
    other.out("SEW 0(0)");
    other.in(std::string{answer} + " 0(0) ack 1 win 65535 <mss 1000>");
    other.out(". 1(0) ack 1");
    EXPECT_EQ(mode(other), EcnMode::off) << answer;
  }
  Trace quiet;  // by default it does not ask, and an answer nobody asked for counts for nothing
  quiet.start_connect();
  quiet.out("S 0(0)");
  quiet.in("SE. 0(0) ack 1 win 65535 <mss 1000>");
  quiet.out(". 1(0) ack 1");
  EXPECT_EQ(mode(quiet), EcnMode::off);
}

// req: RFC3168-SHLD-1
TEST(TcpEcn, ASynThatGetsNoAnswerIsSentAgainWithout) {
  Trace t{with(EcnUse::request)};
  t.start_connect();
  t.out("SEW 0(0)");
  t.pass(1000);
  t.out("S 0(0)");
  t.pass(2000);
  t.out("S 0(0)");
  t.in("SE. 0(0) ack 1 win 65535 <mss 1000>");  // to the first one
  t.out(". 1(0) ack 1");
  EXPECT_EQ(mode(t), EcnMode::classic);
}

// req: RFC3168-MUST-1
TEST(TcpEcn, CrossingSyns) {
  Trace t{with(EcnUse::request)};
  t.start_connect();
  t.out("SEW 0(0)");
  t.in("SEW 0(0) win 65535 <mss 1000>");
  t.out("SE. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  EXPECT_EQ(mode(t), EcnMode::classic);
}

// req: RFC3168-MUST-4 RFC3168-MUST-5 RFC3168-MUST-6
TEST(TcpEcn, OnlyNewTextIsEcnCapable) {
  Trace t;
  accept_ecn(t);
  t.write(2500);
  t.out(". 1(1000) ack 1 ecn 2");
  t.out(". 1001(1000) ack 1 ecn 2");
  t.out("P. 2001(500) ack 1 ecn 2");
  t.in(". 1(100) ack 1");
  t.pass(50);
  t.out(". 2501(0) ack 101 ecn 0");  // a pure ACK
  t.pass(400);
  ASSERT_FALSE(t.host.out.sent.empty());
  EXPECT_EQ(t.host.out.sent.front().tos & 3, 0);  // a retransmission
  t.skip();
  t.in(". 101(0) ack 2501 win 0");
  t.write(100);
  t.pass(400);
  t.out(". 2500(0) ack 101 ecn 0");  // a window probe
}

// req: RFC3168-MUST-7 RFC3168-MUST-8
TEST(TcpEcn, EchoesAMarkUntilTheSenderHasReducedItsWindow) {
  Trace t;
  accept_ecn(t);
  t.in(". 1(1000) ack 1 ecn 2");
  t.out(". 1(0) ack 1001");
  EXPECT_TRUE(t.host.engine.info(t.socket)->ecn_seen);
  t.in(". 1001(1000) ack 1 ecn 3");
  t.out("E. 1(0) ack 2001 ecn 0");
  t.in(". 2001(1000) ack 1 ecn 2");
  t.out("E. 1(0) ack 3001");
  t.read();
  t.write(10);
  t.out("EP. 1(10) ack 3001 ecn 2");  // so do segments with text
  t.in("W. 3001(1000) ack 11 ecn 2");
  t.out(". 11(0) ack 4001");
  t.in("W. 4001(1000) ack 11 ecn 3");  // marked itself
  t.out("E. 11(0) ack 5001");
  EXPECT_EQ(t.host.engine.info(t.socket)->ce_received, 2U);
}

TEST(TcpEcn, AMarkIsNotHeldBack) {
  Trace t;
  accept_ecn(t);
  std::uint32_t seq = 1;
  for (int i = 0; i < 20; ++i, seq += 100) t.in(". " + std::to_string(seq) + "(100) ack 1 ecn 2");
  t.pass(50);
  t.skip();
  t.in(". 2001(100) ack 1 ecn 2");
  t.quiet();  // delayed
  t.in(". 2101(100) ack 1 ecn 3");
  t.out("E. 1(0) ack 2201");
}

// req: RFC3168-MUST-9 RFC3168-MUST-10 RFC3168-SHLD-2
TEST(TcpEcn, AnEchoHalvesTheWindowOnceARoundTrip) {
  StackConfig config = with(EcnUse::accept);
  config.tcp.congestion_control = "reno";
  Trace t{config};
  accept_ecn(t);
  t.write(30'000);
  EXPECT_EQ(t.skip(), 10U);
  t.in("E. 1(0) ack 1001");
  SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.cwnd, 5000U);
  EXPECT_EQ(info.ssthresh, 5000U);
  EXPECT_EQ(info.ecn_reductions, 1U);
  EXPECT_TRUE(info.reduced_by_marks);
  EXPECT_EQ(info.retransmits, 0U);
  t.quiet();
  for (int ack = 2001; ack <= 9001; ack += 1000) t.in("E. 1(0) ack " + std::to_string(ack));
  info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.cwnd, 5000U);  // still the same window, and no growth
  EXPECT_EQ(info.ecn_reductions, 1U);
  // CWR goes with the first new segment and no other.
  t.out("W. 10001(1000) ack 1 ecn 2");
  t.out(". 11001(1000) ack 1 ecn 2");
  t.skip();
  t.in("E. 1(0) ack 11001");  // beyond the window that was reduced: once more
  EXPECT_EQ(t.host.engine.info(t.socket)->ecn_reductions, 2U);
}

// req: RFC3168-MUST-10
TEST(TcpEcn, AWindowWithMarksAndLossesIsReducedOnce) {
  StackConfig config = with(EcnUse::accept);
  config.tcp.congestion_control = "reno";
  Trace t{config};
  t.listen();
  t.in("SEW 0(0) win 65535 <mss 1000,sackOK>");
  t.out("SE. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.socket = t.host.engine.accept(t.listener).value();
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.in("E. 1(0) ack 1001");
  EXPECT_EQ(t.host.engine.info(t.socket)->ssthresh, 5000U);
  t.in("E. 1(0) ack 1001 win 65535 <sack 2001-6001>");
  EXPECT_TRUE(t.host.engine.info(t.socket)->in_recovery);
  EXPECT_EQ(t.host.engine.info(t.socket)->ssthresh, 5000U);
  t.out(". 1001(1000) ack 1 ecn 0");
}

// req: RFC3168-MUST-11
TEST(TcpEcn, ATimeoutIsToldToo) {
  Trace t;
  accept_ecn(t);
  t.write(1000);
  t.out("P. 1(1000) ack 1 ecn 2");
  t.pass(1500);
  t.skip();
  t.in(". 1(0) ack 1001");
  t.write(1000);
  t.out("WP. 1001(1000) ack 1 ecn 2");
}

TEST(TcpEcn, TheApplicationHasSixBitsOfTheTos) {
  Trace t;
  accept_ecn(t);
  t.set(SocketOption::tos, 0x2b);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::tos).value(), 0x28);
  t.write(100);
  t.out("P. 1(100) ack 1");
  EXPECT_EQ(t.last.tos, 0x2a);
  t.in(". 1(100) ack 101");
  t.pass(50);
  t.out(". 101(0) ack 101");
  EXPECT_EQ(t.last.tos, 0x28);
}

TEST(TcpEcn, CwrOfASuperSegmentIsOnTheFirst) {
  Trace t;
  t.host.out.segment = false;
  accept_ecn(t);
  t.write(30'000);
  t.skip();
  t.in("E. 1(0) ack 6001");
  t.in(". 1(0) ack 10001");
  ASSERT_FALSE(t.host.out.sent.empty());
  EXPECT_GT(t.host.out.sent.front().segs, 1);
  EXPECT_TRUE(t.host.out.sent.front().view().has(wire::TcpFlag::cwr));
  EXPECT_EQ(t.host.out.sent.front().tos & 3, 2);
}

TEST(TcpEcn, ARestingConnectionRemembers) {
  Trace t;
  accept_ecn(t);
  t.in(". 1(1000) ack 1 ecn 3");
  t.out("E. 1(0) ack 1001");
  t.read();
  t.pass(20'000);
  t.skip();
  t.in(". 1001(1000) ack 1 ecn 2");
  t.out("E. 1(0) ack 2001");
  EXPECT_EQ(mode(t), EcnMode::classic);
}

TEST(TcpEcn, ACookieKeepsTheAgreement) {
  StackConfig config;
  config.tcp.syn_cookies = SynCookieUse::always;
  Trace t{config};
  t.listen();
  t.in("SEW 0(0) win 65535 <mss 1460,sackOK,ts 100>");
  t.out("SE. 0(0) ack 1");
  t.in(". 1(0) ack 1 win 65535 <ts 101>");
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(mode(t), EcnMode::classic);
}

}  // namespace
}  // namespace tidewire::tcp
