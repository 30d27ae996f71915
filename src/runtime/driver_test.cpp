// What a loop does whose time is over, and how much it takes from a device at a time.
#include "runtime/driver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/memory.hpp"
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

/// Has datagrams for a port of 10.0.0.2 in a memory that holds four at a time.
class Cramped final : public device::Device {
 public:
  explicit Cramped(std::size_t datagrams) : left_(datagrams) {}

  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = Medium::ip;
    return can;
  }
  std::string_view name() const noexcept override { return "cramped"; }
  PushResult push(const TxFrame&) noexcept override { return PushResult::taken; }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    const std::size_t some = std::min({left_, limit, std::size_t{4}});
    left_ -= some;
    RxFrame frame;
    frame.head = kPacket;
    frame.ingress = now;
    frames_.assign(some, frame);
    return frames_;
  }
  bool receive_again() const noexcept override { return left_ > 0; }
  std::size_t left() const noexcept { return left_; }

 private:
  static constexpr std::array<std::byte, 29> kPacket = [] {
    constexpr std::array<std::uint8_t, 29> octets{0x45, 0,    0,  29, 0, 0, 0,  0, 64, 17,
                                                  0x66, 0xce, 10, 0,  0, 1, 10, 0, 0,  2,
                                                  0,    7,    0,  9,  0, 9, 0,  0, 'x'};
    std::array<std::byte, 29> bytes{};
    std::ranges::transform(octets, bytes.begin(), [](std::uint8_t o) { return std::byte{o}; });
    return bytes;
  }();
  std::size_t left_;
  std::vector<RxFrame> frames_;
};

/// Reads what its socket has at each event.
class Reader final : public StackOwner {
 public:
  explicit Reader(Stack& stack) : stack_(stack) {}
  void on_event(const Event& event, Instant now) override {
    std::array<std::byte, 16> room;
    std::size_t here = 0;
    while (stack_.receive_datagram(event.socket, room, false, now)) ++here;
    most = std::max(most, here);
    all += here;
  }
  std::size_t all = 0, most = 0;

 private:
  Stack& stack_;
};

/// Runs one turn of a stack that receives `datagrams` through a cramped device.
struct OneTurn {
  explicit OneTurn(std::size_t datagrams) : device(datagrams) {
    const Instant now = Clock::now();
    const auto id =
        stack.add_interface({.name = "net0", .medium = Medium::ip, .mac = {}, .mtu = 1500}, now);
    const auto socket = stack.open(SocketKind::udp, Family::v4);
    EXPECT_TRUE(id && socket && stack.add_address(*id, {IpAddress::v4(10, 0, 0, 2), 24}, now));
    EXPECT_TRUE(stack.bind(*socket, {IpAddress::v4(10, 0, 0, 2), 9, 0}, now));
    Driver driver;
    driver.add_stack(stack, &reader);
    driver.attach(stack, *id, device);
    int answers = 0;
    driver.run_until([&] { return ++answers == 2; });
  }
  HeapMemory memory{std::size_t{1} << 24};
  Stack stack{StackConfig{}, memory, {1, 2}, Clock::now()};
  Reader reader{stack};
  Cramped device;
};

TEST(Driver, TakesAllFromADeviceOfLittleMemoryInOneTurn) {
  OneTurn turn(30);
  EXPECT_EQ(turn.device.left(), 0U);
  EXPECT_EQ(turn.reader.all, 30U);
  EXPECT_EQ(turn.reader.most, 4U);  // the owner is told between the batches
}

TEST(Driver, LeavesTheRestForAnotherTurn) {
  OneTurn turn(1000);
  EXPECT_EQ(turn.device.left(), 1000 - DriverOptions{}.receive_frames);
  EXPECT_EQ(turn.reader.all, DriverOptions{}.receive_frames);
}

}  // namespace
}  // namespace tidewire::runtime
