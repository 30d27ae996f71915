// When the watchdog speaks, and what it says.
#include "runtime/watchdog.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/testing.hpp"

namespace tidewire::runtime {
namespace {

/// A connection whose SYN nobody answers, seen by a watchdog of default patience.
class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest() {
    (void)host_.tun("10.0.0.1/24");
    watchdog_.watch(host_.stack, "client");
    socket_ = host_.stack.open(SocketKind::tcp, Family::v4).value();
    EXPECT_TRUE(host_.stack.connect(socket_, testing::at("10.0.0.2:80"), host_.now).has_value());
  }
  void look_at(int seconds) { watchdog_.run(Instant::from_nanos(0) + Duration::seconds(seconds)); }

  testing::Host host_;
  Driver driver_;
  std::vector<std::string> lines_;
  Watchdog watchdog_{driver_, {}, [this](const std::string& line) { lines_.push_back(line); }};
  SocketId socket_;
};

TEST_F(WatchdogTest, WaitsForItsPatience) {
  look_at(1);
  look_at(10);
  EXPECT_TRUE(lines_.empty());
  look_at(11);
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_NE(lines_[0].find("client: no progress for 10.0 s: 10.0.0.1:"), std::string::npos);
  EXPECT_NE(lines_[0].find("> 10.0.0.2:80 SYN-SENT"), std::string::npos) << lines_[0];
}

TEST_F(WatchdogTest, RepeatsItselfOnceAMinute) {
  for (int second = 1; second <= 11; ++second) look_at(second);
  ASSERT_EQ(lines_.size(), 1U);
  for (int second = 12; second < 71; ++second) look_at(second);
  EXPECT_EQ(lines_.size(), 1U);
  look_at(71);
  EXPECT_EQ(lines_.size(), 2U);
}

TEST_F(WatchdogTest, SaysNothingOfWhatOwesNothing) {
  host_.stack.close(socket_, host_.now);
  for (int second = 1; second <= 120; ++second) look_at(second);
  EXPECT_TRUE(lines_.empty());
}

}  // namespace
}  // namespace tidewire::runtime
