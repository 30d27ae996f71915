// Habits of Linux as a client of TCP Fast Open, where RFC 7413 leaves the choice.
#include "core/tcp/testing/fast_open_client.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

SocketInfo info(Trace& t) { return *t.host.engine.info(t.socket); }

TEST(TcpFastOpenAsLinux, WhoKnowsNeitherFormIsAskedInTheNewOne) {
  Client t;
  for (const char* asked : {"fo", "exp", "fo", "fo"}) {
    t.fresh();
    EXPECT_EQ(t.connect_send(1).value(), 0U);
    t.out("S 0(0) <mss 1460," + std::string{asked} + ">");
    t.in("S. 0(0) ack 1 <mss 1460>");
    t.out(". 1(0) ack 1");
    t.host.engine.abort(t.socket);
    t.skip();
  }
}

// The SYN's text is one segment: its end is not the end of the data, but pushed all the same.
TEST(TcpFastOpenAsLinux, TextThatWasNotTakenGoesAgainAtOnceAndPushed) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(1000).value(), 1000U);
  t.out("S 0(1000)");
  t.in_batch("S. 0(0) ack 101 win 60000 <mss 1400>");
  t.write(3000);
  t.out("P. 101(900) ack 1");
  const SocketInfo about = info(t);
  EXPECT_EQ(about.sent_again, 900U);
  EXPECT_EQ(about.retransmits, 1U);
  EXPECT_EQ(about.bytes_acked, 100U);
  t.out(". 1001(1400) ack 1");
  t.out(". 2401(1400) ack 1");
  t.out("P. 3801(200) ack 1");
  EXPECT_EQ(info(t).cwnd, 14'000U);  // that was no congestion
  t.quiet();
  t.in(". 1(0) ack 3801");
  EXPECT_EQ(info(t).outstanding, 200U);
  EXPECT_EQ(info(t).sent_again, 0U);
}

// No ACK of ours can ride on it before the answer comes.
TEST(TcpFastOpenAsLinux, TextThatGoesAgainIsNoAnswer) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(700).value(), 700U);
  t.out("S 0(700)");
  t.pass(1000);
  t.out("S 0(0) <mss 1460>");
  t.in("S. 0(0) ack 1 win 5000 <mss 1400>");
  t.out("P. 1(700) ack 1");
  t.quiet();  // once
  t.in("P. 1(1000) ack 701");
  t.out(". 701(0) ack 1001");
}

// Wherever the sequence numbers begin.
TEST(TcpFastOpenAsLinux, TheFirstSmallWriteAfterTheSynLeavesAtOnce) {
  for (int i = 0; i < 8; ++i) {
    Client t;
    t.pass(i * 2'147'484);  // an eighth of the sequence space
    t.learn();
    EXPECT_EQ(t.connect_send(1000).value(), 1000U);
    t.out("S 0(1000)");
    t.in("S. 0(0) ack 1001 win 60000 <mss 1400>");
    t.out(". 1001(0) ack 1");
    t.write(1500);
    t.out(". 1001(1400) ack 1");
    t.out("P. 2401(100) ack 1");
  }
}

TEST(TcpFastOpenAsLinux, ACrossingSynMayAcknowledgeTheText) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
  t.pass(5);
  t.in("S 0(50) win 5000 <mss 1400>");  // its text is not taken
  t.out("S. 0(0) ack 1");
  t.pass(5);
  t.in("S. 0(0) ack 101 win 5000 <mss 1400>");
  t.out(". 101(0) ack 1");
  EXPECT_EQ(t.state(), established);
  EXPECT_EQ(info(t).bytes_acked, 100U);
  EXPECT_EQ(info(t).outstanding, 0U);
  t.in("P. 1(50) ack 101");
  t.out(". 101(0) ack 51");
  t.pass(2000);
  t.quiet();
}

TEST(TcpFastOpenAsLinux, OneAckForASynAckWithTextAndFin) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
  t.in("SF. 0(60) ack 101 win 5000 <mss 1400>");
  t.out(". 101(0) ack 62");
  t.quiet();
  EXPECT_EQ(t.read(), 60U);
  EXPECT_EQ(t.state(), close_wait);
}

void too_big(Client& t, std::uint32_t mtu) {
  std::array<std::byte, 8> quoted{};
  wire::store_u16(quoted.data(), t.local_port);
  wire::store_u16(quoted.data() + 2, Trace::kPort);
  wire::store_u32(quoted.data() + 4, t.our_isn.value());
  ip::IcmpError error;
  error.kind = ip::IcmpError::Kind::packet_too_big;
  error.next_hop_mtu = mtu;
  error.source = t.host.out.v4;
  error.destination = t.peer;
  error.quoted = quoted;
  t.host.engine.on_icmp_error(error);
  t.poll();
}

TEST(TcpFastOpenAsLinux, ASynThatThePathDoesNotCarryGoesAgainAtOnceWithoutText) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(1000).value(), 1000U);
  t.out("S 0(1000)");
  t.pass(10);
  too_big(t, 840);
  t.out("S 0(0) <mss 800>");
  too_big(t, 800);  // an empty SYN cannot be too big
  t.quiet();
  t.in("S. 0(0) ack 1 win 5000 <mss 1400>");
  t.out(". 1(760) ack 1");
  t.out("P. 761(240) ack 1");
  EXPECT_EQ(info(t).cwnd, 7600U);  // nothing was lost
  EXPECT_EQ(info(t).fast_open_failure, FastOpenFailure::retransmitted);
}

TEST(TcpFastOpenAsLinux, ALostSynAfterThatIsALoss) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(1000).value(), 1000U);
  t.out("S 0(1000)");
  too_big(t, 840);
  t.out("S 0(0) <mss 800>");
  t.pass(1000);
  t.out("S 0(0) <mss 800>");
  t.in("S. 0(0) ack 1 win 5000 <mss 1400>");
  t.out(". 1(800) ack 1");
  EXPECT_EQ(info(t).cwnd, 800U);
}

}  // namespace
}  // namespace tidewire::tcp
