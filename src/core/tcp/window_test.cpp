// The peer's window, small segments, probes: flow control from the sender's side.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

// req: RFC9293-MUST-1
TEST(TcpWindow, IsUnsigned) {
  StackConfig config;
  config.tcp.initial_window_segments = 100;
  Trace t{config};
  t.accept("<mss 1000>", "65535");
  t.write(65'000);
  EXPECT_EQ(t.skip(), 65U);
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 65'535U);
}

// req: RFC9293-SHLD-28
TEST(TcpWindow, LimitsWhatLeaves) {
  Trace t;
  t.accept("<mss 1000>", "2500");
  t.write(5000);
  t.out(". 1(1000) ack 1");
  t.out(". 1001(1000) ack 1");
  t.quiet();
  EXPECT_EQ(t.host.engine.info(t.socket)->limited_by, "receiver window");
  t.in(". 1(0) ack 2001 win 2500");
  t.out(". 2001(1000) ack 1");
  t.out(". 3001(1000) ack 1");
  t.quiet();
}

// req: RFC9293-MUST-34 RFC9293-SHLD-15 RFC9293-SHLD-16
TEST(TcpWindow, MayShrinkBelowWhatWasSent) {
  Trace t;
  t.accept("<mss 1000>", "5000");
  t.write(5000);
  EXPECT_EQ(t.skip(), 5U);
  t.write(1000);
  t.in(". 1(0) ack 1001 win 1000");  // the right edge moves from 5001 to 2001
  t.quiet();
  t.pass(300);
  t.out(". 1001(1000) ack 1");  // normal retransmission inside the window
  t.quiet();
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-MUST-35 RFC9293-SHLD-17
TEST(TcpWindow, ShrunkToZeroIsProbedAndNotTimedOut) {
  Trace t;
  t.accept("<mss 1000>", "5000");
  t.write(3000);
  t.skip();
  t.in(". 1(0) ack 1001 win 0");
  for (int minute = 0; minute < 60; ++minute) {
    t.pass(60'000);
    if (t.skip() > 0) t.in(". 1(0) ack 1001 win 0");
  }
  EXPECT_EQ(t.state(), established);
  // The last probe was the segment at the left edge; it counts as sent.
  t.in(". 1(0) ack 1001 win 5000");
  t.out("P. 2001(1000) ack 1");
}

// req: RFC9293-MUST-36 RFC9293-SHLD-29 RFC9293-SHLD-30
TEST(TcpWindow, ClosedIsProbedAfterAnRtoThenMoreSlowly) {
  Trace t;
  t.accept("<mss 1000>", "1000");
  t.write(3000);
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 1001 win 0");
  t.quiet();
  std::int64_t at = 0;
  for (std::int64_t wait = 200; wait < 60'000; wait *= 2) {
    at += wait;
    t.at(at - 1);
    t.quiet();
    t.at(at + 1);
    t.out(". 1000(0) ack 1");
    t.in(". 1(0) ack 1001 win 0");
  }
  t.in(". 1(0) ack 1001 win 2000");
  t.out(". 1001(1000) ack 1");
  t.out(". 2001(1000) ack 1");
}

// req: RFC9293-MUST-37
TEST(TcpWindow, AnsweredProbesKeepTheConnectionOpen) {
  Trace t;
  t.accept("<mss 1000>", "0");
  t.write(1000);
  std::size_t probes = 0;
  for (int i = 0; i < 1000; ++i) {
    t.pass(10'000);
    const std::size_t n = t.skip();
    probes += n;
    if (n > 0) t.in(". 1(0) ack 1 win 0");
  }
  EXPECT_GT(probes, 80U);
  EXPECT_EQ(t.state(), established);
}

TEST(TcpWindow, UnansweredProbesEndTheConnection) {
  Trace t;
  t.accept("<mss 1000>", "0");
  t.write(1000);
  t.pass(3'600'000);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

TEST(TcpWindow, FinWaitsForTheWindowAndIsProbedFor) {
  Trace t;
  t.accept("<mss 1000>", "0");
  t.shutdown();
  t.quiet();
  t.pass(300);
  t.out(". 0(0) ack 1");
  t.in(". 1(0) ack 1 win 10");
  t.out("F. 1(0) ack 1");
}

// req: RFC9293-MUST-66
TEST(TcpWindow, RstUrgAndAckCountWhenOursIsClosed) {
  StackConfig config;
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 2000;
  Trace t{config};
  t.accept();
  t.write(100);
  t.skip();
  t.in("P. 1(2000) ack 1");
  t.pass(40);
  t.out(". 101(0) ack 2001 win 0");
  t.in("U. 2001(10) ack 101 urg 5");
  t.out(". 101(0) ack 2001 win 0");
  EXPECT_EQ(t.ready() & kUrgent, kUrgent);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unacked).value(), 0);
  t.in("R 2001(0)");
  EXPECT_EQ(t.error(), SocketError::connection_reset);
}

// req: RFC9293-MUST-38 RFC9293-SHLD-7
TEST(TcpWindow, NagleHoldsSmallSegmentsWhileOneIsOut) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(10);
  t.out("P. 1(10) ack 1");
  t.write(10);
  t.write(10);
  t.quiet();
  EXPECT_EQ(t.host.engine.info(t.socket)->limited_by, "nagle");
  t.in(". 1(0) ack 11");
  t.out("P. 11(20) ack 1");
  t.write(1000);  // a full segment need not wait
  t.out(". 31(1000) ack 1");
}

// req: RFC9293-MUST-17
TEST(TcpWindow, NoDelaySwitchesNagleOffForOneConnection) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(10);
  t.out("P. 1(10) ack 1");
  t.write(10);
  t.quiet();
  t.set(SocketOption::no_delay, 1);
  t.out("P. 11(10) ack 1");
  t.write(10);
  t.out("P. 21(10) ack 1");
}

// req: RFC9293-MUST-60 RFC9293-MAY-16
TEST(TcpWindow, CorkHoldsBackButNotForEver) {
  Trace t;
  t.accept("<mss 1000>");
  t.set(SocketOption::cork, 1);
  t.write(600);
  t.quiet();
  t.write(600);
  t.out(". 1(1000) ack 1");
  t.quiet();
  t.pass(200);
  t.out("P. 1001(200) ack 1");
  t.in(". 1(0) ack 1201");
  t.write(5);
  t.quiet();
  t.set(SocketOption::cork, 0);
  t.out("P. 1201(5) ack 1");
}

TEST(TcpWindow, MoreHoldsBackUntilTheNextWrite) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(100, {.more = true});
  t.quiet();
  t.write(100);
  t.out("P. 1(200) ack 1");
  t.in(". 1(0) ack 201");
  t.write(100, {.more = true});
  t.pass(200);
  t.out("P. 201(100) ack 1");
}

// req: RFC9293-MUST-61 RFC9293-SHLD-27
TEST(TcpWindow, PushMarksTheLastSegmentOnly) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(2500);
  t.out(". 1(1000) ack 1");
  EXPECT_FALSE(t.last.view().has(wire::TcpFlag::psh));
  t.out(". 1001(1000) ack 1");
  EXPECT_FALSE(t.last.view().has(wire::TcpFlag::psh));
  t.out("P. 2001(500) ack 1");
}

// req: RFC9293-MUST-38
TEST(TcpWindow, ASmallWindowIsUsedWhenItIsHalfOfTheLargestOrLateEnough) {
  Trace t;
  t.accept("<mss 1000>", "1000");
  t.write(3000);
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 1001 win 400");  // less than half of 1000
  t.quiet();
  t.pass(199);
  t.quiet();
  t.pass(1);
  t.out(". 1001(400) ack 1");
  t.in(". 1(0) ack 1401 win 500");
  t.out(". 1401(500) ack 1");
}

// req: RFC7323-2.2-1 RFC7323-2.2-3 RFC7323-2.2-4 RFC7323-2.3-2
TEST(TcpWindow, ScaleCountsOnlyIfBothSentIt) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000 <mss 1460,ws 4>");
  t.out("S. 0(0) ack 1 win 65535 <mss 1460,ws 7>");
  t.in(". 1(0) ack 1 win 1000");
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 16'000U);
  t.in("P. 1(10) ack 1 win 2000");
  t.out(". 1(0) ack 11 win 1023");  // 131062 bytes in units of 128
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 32'000U);
  Trace bare;
  bare.accept("<mss 1460>", "1000");
  EXPECT_EQ(bare.host.engine.info(bare.socket)->send_window, 1000U);
}

// req: RFC7323-2.3-1 RFC7323-2.2-2 RFC7323-2.2-5
TEST(TcpWindow, ScaleIsAtMostFourteenAndOnlyInSyn) {
  Trace t;
  t.accept("<mss 1460,ws 200>", "65535");
  EXPECT_EQ(t.host.engine.info(t.socket)->send_scale, 14);
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 65'535U << 14);
  t.in(". 1(0) ack 1 win 1 <ws 2>");
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 1U << 14);
}

// req: RFC7323-2.4-1
TEST(TcpWindow, ScalingMayTakeBackLessThanOneUnit) {
  Trace t;
  t.accept("<mss 1000,ws 10>", "10");
  t.write(5000);
  EXPECT_EQ(t.skip(), 5U);
  t.in(". 1(0) ack 2001 win 7");  // 2001 + 7168 lies before 1 + 10240
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 7168U);
  t.write(5000);
  EXPECT_EQ(t.skip(), 4U);
}

// req: RFC9293-3.10.7.4-7
TEST(TcpWindow, OldSegmentsDoNotUpdateIt) {
  Trace t;
  t.accept("<mss 1000>", "5000");
  t.write(100);
  t.skip();
  t.in(". 1(10) ack 101 win 4000");
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 4000U);
  t.in(". 1(20) ack 1 win 9000");  // older sequence number than wl1? no: equal, older ACK
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 4000U);
  t.in(". 21(0) ack 101 win 9000");
  EXPECT_EQ(t.host.engine.info(t.socket)->send_window, 9000U);
}

TEST(TcpWindow, WritableComesBackWithAThirdFree) {
  StackConfig config;
  config.tcp.send_buffer = config.tcp.send_buffer_max = 9000;
  Trace t{config};
  t.accept("<mss 1000>", "0");
  EXPECT_EQ(t.write(20'000), 9000U);
  EXPECT_EQ(t.ready() & kWritable, 0);
  EXPECT_EQ(t.host.engine.send(t.socket, bytes_of("x"), {}).error(), SocketError::would_block);
  t.in(". 1(0) ack 1 win 9000");
  t.in(". 1(0) ack 2001 win 9000");
  EXPECT_EQ(t.ready() & kWritable, 0);
  t.in(". 1(0) ack 3001 win 9000");
  EXPECT_EQ(t.ready() & kWritable, kWritable);
}

TEST(TcpWindow, ClampBoundsWhatIsOffered) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::window_clamp, 5000));
  t.in("S 0(0) win 65535 <mss 1000>");
  t.out("S. 0(0) ack 1 win 5000");
  t.in(". 1(0) ack 1");
  t.socket = t.host.engine.accept(t.listener).value();
  std::uint32_t edge = 5001;
  for (std::uint32_t seq = 1; seq < 20'000; seq += 1000) {
    t.in(". " + std::to_string(seq) + "(1000) ack 1");
    if (seq % 4000 == 1) {
      EXPECT_GT(t.read(), 0U);
    }
    for (const WireSegment& s : t.host.out.sent) {
      const wire::TcpView v = s.view();
      EXPECT_LE(v.window(), 5000U);
      const auto right =
          static_cast<std::uint32_t>(Seq::distance(t.peer_isn, v.ack())) + v.window();
      EXPECT_GE(right, edge);
      edge = right;
    }
    t.host.out.sent.clear();
  }
  EXPECT_GT(edge, 20'000U);
}

}  // namespace
}  // namespace tidewire::tcp
