#include "runtime/poller.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <functional>
#include <thread>

#include "runtime/clock.hpp"
#include "runtime/wakeup.hpp"

namespace tidewire::runtime {
namespace {

struct Handler final : IoHandler {
  std::function<void(int, std::uint32_t)> action;
  int calls = 0;
  std::uint32_t last = 0;
  void on_io(int fd, std::uint32_t ready, Instant) override {
    ++calls;
    last = ready;
    if (action) action(fd, ready);
  }
};

struct Pair {
  Fd a, b;
  Pair() {
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()), 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
  void wake_a() const { ASSERT_EQ(::write(b.get(), "x", 1), 1); }
};

TEST(Poller, WaitsUntilTheDeadlineAndNotLonger) {
  Poller poller;
  const Instant start = Clock::now();
  EXPECT_EQ(poller.wait(start + Duration::millis(20)), 0U);
  const Duration waited = Clock::now() - start;
  EXPECT_GE(waited, Duration::millis(20));
  EXPECT_LT(waited, Duration::seconds(2));
  EXPECT_EQ(poller.wait(Instant::from_nanos(0)), 0U) << "a deadline in the past does not sleep";
}

// Two threads wait for one descriptor: the first watch is woken, and the second one only if the
// first does not sleep.
TEST(Poller, OfThoseThatAreAloneTheFirstThatSleepsIsWoken) {
  Poller first;
  Poller second;
  Pair pair;
  Handler by_first;
  Handler by_second;
  ASSERT_TRUE(first.add(pair.a.get(), kIoRead | kIoAlone, by_first));
  ASSERT_TRUE(second.add(pair.a.get(), kIoRead | kIoAlone, by_second));
  const auto wait_in_second = [&](Duration time) {
    return std::thread([&second, time] { (void)second.wait(Clock::now() + time); });
  };
  std::thread waits = wait_in_second(Duration::millis(300));
  std::thread wakes([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    pair.wake_a();
  });
  EXPECT_EQ(first.wait(Clock::now() + Duration::seconds(10)), 1U);
  wakes.join();
  waits.join();
  EXPECT_EQ(by_first.last, kIoRead);
  EXPECT_EQ(by_second.calls, 0) << "though it is readable still";

  waits = wait_in_second(Duration::seconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  pair.wake_a();
  waits.join();
  EXPECT_EQ(by_second.calls, 1);
}

TEST(Poller, AWatchThatIsRemovedWithItsFileIsGone) {
  Poller poller;
  Pair old;
  Handler silent;
  const auto watch = poller.add(old.a.get(), kIoRead, silent);
  ASSERT_TRUE(watch);
  old.wake_a();
  poller.remove_closing(*watch);
  old.a.reset();
  EXPECT_EQ(poller.wait(Clock::now() + Duration::millis(2)), 0U);
  Pair next;
  Handler handler;
  ASSERT_TRUE(poller.add(next.a.get(), kIoRead, handler));
  next.wake_a();
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(10)), 1U);
  EXPECT_EQ(handler.calls, 1);
  EXPECT_EQ(silent.calls, 0);
}

// The timer stays armed for the deadline of a wait that something else ended; that of the next one
// counts all the same.
TEST(Poller, ADeadlineThatMovedOnIsKept) {
  Poller poller;
  Pair pair;
  Handler handler;
  const auto watch = poller.add(pair.a.get(), kIoRead, handler);
  ASSERT_TRUE(watch);
  const Instant start = Clock::now();
  pair.wake_a();
  EXPECT_EQ(poller.wait(start + Duration::millis(10)), 1U);
  poller.set(*watch, kIoNone);
  EXPECT_EQ(poller.wait(start + Duration::millis(60)), 0U);
  EXPECT_GE(Clock::now() - start, Duration::millis(60));
  const Instant later = Clock::now();
  EXPECT_EQ(poller.wait(later + Duration::millis(5)), 0U);
  EXPECT_GE(Clock::now() - later, Duration::millis(5));
  EXPECT_LT(Clock::now() - later, Duration::seconds(2));
}

TEST(Poller, TellsReadinessUntilItIsGone) {
  Poller poller;
  Pair pair;
  Handler handler;
  const auto watch = poller.add(pair.a.get(), kIoRead, handler);
  ASSERT_TRUE(watch);
  EXPECT_EQ(poller.wait(Clock::now()), 0U);
  pair.wake_a();
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(5)), 1U);
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(5)), 1U) << "level triggered";
  char byte = 0;
  ASSERT_EQ(::read(pair.a.get(), &byte, 1), 1);
  EXPECT_EQ(poller.wait(Clock::now()), 0U);
  poller.set(*watch, kIoWrite);
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(5)), 1U);
  EXPECT_EQ(handler.last, kIoWrite);
  poller.set(*watch, kIoNone);
  pair.b.reset();
  EXPECT_EQ(poller.wait(Clock::now()), 0U) << "a sleeping watch does not report hang-ups";
}

TEST(Poller, HandlersMayRemoveEachOtherInOneRound) {
  Poller poller;
  Pair one, two;
  Handler first, second;
  const auto w1 = poller.add(one.a.get(), kIoRead, first);
  const auto w2 = poller.add(two.a.get(), kIoRead, second);
  ASSERT_TRUE(w1 && w2);
  first.action = [&](int, std::uint32_t) { poller.remove(*w2); };
  second.action = [&](int, std::uint32_t) { poller.remove(*w1); };
  one.wake_a();
  two.wake_a();
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(5)), 1U);
  EXPECT_EQ(first.calls + second.calls, 1);
}

TEST(Poller, AStaleWatchChangesNothing) {
  Poller poller;
  Pair pair;
  Handler handler;
  const auto old = poller.add(pair.a.get(), kIoRead, handler);
  poller.remove(*old);
  const auto fresh = poller.add(pair.a.get(), kIoRead, handler);
  ASSERT_TRUE(fresh);
  poller.remove(*old);
  poller.set(*old, kIoNone);
  pair.wake_a();
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(5)), 1U);
}

TEST(Poller, ABadDescriptorIsAnErrorValue) {
  Poller poller;
  Handler handler;
  const auto watch = poller.add(-1, kIoRead, handler);
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error(), EBADF);
}

TEST(Wakeup, WakesFromAnotherThread) {
  Poller poller;
  Wakeup wakeup;
  Handler handler;
  ASSERT_TRUE(poller.add(wakeup.descriptor(), kIoRead, handler));
  std::thread other([&] { wakeup.request(); });
  EXPECT_EQ(poller.wait(Clock::now() + Duration::seconds(10)), 1U);
  other.join();
  EXPECT_TRUE(wakeup.requested());
  wakeup.clear();
  EXPECT_FALSE(wakeup.requested());
  EXPECT_EQ(poller.wait(Clock::now()), 0U);
}

}  // namespace
}  // namespace tidewire::runtime
