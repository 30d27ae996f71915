// ICMP errors about our segments.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;
using Kind = ip::IcmpError::Kind;

void report(Trace& t, Kind kind, Seq seq, std::uint32_t mtu = 0) {
  std::array<std::byte, 8> quoted{};
  wire::store_u16(quoted.data(), t.connected_out ? t.local_port : Trace::kPort);
  wire::store_u16(quoted.data() + 2, t.connected_out ? Trace::kPort : Trace::kPeerPort);
  wire::store_u32(quoted.data() + 4, seq.value());
  ip::IcmpError error;
  error.kind = kind;
  error.type = 3;
  error.next_hop_mtu = mtu;
  error.source = t.host.out.v4;
  error.destination = t.peer;
  error.offender = IpAddress::v4(10, 0, 0, 254);
  error.quoted = quoted;
  t.host.engine.on_icmp_error(error);
}

constexpr Kind kUnreachable[] = {Kind::network_unreachable, Kind::host_unreachable,
                                 Kind::prohibited, Kind::port_unreachable,
                                 Kind::protocol_unreachable};

// req: RFC9293-MUST-54 RFC9293-SHLD-26
TEST(TcpIcmp, UnreachableEndsAConnectThatIsUnderWay) {
  const SocketError expected[] = {SocketError::network_unreachable, SocketError::host_unreachable,
                                  SocketError::host_unreachable, SocketError::connection_refused,
                                  SocketError::protocol_error};
  for (std::size_t i = 0; i < std::size(kUnreachable); ++i) {
    Trace t;
    t.start_connect();
    t.out("S 0(0)");
    report(t, kUnreachable[i], t.our_isn);
    EXPECT_EQ(t.state(), closed);
    EXPECT_EQ(t.error(), expected[i]);
  }
}

// req: RFC9293-MUST-56 RFC9293-MUST-47 RFC9293-SHLD-25
TEST(TcpIcmp, SoftErrorsDoNotEndAConnectionButExplainItsEnd) {
  for (const Kind kind :
       {Kind::network_unreachable, Kind::host_unreachable, Kind::other_unreachable,
        Kind::time_exceeded, Kind::parameter_problem, Kind::port_unreachable}) {
    Trace t;
    t.accept();
    t.write(100);
    t.skip();
    report(t, kind, t.our_isn + 1);
    EXPECT_EQ(t.state(), established);
    EXPECT_EQ(t.ready() & kError, 0);
    t.pass(3'600'000);
    EXPECT_EQ(t.state(), closed);
    EXPECT_NE(t.error(), SocketError::timed_out);
  }
}

// req: RFC9293-MUST-56
TEST(TcpIcmp, TimeExceededDoesNotEndAConnect) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  report(t, Kind::time_exceeded, t.our_isn);
  report(t, Kind::parameter_problem, t.our_isn);
  EXPECT_EQ(t.state(), syn_sent);
  t.in("S. 0(0) ack 1 win 1000");
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-MUST-47 RFC9293-SHLD-20
TEST(TcpIcmp, SoftErrorsAreReportedToWhoAsks) {
  Trace t;
  t.accept();
  t.set(SocketOption::receive_errors, 1);
  t.write(100);
  t.skip();
  report(t, Kind::host_unreachable, t.our_isn + 1);
  EXPECT_EQ(t.ready() & (kError | kErrorQueue), kError | kErrorQueue);
  const auto info = t.host.engine.take_error_info(t.socket);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->error, SocketError::host_unreachable);
  EXPECT_EQ(info->offender, IpAddress::v4(10, 0, 0, 254));
  EXPECT_EQ(t.error(), SocketError::host_unreachable);
  EXPECT_EQ(t.ready() & (kError | kErrorQueue), 0);
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-MUST-55
TEST(TcpIcmp, SourceQuenchIsDiscarded) {
  Trace t;
  t.accept();
  t.write(5000);
  t.skip();
  const std::uint32_t cwnd = t.host.engine.info(t.socket)->cwnd;
  report(t, Kind::source_quench, t.our_isn + 1);
  EXPECT_EQ(t.host.engine.info(t.socket)->cwnd, cwnd);
  t.quiet();
}

TEST(TcpIcmp, OnlyAQuotedSequenceNumberInFlightCounts) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  for (const int off : {-1, 1, 1000}) {
    report(t, Kind::port_unreachable, t.our_isn + static_cast<std::uint32_t>(off));
  }
  EXPECT_EQ(t.state(), syn_sent);
  EXPECT_EQ(t.host.dropped(DropReason::icmp_quote_mismatch), 3U);
  EXPECT_EQ(t.host.context.counters.tcp_icmp_out_of_window, 3U);
  t.in("S. 0(0) ack 1 win 1000");
  t.skip();
  report(t, Kind::packet_too_big, t.our_isn, 600);  // nothing is in flight
  EXPECT_EQ(t.host.out.path_limit, 0U);
}

// req: RFC1191-6.4-1 RFC1191-3-1 RFC1191-2-1 RFC1191-6.2-1
TEST(TcpIcmp, TooBigIsSentAgainAtOnceInSmallerSegments) {
  Trace t;
  t.accept("<mss 1460,sackOK>");
  t.write(4000);
  t.out(". 1(1460) ack 1");
  EXPECT_TRUE(t.last.dont_fragment);
  t.skip();
  const std::uint32_t cwnd = t.host.engine.info(t.socket)->cwnd;
  report(t, Kind::packet_too_big, t.our_isn + 1, 1000);
  t.out(". 1(960) ack 1");
  for (const WireSegment& s : t.host.out.sent) EXPECT_LE(s.text().size(), 960U);
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 960U);
  EXPECT_GE(t.host.engine.info(t.socket)->cwnd, cwnd / 2);
  EXPECT_FALSE(t.host.engine.info(t.socket)->in_recovery);
}

// req: RFC1191-3.1-1
TEST(TcpIcmp, TheMssOptionStaysThatOfTheInterface) {
  Trace t;
  t.host.out.path_limit = 600;
  t.start_connect();
  t.out("S 0(0) <mss 1460,sackOK,ws 7,ts 0>");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460>");
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 560U);
}

// req: RFC9293-MUST-50
TEST(TcpIcmp, IpOptionsOfAPacketDoNotMatter) {
  Trace t;
  t.listen();
  const WireSegment syn = t.make("S 0(0) win 1000");
  const std::vector<std::byte> ip_header(40, std::byte{7});
  ip::Packet packet;
  packet.interface = 0;
  packet.source = syn.source;
  packet.destination = syn.destination;
  packet.ip_header = ip_header;
  packet.transport = syn.bytes;
  t.host.engine.on_packet(packet, {});
  t.out("S. 0(0) ack 1");
}

TEST(TcpIcmp, AQuoteCutShortIsIgnored) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  for (std::size_t n = 0; n < 8; ++n) {
    const std::vector<std::byte> quoted(n);
    ip::IcmpError error;
    error.kind = Kind::port_unreachable;
    error.source = t.host.out.v4;
    error.destination = t.peer;
    error.quoted = quoted;
    t.host.engine.on_icmp_error(error);
  }
  EXPECT_EQ(t.state(), syn_sent);
}

}  // namespace
}  // namespace tidewire::tcp
