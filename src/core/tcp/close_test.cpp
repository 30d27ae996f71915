// Closing a connection: every order of FINs, TIME-WAIT, reset, abort, what the application is told.
#include "core/tcp/phase.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

// req: RFC9293-3.10.4-1 RFC9293-3.10.7.4-9 RFC9293-3.10.7.4-10
TEST(TcpPhase, TableIsTheDiagramOfRfc9293) {
  using E = CloseEvent;
  struct Row {
    TcpState from;
    E event;
    TcpState to;
  };
  constexpr Row kMoves[] = {{syn_received, E::close, fin_wait_1},
                            {syn_received, E::fin_received, close_wait},
                            {established, E::close, fin_wait_1},
                            {established, E::fin_received, close_wait},
                            {fin_wait_1, E::fin_received, closing},
                            {fin_wait_1, E::fin_acked, fin_wait_2},
                            {fin_wait_2, E::fin_received, time_wait},
                            {close_wait, E::close, last_ack},
                            {closing, E::fin_acked, time_wait},
                            {last_ack, E::fin_acked, closed},
                            {listen, E::close, closed},
                            {syn_sent, E::close, closed}};
  for (int s = 0; s <= static_cast<int>(time_wait); ++s) {
    for (const E event : {E::close, E::fin_received, E::fin_acked}) {
      const auto from = static_cast<TcpState>(s);
      TcpState expected = from;
      for (const Row& row : kMoves) {
        if (row.from == from && row.event == event) expected = row.to;
      }
      EXPECT_EQ(next_phase(from, event), expected) << s << ' ' << static_cast<int>(event);
    }
  }
}

// req: RFC9293-MUST-13 RFC9293-3.10.7.4-9 RFC9293-3.10.7.4-10 RFC9293-3.10.8-1
TEST(TcpClose, ActiveCloseWaitsTwiceTheMsl) {
  Trace t;
  t.accept();
  t.shutdown();
  EXPECT_EQ(t.state(), fin_wait_1);
  t.out("F. 1(0) ack 1");
  t.in(". 1(0) ack 2");
  EXPECT_EQ(t.state(), fin_wait_2);
  EXPECT_EQ(t.ready() & kClosed, 0);
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.ready() & (kClosed | kPeerClosed), kClosed | kPeerClosed);
  EXPECT_EQ(t.error(), SocketError::none);
  t.close();
  EXPECT_EQ(t.states(), (std::vector{listen, time_wait}));
  t.pass(59'999);
  EXPECT_EQ(t.states(), (std::vector{listen, time_wait}));
  t.pass(1);
  EXPECT_EQ(t.states(), std::vector{listen});
  t.quiet();
}

// req: RFC9293-3.10.7.4-10 RFC9293-MUST-12
TEST(TcpClose, PassiveClose) {
  Trace t;
  t.accept();
  t.in("F. 1(10) ack 1");
  t.out(". 1(0) ack 12");
  EXPECT_EQ(t.state(), close_wait);
  EXPECT_EQ(t.ready() & (kPeerClosed | kReadable | kClosed), kPeerClosed | kReadable);
  EXPECT_EQ(t.read(), 10U);
  EXPECT_EQ(t.host.engine.receive(t.socket, {}, {}).value(), 0U);  // end of stream, no error
  t.write(5);
  t.out("P. 1(5) ack 12");
  t.close();
  t.out("F. 6(0) ack 12");
  EXPECT_EQ(t.states(), (std::vector{listen, last_ack}));
  t.in(". 12(0) ack 7");
  EXPECT_EQ(t.states(), std::vector{listen});
  t.quiet();
}

// req: RFC9293-3.10.7.4-9
TEST(TcpClose, SimultaneousClose) {
  Trace t;
  t.accept();
  t.shutdown();
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 1");
  EXPECT_EQ(t.state(), closing);
  t.out(". 2(0) ack 2");
  t.in(". 2(0) ack 2");
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.states(), (std::vector{listen, closed, time_wait}));
}

TEST(TcpClose, FinAndItsAckInOneSegmentGoToTimeWait) {
  Trace t;
  t.accept();
  t.shutdown();
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  EXPECT_EQ(t.states(), (std::vector{listen, closed, time_wait}));
}

// req: RFC9293-3.10.4-1
TEST(TcpClose, FinFollowsAllQueuedData) {
  Trace t;
  t.accept("<mss 1460>", "1000");
  t.write(1500);
  t.out(". 1(1000) ack 1");
  t.shutdown();
  EXPECT_EQ(t.state(), fin_wait_1);
  t.quiet();
  EXPECT_EQ(t.host.engine.send(t.socket, bytes_of("x"), {}).error(), SocketError::broken_pipe);
  t.in(". 1(0) ack 1001 win 1000");
  t.out("FP. 1001(500) ack 1");
  EXPECT_TRUE(t.host.engine.shutdown(t.socket, ShutdownHow::write));  // again: nothing new
  t.quiet();
}

TEST(TcpClose, HalfCloseStillReceives) {
  Trace t;
  t.accept();
  t.shutdown();
  t.out("F. 1(0) ack 1");
  t.in(". 1(0) ack 2");
  t.in("P. 1(100) ack 2");
  t.pass(40);
  t.out(". 2(0) ack 101");
  EXPECT_EQ(t.read(), 100U);
  EXPECT_EQ(t.state(), fin_wait_2);
  t.pass(1'000'000);  // an owner may wait as long as it likes
  EXPECT_EQ(t.state(), fin_wait_2);
}

TEST(TcpClose, AnOrphanInFinWait2IsForgotten) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.in(". 1(0) ack 2");
  EXPECT_EQ(t.states(), (std::vector{listen, fin_wait_2}));
  t.pass(60'000);
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpClose, FinIsSentAgain) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.pass(201);
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
}

// req: RFC9293-3.10.7.4-11
TEST(TcpClose, TimeWaitAnswersAFinAndBeginsAnew) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  t.pass(50'000);
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  t.pass(59'000);
  EXPECT_EQ(t.states(), (std::vector{listen, time_wait}));
  t.pass(1000);
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpClose, TimeWaitEndsWithAResetThatFits) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  t.in("R 1(0)");
  t.in("R. 3(0) ack 2");
  t.quiet();
  EXPECT_EQ(t.states(), (std::vector{listen, time_wait}));
  // A peer that lost its memory and chose the same port; its numbers do not show that it is new.
  t.in("S 1(0) win 1000");
  t.out(". 2(0) ack 2");
  t.in("R 2(0)");
  t.quiet();
  EXPECT_EQ(t.states(), std::vector{listen});
  t.in("S 1(0) win 1000");
  EXPECT_EQ(t.states(), (std::vector{listen, syn_received}));
}

// req: RFC9293-3.10.7.4-4 RFC9293-MAY-2 RFC6191-2-1
TEST(TcpClose, TimeWaitAcceptsANewerSyn) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.in("F. 1(0) ack 2");
  t.out(". 2(0) ack 2");
  const Seq old_end = t.our_isn + 2;
  t.in("S 1(0) win 1000");  // not newer: it is answered as any old segment
  t.out(". 2(0) ack 2");
  t.in("S 1000(0) win 1000 <mss 1460>");
  t.isn_known = false;
  t.peer_isn = t.peer_isn + 1000;
  t.out("S. 0(0) ack 1");
  EXPECT_TRUE(t.our_isn.after(old_end));
  EXPECT_EQ(t.states(), (std::vector{listen, syn_received}));
}

// req: RFC9293-SHLD-4
TEST(TcpClose, TimestampsTellWhetherASynIsNew) {
  const StackConfig config;
  for (const bool newer : {false, true}) {
    Trace t{config};
    t.accept("<mss 1460,ts 100>");
    t.close();
    t.out("F. 1(0) ack 1");
    t.in("F. 1(0) ack 2 <ts 200>");
    t.out(". 2(0) ack 2");
    t.in(newer ? "S -500(0) win 9 <mss 1460,ts 201>" : "S 500(0) win 9 <mss 1460,ts 199>");
    EXPECT_EQ(t.states(), (std::vector{listen, newer ? syn_received : time_wait}));
  }
}

// req: RFC9293-MUST-12 RFC9293-3.10.7.4-2 RFC5961-3.2-2
TEST(TcpClose, ResetIsToldApartFromFin) {
  Trace t;
  t.accept();
  t.in("P. 1(10) ack 1");
  t.skip();
  t.in("R 11(0)");
  EXPECT_EQ(t.state(), closed);
  EXPECT_EQ(t.ready() & (kError | kClosed | kPeerClosed), kError | kClosed);
  EXPECT_EQ(t.read(), 10U);  // what came before can still be read
  std::byte b{};
  EXPECT_EQ(t.host.engine.receive(t.socket, {&b, 1}, {}).error(), SocketError::connection_reset);
  EXPECT_EQ(t.host.engine.receive(t.socket, {&b, 1}, {}).value(), 0U);
  EXPECT_EQ(t.host.engine.send(t.socket, bytes_of("x"), {}).error(), SocketError::broken_pipe);
  t.quiet();
}

// req: RFC9293-3.10.5-1
TEST(TcpClose, AbortSendsRst) {
  Trace t;
  t.accept();
  t.write(10);
  t.out("P. 1(10) ack 1");
  t.host.engine.abort(t.socket);
  t.out("R. 11(0) ack 1");
  EXPECT_EQ(t.states(), std::vector{listen});
  t.in(". 1(0) ack 11");  // meets nobody any more
  t.out("R 11(0)");
}

// req: RFC9293-SHLD-3
TEST(TcpClose, UnreadDataTurnsCloseIntoReset) {
  Trace t;
  t.accept();
  t.in("P. 1(10) ack 1");
  t.skip();
  t.close();
  t.out("R. 1(0) ack 11");
  EXPECT_EQ(t.states(), std::vector{listen});
}

// req: RFC9293-SHLD-3 RFC9293-MAY-1
TEST(TcpClose, DataForAnOrphanIsAnsweredWithReset) {
  Trace t;
  t.accept();
  t.close();
  t.out("F. 1(0) ack 1");
  t.in("P. 1(10) ack 1");  // sent before our FIN arrived: the peer expects 1
  t.out("R 1(0)");
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpClose, LingerZeroResets) {
  Trace t;
  t.accept();
  t.set(SocketOption::linger, 0);
  t.close();
  t.out("R. 1(0) ack 1");
}

TEST(TcpClose, ClosingASocketThatConnectsIsSilent) {
  Trace t;
  t.start_connect();
  t.out("S 0(0)");
  t.close();
  t.quiet();
  EXPECT_TRUE(t.states().empty());
}

TEST(TcpClose, ClosingAListenerResetsWhatNobodyAccepted) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.host.engine.close(t.listener);
  t.out("R. 1(0) ack 1");
  EXPECT_TRUE(t.states().empty());
  t.in("S 0(0) win 1000");
  t.skip();
}

TEST(TcpClose, OutOfOrderFinCountsWhenItsTurnComes) {
  Trace t;
  t.accept();
  t.in("F. 101(10) ack 1");
  t.out(". 1(0) ack 1");
  EXPECT_EQ(t.state(), established);
  t.in(". 1(100) ack 1");
  t.out(". 1(0) ack 112");
  EXPECT_EQ(t.state(), close_wait);
  EXPECT_EQ(t.read(), 110U);
}

TEST(TcpClose, ASocketIdSurvivesAResetUntilClose) {
  Trace t;
  t.accept();
  t.in("R 1(0)");
  EXPECT_TRUE(t.host.engine.info(t.socket));
  t.close();
  EXPECT_FALSE(t.host.engine.info(t.socket));
  EXPECT_EQ(t.host.engine.send(t.socket, bytes_of("x"), {}).error(), SocketError::unknown_socket);
}

TEST(TcpClose, AConnectionResetBeforeAcceptIsHandedOverDead) {
  Trace t;
  t.listen();
  t.in("S 0(0) win 1000");
  t.out("S. 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.in("R 1(0)");
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(t.error(), SocketError::connection_reset);
  t.close();
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpClose, AfterAResetNothingWaitsToBeSent) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(3000);
  t.skip();
  t.in("R. 1(0) ack 1");
  const auto info = t.host.engine.info(t.socket);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->state, closed);
  EXPECT_EQ(info->send_queue, 0U);
  EXPECT_EQ(info->send_unsent, 0U);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unsent), 0);
}

}  // namespace
}  // namespace tidewire::tcp
