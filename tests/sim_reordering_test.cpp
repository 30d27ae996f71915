// Reordering is no loss: one flow over links that reorder, beside the same links in order.
#include <gtest/gtest.h>

#include "sim/bulk.hpp"
#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

struct Measured {
  std::uint64_t bytes = 0;
  SocketInfo info;
};

/// What one CUBIC flow delivers between the 50th and the 250th round trip of 20 ms.
Measured measure(std::string_view words, bool undo = true) {
  HostOptions options;
  options.stack.tcp.undo = undo;
  TwoHosts two{net(words), {11, 3}, {}, {}, options, options};
  auto& sink = two.b.add<BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<BulkSource>();
  source.connect({TwoHosts::kAddressB, 80});
  (void)two.world.run_for(Duration::seconds(1));
  const std::uint64_t before = sink.bytes_received();
  (void)two.world.run_for(Duration::seconds(4));
  return {sink.bytes_received() - before, two.a.stack().info(source.socket()).value()};
}

// The links of `./dev bench reordering`.
const char* const kTen = "rate=10mbit delay=10ms queue=16packets";
const char* const kHundred = "rate=100mbit delay=10ms queue=166packets";
const char* const kReordered[] = {
    " up.reorder=1% up.reorder.by=5ms",
    " up.reorder=10% up.reorder.by=5ms",
    " up.delay=5ms up.jitter=10ms,reorder",
};

// req: RFC9438-4.9-2
TEST(Reordering, ByAQuarterRoundTripCostsNearlyNothing) {
  for (const std::string path : {kTen, kHundred}) {
    const std::uint64_t clean = measure(path).bytes;
    ASSERT_GT(clean, 0U);
    for (const char* how : kReordered) {
      const Measured m = measure(path + how);
      EXPECT_GE(m.bytes * 100, clean * 97) << path << how << ": " << m.bytes << " of " << clean;
      EXPECT_EQ(m.info.timeouts, 0U) << path << how;
      EXPECT_GT(m.info.reordering, 0U) << path << how;
    }
  }
}

TEST(Reordering, CostsMuchIfNothingIsUndone) {
  const std::string path = std::string(kHundred) + kReordered[1];
  const Measured kept = measure(path, false);
  EXPECT_LT(kept.bytes * 100, measure(path).bytes * 95);
  EXPECT_EQ(kept.info.spurious, 0U);
}

}  // namespace
}  // namespace tidewire::sim
