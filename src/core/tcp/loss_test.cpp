// Loss: retransmission timeout, fast retransmit with and without SACK, giving up.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

/// A connection with a round trip of 100 ms on which `segments` of 1000 bytes are out.
struct Flight : Trace {
  explicit Flight(std::size_t segments, std::string_view options = "<mss 1000,sackOK>",
                  const StackConfig& config = {})
      : Trace(config) {
    listen();
    in("S 0(0) win 65535 " + std::string{options});
    out("S. 0(0) ack 1");
    pass(100);
    in(". 1(0) ack 1");
    socket = host.engine.accept(listener).value();
    write(segments * 1000);
    EXPECT_EQ(skip(), std::min<std::size_t>(segments, 10));
  }
};

// req: RFC9293-MUST-18 RFC6298-2.2-1 RFC6298-5.4-1 RFC6298-5.5-1 RFC6298-5.6-1 RFC6298-5-1
// req: RFC9293-3.10.8-1 RFC9293-MUST-19
TEST(TcpLoss, TimeoutSendsTheFirstSegmentAgainAndBacksOff) {
  Flight t{3, "<mss 1000>"};
  EXPECT_EQ(t.host.engine.info(t.socket)->srtt, Duration::millis(100));
  const std::int64_t rto = t.host.engine.info(t.socket)->rto.count_millis();
  EXPECT_EQ(rto, 300);  // 100 + max(200, 4 * 50)
  std::int64_t wait = rto;
  for (int i = 0; i < 5; ++i) {
    t.pass(wait - 1);
    t.quiet();
    t.pass(1);
    t.out(". 1(1000) ack 1");
    t.quiet();
    wait *= 2;
  }
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.cwnd, 1000U);
  EXPECT_EQ(info.backoff, 5);
  EXPECT_EQ(info.timeouts, 5U);
}

// req: RFC6298-5.1-1 RFC6298-5.2-1 RFC6298-5.3-1
TEST(TcpLoss, AnAckRestartsTheTimerAndTheLastStopsIt) {
  Flight t{3, "<mss 1000>"};
  t.pass(100);
  t.in(". 1(0) ack 1001");
  const std::int64_t rto = t.host.engine.info(t.socket)->rto.count_millis();
  t.pass(rto - 1);
  t.quiet();
  t.in(". 1(0) ack 3001");
  t.pass(100'000);
  t.quiet();
}

// req: RFC9293-MUST-20 RFC9293-MUST-12 RFC9293-SHLD-10 RFC9293-SHLD-11
TEST(TcpLoss, R1AdvisesIpAndR2ClosesTheConnection) {
  Flight t{1};
  t.pass(10'000);
  EXPECT_EQ(t.host.out.advices, 1);
  EXPECT_EQ(t.state(), established);
  t.pass(100'000);
  EXPECT_EQ(t.state(), established);  // R2 is more than 100 s
  t.pass(2'000'000);
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.ready() & (kError | kClosed), kError | kClosed);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

// req: RFC9293-MUST-21
TEST(TcpLoss, TheApplicationSetsR2) {
  Flight t{1};
  t.set(SocketOption::user_timeout, Duration::seconds(5).count_nanos());
  t.pass(4500);
  EXPECT_EQ(t.state(), established);
  t.pass(5600);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

// req: RFC5681-3.2-3 RFC5681-3.2-4 RFC5681-3.2-6 RFC5681-3.2-7 RFC5681-3.2-8 RFC5681-2-1
TEST(TcpLoss, ThreeDuplicateAcksWithoutSack) {
  Flight t{12, "<mss 1000>"};
  t.pass(100);
  t.in(". 1(0) ack 1");
  t.out(". 10001(1000) ack 1");  // limited transmit
  t.in(". 1(0) ack 1");
  t.out("P. 11001(1000) ack 1");
  t.in(". 1(0) ack 1");
  t.out(". 1(1000) ack 1");
  t.quiet();
  EXPECT_TRUE(t.host.engine.info(t.socket)->in_recovery);
  EXPECT_EQ(t.host.engine.info(t.socket)->fast_retransmits, 1U);
  t.in(". 1(0) ack 12001");
  EXPECT_FALSE(t.host.engine.info(t.socket)->in_recovery);
  EXPECT_LT(t.host.engine.info(t.socket)->cwnd, 10'000U);
}

TEST(TcpLoss, PartialAckSendsTheNextHoleWithoutSack) {
  Flight t{10, "<mss 1000>"};
  t.pass(100);
  for (int i = 0; i < 3; ++i) t.in(". 1(0) ack 1");
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 4001");
  t.out(". 4001(1000) ack 1");
  t.in(". 1(0) ack 10001");
  EXPECT_EQ(t.host.engine.info(t.socket)->retransmits, 2U);
}

// req: RFC2018-5-1
TEST(TcpLoss, SackShowsTheHoles) {
  Flight t{10};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-2001>");
  t.in(". 1(0) ack 1 <sack 1001-3001>");
  t.quiet();
  t.in(". 1(0) ack 1 <sack 4001-5001 1001-3001>");
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 1 <sack 4001-7001 1001-3001>");
  t.out(". 3001(1000) ack 1");
  t.in(". 1(0) ack 10001");
  EXPECT_EQ(t.host.engine.info(t.socket)->retransmits, 2U);
  EXPECT_EQ(t.host.engine.info(t.socket)->timeouts, 0U);
}

// req: RFC2018-5-2 RFC2018-5-3 RFC2018-8-1
TEST(TcpLoss, TimeoutSendsTheLeftEdgeEvenIfItWasSacked) {
  Flight t{3};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-2001>");
  t.in(". 1(0) ack 1001 <sack 1001-2001>");  // the peer reneged: its left edge is SACKed data
  t.skip();
  t.pass(5000);
  t.out("P. 2001(1000) ack 1");  // the tail probe
  t.out(". 1001(1000) ack 1");
}

// req: RFC8985-7.2-1
TEST(TcpLoss, ALostTailIsProbedBeforeTheTimeout) {
  Flight t{3};
  t.pass(100);
  t.in(". 1(0) ack 1001");
  t.pass(250);
  t.out("P. 2001(1000) ack 1");
  EXPECT_EQ(t.host.engine.info(t.socket)->timeouts, 0U);
}

// req: RFC6298-3-1
TEST(TcpLoss, NoRttSampleFromWhatWasSentTwice) {
  Flight t{1};
  const Duration srtt = t.host.engine.info(t.socket)->srtt;
  t.pass(300);
  t.out(". 1(1000) ack 1");
  t.pass(1);
  t.in(". 1(0) ack 1001");
  EXPECT_EQ(t.host.engine.info(t.socket)->srtt, srtt);
}

// req: RFC6298-5.7-1 RFC5681-3.1-4
TEST(TcpLoss, AfterALostSynDataStartsSlowly) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.at(1000);
  t.out("S 0(0)");
  t.in("S. 0(0) ack 1 win 65535 <mss 1000>");
  t.out(". 1(0) ack 1");
  EXPECT_EQ(t.host.engine.info(t.socket)->cwnd, 1000U);
  EXPECT_EQ(t.host.engine.info(t.socket)->rto, Duration::seconds(3));
}

// req: RFC9293-MUST-19 RFC5681-3.1-1 RFC5681-3.1-2 RFC5681-3.1-6
TEST(TcpLoss, SlowStartOpensTheWindow) {
  Flight t{30, "<mss 1000>"};
  t.pass(100);
  t.in(". 1(0) ack 2001");
  EXPECT_GE(t.skip(), 3U);
  EXPECT_GT(t.host.engine.info(t.socket)->cwnd, 10'000U);
}

// req: RFC5681-3.1-3 RFC6928-2-1
TEST(TcpLoss, TheHandshakeDoesNotOpenTheWindow) {
  Trace passive;
  passive.accept("<mss 1000>");
  EXPECT_EQ(passive.host.engine.info(passive.socket)->cwnd, 10'000U);
  Trace active;
  active.connect("<mss 1000>");
  EXPECT_EQ(active.host.engine.info(active.socket)->cwnd, 10'000U);
}

// req: RFC9438-4.6-2
TEST(TcpLoss, AReductionStartsFromAllThatIsNotAcknowledged) {
  Flight t{4};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-2001>");
  t.in(". 1(0) ack 4001");  // the first one was only late: the network reorders
  t.write(10'000);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(100);
  // All but the first of ten arrive, and there is nothing else to send while it may still come.
  t.in(". 1(0) ack 4001 <sack 5001-14001>");
  t.quiet();
  EXPECT_EQ(t.host.engine.info(t.socket)->in_flight, 1000U);
  t.pass(50);
  t.out(". 4001(1000) ack 1");
  EXPECT_NEAR(t.host.engine.info(t.socket)->ssthresh, 7000, 10);
}

// req: RFC2018-5-4
TEST(TcpLoss, SackedDataIsKeptUntilItIsAcknowledged) {
  Flight t{3};
  t.in(". 1(0) ack 1 <sack 1-3001>");
  t.in(". 1(0) ack 1 <sack 1001-3001>");
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unacked).value(), 3000);
  t.in(". 1(0) ack 3001");
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unacked).value(), 0);
}

// req: RFC5681-4.1-1
TEST(TcpLoss, AfterALongPauseTheWindowIsInitialAgain) {
  StackConfig config;
  config.tcp.send_buffer = 1'000'000;
  Flight t{10, "<mss 1000>", config};
  for (std::uint32_t i = 1; i < 40; ++i) {
    t.write(10'000);
    t.pass(100);
    t.in(". 1(0) ack " + std::to_string(1 + 1000 * i));
  }
  t.in(". 1(0) ack " + std::to_string(t.written + 1));
  t.skip();
  const std::uint32_t before = t.host.engine.info(t.socket)->cwnd;
  EXPECT_GT(before, 15'000U);
  t.pass(60'000);
  t.write(30'000);
  EXPECT_LE(t.skip(), 10U);
}

// req: RFC9293-3.10.7.4-8 RFC5961-5.2-1 RFC5961-5.2-2 RFC5961-5.2-3
TEST(TcpLoss, AcksOfTheFutureAndOfTheDistantPastAreAnswered) {
  Flight t{2};
  t.in(". 1(0) ack 2002");
  t.out(". 2001(0) ack 1");
  t.in(". 1(0) ack 1001");
  t.quiet();
  t.in(". 1(10) ack -64534");  // una - max.snd.wnd
  EXPECT_EQ(t.read(), 10U);
  t.skip();
  t.in(". 11(10) ack -64535");
  EXPECT_EQ(t.read(), 0U);
  t.out(". 2001(0) ack 11");
}

TEST(TcpLoss, TheTraceNamesTheCause) {
  std::vector<TraceRecord> records(1000);
  TraceRing ring{records, 0};
  Trace t;
  t.host.context.trace = &ring;
  t.accept("<mss 1000,sackOK>");
  t.write(5000);
  t.skip();
  t.in(". 1(0) ack 1 <sack 1001-5001>");
  t.skip();
  t.pass(5000);
  std::set<LossCause> causes;
  std::set<TraceKind> kinds;
  for (std::uint64_t i = 0; i < ring.written; ++i) {
    kinds.insert(records[i].kind);
    if (records[i].kind == TraceKind::retransmission) causes.insert(records[i].cause);
  }
  EXPECT_TRUE(causes.contains(LossCause::rack));
  EXPECT_TRUE(causes.contains(LossCause::rto));
  for (const TraceKind kind : {TraceKind::segment_in, TraceKind::segment_out, TraceKind::state,
                               TraceKind::congestion, TraceKind::loss}) {
    EXPECT_TRUE(kinds.contains(kind)) << static_cast<int>(kind);
  }
}

}  // namespace
}  // namespace tidewire::tcp
