// The User Timeout Option (RFC 5482).
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

StackConfig with_option(std::int64_t advice_seconds = 924) {
  StackConfig config;
  config.tcp.timestamps = config.tcp.window_scaling = config.tcp.sack = false;
  config.tcp.user_timeout_option = true;
  config.tcp.user_timeout_advice = Duration::seconds(advice_seconds);
  return config;
}

constexpr std::int64_t kSecond = 1000;

struct Advised : Trace {
  explicit Advised(std::int64_t advice_seconds = 924) : Trace(with_option(advice_seconds)) {}
  /// Active open; the peer's first segment after its SYN-ACK carries `options`.
  void open(const std::string& options) {
    start_connect();
    out("S 0(0)");
    in("S. 0(0) ack 1 win 65535 <mss 1460" + options);
    skip();
  }
  /// Seconds from sending text that nobody acknowledges until the connection gives up.
  std::int64_t gives_up_after() {
    const Instant sent = host.context.now;
    write(10);
    for (int i = 0; i < 100'000 && state() == established; ++i) pass(kSecond);
    skip();
    return (host.context.now - sent).count_seconds();
  }
};

// req: RFC5482-3.1-1
TEST(TcpUserTimeout, OptionIsOffByDefault) {
  StackConfig config = with_option();
  config.tcp.user_timeout_option = StackConfig{}.tcp.user_timeout_option;
  Trace t{config};
  t.start_connect();
  t.out("S 0(0) <mss 1460>");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460,uto 1>");
  t.out(". 1(0) ack 1 <>");
  t.write(10);
  t.skip();
  t.pass(300 * kSecond);
  EXPECT_EQ(t.state(), established);
}

// req: RFC5482-3.2-1 RFC5482-3.2-2
TEST(TcpUserTimeout, ClientSendsItWithTheSynAndTheFirstSegmentAfter) {
  Advised t;
  t.start_connect();
  t.out("S 0(0) <mss 1460,uto 924>");
  t.pass(kSecond);
  t.out("S 0(0) <mss 1460,uto 924>");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460>");
  t.out(". 1(0) ack 1 <uto 924>");
  t.write(10);
  t.out("P. 1(10) ack 1 <>");
}

// req: RFC5482-3.2-1 RFC5482-3.2-2
TEST(TcpUserTimeout, ServerSendsItWithTheSynAckAndTheFirstSegmentAfter) {
  Advised t;
  t.listen();
  t.in("S 0(0) win 65535 <mss 1460>");
  t.out("S. 0(0) ack 1 <mss 1460,uto 924>");
  t.in(". 1(0) ack 1 win 65535");
  t.out(". 1(0) ack 1 <uto 924>");
  t.quiet();
}

// req: RFC5482-3.1-2
TEST(TcpUserTimeout, ThePeersAdviceIsAdopted) {
  Advised longer{100};
  longer.open(",uto 300>");
  EXPECT_GE(longer.gives_up_after(), 300);
  Advised shorter{100};
  shorter.open(",uto 20>");
  const std::int64_t least = shorter.gives_up_after();
  EXPECT_GE(least, 100);
  EXPECT_LT(least, 300);
  Advised minutes{100};
  minutes.open(",uto 32778>");  // ten minutes
  EXPECT_GE(minutes.gives_up_after(), 600);
}

// req: RFC5482-3.1-3
TEST(TcpUserTimeout, ThePeersAdviceHasLimits) {
  Advised t{100};
  t.open(",uto 65535>");  // three weeks
  const std::int64_t most = t.gives_up_after();
  EXPECT_GE(most, 3600);
  EXPECT_LT(most, 3600 + 240);
  Advised zero{100};
  zero.open(",uto 0>");
  EXPECT_GT(zero.gives_up_after(), 900);  // no advice: R2
}

// req: RFC5482-3.1-4
TEST(TcpUserTimeout, TheApplicationsOwnTimeoutStandsAndIsTold) {
  Advised t;
  t.open(",uto 3000>");
  t.set(SocketOption::user_timeout, Duration::seconds(30).count_nanos());
  t.out(". 1(0) ack 1 <uto 30>");
  t.quiet();
  EXPECT_LT(t.gives_up_after(), 60);
}

TEST(TcpUserTimeout, SecondsThatDoNotFitAreSaidInMinutes) {
  Advised t{32'768};
  t.start_connect();
  t.out("S 0(0) <mss 1460,uto 33315>");  // 547 minutes
}

TEST(TcpUserTimeout, ASocketTurnsItOnForItself) {
  StackConfig config = with_option();
  config.tcp.user_timeout_option = false;
  Trace t{config};
  t.socket = t.host.open();
  t.set(SocketOption::user_timeout_option, 1);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::user_timeout_option), 1);
  t.start_connect();
  t.out("S 0(0)");
  t.in("S. 0(0) ack 1 win 65535 <mss 1460>");
  t.out(". 1(0) ack 1 <uto 924>");
}

// As Linux: also where it is the device that takes nothing.
TEST(TcpUserTimeout, CountsWhileTheDeviceRefuses) {
  for (const bool set : {true, false}) {
    Trace t;
    t.accept();
    if (set) t.set(SocketOption::user_timeout, Duration::seconds(3).count_nanos());
    t.host.out.room = 0;
    t.write(24);
    t.pass(3100);
    EXPECT_EQ(t.state(), TcpState::established);
    t.pass(20'000);
    EXPECT_EQ(t.state(), set ? TcpState::closed : TcpState::established);
    EXPECT_EQ(t.error(), set ? SocketError::timed_out : SocketError::none);
  }
}

TEST(TcpUserTimeout, ForgetsARefusalThatIsOver) {
  Trace t;
  t.accept();
  t.set(SocketOption::user_timeout, Duration::seconds(3).count_nanos());
  t.host.out.room = 0;
  t.write(24);
  t.pass(2000);
  t.host.out.room = SIZE_MAX;
  t.host.out.is_blocked = false;
  t.host.engine.on_writable(0);
  t.out("P. 1(24) ack 1");
  t.in(". 1(0) ack 25");
  t.pass(10'000);
  EXPECT_EQ(t.state(), TcpState::established);
  t.quiet();
}

}  // namespace
}  // namespace tidewire::tcp
