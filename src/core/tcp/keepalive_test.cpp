// Keepalive (RFC 9293 §3.8.4).
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

constexpr std::int64_t kHour = 3'600'000;

struct Idle : Trace {
  explicit Idle(bool on = true) {
    accept("<mss 1000>");
    if (on) set(SocketOption::keep_alive, 1);
  }
};

// req: RFC9293-MUST-25
TEST(TcpKeepalive, IsOffByDefault) {
  Idle t{false};
  t.pass(30 * 24 * kHour);
  t.quiet();
  EXPECT_EQ(t.state(), established);
}

// req: RFC9293-MUST-24 RFC9293-MUST-28 RFC9293-SHLD-12 RFC9293-MAY-5
TEST(TcpKeepalive, ProbesAfterTwoHoursWithoutText) {
  Idle t;
  t.pass(2 * kHour - 1);
  t.quiet();
  t.pass(1);
  t.out(". 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.pass(2 * kHour - 1);
  t.quiet();
  t.pass(1);
  t.out(". 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.set(SocketOption::keep_alive, 0);
  t.pass(10 * kHour);
  t.quiet();
}

// req: RFC9293-MUST-29
TEST(TcpKeepalive, OneLostProbeIsNoDeath) {
  Idle t;
  t.pass(2 * kHour);
  t.out(". 0(0) ack 1");
  for (int i = 0; i < 8; ++i) {
    t.pass(75'000);
    t.out(". 0(0) ack 1");
  }
  EXPECT_EQ(t.state(), established);
  t.in(". 1(0) ack 1");
  t.pass(75'000);
  t.quiet();
}

TEST(TcpKeepalive, NineLostProbesEndTheConnection) {
  Idle t;
  t.pass(2 * kHour + 9 * 75'000 - 1);
  EXPECT_EQ(t.state(), established);
  EXPECT_EQ(t.skip(), 9U);
  t.pass(1);
  EXPECT_EQ(t.error(), SocketError::timed_out);
  t.out("R. 1(0) ack 1");
}

TEST(TcpKeepalive, ABusyConnectionIsNotLookedAtEachMillisecond) {
  Idle t;
  t.set(SocketOption::keep_idle, Duration::millis(1).count_nanos());
  t.write(10);
  t.skip();
  const Instant end = t.host.context.now + Duration::seconds(1);
  int turns = 0;
  for (; t.host.engine.next_deadline() <= end; ++turns) {
    t.host.run_until(t.host.engine.next_deadline());
  }
  EXPECT_LT(turns, 20);
}

// req: RFC9293-MUST-27
TEST(TcpKeepalive, IntervalsAreTheApplications) {
  Idle t;
  t.set(SocketOption::keep_idle, Duration::seconds(10).count_nanos());
  t.set(SocketOption::keep_interval, Duration::seconds(1).count_nanos());
  t.set(SocketOption::keep_count, 2);
  t.pass(9'999);
  t.quiet();
  t.pass(1);
  t.out(". 0(0) ack 1");
  t.pass(1000);
  t.out(". 0(0) ack 1");
  t.pass(1000);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

// req: RFC9293-MUST-26
TEST(TcpKeepalive, WaitsForSilenceAndForOutstandingData) {
  Idle t;
  t.set(SocketOption::keep_idle, Duration::seconds(10).count_nanos());
  t.pass(6000);
  t.in("P. 1(10) ack 1");
  t.skip();
  t.pass(9000);
  t.quiet();
  t.write(10);
  t.out("P. 1(10) ack 11");
  t.pass(60'000);
  for (const WireSegment& s : t.host.out.sent) EXPECT_EQ(s.text().size(), 10U);  // no probe
}

}  // namespace
}  // namespace tidewire::tcp
