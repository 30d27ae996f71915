// What a loop does whose time is over, and how much it takes from a device at a time.
#include "runtime/driver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/memory.hpp"
#include "device/backends/sim_link.hpp"
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

/// From port 7 of 10.0.0.1 to port 9 of 10.0.0.2.
constexpr std::array<std::byte, 29> kDatagram = [] {
  constexpr std::array<std::uint8_t, 29> octets{0x45, 0,    0,  29, 0, 0, 0,  0, 64, 17,
                                                0x66, 0xce, 10, 0,  0, 1, 10, 0, 0,  2,
                                                0,    7,    0,  9,  0, 9, 0,  0, 'x'};
  std::array<std::byte, 29> bytes{};
  std::ranges::transform(octets, bytes.begin(), [](std::uint8_t o) { return std::byte{o}; });
  return bytes;
}();

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
    frame.head = kDatagram;
    frame.ingress = now;
    frames_.assign(some, frame);
    return frames_;
  }
  bool receive_again() const noexcept override { return left_ > 0; }
  std::size_t remaining() const noexcept { return left_; }

 private:
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

struct Host {
  InterfaceId interface;
  SocketId socket;
};

/// Makes `stack` 10.0.0.2 with a socket for datagrams at port 9.
Host set_up(Stack& stack) {
  const Instant now = Clock::now();
  const IpAddress address = IpAddress::v4(10, 0, 0, 2);
  const auto id =
      stack.add_interface({.name = "net0", .medium = Medium::ip, .mac = {}, .mtu = 1500}, now);
  const auto socket = stack.open(SocketKind::udp, Family::v4);
  EXPECT_TRUE(id && socket && stack.add_address(*id, {address, 24}, now));
  EXPECT_TRUE(stack.bind(*socket, {address, 9, 0}, now));
  return {*id, *socket};
}

/// Runs one turn of a stack that receives `datagrams` through a cramped device.
struct OneTurn {
  explicit OneTurn(std::size_t datagrams) : device(datagrams) {
    const Host host = set_up(stack);
    Driver driver;
    driver.add_stack(stack, &reader);
    driver.attach(stack, host.interface, device);
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
  EXPECT_EQ(turn.device.remaining(), 0U);
  EXPECT_EQ(turn.reader.all, 30U);
  EXPECT_EQ(turn.reader.most, 4U);  // the owner is told between the batches
}

TEST(Driver, LeavesTheRestForAnotherTurn) {
  OneTurn turn(1000);
  EXPECT_EQ(turn.device.remaining(), 1000 - DriverOptions{}.receive_frames);
  EXPECT_EQ(turn.reader.all, DriverOptions{}.receive_frames);
}

/// Answers each datagram that is written to it, within the write or when it is told to, and has a
/// descriptor that says so.
class Answering final : public device::Device {
 public:
  explicit Answering(bool at_once) : at_once_(at_once) {}

  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = Medium::ip;
    return can;
  }
  std::string_view name() const noexcept override { return "answering"; }
  int descriptor() const noexcept override { return here_.descriptor(); }
  PushResult push(const TxFrame&) noexcept override {
    ++owed_;
    if (at_once_) answer();
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t) noexcept override {
    ++receives;
    RxFrame frame;
    frame.head = kDatagram;
    frame.ingress = now;
    frames_.assign(std::exchange(here_now_, 0), frame);
    here_.clear();
    return frames_;
  }
  void answer() noexcept {
    here_now_ += std::exchange(owed_, 0);
    if (here_now_ > 0) here_.request();
  }
  std::size_t receives = 0;

 private:
  bool at_once_;
  Wakeup here_;
  std::size_t owed_ = 0, here_now_ = 0;
  std::vector<RxFrame> frames_;
};

/// Asks again after each answer, through a device whose answers come at once or, if not, whenever
/// the loop looks at its descriptors.
struct Exchange final : StackOwner, IoHandler {
  explicit Exchange(bool at_once) : device(at_once) {
    const Host host = set_up(stack);
    Driver driver;
    driver.add_stack(stack, this);
    driver.attach(stack, host.interface, device);
    Wakeup always;
    always.request();
    EXPECT_TRUE(driver.poller().add(always.descriptor(), kIoRead, *this));
    ask(host.socket, Clock::now());
    EXPECT_TRUE(
        driver.run_until([&] { return answers >= 1000; }, Clock::now() + Duration::seconds(20)));
  }
  void on_event(const Event& event, Instant now) override {
    std::array<std::byte, 16> room;
    while (stack.receive_datagram(event.socket, room, false, now)) {
      ++answers;
      ask(event.socket, now);
    }
  }
  void on_io(int, std::uint32_t, Instant) override {
    ++looks;
    device.answer();
  }
  void ask(SocketId socket, Instant now) {
    const std::array<std::byte, 1> text{};
    const Bytes parts[] = {text};
    DatagramTarget target;
    target.destination = Endpoint{IpAddress::v4(10, 0, 0, 1), 7, 0};
    EXPECT_TRUE(stack.send_datagram(socket, parts, target, now));
  }
  HeapMemory memory{std::size_t{1} << 24};
  Stack stack{StackConfig{}, memory, {1, 2}, Clock::now()};
  Answering device;
  std::size_t answers = 0, looks = 0;
};

TEST(Driver, ReadsAtOnceWhereAnswersComeAtOnce) {
  const Exchange exchange(true);
  EXPECT_LT(exchange.looks, exchange.answers / 2);
  EXPECT_GT(exchange.looks, 0U) << "other descriptors are heard";
}

TEST(Driver, WaitsWhereAnswersComeLater) {
  const Exchange exchange(false);
  // Now and then it is tried all the same.
  EXPECT_LE(exchange.device.receives, exchange.answers * 9 / 8 + 2);
}

/// Reads what has come, once all events of a turn were told: all of it, or every third time a part.
class LateReader final : public StackOwner {
 public:
  explicit LateReader(Stack& stack) : stack_(stack) {}
  void on_event(const Event& event, Instant now) override {
    if (event.socket != listener) {
      readable_ = true;
      return;
    }
    if (const auto accepted = stack_.accept(listener, now)) connection_ = *accepted;
  }
  void after_events(Instant now) override {
    if (!readable_) return;
    ++late;
    const std::size_t most = late % 3 == 0 ? 10'000 : SIZE_MAX;
    take(most, now);
  }
  void take(std::size_t most, Instant now) {
    for (Bytes part = stack_.received(connection_).first; !part.empty() && most > 0;
         part = stack_.received(connection_).first) {
      part = part.first(std::min(most, part.size()));
      most -= part.size();
      got.insert(got.end(), part.begin(), part.end());
      EXPECT_TRUE(stack_.consumed(connection_, part.size(), now));
    }
  }
  SocketId listener;
  std::vector<std::byte> got;
  int late = 0;

 private:
  Stack& stack_;
  SocketId connection_;
  bool readable_ = false;
};

/// Sends on as soon as an event says that there is room, which is where what was acknowledged lay.
class EagerWriter final : public StackOwner {
 public:
  EagerWriter(Stack& stack, Bytes data) : stack_(stack), left_(data) {}
  void on_event(const Event& event, Instant now) override {
    while (!left_.empty()) {
      const auto taken = stack_.send(event.socket, left_, {}, now);
      if (!taken) return;
      left_ = left_.subspan(*taken);
    }
  }
  bool done() const { return left_.empty(); }

 private:
  Stack& stack_;
  Bytes left_;
};

// Two stacks on a link that lends text: it arrives in the turn in which it is sent, and is whole
// whether its reader takes it there and then or later.
void transfer(const DriverOptions& driver_options) {
  device::SimLink::Options options;
  options.medium = Medium::ip;
  options.origin = Clock::now();
  options.offload = options.lend = true;
  const auto link = device::SimLink::make(options);
  const auto near = link->open(device::SimLink::End::a);
  const auto far = link->open(device::SimLink::End::b);
  HeapMemory memory{std::size_t{1} << 28};
  Stack a{StackConfig{}, memory, {1, 2}, options.origin};
  Stack b{StackConfig{}, memory, {3, 4}, options.origin};
  std::vector<std::byte> data(20'000'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 31 >> 7);
  EagerWriter writer{a, data};
  LateReader reader{b};
  Driver driver{driver_options};
  const Endpoint target{IpAddress::v4(10, 0, 0, 2), 80, 0};
  const auto join = [&](Stack& stack, StackOwner* owner, device::Device& device,
                        IpAddress address) {
    const device::Capabilities can = device.capabilities();
    InterfaceConfig config{.name = "net0", .medium = Medium::ip, .mac = {}, .mtu = 1500};
    config.trusted = can.rx_trusted;
    const auto id = stack.add_interface(config, options.origin);
    ASSERT_TRUE(id && stack.add_address(*id, {address, 24}, options.origin));
    driver.add_stack(stack, owner);
    driver.attach(stack, *id, device);
  };
  join(a, &writer, *near, IpAddress::v4(10, 0, 0, 1));
  join(b, &reader, *far, target.address);
  reader.listener = b.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(b.bind(reader.listener, target, options.origin));
  ASSERT_TRUE(b.listen(reader.listener, 8, options.origin));
  const SocketId client = a.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(a.set_option(client, SocketOption::send_buffer, 300'000, options.origin));
  (void)a.connect(client, target, options.origin);

  const auto done = [&] {
    if (writer.done()) reader.take(SIZE_MAX, Clock::now());
    return reader.got.size() == data.size();
  };
  EXPECT_TRUE(driver.run_until(done, Clock::now() + Duration::seconds(20)));
  EXPECT_EQ(reader.got, data);
  EXPECT_GT(reader.late, 30);
  // There and back within a turn takes time all the same.
  EXPECT_GT(a.info(client)->min_rtt, Duration::nanos(10));
}

TEST(Driver, TextGoesOverALinkInMemoryWithinATurn) { transfer({}); }

TEST(Driver, TextThatIsNotTakenInItsTurnIsWholeLater) {
  transfer({.spin = {}, .receive_batch = 2, .receive_frames = 2});
}

}  // namespace
}  // namespace tidewire::runtime
