// Pacing and the choice of a congestion control, between two stacks in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "sim/bulk.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

struct Bulk {
  explicit Bulk(std::string_view words, const HostOptions& options = {})
      : two{net(words), {41, 42}, {}, {}, options, options},
        sink(two.b.add<BulkSink>(std::uint16_t{80})),
        source(two.a.add<BulkSource>()) {
    source.connect({TwoHosts::kAddressB, 80});
  }
  std::uint64_t received_in(Duration time) {
    const std::uint64_t before = sink.bytes_received();
    (void)two.world.run_for(time);
    return sink.bytes_received() - before;
  }
  SocketInfo info() { return *two.a.stack().info(source.socket()); }

  TwoHosts two;
  BulkSink& sink;
  BulkSource& source;
};

TEST(Pacing, TheSocketsLimitHoldsAndCanBeTakenBack) {
  for (const Duration accuracy : {Duration::zero(), Duration::micros(250)}) {
    HostOptions options;
    options.stack.timer_accuracy = accuracy;
    Bulk bulk("delay=10ms rate=100mbit", options);
    (void)bulk.received_in(Duration::seconds(2));
    Stack& stack = bulk.two.a.stack();
    EXPECT_EQ(bulk.info().max_pacing_rate, ~std::uint64_t{0});
    ASSERT_TRUE(stack.set_option(bulk.source.socket(), SocketOption::max_pacing_rate, 1'000'000,
                                 bulk.two.world.now()));
    EXPECT_EQ(stack.get_option(bulk.source.socket(), SocketOption::max_pacing_rate).value(),
              1'000'000);
    EXPECT_EQ(bulk.info().max_pacing_rate, 1'000'000U);
    EXPECT_EQ(bulk.info().pacing_rate, 1'000'000U);
    (void)bulk.received_in(Duration::seconds(1));
    const std::uint64_t limited = bulk.received_in(Duration::seconds(4));
    EXPECT_GT(limited, 3'900'000U);
    EXPECT_LT(limited, 4'050'000U);
    EXPECT_LT(bulk.info().srtt, Duration::millis(25));  // no queue; an ACK may wait for its second
    ASSERT_TRUE(stack.set_option(bulk.source.socket(), SocketOption::max_pacing_rate, -1,
                                 bulk.two.world.now()));
    EXPECT_GT(bulk.received_in(Duration::seconds(2)), 20'000'000U);
  }
}

// A window that the pacer leaves unused says nothing about the path.
TEST(Pacing, AWindowThatTheLimitLeavesUnusedDoesNotGrow) {
  Bulk bulk("delay=10ms");
  ASSERT_TRUE(bulk.two.a.stack().set_option(bulk.source.socket(), SocketOption::max_pacing_rate,
                                            2'000'000, bulk.two.world.now()));
  (void)bulk.received_in(Duration::seconds(5));
  EXPECT_LT(bulk.info().cwnd, 200'000U);  // 40 kB are in flight
}

TEST(Pacing, BurstsAreNoLongerThanTheTimerAsksFor) {
  HostOptions options;
  options.stack.timer_accuracy = Duration::millis(1);
  Bulk bulk("delay=10ms", options);
  (void)bulk.received_in(Duration::millis(100));
  ASSERT_TRUE(bulk.two.a.stack().set_option(bulk.source.socket(), SocketOption::max_pacing_rate,
                                            10'000'000, bulk.two.world.now()));
  (void)bulk.received_in(Duration::millis(100));
  std::uint64_t most = 0;
  for (int i = 0; i < 1000; ++i) {  // looks in steps well below the millisecond between bursts
    const std::uint64_t before = bulk.info().bytes_sent;
    (void)bulk.two.world.run_for(Duration::micros(100));
    most = std::max(most, bulk.info().bytes_sent - before);
  }
  EXPECT_GE(most, 8000U);
  EXPECT_LE(most, 10'000U);
}

TEST(CongestionControl, IsInheritedFromTheListenerAndSwitchesOnALiveConnection) {
  TwoHosts two{net("delay=10ms rate=50mbit"), {43, 44}};
  StreamPlan from_server;
  from_server.send_total = 40'000'000;
  Transfer transfer{two, {}, from_server};
  (void)two.world.run_for(Duration::millis(15));
  Stack& server = two.b.stack();
  SocketId listener;
  SocketId after;
  while (const auto info = server.next_socket(after)) {
    after = info->id;
    if (info->state == TcpState::listen) listener = info->id;
  }
  ASSERT_TRUE(server.set_congestion_control(listener, "reno", two.world.now()));
  EXPECT_EQ(server.info(listener)->congestion_control, "reno");
  (void)two.world.run_for(Duration::seconds(1));
  ASSERT_NE(transfer.accepted(), nullptr);
  const SocketId socket = transfer.accepted()->socket();
  EXPECT_EQ(server.info(socket)->congestion_control, "reno");

  const SocketInfo before = *server.info(socket);
  for (const std::string_view name : congestion_controls()) {
    ASSERT_TRUE(server.set_congestion_control(socket, name, two.world.now())) << name;
    EXPECT_EQ(server.info(socket)->congestion_control, name);
    EXPECT_EQ(server.info(socket)->cwnd, before.cwnd) << name;
  }
  EXPECT_EQ(server.set_congestion_control(socket, "vegas", two.world.now()).error(),
            SocketError::invalid);
  EXPECT_EQ(server.info(socket)->congestion_control, congestion_controls().back());
  EXPECT_EQ(transfer.run(Duration::seconds(30)), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation();
}

// Losses all the time, so that many of the changes come in the middle of a recovery.
TEST(CongestionControl, EveryChangeAtAnyTimeKeepsTheStreamWhole) {
  TwoHosts two{net("delay=10ms rate=20mbit loss=1%"), {45, 46}};
  StreamPlan plan;
  plan.send_total = 10'000'000;
  Transfer transfer{two, plan, {}};
  std::size_t turn = 0;
  const auto names = congestion_controls();
  bool in_recovery = false;
  for (int i = 0; i < 2000 && !transfer.finished(); ++i) {
    (void)two.world.run_for(Duration::millis(7));
    const auto info = two.a.stack().info(transfer.client->socket());
    if (!info || info->cwnd == 0) continue;
    in_recovery = in_recovery || info->in_recovery;
    ASSERT_TRUE(two.a.stack().set_congestion_control(
        transfer.client->socket(), names[turn++ % names.size()], two.world.now()));
    ASSERT_LT(two.a.stack().info(transfer.client->socket())->cwnd, 1U << 28);
  }
  EXPECT_TRUE(in_recovery);
  EXPECT_EQ(transfer.run(Duration::seconds(60)), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation();
}

}  // namespace
}  // namespace tidewire::sim
