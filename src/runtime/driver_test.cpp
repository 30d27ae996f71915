// What a loop does whose time is over.
#include "runtime/driver.hpp"

#include <gtest/gtest.h>

#include "runtime/clock.hpp"
#include "runtime/wakeup.hpp"

namespace tidewire::runtime {
namespace {

struct Handler final : IoHandler {
  int calls = 0;
  void on_io(int, std::uint32_t, Instant) override { ++calls; }
};

TEST(Driver, LooksAtDescriptorsThoughTheTimeIsOver) {
  Driver driver;
  Wakeup wakeup;
  Handler handler;
  ASSERT_TRUE(driver.poller().add(wakeup.descriptor(), kIoRead, handler));
  wakeup.request();
  driver.run(Clock::now() - Duration::seconds(1));
  EXPECT_EQ(handler.calls, 1);
}

TEST(Driver, ReturnsSoonWhenNothingHappens) {
  Driver driver;
  const Instant until = Clock::now() + Duration::millis(20);
  EXPECT_FALSE(driver.run_until([] { return false; }, until));
  EXPECT_GE(Clock::now(), until);
}

TEST(Driver, AnAnswerBeforeTheFirstTurnEndsIt) {
  Driver driver;
  EXPECT_TRUE(driver.run_until([] { return true; }, Instant::from_nanos(0)));
}

TEST(Driver, StopEndsOneRun) {
  Driver driver;
  driver.stop();
  driver.run();
  EXPECT_FALSE(driver.run_until([] { return false; }, Clock::now()));
}

}  // namespace
}  // namespace tidewire::runtime
