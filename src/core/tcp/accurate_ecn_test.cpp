// Accurate ECN: the counters by themselves, then segments on the wire. A: AE, W: CWR, E: ECE.
#include "core/tcp/accurate_ecn.hpp"

#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using wire::Ecn;

TEST(AccurateEcn, TheFieldIsANumber) {
  for (std::uint8_t ace = 0; ace < 8; ++ace) EXPECT_EQ(ace_of(ace_flags(ace)), ace);
}

// req: RFC9768-MUST-5
TEST(AccurateEcn, CountsFromFive) {
  AccurateEcn counts;
  counts.start(Ecn::not_ect);
  EXPECT_EQ(counts.ace(), 5);
  counts.on_packet(Ecn::ect0, 3, 3000);
  EXPECT_EQ(counts.ace(), 5);
  counts.on_packet(Ecn::ce, 2, 2000);
  EXPECT_EQ(counts.ace(), 7);
  counts.on_packet(Ecn::ce, 1, 0);  // a pure ACK: a packet, but no bytes
  EXPECT_EQ(counts.ace(), 0);
  EXPECT_EQ(counts.counters().ect0(), 3001U);
  EXPECT_EQ(counts.counters().ce(), 2000U);
  EXPECT_EQ(counts.counters().ect1(), std::nullopt);
  counts.on_packet(Ecn::ect1, 1, 10);
  EXPECT_EQ(counts.counters().ect1(), 11U);
  counts.start(Ecn::ce);
  EXPECT_EQ(counts.ace(), 6);
}

// req: RFC9768-SHLD-1
TEST(AccurateEcn, ChangesAndEverySecondMarkAreUrgent) {
  AccurateEcn counts;
  counts.start(Ecn::not_ect);
  EXPECT_TRUE(counts.on_packet(Ecn::ect0, 1, 1000));  // as compared with the SYN
  counts.on_sent(false);
  EXPECT_FALSE(counts.on_packet(Ecn::ect0, 1, 1000));
  EXPECT_TRUE(counts.on_packet(Ecn::ce, 1, 1000));
  counts.on_sent(false);
  EXPECT_FALSE(counts.on_packet(Ecn::ce, 1, 1000));
  EXPECT_TRUE(counts.on_packet(Ecn::ce, 1, 1000));
  counts.on_sent(false);
  EXPECT_TRUE(counts.on_packet(Ecn::ect0, 1, 1000));
}

// req: RFC9768-SHLD-2
TEST(AccurateEcn, FeedbackWithoutTheOption) {
  AccurateEcn counts;
  counts.start(Ecn::not_ect);
  EXPECT_EQ(counts.feedback(5, {}, 2000, 1000), 0U);
  EXPECT_EQ(counts.feedback(6, {}, 2000, 1000), 1000U);
  EXPECT_EQ(counts.feedback(0, {}, 2000, 1000), 2000U);      // 6 to 8
  EXPECT_EQ(counts.feedback(1, {}, 0, 1000), 0U);            // nothing new: perhaps an older ACK
  EXPECT_EQ(counts.feedback(1, {}, 500, 1000), 500U);        // never more than arrived
  EXPECT_EQ(counts.feedback(3, {}, 20'000, 1000), 18'000U);  // 2, 10 or 18 of 20
  EXPECT_EQ(counts.feedback(3, {}, 20'000, 1000), 0U);
}

TEST(AccurateEcn, FeedbackWithTheOption) {
  AccurateEcn counts;
  counts.start(Ecn::not_ect);
  const auto option = [](std::uint32_t ce) {
    return std::optional{wire::AccEcnOption{false, 2, {1, ce, 0}}};
  };
  EXPECT_EQ(counts.feedback(6, option(700), 2000, 1000), 1000U);  // not known to work
  counts.on_option(*option(0));
  EXPECT_EQ(counts.feedback(7, option(1700), 2000, 1000), 700U);
  EXPECT_EQ(counts.feedback(7, option(1700), 2000, 1000), 0U);
  EXPECT_EQ(counts.feedback(7, option(1000), 2000, 1000), 0U);  // an older one
  EXPECT_EQ(counts.feedback(0, option(100'000), 2000, 1000), 2000U);
  counts.on_packet(Ecn::ect0, 1, 1);
  EXPECT_TRUE(counts.option());
}

TEST(AccurateEcn, AZeroedOptionIsNotBelieved) {
  AccurateEcn counts;
  counts.start(Ecn::not_ect);
  counts.on_option({false, 3, {0, 0, 0}});
  EXPECT_EQ(counts.feedback(5, wire::AccEcnOption{false, 2, {0, 5000, 0}}, 5000, 1000), 0U);
  EXPECT_FALSE(counts.option());
}

StackConfig with(EcnUse use) {
  StackConfig config;
  config.tcp.ecn = use;
  config.tcp.timestamps = false;
  config.tcp.congestion_control = "reno";
  return config;
}

EcnMode mode(const Trace& t) { return t.host.engine.info(t.socket)->ecn; }

void accept_accurate(Trace& t, const char* third_ack = "W. 1(0) ack 1") {
  t.listen();
  t.in("SAWE 0(0) win 65535 <mss 1000>");
  t.out("SW. 0(0) ack 1 ecn 0 <mss 1460,acc 1 0 1>");
  t.in(third_ack);
  t.socket = t.host.engine.accept(t.listener).value();
  t.quiet();
}

// req: RFC9768-MUST-2 RFC9768-SHLD-4
TEST(TcpAccurateEcn, TheAnswerTellsHowTheSynCame) {
  const struct {
    int ip;
    const char* answer;
  } cases[] = {{0, "SW."}, {1, "SWE."}, {2, "SA."}, {3, "SAW."}};
  for (const auto& c : cases) {
    Trace t{with(EcnUse::accurate)};
    t.listen();
    t.in("SAWE 0(0) win 65535 ecn " + std::to_string(c.ip) + " <mss 1000>");
    t.out(std::string{c.answer} + " 0(0) ack 1 ecn 0 <mss 1460,acc 1 0 1>");
    t.pass(1000);
    t.out(std::string{c.answer} + " 0(0) ack 1 ecn 0 <mss 1460>");
    EXPECT_FALSE(wire::to_repr(t.last.view()).options.acc_ecn);
    t.in("W. 1(0) ack 1");
    t.socket = t.host.engine.accept(t.listener).value();
    EXPECT_EQ(mode(t), EcnMode::accurate);
  }
}

// req: RFC9768-MUST-8
TEST(TcpAccurateEcn, WhatIsNoClassicRequestIsARequest) {
  for (const char* syn : {"SA", "SE", "SW", "SAE", "SAW"}) {
    Trace t{with(EcnUse::accurate)};
    t.listen();
    t.in(std::string{syn} + " 0(0) win 65535 <mss 1000>");
    t.out("SW. 0(0) ack 1");
  }
  Trace classic{with(EcnUse::accurate)};
  classic.listen();
  classic.in("SWE 0(0) win 65535 <mss 1000>");
  classic.out("SE. 0(0) ack 1");
  Trace none{with(EcnUse::accurate)};
  none.listen();
  none.in("S 0(0) win 65535 <mss 1000>");
  none.out("S. 0(0) ack 1");
  Trace older{with(EcnUse::accept)};  // knows RFC 3168 only
  older.listen();
  older.in("SAWE 0(0) win 65535 <mss 1000>");
  older.out("SE. 0(0) ack 1");
}

// req: RFC9768-MUST-3
TEST(TcpAccurateEcn, FallsBackToWhatTheAnswerSays) {
  const struct {
    const char* answer;
    EcnMode mode;
  } cases[] = {{"S.", EcnMode::off},       {"SE.", EcnMode::classic},  {"SAE.", EcnMode::classic},
               {"SAWE.", EcnMode::off},    {"SW.", EcnMode::accurate}, {"SWE.", EcnMode::accurate},
               {"SA.", EcnMode::accurate}, {"SAW.", EcnMode::accurate}};
  for (const auto& c : cases) {
    Trace t{with(EcnUse::accurate)};
    t.start_connect();
    t.out("SAWE 0(0) ecn 0");
    t.in(std::string{c.answer} + " 0(0) ack 1 win 65535 <mss 1000>");
    EXPECT_EQ(mode(t), c.mode) << c.answer;
  }
}

// req: RFC9768-MUST-4
TEST(TcpAccurateEcn, TheThirdAckTellsHowTheSynAckCame) {
  const struct {
    int ip;
    const char* ack;
    const char* later;
  } cases[] = {{0, "W.", "AE."}, {1, "WE.", "AE."}, {2, "A.", "AE."}, {3, "AW.", "AW."}};
  for (const auto& c : cases) {
    Trace t{with(EcnUse::accurate)};
    t.start_connect();
    t.out("SAWE 0(0)");
    t.in("SW. 0(0) ack 1 win 65535 ecn " + std::to_string(c.ip) + " <mss 1000>");
    t.out(std::string{c.ack} + " 1(0) ack 1 ecn 0");
    t.in("AE. 1(1000) ack 1");
    t.out(std::string{c.later} + " 1(0) ack 1001");
  }
}

// req: RFC9768-SHLD-3
TEST(TcpAccurateEcn, ASynAsksTwice) {
  Trace t{with(EcnUse::accurate)};
  t.start_connect();
  t.out("SAWE 0(0)");
  t.pass(1000);
  t.out("SAWE 0(0)");
  t.pass(2000);
  t.out("S 0(0)");
}

// req: RFC9768-MUST-5
TEST(TcpAccurateEcn, EveryAckCounts) {
  Trace t{with(EcnUse::accurate)};
  accept_accurate(t);
  t.in("AE. 1(1000) ack 1 ecn 2 <acc 1 0 1>");
  t.out("AE. 1(0) ack 1001 ecn 0 <acc 1001 0>");
  t.in("AE. 1001(1000) ack 1 ecn 3");
  t.out("AW. 1(0) ack 2001 <acc 1001 1000>");
  t.in("AE. 2001(1000) ack 1 ecn 3");
  t.out("AWE. 1(0) ack 3001 <acc 1001 2000>");
  t.in("AE. 3001(1000) ack 1 ecn 3");
  t.out(". 1(0) ack 4001");
  t.write(10);
  t.out("P. 1(10) ack 4001 ecn 2");
  EXPECT_EQ(t.host.engine.info(t.socket)->ce_received, 3U);
}

TEST(TcpAccurateEcn, AReportReducesTheWindowOnceARoundTrip) {
  Trace t{with(EcnUse::accurate)};
  accept_accurate(t);
  t.write(10'000);
  t.out("AE. 1(1000) ack 1 ecn 2");
  EXPECT_EQ(t.skip(), 9U);
  t.in("AW. 1(0) ack 2001");
  SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.ecn_reductions, 1U);
  EXPECT_EQ(info.cwnd, 5000U);
  EXPECT_EQ(info.ce_reported, 1000U);
  t.in(". 1(0) ack 4001 <acc 1 2500>");
  info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.ecn_reductions, 1U);
  EXPECT_EQ(info.ce_reported, 2500U);
}

// req: RFC9768-MUST-6
TEST(TcpAccurateEcn, AZeroInTheThirdAckMeansThatThePathClearsTheField) {
  Trace t{with(EcnUse::accurate)};
  accept_accurate(t, ". 1(0) ack 1");
  t.write(3000);
  t.out("AE. 1(1000) ack 1 ecn 0");
  t.skip();
  t.in("AWE. 1(0) ack 2001");
  EXPECT_EQ(t.host.engine.info(t.socket)->ecn_reductions, 0U);
  // As receiver it goes on counting.
  t.in("AE. 1(1000) ack 3001 ecn 3");
  t.pass(50);
  t.out("AW. 3001(0) ack 1001");
}

// req: RFC9768-MUST-7
TEST(TcpAccurateEcn, AMangledFieldIsNotUsed) {
  Trace server{with(EcnUse::accurate)};
  accept_accurate(server, "AW. 1(0) ack 1");  // our SYN-ACK arrived with CE
  server.write(100);
  server.out("AEP. 1(100) ack 1 ecn 0");
  Trace client{with(EcnUse::accurate)};
  client.start_connect();
  client.out("SAWE 0(0)");
  client.in("SA. 0(0) ack 1 win 65535 <mss 1000>");  // our SYN arrived with ECT(0)
  client.out("W. 1(0) ack 1");
  client.write(100);
  client.out("AEP. 1(100) ack 1 ecn 0");
  Trace good{with(EcnUse::accurate)};
  accept_accurate(good);
  good.write(100);
  good.out("AEP. 1(100) ack 1 ecn 2");
}

TEST(TcpAccurateEcn, ACookieHasRoomForTheOlderKindOnly) {
  StackConfig config = with(EcnUse::accurate);
  config.tcp.timestamps = true;
  config.tcp.syn_cookies = SynCookieUse::always;
  Trace t{config};
  t.listen();
  t.in("SAWE 0(0) win 65535 <mss 1460,sackOK,ts 100>");
  t.out("SE. 0(0) ack 1");
  t.in(". 1(0) ack 1 win 65535 <ts 101>");
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(mode(t), EcnMode::classic);
}

TEST(TcpAccurateEcn, NoFrameHasACounterThatWouldBeCut) {
  Trace t{with(EcnUse::accurate)};
  t.host.out.segment = false;
  accept_accurate(t);
  t.in("AE. 1(1000) ack 1 ecn 3");
  t.skip();
  t.write(5000);
  EXPECT_EQ(t.host.out.sent.size(), 5U);  // 6 is AE and CWR
  for (const WireSegment& s : t.host.out.sent) {
    EXPECT_EQ(s.segs, 1);
    EXPECT_EQ(ace_of(s.view().flags()), 6);
  }
}

}  // namespace
}  // namespace tidewire::tcp
