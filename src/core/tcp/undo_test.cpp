// What the stack does with losses that were none, with reordering, and what it tells of them.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

/// Accepted over a round trip of 100 ms; `segments` of 1000 bytes are to be sent, 10 are out.
struct Flight : Trace {
  explicit Flight(std::size_t segments, std::string_view options = "<mss 1000,sackOK>",
                  const StackConfig& config = {})
      : Trace(config) {
    host.context.trace = &ring;
    listen();
    in("S 0(0) win 65535 " + std::string{options});
    out("S. 0(0) ack 1");
    pass(100);
    in(". 1(0) ack 1");
    socket = host.engine.accept(listener).value();
    write(segments * 1000);
    EXPECT_EQ(skip(), std::min<std::size_t>(segments, 10));
  }
  SocketInfo info() const { return *host.engine.info(socket); }
  std::size_t records(TraceKind kind) const {
    std::size_t n = 0;
    for (std::uint64_t i = 0; i < ring.written; ++i) n += slots[i].kind == kind ? 1U : 0U;
    return n;
  }

  std::vector<TraceRecord> slots = std::vector<TraceRecord>(2000);
  TraceRing ring{slots, 0};
};

TEST(TcpTrace, TheRoundTripOfTheHandshakeIsTold) {
  Flight t{1};
  ASSERT_EQ(t.records(TraceKind::rtt), 1U);
  for (std::uint64_t i = 0; i < t.ring.written; ++i) {
    if (t.slots[i].kind != TraceKind::rtt) continue;
    EXPECT_EQ(t.slots[i].a, 100'000U);
  }
}

// req: RFC2883-5-1, RFC4015-2-1
TEST(TcpUndo, AReportInAnAckThatWasOvertakenCounts) {
  Flight t{10};
  const std::uint32_t before = t.info().cwnd;
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-4001>");
  t.out(". 1(1000) ack 1");
  EXPECT_LT(t.info().cwnd, before);
  t.in(". 1(0) ack 10001");
  t.in(". 1(0) ack 9001 <sack 1-1001>");
  EXPECT_EQ(t.info().dsacks, 1U);
  EXPECT_EQ(t.info().spurious_retransmits, 1U);
  EXPECT_EQ(t.info().spurious, 1U);
  EXPECT_GE(t.info().cwnd, before);
  EXPECT_EQ(t.host.context.counters.tcp_spurious_retransmits, 1U);
  EXPECT_EQ(t.records(TraceKind::spurious), 1U);
  ASSERT_EQ(t.records(TraceKind::undo), 1U);
  for (std::uint64_t i = 0; i < t.ring.written; ++i) {
    if (t.slots[i].kind != TraceKind::undo) continue;
    EXPECT_EQ(t.slots[i].a, t.info().cwnd);
    EXPECT_EQ(static_cast<UndoCause>(t.slots[i].d), UndoCause::dsack);
  }
}

TEST(TcpUndo, AReportOfWhatTheNetworkDoubledIsNoMistakeOfOurs) {
  Flight t{10};
  t.pass(100);
  t.in(". 1(0) ack 5001");
  t.in(". 1(0) ack 5001 <sack 2001-3001>");
  EXPECT_EQ(t.info().dsacks, 1U);
  EXPECT_EQ(t.info().spurious_retransmits, 0U);
}

// An old ACK without reports says nothing, whatever it seems to acknowledge.
TEST(TcpUndo, AnOldAckWithoutReportsIsIgnored) {
  Flight t{10};
  t.pass(100);
  t.in(". 1(0) ack 5001");
  for (int i = 0; i < 5; ++i) t.in(". 1(0) ack 3001");
  t.quiet();
  EXPECT_EQ(t.info().fast_retransmits, 0U);
}

TEST(TcpUndo, ALossFoundTogetherWithAMistakeReducesAnew) {
  Flight t{30};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-4001>");
  t.skip();
  t.pass(50);
  t.in(". 1(0) ack 5001");  // the original came late; new data leaves
  t.pass(30);
  const std::uint32_t sent = 30'000 - t.info().send_unsent;
  ASSERT_GT(sent, 10'000U);
  t.pass(120);
  const std::string newest = std::to_string(sent - 999) + "-" + std::to_string(sent + 1);
  t.in(". 1(0) ack 5001 <sack 1-1001 " + newest + ">");
  EXPECT_EQ(t.info().spurious, 1U);
  EXPECT_EQ(t.info().fast_retransmits, 2U);
  EXPECT_TRUE(t.info().in_recovery);
  EXPECT_LT(t.info().cwnd, 7000U);  // seven tenths of what was in flight, which was no 10,000
}

TEST(TcpUndo, TheSocketTellsHowFarDataWasOvertaken) {
  Flight t{10};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 4001-5001>");
  EXPECT_EQ(t.info().reordering, 0U);
  t.in(". 1(0) ack 1 <sack 1001-2001 4001-5001>");
  EXPECT_EQ(t.info().reordering, 4U);
  t.in(". 1(0) ack 3001 <sack 4001-5001>");
  EXPECT_EQ(t.info().reordering, 5U);
}

// req: RFC5682-3.1-2
TEST(TcpUndo, AfterATimeoutNewDataGoesFirst) {
  for (const bool frto : {true, false}) {
    StackConfig config;
    config.tcp.frto = frto;
    Flight t{20, "<mss 1000,sackOK>", config};
    t.pass(210);
    t.skip();  // the tail probe, which is new data
    t.pass(400);
    t.out(". 1(1000) ack 1");
    EXPECT_EQ(t.info().timeouts, 1U);
    t.in(". 1(0) ack 1001");
    t.out(frto ? ". 11001(1000) ack 1" : ". 1001(1000) ack 1");
    t.out(frto ? ". 12001(1000) ack 1" : ". 2001(1000) ack 1");
    t.quiet();
    t.in(". 1(0) ack 2001");
    EXPECT_EQ(t.info().spurious, frto ? 1U : 0U);
    EXPECT_EQ(t.info().cwnd > 5000U, frto);
  }
}

// Less than a segment is left, and Nagle would keep it: what F-RTO waits for must not wait.
TEST(TcpUndo, AfterATimeoutALittleNewDataIsEnough) {
  StackConfig config;
  config.tcp.rack = false;
  Flight t{10, "<mss 1000,sackOK>", config};
  EXPECT_EQ(t.write(300), 300U);
  t.quiet();
  t.pass(400);
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 1001");
  t.out("P. 10001(300) ack 1");
  t.in(". 1(0) ack 1001 <sack 10001-10301>");  // everything between is lost
  t.out(". 1001(1000) ack 1");
  EXPECT_EQ(t.info().spurious, 0U);
}

TEST(TcpUndo, CanBeSwitchedOff) {
  StackConfig config;
  config.tcp.undo = false;
  Flight t{10, "<mss 1000,sackOK>", config};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 1001-4001>");
  t.out(". 1(1000) ack 1");
  t.in(". 1(0) ack 10001");
  const std::uint32_t reduced = t.info().cwnd;
  t.in(". 1(0) ack 10001 <sack 1-1001>");
  EXPECT_EQ(t.info().spurious, 0U);
  EXPECT_EQ(t.info().spurious_retransmits, 1U);
  EXPECT_EQ(t.info().cwnd, reduced);
}

// req: RFC8985-9.3-1, RFC8985-9.3-2, RFC6937-3-3
TEST(TcpUndo, WhatIsLostIsSentAgainNoFasterThanReductionAllows) {
  Flight t{10};
  t.pass(100);
  t.in(". 1(0) ack 1 <sack 7001-10001>");  // seven are lost: nothing is in flight any more
  EXPECT_EQ(t.skip(), 3U);                 // no more than were delivered
  EXPECT_TRUE(t.info().in_recovery);
  EXPECT_EQ(t.info().in_flight, 3000U);
  t.pass(100);
  t.in(". 1(0) ack 1001 <sack 7001-10001>");
  EXPECT_EQ(t.skip(), 2U);  // slow start: one more than was delivered
}

}  // namespace
}  // namespace tidewire::tcp
