// Opening a connection: passive, active, simultaneous; retransmission and giving up.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

// req: RFC9293-3.10.7.2-1 RFC9293-MUST-14
TEST(TcpHandshake, PassiveOpen) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000 <mss 1000>");
  t.out("S. 0(0) ack 1 win 65535 <mss 1460>");
  EXPECT_EQ(t.states(), (std::vector{listen, syn_received}));
  t.in(". 1(0) ack 1 win 1000");
  EXPECT_EQ(t.states(), (std::vector{listen, established}));
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(t.ready(), kConnected | kWritable);
  EXPECT_EQ(t.host.engine.readiness(t.listener), 0);
  t.quiet();
}

// req: RFC9293-MUST-14 RFC9293-SHLD-5
TEST(TcpHandshake, ActiveOpen) {
  Trace t;
  t.start_connect();
  EXPECT_EQ(t.state(), syn_sent);
  t.out("S 0(0) <mss 1460,sackOK,ts 0,ws 7>");
  EXPECT_EQ(t.ready(), 0);
  t.in("S. 0(0) ack 1 win 65535 <mss 1000,sackOK,ts 77,ws 3>");
  t.out(". 1(0) ack 1 <ts 77>");
  EXPECT_EQ(t.state(), established);
  EXPECT_EQ(t.ready(), kConnected | kWritable);
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_TRUE(info.sack && info.timestamps && info.window_scaling);
  EXPECT_EQ(info.send_scale, 3);
  EXPECT_EQ(info.mss, 988U);
}

// req: RFC9293-MUST-10 RFC9293-MUST-11 RFC9293-3.10.7.3-2
TEST(TcpHandshake, SimultaneousOpen) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("S 0(0) win 65535 <mss 1460>");
  EXPECT_EQ(t.state(), syn_received);
  t.out("S. 0(0) ack 1 <mss 1460>");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460>");
  EXPECT_EQ(t.state(), established);
  t.out(". 1(0) ack 1");  // should our SYN-ACK be lost
  t.write(10);
  t.out("P. 1(10) ack 1");
}

// req: RFC9293-3.10.7.3-2
TEST(TcpHandshake, SimultaneousOpenCompletedByAnAck) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("S 0(0) win 65535 <mss 1460>");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-3.10.7.3-2
TEST(TcpHandshake, TextAndFinOfACrossingSynReachTheApplicationLater) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("SF 0(10) win 65535 <mss 1460>");
  t.out("S. 0(0) ack 1");
  t.in("F. 1(10) ack 1");
  EXPECT_EQ(t.state(), close_wait);
  t.out(". 1(0) ack 12");
  EXPECT_EQ(t.read(), 10U);
}

// req: RFC9293-MUST-22 RFC9293-MUST-20 RFC9293-MUST-12 RFC6298-5.5-1
TEST(TcpHandshake, SynIsSentAgainAndGivenUpAtR2) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  for (const int at : {1, 3, 7, 15, 31, 63}) {
    t.at(at * 1000 - 1);
    t.quiet();
    t.at(at * 1000);
    t.out("S 0(0)");
  }
  EXPECT_EQ(t.host.out.advices, 1);
  t.at(126'999);
  EXPECT_EQ(t.state(), syn_sent);
  t.at(127'000);
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.ready() & kError, kError);
  EXPECT_EQ(t.error(), SocketError::timed_out);
  t.quiet();
}

// req: RFC9293-MUST-21 RFC9293-MUST-23
TEST(TcpHandshake, R2OfASynCanBeMoreThanThreeMinutes) {
  Trace t;
  t.socket = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(t.socket, SocketOption::syn_count, 7));
  t.start_connect();
  t.at(180'000);
  EXPECT_EQ(t.state(), syn_sent);
  t.at(300'000);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

// req: RFC9293-MUST-22
TEST(TcpHandshake, SynAckIsSentAgainAndGivenUp) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000 <mss 1000>");
  t.out("S. 0(0) ack 1");
  for (const int at : {1, 3, 7, 15, 31}) {
    t.at(at * 1000 - 1);
    t.quiet();
    t.at(at * 1000);
    t.out("S. 0(0) ack 1");
  }
  t.at(63'000);
  t.quiet();
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpHandshake, ARepeatedSynIsAnsweredAgain) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000 <mss 1000>");
  t.out("S. 0(0) ack 1");
  t.in("S 0(0) win 1000 <mss 1000>");
  t.out("S. 0(0) ack 1");
  EXPECT_EQ(t.states().size(), 2U);
}

// req: RFC9293-3.10.7.3-1
TEST(TcpHandshake, SynSentRefusesAnImpossibleAck) {
  for (const char* ack : {"0", "2", "-5"}) {
    Trace t;
    t.start_connect();
    t.out("S 0(0)");
    t.in("S. 0(0) ack " + std::string{ack} + " win 1000");
    t.out("R " + std::string{ack} + "(0)");
    EXPECT_EQ(t.state(), syn_sent);
    t.in("R. 0(0) ack " + std::string{ack});
    t.quiet();
    EXPECT_EQ(t.state(), syn_sent);
  }
}

// req: RFC9293-3.10.7.3-1 RFC5961-3.2-4
TEST(TcpHandshake, SynSentBelievesARstOnlyWithTheRightAck) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("R 0(0)");
  EXPECT_EQ(t.state(), syn_sent);
  t.in("R. 0(0) ack 1");
  EXPECT_EQ(t.error(), SocketError::connection_refused);
  EXPECT_EQ(t.state(), closed);
  t.quiet();
}

// req: RFC9293-3.10.7.1-1
TEST(TcpHandshake, ClosedAnswersWithReset) {
  Trace t;
  t.in("S 0(10) win 1000");
  EXPECT_EQ(t.host.out.sent.size(), 1U);
  const wire::TcpRepr syn_reply = wire::to_repr(t.host.out.sent[0].view());
  EXPECT_EQ(syn_reply.flags, wire::TcpFlag::rst | wire::TcpFlag::ack);
  EXPECT_EQ(syn_reply.seq, Seq{0});
  EXPECT_EQ(syn_reply.ack, t.peer_isn + 11);
  t.host.out.sent.clear();
  t.in(". 0(0) ack 4711");
  EXPECT_EQ(t.host.out.sent[0].view().seq(), Seq{4711});
  EXPECT_EQ(t.host.out.sent[0].view().flags(), wire::TcpFlags{wire::TcpFlag::rst});
  t.host.out.sent.clear();
  t.in("R 0(0)");
  t.in("R. 0(0) ack 1");
  t.quiet();
}

// req: RFC9293-3.10.7.2-1
TEST(TcpHandshake, ListenAnswersAckWithResetAndIgnoresRst) {
  Trace t;
  t.listen();
  t.in(". 0(0) ack 99");
  t.out("R 99(0)");
  t.in("S. 0(0) ack 99");
  t.out("R 99(0)");
  t.in("R 0(0)");
  t.in("F 0(0)");
  t.in("P 0(10)");
  t.in("SF 0(0)");
  t.quiet();
  EXPECT_EQ(t.states(), std::vector{listen});
}

// req: RFC9293-3.10.7.4-3 RFC9293-MUST-11
TEST(TcpHandshake, RstInSynReceivedReturnsToListen) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in("R 2(0)");
  EXPECT_EQ(t.states().size(), 2U);
  t.out(". 1(0) ack 1");
  t.in("R 1(0)");
  EXPECT_EQ(t.states(), std::vector{listen});
  EXPECT_EQ(t.host.engine.readiness(t.listener), 0);
  t.quiet();
}

// req: RFC9293-3.10.7.4-3
TEST(TcpHandshake, RstInSynReceivedOfAnActiveOpenIsARefusal) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in("R 1(0)");
  EXPECT_EQ(t.error(), SocketError::connection_refused);
}

// req: RFC9293-3.10.7.4-5
TEST(TcpHandshake, NewSynInSynReceivedReturnsToListen) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in("S 100(0) win 1000");
  EXPECT_EQ(t.states(), std::vector{listen});
  t.quiet();
}

TEST(TcpHandshake, SynReceivedRefusesAWrongAck) {
  for (const char* ack : {"0", "2", "70000"}) {
    Trace t;
    t.listen();
    t.in("S 0(0) win 1000");
    t.out("S. 0(0) ack 1");
    t.in(". 1(0) ack " + std::string{ack});
    t.out("R " + std::string{ack} + "(0)");
    EXPECT_EQ(t.states(), (std::vector{listen, syn_received}));
  }
}

// req: RFC9293-MUST-41 RFC9293-MUST-42
TEST(TcpHandshake, ListenOnAPortWithAConnectUnderWay) {
  Trace t;
  t.socket = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(t.socket, SocketOption::reuse_address, 1));
  ASSERT_TRUE(t.host.engine.bind(t.socket, {IpAddress::any(Family::v4), 80, 0}));
  t.start_connect();
  t.out("S 0(0)");
  const SocketId other = t.host.open();
  ASSERT_TRUE(t.host.engine.set_option(other, SocketOption::reuse_address, 1));
  ASSERT_TRUE(t.host.engine.bind(other, {IpAddress::any(Family::v4), 80, 0}));
  ASSERT_TRUE(t.host.engine.listen(other, 5));
  EXPECT_EQ(t.state(), syn_sent);
  t.in("S. 0(0) ack 1 win 1000");
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-MUST-43 RFC9293-MUST-44 RFC9293-MUST-45
TEST(TcpHandshake, LocalAddressIsGivenOrChosenOnce) {
  Trace t;
  t.start_connect();
  EXPECT_EQ(t.host.engine.local_endpoint(t.socket)->address, t.host.out.v4);
  t.out("S 0(0)");
  EXPECT_EQ(t.last.source, t.host.out.v4);
  t.at(1000);
  t.out("S 0(0)");
  EXPECT_EQ(t.last.source, t.host.out.v4);
  const SocketId other = t.host.open();
  EXPECT_EQ(t.host.engine.bind(other, {IpAddress::v4(10, 9, 9, 9), 0, 0}).error(),
            SocketError::address_not_available);
  EXPECT_TRUE(t.host.engine.bind(other, {t.host.out.v4, 0, 0}));
}

// req: RFC9293-MUST-46
TEST(TcpHandshake, ConnectToGroupsFails) {
  Trace t;
  for (const char* to : {"255.255.255.255", "10.0.0.255", "224.0.0.1"}) {
    const SocketId id = t.host.open();
    EXPECT_EQ(t.host.engine.connect(id, Endpoint{addr(to), 80, 0}).error(),
              SocketError::network_unreachable);
  }
  t.quiet();
}

// req: RFC9293-MUST-57 RFC9293-MUST-63
TEST(TcpHandshake, SynFromOrToAGroupIsIgnored) {
  Trace t;
  t.listen();
  WireSegment syn = t.make("S 0(0) win 1000");
  t.host.receive(syn, ip::Cast::broadcast);
  t.host.receive(syn, ip::Cast::multicast);
  for (const char* from : {"224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.255"}) {
    syn.source = addr(from);
    store_checksum(syn);
    t.host.receive(syn);
  }
  t.quiet();
  EXPECT_EQ(t.states(), std::vector{listen});
  EXPECT_EQ(t.host.dropped(DropReason::tcp_broadcast), 6U);
}

}  // namespace
}  // namespace tidewire::tcp
