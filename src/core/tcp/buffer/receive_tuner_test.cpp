#include "core/tcp/buffer/receive_tuner.hpp"

#include <gtest/gtest.h>

namespace tidewire::tcp {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr Duration kRtt = Duration::millis(100);

Instant at(std::int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }

TEST(ReceiveTuner, AsksForRoomOnceARoundTrip) {
  ReceiveTuner tuner{at(0), 10'000};
  EXPECT_FALSE(tuner.on_read(9'000, kMss, kRtt, at(50)));
  // 20,000 in a round trip after 10,000: twice that and 16 segments, and slow start goes on.
  EXPECT_EQ(tuner.on_read(11'000, kMss, kRtt, at(100)), 56'000U + 2U * 56'000U);
  EXPECT_FALSE(tuner.on_read(20'000, kMss, kRtt, at(199)));
  // No more than before: what there is will do.
  EXPECT_FALSE(tuner.on_read(0, kMss, kRtt, at(200)));
}

TEST(ReceiveTuner, FollowsADoublingSenderAhead) {
  ReceiveTuner tuner{at(0), 10'000};
  std::uint64_t limit = 0;
  std::uint64_t flight = 10'000;
  for (int round = 1; round <= 20; ++round) {
    flight *= 2;
    const auto wanted = tuner.on_read(flight, kMss, kRtt, at(100 * round));
    ASSERT_TRUE(wanted);
    limit = *wanted;
    EXPECT_GE(limit, 4 * flight);
  }
}

TEST(ReceiveTuner, MeasuresTheRoundTripByEchoes) {
  ReceiveTuner tuner{at(0), 10'000};
  EXPECT_FALSE(tuner.wants_echo(0));
  EXPECT_TRUE(tuner.wants_echo(7));
  tuner.on_echo(7, Duration::millis(40));
  EXPECT_FALSE(tuner.wants_echo(7));
  EXPECT_EQ(tuner.rtt(), Duration::millis(40));
  // A pause of the sender counts for an eighth; a shorter time at once.
  tuner.on_echo(8, Duration::millis(120));
  EXPECT_EQ(tuner.rtt(), Duration::millis(50));
  tuner.on_echo(9, Duration::millis(30));
  EXPECT_EQ(tuner.rtt(), Duration::millis(30));
  // From now on the application's reading is seen by that.
  EXPECT_TRUE(tuner.on_read(30'000, kMss, kRtt, at(30)));
}

TEST(ReceiveTuner, MeasuresTheRoundTripByWindows) {
  ReceiveTuner tuner{at(0), 10'000};
  tuner.on_arrival(Seq{1'000}, 8'000, at(0));
  tuner.on_arrival(Seq{8'000}, 8'000, at(30));
  EXPECT_EQ(tuner.rtt(), Duration::zero());
  tuner.on_arrival(Seq{9'000}, 8'000, at(40));
  EXPECT_EQ(tuner.rtt(), Duration::millis(40));
  tuner.on_arrival(Seq{17'000}, 8'000, at(140));
  EXPECT_EQ(tuner.rtt(), Duration::millis(40));
  tuner.on_arrival(Seq{25'000}, 8'000, at(160));
  EXPECT_EQ(tuner.rtt(), Duration::millis(20));
}

}  // namespace
}  // namespace tidewire::tcp
