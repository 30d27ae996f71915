// Timestamps and PAWS (RFC 7323), MSS and other options.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

struct Stamped : Trace {
  Stamped() {
    accept("<mss 1460,sackOK,ts 100>");
    set(SocketOption::quick_ack, 0);
  }
};

// req: RFC7323-3.2-1 RFC7323-3.2-2 RFC7323-3.2-3 RFC7323-3.2-7 RFC7323-A-1
TEST(TcpStamps, EverySegmentCarriesThemOnceNegotiated) {
  Stamped t;
  t.write(10);
  t.out("P. 1(10) ack 1 <ts 101>");
  EXPECT_EQ(wire::load_u32(t.last.bytes.data() + 20), wire::kAlignedTimestamps);
  t.in(". 1(0) ack 11 <ts 110>");
  t.host.engine.abort(t.socket);
  t.out("R. 11(0) ack 1 <ts 110>");
}

TEST(TcpStamps, AreNotUsedIfThePeerDoesNot) {
  Trace t;
  t.accept("<mss 1460>");
  t.write(10);
  t.out("P. 1(10) ack 1 <none>");
  t.in(". 1(10) ack 11 <ts 5>");  // out of the blue: ignored
  EXPECT_EQ(t.read(), 10U);
  t.pass(40);
  t.out(". 11(0) ack 11 <none>");
}

// req: RFC7323-3.2-4 RFC7323-3.2-5
TEST(TcpStamps, ASegmentWithoutThemIsDroppedIfConfiguredSoButDoesNotAbort) {
  StackConfig config;
  config.tcp.timestamps_required = true;
  Trace t{config};
  t.accept("<mss 1460,sackOK,ts 100>");
  t.in("P. 1(10) ack 1");
  t.quiet();
  EXPECT_EQ(t.read(), 0U);
  EXPECT_EQ(t.state(), established);
  t.in("R 1(0)");
  EXPECT_EQ(t.state(), closed);
}

// As Linux.
TEST(TcpStamps, ASegmentWithoutThemIsTaken) {
  Trace t;
  t.accept("<mss 1460,sackOK,ts 100>", "65535", "<none>");  // the handshake's ACK has none either
  t.in("P. 1(10) ack 1");
  t.out(". 1(0) ack 11 <ts 100>");
  EXPECT_EQ(t.read(), 10U);
  t.in("P. 11(10) ack 1 <ts 99>");  // PAWS goes on
  t.out(". 1(0) ack 11 <ts 100>");
  EXPECT_EQ(t.read(), 0U);
}

// As Linux: such a SYN-ACK answers the SYN of another connection.
TEST(TcpStamps, ASynAckMustEchoASynOfOurs) {
  Trace t;
  t.start_connect();
  t.pass(10);
  t.out("S 0(0) <mss 1460,sackOK,ws 7,ts 0>");
  const std::uint32_t sent = t.last_tsval;
  t.pass(1000);
  t.out("S 0(0) <mss 1460,sackOK,ws 7,ts 0>");
  const auto answer = [&](std::uint32_t echo) {
    t.in("S. 0(0) ack 1 <mss 1460,ts 100 " + std::to_string(echo) + ">");
  };
  for (const std::uint32_t wrong : {sent - 1, sent + 2000}) {
    answer(wrong);
    t.out("R 1(0)");
    EXPECT_EQ(t.state(), syn_sent);
  }
  answer(sent);
  t.out(". 1(0) ack 1 <ts 100>");
  EXPECT_EQ(t.state(), established);
}

// req: RFC7323-3.2-6 RFC7323-3.2-8
TEST(TcpStamps, ASynEchoesZero) {
  Trace t;
  t.start_connect();
  t.out("S 0(0) <mss 1460,sackOK,ws 7,ts 0>");
}

// req: RFC7323-5.3-1
TEST(TcpStamps, AnOldOneIsAnsweredAndDropped) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.pass(40);
  t.out(". 1(0) ack 11 <ts 200>");
  t.in("P. 11(10) ack 1 <ts 199>");
  t.out(". 1(0) ack 11 <ts 200>");
  EXPECT_EQ(t.read(), 10U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_paws), 1U);
}

// A retransmission fills a gap and has overtaken data that was sent before it: that is no old data.
TEST(TcpStamps, WhatARetransmissionOvertookIsTaken) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.in("P. 21(10) ack 1 <ts 202>");
  t.in("P. 11(10) ack 1 <ts 300>");  // again; the first copy got lost
  t.skip();
  t.in("P. 31(10) ack 1 <ts 203>");
  EXPECT_EQ(t.read(), 40U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_paws), 0U);
  t.pass(40);
  t.skip();
  t.in("P. 41(10) ack 1 <ts 301>");  // nothing is missing
  t.pass(40);
  t.skip();
  t.in("P. 51(10) ack 1 <ts 204>");
  EXPECT_EQ(t.read(), 10U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_paws), 1U);
}

// Gap after gap, nothing is ever taken that is more than a second old.
TEST(TcpStamps, WhatWasOvertakenByASecondIsOld) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.in("P. 21(10) ack 1 <ts 202>");
  t.in("P. 11(10) ack 1 <ts 1300>");
  t.in("P. 31(10) ack 1 <ts 275>");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_paws), 1U);
  t.in("P. 31(10) ack 1 <ts 276>");
  EXPECT_EQ(t.host.dropped(DropReason::tcp_paws), 1U);
  EXPECT_EQ(t.read(), 40U);
}

// req: RFC7323-5.3-4
TEST(TcpStamps, PawsDoesNotApplyToRst) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.in("R. 11(0) ack 1 <ts 5>");
  EXPECT_EQ(t.state(), closed);
}

// req: RFC7323-5.3-2 RFC7323-5.3-3 RFC7323-4.3-1 RFC7323-4.3-2
TEST(TcpStamps, RecentMovesOnlyWithTheLeftEdge) {
  Stamped t;
  t.in("P. 101(10) ack 1 <ts 300>");  // beyond a gap
  t.out(". 1(0) ack 1 <ts 101,sack 101-111>");
  t.in(". 90000(10) ack 1 <ts 400>");  // outside the window
  t.in("P. 1(10) ack 1 <ts 301>");
  t.in("P. 11(10) ack 1 <ts 302>");  // the earliest one not acknowledged counts
  t.skip();
  t.in("P. 21(80) ack 1 <ts 303>");
  t.out(". 1(0) ack 111 <ts 303>");
}

// req: RFC7323-4.3-2
TEST(TcpStamps, ADelayedAckEchoesTheEarliest) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.in("P. 11(10) ack 1 <ts 250>");
  t.pass(40);
  t.out(". 1(0) ack 21 <ts 200>");
}

// req: RFC7323-5.5-1
TEST(TcpStamps, RecentExpiresAfterTwentyFourDays) {
  Stamped t;
  t.in("P. 1(10) ack 1 <ts 200>");
  t.skip();
  t.pass(25LL * 86'400'000);
  t.skip();
  t.in("P. 11(10) ack 1 <ts 5>");
  EXPECT_EQ(t.read(), 20U);
}

// req: RFC7323-4.1-1
TEST(TcpStamps, OnlyAnAckOfNewDataMeasuresTheRoundTrip) {
  Stamped t;
  t.write(10);
  t.skip();
  t.pass(50);
  const Duration before = t.host.engine.info(t.socket)->srtt;
  t.in(". 1(0) ack 1 <ts 150>");
  EXPECT_EQ(t.host.engine.info(t.socket)->srtt, before);
  t.in(". 1(0) ack 11 <ts 151>");
  EXPECT_GT(t.host.engine.info(t.socket)->srtt, before);
}

// req: RFC7323-5.4-1 RFC7323-5.4-2 RFC7323-7-1
TEST(TcpStamps, TheClockTicksEachMillisecondFromAnOffsetOfItsOwn) {
  Stamped t;
  t.write(10);
  t.out("P. 1(10) ack 1");
  const std::uint32_t first = t.last_tsval;
  t.pass(150);
  t.in(". 1(0) ack 11 <ts 300>");
  t.write(10);
  t.out("P. 11(10) ack 1");
  EXPECT_EQ(t.last_tsval - first, 150U);
  Trace other;
  other.host.out.v4 = IpAddress::v4(10, 0, 0, 77);
  other.accept("<mss 1460,ts 1>");
  other.write(1);
  other.out("P. 1(1) ack 1");
  EXPECT_NE(other.last_tsval, first);
}

// req: RFC9293-MUST-15
TEST(TcpStamps, WithoutMssOptionSegmentsAreSmall) {
  Trace t;
  t.accept("");
  t.write(1000);
  t.out(". 1(536) ack 1");
  StackConfig config;
  Host six{config};
  const SocketId listener = six.listen(80, 8, Family::v6);
  Trace maker;
  WireSegment syn = maker.make("S 0(0) win 65535");
  syn.source = parse_ip("fd00::2").value();
  syn.destination = six.out.v6;
  store_checksum(syn);
  six.receive(syn);
  (void)six.poll();
  WireSegment ack = maker.make(". 1(0) ack 1");
  wire::store_u32(ack.bytes.data() + 8, six.out.sent.front().view().seq().value() + 1);
  ack.source = syn.source;
  ack.destination = syn.destination;
  store_checksum(ack);
  six.receive(ack);
  EXPECT_EQ(six.engine.info(six.engine.accept(listener).value())->mss, 1220U);
}

// req: RFC9293-MUST-16 RFC9293-MUST-67
TEST(TcpStamps, SegmentSizeIsTheLeastOfPeerAndPathLessOptions) {
  struct Case {
    std::uint32_t mtu;
    const char* options;
    std::uint32_t mss;
  };
  for (const Case& c : {Case{1500, "<mss 1460>", 1460}, Case{1500, "<mss 9000>", 1460},
                        Case{576, "<mss 1460>", 536}, Case{9000, "<mss 1460>", 1460},
                        Case{1500, "<mss 1460,ts 100>", 1448}, Case{1500, "<mss 500,ts 100>", 488},
                        Case{1500, "<mss 0>", 88}, Case{1500, "<mss 1>", 88},
                        Case{1500, "<mss 47>", 88}, Case{65'535, "<mss 65535>", 65'495}}) {
    Trace t;
    t.host.out.mtu = c.mtu;
    t.accept(c.options);
    EXPECT_EQ(t.host.engine.info(t.socket)->mss, c.mss) << c.mtu << ' ' << c.options;
  }
}

// req: RFC9293-MUST-65 RFC9293-MUST-4 RFC2018-2-1
TEST(TcpStamps, SynOptionsStandInSynsOnly) {
  Trace t;
  t.accept("<mss 1460,sackOK,ws 3>");
  t.write(10);
  t.out("P. 1(10) ack 1 <none>");
  t.shutdown();
  t.out("F. 11(0) ack 1 <none>");
}

// req: RFC9293-MUST-4 RFC9293-MUST-5 RFC9293-MUST-6 RFC9293-MUST-7 RFC9293-MUST-64 RFC9293-MUST-68
// req: RFC9293-MUST-69
TEST(TcpStamps, OptionsInAnyOrderAndShapeAreSurvived) {
  const std::vector<std::vector<int>> lists = {
      {1, 1, 2, 4, 5, 0xb4, 0, 0},   // NOPs, MSS off its word, end of list
      {99, 4, 1, 2, 2, 4, 5, 0xb4},  // unknown, then MSS
      {99, 3, 1, 2, 4, 5, 0xb4, 0},  // odd alignment
      {2, 4, 5, 0xb4, 3, 0, 0, 0},   // length 0
      {2, 4, 5, 0xb4, 3, 1, 0, 0},   // length 1
      {2, 4, 5, 0xb4, 8, 40, 0, 0},  // runs past the end
      {0, 2, 4, 5, 0xb4, 0, 0, 0},   // options after the end of the list
      std::vector<int>(40, 1),       // nothing but NOP
      {254, 40}};
  for (const auto& list : lists) {
    Trace t;
    t.listen();
    WireSegment syn = t.make("S 0(0) win 1000");
    std::vector<std::byte> options;
    for (const int b : list) options.push_back(static_cast<std::byte>(b));
    options.resize((options.size() + 3) / 4 * 4);
    syn.bytes.insert(syn.bytes.end(), options.begin(), options.end());
    syn.bytes[12] = static_cast<std::byte>((20 + options.size()) / 4 << 4);
    store_checksum(syn);
    t.host.receive(syn);
    t.out("S. 0(0) ack 1");
    const WireSegment reply = t.last;
    EXPECT_EQ(reply.bytes.size(), reply.view().header_len());
  }
}

// req: RFC9293-MUST-2 RFC9293-MUST-3
TEST(TcpStamps, ChecksumIsMadeAndChecked) {
  Trace t;
  t.accept();
  WireSegment s = t.make("P. 1(10) ack 1");
  s.bytes.back() ^= std::byte{1};
  t.host.receive(s);
  EXPECT_EQ(t.read(), 0U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_bad_checksum), 1U);
  t.write(10);
  t.out("P. 1(10) ack 1");
  EXPECT_TRUE(t.last.view().checksum_ok(t.last.source, t.last.destination));
}

// req: RFC9293-MUST-48 RFC9293-MUST-49 RFC9293-SHLD-21 RFC9293-SHLD-22
TEST(TcpStamps, TosAndTtlAreTheApplications) {
  Trace t;
  t.accept();
  t.set(SocketOption::tos, 0x10);
  t.set(SocketOption::ttl, 7);
  t.write(1);
  t.out("P. 1(1) ack 1");
  EXPECT_EQ(t.last.tos, 0x10);
  EXPECT_EQ(t.last.ttl, 7);
  t.set(SocketOption::tos, 0x08);
  t.in(". 1(0) ack 2");
  t.write(1);
  t.out("P. 2(1) ack 1");
  EXPECT_EQ(t.last.tos, 0x08);
}

/// A path that reorders and then loses a segment of 1000 bytes, at 2001; 1000 bytes a segment.
struct Reordered : Trace {
  Reordered() {
    listen();
    in("S 0(0) win 65535 <mss 1012,sackOK,ts 100>");
    out("S. 0(0) ack 1");
    first = last_tsval;
    pass(100);
    in(". 1(0) ack 1 <ts 200>");
    socket = host.engine.accept(listener).value();
    write(30'000);
    EXPECT_EQ(skip(), 10U);
    pass(100);
    in(". 1(0) ack 1 <ts 300,sack 1001-2001>");
    in(". 1(0) ack 2001 <ts 301>");  // late, not lost
    skip();
    in(". 1(0) ack 2001 <ts 301,sack 3001-6001>");
    skip();
    pass(25);  // a quarter of the round trip
    out(". 2001(1000) ack 1");
  }
  void acknowledge_with(std::uint32_t echo) {
    in(". 1(0) ack 6001 <ts 450 " + std::to_string(first + echo) + ">");
  }
  std::uint32_t first = 0;
};

// The gap that it fills moves TS.Recent, and data that left before it and was late would look old.
TEST(TcpStamps, OnAPathThatReordersARetransmissionIsStampedBeforeWhatItOvertakes) {
  Reordered t;
  EXPECT_EQ(t.last_tsval - t.first, 200U);  // sent at 225
  t.acknowledge_with(200);
  EXPECT_EQ(t.host.engine.info(t.socket)->spurious, 0U);
}

// req: RFC3522-3.2-1
TEST(TcpStamps, TheAnswerToTheOriginalIsStillTold) {
  Reordered t;
  t.acknowledge_with(199);
  EXPECT_EQ(t.host.engine.info(t.socket)->spurious, 1U);
}

TEST(TcpStamps, WithoutReorderingARetransmissionTellsTheTimeItLeft) {
  Trace t;
  t.accept("<mss 1012,sackOK,ts 100>");
  const std::uint32_t first = t.last_tsval;
  t.write(10'000);
  t.skip();
  t.pass(1);
  t.in(". 1(0) ack 1 <ts 101,sack 1001-6001>");
  t.out(". 1(1000) ack 1");
  EXPECT_EQ(t.last_tsval - first, 1U);
}

// req: RFC2883-4-1
TEST(TcpStamps, WhatIsOldAndWasReceivedBeforeIsReported) {
  Trace t;
  t.accept("<mss 1460,sackOK,ts 100>");
  t.in("P. 1(10) ack 1 <ts 200>");
  t.skip();
  t.in("P. 1(10) ack 1 <ts 150>");
  t.out(". 1(0) ack 11 <ts 200,sack 1-11>");
  EXPECT_EQ(t.host.context.counters.drops[static_cast<std::size_t>(DropReason::tcp_paws)], 1U);
}

}  // namespace
}  // namespace tidewire::tcp
