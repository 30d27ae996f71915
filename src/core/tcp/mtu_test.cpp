// Path MTU by probing, and black holes.
#include "core/tcp/mtu_search.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

constexpr Duration kAgain = Duration::seconds(600);
Instant at(std::int64_t seconds) { return Instant::from_nanos(seconds * 1'000'000'000); }

// req: RFC8899-SHLD-1
TEST(MtuSearch, HalvesTheRangeAndRestsForTenMinutes) {
  MtuSearch search;
  EXPECT_FALSE(search.on());
  search.start(1024, 1460, at(0));
  EXPECT_EQ(search.limit(), 1024);
  const auto probe = [&](bool arrives, std::int64_t now) {
    const auto size = search.next(1460, kAgain, at(now));
    if (!size) return 0;
    search.on_sent(*size);
    arrives ? search.on_arrived(at(now)) : search.on_lost(at(now));
    return int{*size};
  };
  EXPECT_EQ(probe(true, 1), 1242);
  EXPECT_EQ(search.limit(), 1242);
  EXPECT_EQ(probe(false, 2), 1351);
  EXPECT_EQ(search.limit(), 1242);
  int last = 0;
  int probes = 0;
  for (int size = 1; size != 0 && probes < 20; ++probes) {
    size = probe(size <= 1300, 3);
    if (size != 0) last = size;
  }
  EXPECT_LT(probes, 9);
  EXPECT_LE(search.limit(), 1350);
  EXPECT_GE(last, 1242);
  EXPECT_EQ(probe(true, 602), 0);
  EXPECT_GT(probe(true, 604), search.limit() - 120);  // up to the ceiling again
  EXPECT_EQ(search.next(search.limit(), kAgain, at(5000)), std::nullopt);
}

TEST(MtuSearch, BlackHoles) {
  MtuSearch search;
  search.on_black_hole(1460, 1024, 88, 1460, at(0));
  EXPECT_EQ(search.limit(), 1024);
  search.on_black_hole(1024, 1024, 88, 1460, at(1));
  EXPECT_EQ(search.limit(), 512);
  for (int i = 0; i < 10; ++i) search.on_black_hole(search.limit(), 1024, 88, 1460, at(2));
  EXPECT_EQ(search.limit(), 88);
  EXPECT_EQ(search.next(1460, kAgain, at(3)), 774);
}

StackConfig probing(MtuProbing use) {
  StackConfig config;
  config.tcp.mtu_probing = use;
  config.tcp.timestamps = false;
  config.tcp.congestion_control = "reno";
  return config;
}

/// A connection that has written `more` after its first window, which has grown by it.
void open_window(Trace& t, std::size_t more) {
  t.accept("<mss 1460,sackOK>");
  t.set(SocketOption::send_buffer, 200'000);
  t.write(10 * 1024 + more);
  for (int i = 1; i <= 10; ++i) {
    t.out(". " + std::to_string(1 + (i - 1) * 1024) + "(1024) ack 1");
  }
  t.in(". 1(0) ack 10241");
}

// req: RFC4821-SHLD-1 RFC4821-SHLD-3 RFC8899-MUST-2
TEST(TcpMtu, AProbeThatArrivesRaisesTheSegmentSize) {
  Trace t{probing(MtuProbing::always)};
  open_window(t, 20'000);
  t.out(". 10241(1242) ack 1");  // between 1024 and 1460
  t.out(". 11483(1024) ack 1");
  const std::size_t more = t.skip();
  EXPECT_GT(more, 5U);
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1024U);
  t.in(". 1(0) ack 11483");
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1242U);
}

// req: RFC4821-MUST-1 RFC8899-MUST-3
TEST(TcpMtu, AProbeThatIsLostCostsNoWindow) {
  Trace t{probing(MtuProbing::always)};
  open_window(t, 40'000);
  const std::uint32_t cwnd = t.host.engine.info(t.socket)->cwnd;
  t.out(". 10241(1242) ack 1");
  t.skip();
  t.in(". 1(0) ack 10241 <sack 11483-12507>");
  t.in(". 1(0) ack 10241 <sack 11483-13531>");
  t.pass(1);
  t.in(". 1(0) ack 10241 <sack 11483-15579>");
  t.pass(60);  // the reordering window of RACK
  bool again = false;
  while (!t.host.out.sent.empty()) {
    const WireSegment s = t.host.out.sent.front();
    t.host.out.sent.pop_front();
    EXPECT_LE(s.text().size(), 1024U);
    again = again || Seq::distance(t.our_isn, s.view().seq()) == 10241;
  }
  EXPECT_TRUE(again);
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_FALSE(info.in_recovery);
  EXPECT_GE(info.cwnd, cwnd);
  EXPECT_EQ(info.fast_retransmits, 0U);
  EXPECT_EQ(info.mss, 1024U);
}

TEST(TcpMtu, ARouterMayAnswerAProbe) {
  Trace t{probing(MtuProbing::always)};
  open_window(t, 40'000);
  t.out(". 10241(1242) ack 1");
  const WireSegment probe = t.last;
  t.skip();
  ip::IcmpError error;
  error.kind = ip::IcmpError::Kind::packet_too_big;
  error.next_hop_mtu = 1100;
  error.source = t.host.out.v4;
  error.destination = t.peer;
  error.quoted = Bytes{probe.bytes}.first(8);
  t.host.engine.on_icmp_error(error);
  t.poll();
  ASSERT_FALSE(t.host.out.sent.empty());
  EXPECT_EQ(Seq::distance(t.our_isn, t.host.out.sent.front().view().seq()), 10241);
  EXPECT_EQ(t.host.out.sent.front().text().size(), 1024U);
  t.skip();
  t.in(". 1(0) ack 11483");
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.mss, 1024U);
  EXPECT_FALSE(info.in_recovery);
  EXPECT_EQ(info.timeouts, 0U);
}

// req: RFC4821-MUST-2
TEST(TcpMtu, NoProbeWithoutTextBehindIt) {
  Trace t{probing(MtuProbing::always)};
  open_window(t, 1242 + 4 * 1024 - 1);
  t.out(". 10241(1024) ack 1");
}

// req: RFC4821-SHLD-2 RFC8899-MUST-1
TEST(TcpMtu, FullSegmentsThatTimeOutGetSmaller) {
  Trace t{probing(MtuProbing::black_hole)};
  t.accept("<mss 1460,sackOK>");
  t.write(14'600);
  EXPECT_EQ(t.skip(), 10U);
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1460U);
  std::size_t size = 1460;
  for (int i = 0; i < 100 && size == 1460; ++i) {
    t.pass(200);
    if (t.host.out.sent.empty()) continue;
    size = t.host.out.sent.back().text().size();
    t.skip();
  }
  EXPECT_EQ(size, 1024U);
  EXPECT_LT(t.elapsed(), Duration::seconds(20));
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1024U);
}

TEST(TcpMtu, SmallSegmentsThatTimeOutSayNothing) {
  Trace t{probing(MtuProbing::black_hole)};
  t.accept("<mss 1460,sackOK>");
  t.write(700);
  t.pass(15'000);
  EXPECT_GE(t.host.engine.info(t.socket)->timeouts, 4U);
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1460U);
}

TEST(TcpMtu, SwitchedOffTheSizeStays) {
  Trace t{probing(MtuProbing::never)};
  t.accept("<mss 1460,sackOK>");
  t.write(14'600);
  t.pass(30'000);
  EXPECT_EQ(t.host.engine.info(t.socket)->mss, 1460U);
  Trace alone{probing(MtuProbing::black_hole)};  // IP_PMTUDISC_DONT: routers fragment
  alone.accept("<mss 1460,sackOK>");
  alone.set(SocketOption::mtu_discover, 0);
  alone.write(14'600);
  alone.pass(30'000);
  EXPECT_EQ(alone.host.engine.info(alone.socket)->mss, 1460U);
}

}  // namespace
}  // namespace tidewire::tcp
