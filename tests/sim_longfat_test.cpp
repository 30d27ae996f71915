// Flows whose bandwidth-delay product is far above the default windows.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/bulk.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

HostOptions with_buffers(std::uint32_t most) {
  HostOptions options;
  options.stack.tcp.send_buffer_max = options.stack.tcp.receive_buffer_max = most;
  options.memory_cap = std::size_t{1} << 30;
  return options;
}

LinkOptions with_mtu(std::uint32_t mtu) {
  LinkOptions options;
  options.mtu = mtu;
  return options;
}

// Packets of 9000 bytes keep this short; nothing in it depends on their size.
TEST(LongFat, OneFlowFillsTenGigabitsAtAHundredMilliseconds) {
  TwoHosts two{net("rate=10gbit delay=50ms"), {11, 3}, with_mtu(9000), {}, with_buffers(400U << 20),
               with_buffers(400U << 20)};
  auto& sink = two.b.add<BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<BulkSource>();
  source.connect({TwoHosts::kAddressB, 80});
  constexpr std::uint64_t kNineTenths = 1'125'000'000;  // bytes in a second
  std::uint64_t best = 0;
  std::uint64_t before = 0;
  std::size_t most_memory = 0;
  for (int second = 0; second < 20 && best < kNineTenths; ++second) {
    (void)two.world.run_for(Duration::seconds(1));
    best = std::max(best, sink.bytes_received() - before);
    before = sink.bytes_received();
    most_memory = std::max(most_memory, two.a.memory().in_use());
  }
  EXPECT_GE(best, kNineTenths);
  // What is in flight, what waits in the queue, and one window that the application refills.
  EXPECT_GT(most_memory, 125U << 20);
  EXPECT_LT(most_memory, 480U << 20);

  // Once it is quiet the memory is there for others.
  source.stop();
  (void)two.world.run_for(Duration::seconds(10));
  EXPECT_EQ(source.error(), SocketError::none);
  EXPECT_LT(two.a.memory().in_use(), 8U << 20);
  EXPECT_LT(two.b.memory().in_use(), 8U << 20);
}

// The buffers follow the path: none is larger than it needs to be on a short one.
TEST(LongFat, ReceiveBufferStaysSmallOnAShortPath) {
  TwoHosts two{net("rate=10mbit delay=5ms queue=20packets"),
               {11, 4},
               {},
               {},
               with_buffers(64U << 20),
               with_buffers(64U << 20)};
  auto& sink = two.b.add<BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<BulkSource>();
  source.connect({TwoHosts::kAddressB, 80});
  (void)two.world.run_for(Duration::seconds(10));
  EXPECT_GT(sink.bytes_received(), 11'000'000U);
  const auto limit = two.b.stack().get_option(sink.socket(), SocketOption::receive_buffer);
  ASSERT_TRUE(limit.has_value());
  EXPECT_LT(*limit, 1 << 20);
}

// Without timestamps the receiver learns the round trip from whole windows of data.
TEST(LongFat, ReceiveBufferGrowsWithoutTimestamps) {
  HostOptions options = with_buffers(64U << 20);
  options.stack.tcp.timestamps = false;
  TwoHosts two{net("rate=1gbit delay=20ms"), {11, 5}, {}, {}, options, options};
  auto& sink = two.b.add<BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<BulkSource>();
  source.connect({TwoHosts::kAddressB, 80});
  (void)two.world.run_for(Duration::seconds(2));
  const std::uint64_t before = sink.bytes_received();
  (void)two.world.run_for(Duration::seconds(1));
  EXPECT_GT(sink.bytes_received() - before, 110'000'000U);
}

// The other end: a buffer of little more than a segment.
TEST(LongFat, ATinyReceiveBufferMakesNoSillySegments) {
  TwoHosts two{net("delay=10ms"), {11, 6}};
  StreamPlan from_client;
  from_client.send_total = 100'000;
  StreamPlan to_server;
  to_server.receive_buffer = 2304;
  Transfer t{two, from_client, to_server};
  const Instant began = two.world.now();
  EXPECT_EQ(t.run(Duration::seconds(60)), Outcome::done) << t.state();
  EXPECT_EQ(t.violation(), "");
  EXPECT_TRUE(t.complete());
  // A segment is a full one, or at least half of the window.
  EXPECT_LE(two.attached.link->counters(device::Direction::up).packets, 100'000U / 1152 + 20);
  EXPECT_LT(two.world.now() - began, Duration::seconds(10));
}

}  // namespace
}  // namespace tidewire::sim
