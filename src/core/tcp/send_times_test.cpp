// How long what held a sender back, as a socket tells of it.
#include "core/tcp/send_times.hpp"

#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

struct Millis {
  std::int64_t busy, window, buffer;
  bool operator==(const Millis&) const = default;
};
void PrintTo(const Millis& m, std::ostream* out) {
  *out << m.busy << " busy, of that " << m.window << " window, " << m.buffer << " buffer";
}

Millis times(const Trace& t) {
  const auto info = *t.host.engine.info(t.socket);
  return {info.busy.count_millis(), info.window_limited.count_millis(),
          info.buffer_limited.count_millis()};
}

TEST(SendTimes, TheStrongestReasonCounts) {
  using enum SendTimes::Why;
  const auto at = [](std::int64_t ms) { return Instant{} + Duration::millis(ms); };
  SendTimes times;
  EXPECT_EQ(times.busy(at(5)), Duration::zero());
  times.start(busy, at(10));
  times.start(peer_window, at(20));
  times.start(busy, at(25));
  times.stop(send_buffer, at(30));
  EXPECT_EQ(times.peer_window(at(40)), Duration::millis(20));
  times.start(send_buffer, at(50));
  times.stop(peer_window, at(60));
  times.stop(send_buffer, at(70));
  times.stop_all(at(80));
  EXPECT_EQ(times.busy(at(500)), Duration::millis(70));
  EXPECT_EQ(times.peer_window(at(500)), Duration::millis(30));
  EXPECT_EQ(times.send_buffer(at(500)), Duration::millis(20));
}

TEST(SendTimes, AWindowTooSmallForASegment) {
  Trace t;
  t.accept("<mss 1000>", "0");
  t.pass(50);
  EXPECT_EQ(times(t), (Millis{0, 0, 0})) << "nothing to send";
  t.write(1000);
  t.pass(100);
  EXPECT_EQ(times(t), (Millis{100, 100, 0}));
  t.in(". 1(0) ack 1 win 2000");
  EXPECT_EQ(t.skip(), 1U);
  t.pass(30);
  t.in(". 1(0) ack 1001 win 10");
  t.pass(50);
  EXPECT_EQ(times(t), (Millis{130, 100, 0})) << "all was acknowledged";
  t.write(1000);
  t.pass(100);
  EXPECT_EQ(times(t), (Millis{230, 200, 0}));
  t.in(". 1(0) ack 1001 win 2000");
  t.pass(20);
  EXPECT_EQ(times(t), (Millis{250, 200, 0}));
}

TEST(SendTimes, ABufferTooSmallForThePath) {
  StackConfig config;
  config.tcp.send_buffer = config.tcp.send_buffer_max = 9000;
  Trace t{config};
  t.accept("<mss 1000>");
  EXPECT_EQ(t.write(20'000), 9000U);  // the window would let ten out
  EXPECT_EQ(t.skip(), 9U);
  t.pass(20);
  EXPECT_EQ(times(t), (Millis{20, 0, 20}));
  t.in(". 1(0) ack 2001");
  t.pass(10);
  EXPECT_EQ(times(t), (Millis{30, 0, 30})) << "less than a third is free";
  t.in(". 1(0) ack 4001");
  t.pass(10);
  EXPECT_EQ(times(t), (Millis{40, 0, 30})) << "the application may write";
  EXPECT_EQ(t.write(2000), 2000U);
  t.pass(10);
  EXPECT_EQ(times(t), (Millis{50, 0, 30})) << "and has no more";
  t.in(". 1(0) ack 11001");
  t.pass(100);
  EXPECT_EQ(times(t), (Millis{50, 0, 30}));
}

TEST(SendTimes, TheCongestionWindowIsNotTheBuffer) {
  StackConfig config;
  config.tcp.send_buffer = config.tcp.send_buffer_max = 10'000;
  Trace t{config};
  t.accept("<mss 1000>");
  EXPECT_EQ(t.write(20'000), 10'000U);
  EXPECT_EQ(t.skip(), 10U);
  t.pass(20);
  EXPECT_EQ(times(t), (Millis{20, 0, 0}));
}

}  // namespace
}  // namespace tidewire::tcp
