// Receiving text: order, ACK policy, SACK and D-SACK, the window we offer.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

StackConfig bare() {
  StackConfig config;
  config.tcp.timestamps = config.tcp.window_scaling = false;
  return config;
}

struct Receiver : Trace {
  explicit Receiver(const StackConfig& config = bare(),
                    std::string_view options = "<mss 1000,sackOK>")
      : Trace(config) {
    accept(options);
    set(SocketOption::quick_ack, 0);
  }
};

// req: RFC9293-MUST-40 RFC9293-SHLD-18 RFC5681-4.2-2
TEST(TcpText, AckOfOneSegmentIsDelayedByFortyMilliseconds) {
  Receiver t;
  t.in("P. 1(100) ack 1");
  EXPECT_EQ(t.ready() & kReadable, kReadable);
  t.pass(39);
  t.quiet();
  t.pass(1);
  t.out(". 1(0) ack 101");
  EXPECT_EQ(t.read(), 100U);
  t.quiet();
}

// req: RFC9293-SHLD-19 RFC5681-4.2-1
TEST(TcpText, EverySecondFullSegmentIsAcknowledgedAtOnce) {
  Receiver t;
  t.in(". 1(1460) ack 1");
  t.quiet();
  t.in(". 1461(1460) ack 1");
  t.out(". 1(0) ack 2921");
  t.quiet();
}

// req: RFC9293-MUST-58 RFC9293-MUST-59 RFC5681-4.2-3
TEST(TcpText, OneBatchIsAnsweredWithOneAck) {
  Receiver t;
  for (int i = 0; i < 8; ++i) t.in_batch(". " + std::to_string(1 + i * 1460) + "(1460) ack 1");
  t.out(". 1(0) ack 11681");
  t.quiet();
}

TEST(TcpText, FirstSegmentsAreAcknowledgedOneByOne) {
  Trace t{bare()};
  t.accept();
  for (std::uint32_t i = 0; i < 16; ++i) {
    t.in(". " + std::to_string(1 + i * 100) + "(100) ack 1");
    t.out(". 1(0) ack " + std::to_string(101 + i * 100));
  }
  t.in(". 1601(100) ack 1");
  t.quiet();
}

TEST(TcpText, AnAckRidesOnData) {
  Receiver t;
  t.in(". 1(100) ack 1");
  t.write(50);
  t.out("P. 1(50) ack 101");
  t.pass(100);
  t.quiet();
}

// req: RFC9293-SHLD-31 RFC5681-3.2-1 RFC5681-3.2-2 RFC2018-4-1 RFC2018-4-5
TEST(TcpText, OutOfOrderIsKeptAndReportedAtOnce) {
  Receiver t;
  t.in(". 101(100) ack 1");
  t.out(". 1(0) ack 1 <sack 101-201>");
  EXPECT_EQ(t.ready() & kReadable, 0);
  t.in(". 1(100) ack 1");
  t.out(". 1(0) ack 201 <none>");
  EXPECT_EQ(t.read(), 200U);
}

// req: RFC2018-4-2 RFC2018-4-6 RFC2018-4-7 RFC2018-4-8 RFC2018-4-4
TEST(TcpText, NewestIslandComesFirstThenTheLatestOthers) {
  Receiver t;
  t.in(". 101(100) ack 1");
  t.out(". 1(0) ack 1 <sack 101-201>");
  t.in(". 301(100) ack 1");
  t.out(". 1(0) ack 1 <sack 301-401 101-201>");
  t.in(". 501(100) ack 1");
  t.out(". 1(0) ack 1 <sack 501-601 301-401 101-201>");
  t.in(". 701(100) ack 1");
  t.out(". 1(0) ack 1 <sack 701-801 501-601 301-401 101-201>");
  t.in(". 901(100) ack 1");
  t.out(". 1(0) ack 1 <sack 901-1001 701-801 501-601 301-401>");
  t.in(". 201(100) ack 1");
  t.out(". 1(0) ack 1 <sack 101-401 901-1001 701-801 501-601>");
}

// req: RFC2018-4-7
TEST(TcpText, ThreeIslandsFitBesideTimestamps) {
  StackConfig config;
  Trace t{config};
  t.accept("<mss 1000,sackOK,ts 100>");
  for (const char* s : {". 101(9) ack 1 <ts 102>", ". 201(9) ack 1 <ts 103>",
                        ". 301(9) ack 1 <ts 104>", ". 401(9) ack 1 <ts 105>"}) {
    t.in(s);
  }
  for (int i = 0; i < 3; ++i) t.host.out.sent.pop_front();
  // TS.Recent stays: none of these segments was the next one (RFC 7323 §4.3).
  t.out(". 1(0) ack 1 <ts 101,sack 401-410 301-310 201-210>");
}

// req: RFC2018-4-3 RFC5681-3.2-1
TEST(TcpText, WithoutSackEverySegmentOutOfOrderIsADuplicateAck) {
  Receiver t{bare(), "<mss 1000>"};
  t.in_batch(". 101(100) ack 1");
  t.in_batch(". 201(100) ack 1");
  t.in_batch(". 301(100) ack 1");
  for (int i = 0; i < 3; ++i) t.out(". 1(0) ack 1 <none>");
  t.quiet();
}

// req: RFC2883-4-1 RFC2883-4-2 RFC2883-4-4
TEST(TcpText, ADuplicateIsReportedOnce) {
  Receiver t;
  t.in_batch(". 1(100) ack 1");
  t.in_batch(". 101(100) ack 1");
  t.pass(40);
  t.out(". 1(0) ack 201");
  t.in(". 1(100) ack 1");
  t.out(". 1(0) ack 201 <sack 1-101>");
  t.in(". 151(100) ack 1");
  t.out(". 1(0) ack 251 <sack 151-201>");
  t.in(". 301(10) ack 1");
  t.out(". 1(0) ack 251 <sack 301-311>");
}

// req: RFC2883-4-3
TEST(TcpText, ADuplicateBeyondAGapIsFollowedByItsIsland) {
  Receiver t;
  t.in(". 101(100) ack 1");
  t.in(". 301(100) ack 1");
  t.skip();
  t.in(". 101(50) ack 1");
  t.out(". 1(0) ack 1 <sack 101-151 101-201 301-401>");
}

TEST(TcpText, TwoDuplicatesInABatchGiveTwoReports) {
  Receiver t;
  t.in(". 1(300) ack 1");
  t.pass(40);
  t.skip();
  t.in_batch(". 1(100) ack 1");
  t.in_batch(". 201(100) ack 1");
  t.out(". 1(0) ack 301 <sack 1-101>");
  t.out(". 1(0) ack 301 <sack 201-301>");
  t.quiet();
}

// req: RFC9293-3.10.7.4-1
TEST(TcpText, OnlyWhatLiesInTheWindowIsTaken) {
  Receiver t;
  t.set(SocketOption::receive_buffer, 65'536);
  struct Case {
    const char* segment;
    const char* answer;
  };
  for (const Case& c : {Case{". -99(100) ack 1", ". 1(0) ack 1"},        // all before
                        Case{". 65536(10) ack 1", ". 1(0) ack 1"},       // all behind
                        Case{". -9(20) ack 1", ". 1(0) ack 11"},         // tail in
                        Case{". 65530(100) ack 1", ". 1(0) ack 11"}}) {  // head in
    t.in(c.segment);
    t.pass(40);
    t.out(c.answer);
  }
  EXPECT_EQ(t.host.dropped(DropReason::tcp_out_of_window), 1U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_duplicate), 1U);
}

TEST(TcpText, FirstDataWinsWhereSegmentsOverlap) {
  Receiver t;
  t.in(". 1(100) ack 1");
  WireSegment other = t.make(". 51(100) ack 1");
  for (std::size_t i = 20; i < 20 + 50; ++i) other.bytes[i] = std::byte{0xee};
  store_checksum(other);
  t.host.receive(other);
  EXPECT_EQ(t.read(), 150U);
}

// req: RFC9293-MUST-39
TEST(TcpText, TheWindowOpensInStepsWorthASegment) {
  StackConfig config = bare();
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 8000;
  Receiver t{config};
  for (std::uint32_t i = 0; i < 8; ++i) {
    t.in(". " + std::to_string(1 + i * 1000) + "(1000) ack 1");
  }
  t.pass(40);
  t.skip();
  t.in(". 8001(1) ack 1");
  t.out(". 1(0) ack 8001 win 0");
  EXPECT_EQ(t.read(1000), 1000U);
  t.quiet();  // less than a segment of 1460
  EXPECT_EQ(t.read(459), 459U);
  t.quiet();
  EXPECT_EQ(t.read(1), 1U);
  t.out(". 1(0) ack 8001 win 1460");
}

TEST(TcpText, SeveralReadsInATurnUpdateTheWindowOnce) {
  StackConfig config = bare();
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 8000;
  Receiver t{config};
  for (std::uint32_t i = 0; i < 8; ++i) {
    t.in(". " + std::to_string(1 + i * 1000) + "(1000) ack 1");
  }
  t.pass(40);
  t.skip();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(t.host.engine.consumed(t.socket, 2000));
  t.consumed = 6000;
  EXPECT_EQ(t.read(), 2000U);
  t.out(". 1(0) ack 8001 win 8000");
  t.quiet();
}

// req: RFC9293-SHLD-14
TEST(TcpText, TheRightEdgeNeverMovesLeft) {
  Receiver t;
  t.in(". 1(100) ack 1");
  t.pass(40);
  t.out(". 1(0) ack 101 win 65435");
  t.set(SocketOption::receive_buffer, 4096);
  t.in(". 101(100) ack 1");
  t.pass(40);
  t.out(". 1(0) ack 201 win 65335");
  t.in(". 201(60000) ack 1");
  t.out(". 1(0) ack 60201 win 5335");
}

TEST(TcpText, ACoalescedFrameStandsForItsSegments) {
  Receiver t{bare(), "<mss 1000>"};
  WireSegment big = t.make(". 1(7300) ack 1");
  big.segs = 5;
  big.seg_size = 1460;
  t.host.receive(big);
  t.out(". 1(0) ack 7301");
  WireSegment late = t.make(". 8000(4380) ack 1");
  late.segs = 3;
  late.seg_size = 1460;
  t.host.receive(late);
  for (int i = 0; i < 3; ++i) t.out(". 1(0) ack 7301");
  t.quiet();
}

TEST(TcpText, TheBufferGrowsWhileTheApplicationKeepsUp) {
  StackConfig config;
  Trace t{config};
  t.listen();
  t.in("S 0(0) win 65535 <mss 1460,ws 7,sackOK,ts 100>");
  t.out("S. 0(0) ack 1");
  t.pass(20);  // the round trip
  t.in(". 1(0) ack 1 <ts 101>");
  t.socket = t.host.engine.accept(t.listener).value();
  const std::int64_t before =
      t.host.engine.get_option(t.socket, SocketOption::receive_buffer).value();
  std::uint32_t seq = 1;
  for (int round = 0; round < 100; ++round) {
    t.in(". " + std::to_string(seq) + "(60000) ack 1 <ts 101>");
    seq += 60'000;
    EXPECT_EQ(t.read(), 60'000U);
    t.pass(1);
  }
  const std::int64_t after =
      t.host.engine.get_option(t.socket, SocketOption::receive_buffer).value();
  EXPECT_GT(after, 4 * before);
  EXPECT_LE(after, config.tcp.receive_buffer_max);
}

// req: RFC2018-8-3 RFC2018-8-4
TEST(TcpText, WhatWasGivenUpIsNoLongerReported) {
  Receiver t;
  t.in(". 101(100) ack 1");
  t.in(". 301(100) ack 1");
  t.skip();
  // Memory runs out: nothing of the next segment is kept, and nothing of it is reported.
  t.host.memory.set_failing(true);
  t.in(". 50001(1000) ack 1");
  t.out(". 1(0) ack 1 <sack 301-401 101-201>");
  t.host.memory.set_failing(false);
  t.in(". 50001(1000) ack 1");
  t.out(". 1(0) ack 1 <sack 50001-51001 301-401 101-201>");
}

TEST(TcpText, WithoutMemoryTheSegmentComesAgain) {
  Receiver t;
  t.host.memory.set_failing(true);
  t.in(". 1(1000) ack 1");
  t.out(". 1(0) ack 1");
  EXPECT_EQ(t.host.dropped(DropReason::no_memory), 1U);
  t.host.memory.set_failing(false);
  t.in(". 1(1000) ack 1");
  EXPECT_EQ(t.read(), 1000U);
}

}  // namespace
}  // namespace tidewire::tcp
