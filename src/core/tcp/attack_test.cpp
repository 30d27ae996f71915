// Segments a stranger might send: resets, SYNs and ACKs in the window (RFC 5961).
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

StackConfig plain() {
  StackConfig config;
  config.tcp.timestamps = config.tcp.window_scaling = false;
  return config;
}

/// Brings a connection into a state and names what it has sent and received then.
struct Placed : Trace {
  TcpState placed;
  std::uint32_t rcv = 1;  ///< rcv.nxt
  std::uint32_t snd = 1;  ///< snd.nxt

  explicit Placed(TcpState state) : Trace(plain()), placed(state) {
    accept();
    if (state == fin_wait_1 || state == fin_wait_2 || state == closing) {
      shutdown();
      snd = 2;
    }
    if (state == fin_wait_2) in(". 1(0) ack 2");
    if (state == closing) {
      in("F. 1(0) ack 1");
      rcv = 2;
    }
    if (state == close_wait || state == last_ack) {
      in("F. 1(0) ack 1");
      rcv = 2;
    }
    if (state == last_ack) {
      shutdown();
      snd = 2;
    }
    skip();
    EXPECT_EQ(this->state(), state);
  }
  std::string seg(const char* flags, std::int64_t from_rcv, std::uint32_t length,
                  std::int64_t from_snd = 0) const {
    return std::string{flags} + " " + std::to_string(rcv + from_rcv) + "(" +
           std::to_string(length) + ") ack " + std::to_string(snd + from_snd);
  }
  std::string ack() const { return ". " + std::to_string(snd) + "(0) ack " + std::to_string(rcv); }
};

class TcpInState : public ::testing::TestWithParam<TcpState> {};
INSTANTIATE_TEST_SUITE_P(Synchronized, TcpInState,
                         ::testing::Values(established, fin_wait_1, fin_wait_2, close_wait, closing,
                                           last_ack),
                         [](const auto& param) {
                           std::string name{to_string(param.param)};
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// req: RFC5961-3.2-1 RFC9293-3.10.7.4-2
TEST_P(TcpInState, RstOutsideTheWindowIsDropped) {
  Placed t{GetParam()};
  t.in(t.seg("R", -1, 0));
  t.in(t.seg("R", 65'536, 0));
  t.in(t.seg("R", -70'000, 0));
  t.quiet();
  EXPECT_EQ(t.state(), GetParam());
  EXPECT_EQ(t.host.dropped(DropReason::tcp_bad_reset), 3U);
}

// req: RFC5961-3.2-3 RFC9293-3.10.7.4-2
TEST_P(TcpInState, RstInTheWindowIsChallenged) {
  Placed t{GetParam()};
  for (const int where : {1, 1000, 65'534}) {
    t.in(t.seg("R", where, 0));
    t.out(t.ack());
  }
  EXPECT_EQ(t.state(), GetParam());
  EXPECT_EQ(t.host.context.counters.tcp_challenge_acks, 3U);
}

// req: RFC5961-3.2-2 RFC9293-3.10.7.4-2
TEST_P(TcpInState, RstAtTheLeftEdgeResets) {
  Placed t{GetParam()};
  t.in(t.seg("R", 0, 0));
  t.quiet();
  EXPECT_EQ(t.state(), closed);
  const bool aborted = GetParam() != closing && GetParam() != last_ack;
  EXPECT_EQ(t.error() != SocketError::none, aborted);
}

// req: RFC9293-SHLD-2
TEST_P(TcpInState, RstMayCarryText) {
  Placed t{GetParam()};
  t.in(t.seg("R", 0, 20));
  EXPECT_EQ(t.state(), closed);
}

// req: RFC5961-4.2-1 RFC9293-3.10.7.4-4
TEST_P(TcpInState, SynIsChallengedWhereverItStands) {
  Placed t{GetParam()};
  for (const int where : {-100'000, -1, 0, 5, 70'000}) {
    t.in(t.seg("S", where, 0));
    t.out(t.ack());
    t.in(t.seg("S.", where, 0));
    t.out(t.ack());
  }
  EXPECT_EQ(t.state(), GetParam());
}

// req: RFC9293-3.10.7.4-6
TEST_P(TcpInState, WithoutAckNothingCounts) {
  Placed t{GetParam()};
  WireSegment s = t.make(t.seg("P.", 0, 10));
  s.bytes[13] = std::byte{0x08};
  store_checksum(s);
  t.host.receive(s);
  s.bytes[13] = std::byte{0x01};
  store_checksum(s);
  t.host.receive(s);
  t.quiet();
  EXPECT_EQ(t.state(), GetParam());
  EXPECT_EQ(t.host.dropped(DropReason::tcp_no_ack), 2U);
}

// req: RFC9293-3.10.7.4-8 RFC5961-5.2-1
TEST_P(TcpInState, AckOfTheFutureIsAnsweredAndDropped) {
  Placed t{GetParam()};
  t.in(t.seg("F.", 0, 10, 1));
  t.out(t.ack());
  t.in(t.seg(".", 0, 0, 1'000'000'000));
  t.out(t.ack());
  EXPECT_EQ(t.state(), GetParam());
}

// req: RFC9293-3.10.7.4-1
TEST_P(TcpInState, UnacceptableSegmentsAreAnsweredWithAnAck) {
  Placed t{GetParam()};
  t.in(t.seg(".", -10, 5));
  t.out(t.ack());
  t.in(t.seg(".", 70'000, 5));
  t.out(t.ack());
  t.in(t.seg(".", -1, 0));  // a keepalive
  t.out(t.ack());
  EXPECT_EQ(t.state(), GetParam());
}

// req: RFC5961-7-1 RFC5961-7-2
TEST(TcpAttack, ChallengesAreLimitedForEachConnection) {
  Placed t{established};
  for (int i = 0; i < 50; ++i) t.in("R 100(0)");
  EXPECT_EQ(t.skip(), 10U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_challenge_limited), 40U);
  t.pass(1000);
  t.in("R 100(0)");
  EXPECT_EQ(t.skip(), 1U);
}

// Two ends that answer each other's empty segments for ever would fill the network.
TEST(TcpAttack, EmptySegmentsOutsideTheWindowDoNotPingPong) {
  Placed t{established};
  for (int i = 0; i < 1000; ++i) t.in(". 100000(0) ack 1");
  EXPECT_LE(t.skip(), 10U);
}

TEST(TcpAttack, LandSegmentsAreHarmless) {
  Trace t;
  t.listen();
  WireSegment s = t.make("S 0(0) win 1000");
  s.source = t.host.out.v4;
  wire::store_u16(s.bytes.data(), 80);
  store_checksum(s);
  t.host.receive(s);
  for (int i = 0; i < 20; ++i) {
    t.poll();
    if (!t.host.out.sent.empty()) {
      const WireSegment back = t.host.out.sent.front();
      t.host.out.sent.pop_front();
      t.host.receive(back);
    }
  }
  EXPECT_LE(t.states().size(), 2U);
  EXPECT_LE(t.skip(), 1U);
}

// req: RFC9293-MUST-8 RFC9293-MUST-9 RFC9293-SHLD-1 RFC6528-3-1
TEST(TcpAttack, InitialSequenceNumbersTickAndDiffer) {
  const auto isn = [](std::uint64_t seed, std::int64_t at_ms, std::uint16_t port) {
    Host host{{}, seed};
    host.context.now += Duration::millis(at_ms);
    const SocketId id = host.open();
    EXPECT_TRUE(host.engine.bind(id, {host.out.v4, 4000, 0}));
    EXPECT_TRUE(host.engine.connect(id, Endpoint{IpAddress::v4(10, 0, 0, 2), port, 0}));
    (void)host.poll();
    return host.out.sent.front().view().seq();
  };
  const Seq first = isn(1, 0, 80);
  EXPECT_EQ(isn(1, 0, 80), first);
  EXPECT_EQ(Seq::span(first, isn(1, 4, 80)), 1000U);  // a tick of 4 microseconds
  EXPECT_NE(isn(1, 0, 81), first);
  EXPECT_NE(isn(2, 0, 80), first);
}

}  // namespace
}  // namespace tidewire::tcp
