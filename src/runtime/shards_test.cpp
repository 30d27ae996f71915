// Shards on threads of their own, whose queues get every frame at random: what a flow's owner
// gets is whole.
#include "runtime/shards.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "device/wrap/materialise.hpp"
#include "runtime/clock.hpp"

namespace tidewire::runtime {
namespace {

using Packet = std::vector<std::byte>;

/// What waits to be received at one place of the network.
class Mailbox {
 public:
  void put(Packet packet) {
    const std::lock_guard lock(mutex_);
    packets_.push_back(std::move(packet));
    wakeup_.request();
  }
  std::vector<Packet> take(std::size_t limit) {
    const std::lock_guard lock(mutex_);
    std::vector<Packet> some;
    while (!packets_.empty() && some.size() < limit) {
      some.push_back(std::move(packets_.front()));
      packets_.pop_front();
    }
    if (packets_.empty()) wakeup_.clear();
    return some;
  }
  int descriptor() const noexcept { return wakeup_.descriptor(); }

 private:
  std::mutex mutex_;
  std::deque<Packet> packets_;
  Wakeup wakeup_;
};

/// Sends each packet to the next of `to`, whatever flow it belongs to.
class Port final : public device::Device {
 public:
  Port(Mailbox& from, std::vector<Mailbox*> to) : from_(from), to_(std::move(to)) {}

  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = Medium::ip;
    can.tx_checksum = can.tx_segmentation = true;
    return can;
  }
  std::string_view name() const noexcept override { return "mailbox"; }
  PushResult push(const TxFrame& frame) noexcept override {
    const device::Cutter cutter{frame};
    for (std::uint32_t i = 0; i < cutter.packets(); ++i) {
      Packet packet(1600);
      packet.resize(cutter.write(i, packet));
      to_[next_++ % to_.size()]->put(std::move(packet));
    }
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    packets_ = from_.take(limit);
    frames_.clear();
    for (const Packet& packet : packets_) {
      frames_.emplace_back().head = packet;
      frames_.back().ingress = now;
    }
    return frames_;
  }
  int descriptor() const noexcept override { return from_.descriptor(); }

 private:
  Mailbox& from_;
  std::vector<Mailbox*> to_;
  std::size_t next_ = 0;
  std::vector<Packet> packets_;
  std::vector<RxFrame> frames_;
};

const IpAddress kClient = IpAddress::v4(10, 0, 0, 1), kServer = IpAddress::v4(10, 0, 0, 2);
constexpr std::uint16_t kTcpPort = 7, kUdpPort = 9;

void stand_on(Driver& driver, Stack& stack, const IpAddress& address, device::Device& device) {
  const auto id = stack.add_interface(
      {.name = "net0", .medium = Medium::ip, .mac = {}, .mtu = 1500}, Clock::now());
  ASSERT_TRUE(id && stack.add_address(*id, {address, 24}, Clock::now()));
  driver.attach(stack, *id, device);
}

/// Sends back what comes, in one shard.
class Echo final : public StackOwner {
 public:
  explicit Echo(Shard& shard) : stack_(shard.stack()) {
    stand_on(shard.driver(), stack_, kServer, shard.device());
    const Instant now = Clock::now();
    listener_ = stack_.open(SocketKind::tcp, Family::v4).value();
    EXPECT_TRUE(stack_.bind(listener_, {kServer, kTcpPort, 0}, now));
    EXPECT_TRUE(stack_.listen(listener_, 100, now));
    datagrams_ = stack_.open(SocketKind::udp, Family::v4).value();
    EXPECT_TRUE(stack_.bind(datagrams_, {kServer, kUdpPort, 0}, now));
    shard.driver().set_owner(stack_, this);
  }
  std::uint64_t connections() const noexcept { return connections_; }
  std::uint64_t datagrams() const noexcept { return answered_; }

  void on_event(const Event& event, Instant now) override {
    if (event.socket == datagrams_) return answer(now);
    if (event.socket != listener_) return pump(event.socket, now);
    while (const auto socket = stack_.accept(listener_, now)) {
      ++connections_;
      pump(*socket, now);
    }
  }

 private:
  void pump(SocketId socket, Instant now) {
    ReceivedBytes bytes = stack_.received(socket);
    while (bytes.size() != 0) {
      const auto sent = stack_.send(socket, bytes.first, {}, now);
      if (!sent) return;
      (void)stack_.consumed(socket, *sent, now);
      bytes = stack_.received(socket);
    }
    if (bytes.end_of_stream) stack_.close(socket, now);
  }
  void answer(Instant now) {
    while (const auto got = stack_.receive_datagram(datagrams_, room_, false, now)) {
      DatagramTarget back;
      back.destination = got->source;
      const Bytes data = Bytes{room_}.first(got->copied);
      if (stack_.send_datagram(datagrams_, std::span(&data, 1), back, now)) ++answered_;
    }
  }

  Stack& stack_;
  SocketId listener_, datagrams_;
  std::vector<std::byte> room_ = std::vector<std::byte>(65'536);
  std::uint64_t connections_ = 0, answered_ = 0;
};

std::byte byte_at(std::uint32_t stream, std::size_t at) {
  return static_cast<std::byte>(siphash13({stream, 1}, at / 64) >> at % 8 ^ at);
}

/// Many streams at once, each of bytes of its own, and a datagram in fragments from time to time.
class Client final : public StackOwner {
 public:
  static constexpr std::size_t kStreams = 24, kBytes = 60'000;
  static constexpr std::size_t kDatagrams = 20, kDatagramBytes = 5000;

  explicit Client(device::Device& device)
      : memory_(std::size_t{64} << 20), stack_({}, memory_, {3, 4}, Clock::now()) {
    driver_.add_stack(stack_, this);
    stand_on(driver_, stack_, kClient, device);
    for (std::uint32_t i = 0; i < kStreams; ++i) {
      const SocketId socket = stack_.open(SocketKind::tcp, Family::v4).value();
      streams_[socket].number = i;
      (void)stack_.connect(socket, Endpoint{kServer, kTcpPort, 0}, Clock::now());
    }
  }

  /// True if all came back.
  bool run(Duration patience) {
    const Instant until = Clock::now() + patience;
    for (std::size_t i = 0; i < kDatagrams; ++i) send_datagram();
    return driver_.run_until([this] { return good_ == kStreams && echoes_ == kDatagrams; }, until);
  }
  std::size_t good() const noexcept { return good_; }
  std::size_t echoes() const noexcept { return echoes_; }

  void on_event(const Event& event, Instant now) override {
    const auto it = streams_.find(event.socket);
    if (it == streams_.end()) return take_echoes(event.socket, now);
    Stream& stream = it->second;
    while (stream.sent < kBytes) {
      std::vector<std::byte> data(std::min<std::size_t>(8192, kBytes - stream.sent));
      for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = byte_at(stream.number, stream.sent + i);
      const auto sent = stack_.send(event.socket, data, {}, now);
      if (!sent) break;
      stream.sent += *sent;
    }
    for (ReceivedBytes bytes = stack_.received(event.socket); bytes.size() != 0;
         bytes = stack_.received(event.socket)) {
      const std::size_t size = bytes.first.size();
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_EQ(bytes.first[i], byte_at(stream.number, stream.received + i));
      }
      stream.received += size;
      (void)stack_.consumed(event.socket, size, now);
      if (stream.received == kBytes) {
        ++good_;
        stack_.close(event.socket, now);
        return;
      }
    }
  }

 private:
  struct Stream {
    std::uint32_t number = 0;
    std::size_t sent = 0, received = 0;
  };

  void send_datagram() {
    const SocketId socket = stack_.open(SocketKind::udp, Family::v4).value();
    DatagramTarget target;
    target.destination = Endpoint{kServer, kUdpPort, 0};
    const std::vector<std::byte> data(kDatagramBytes, std::byte{5});
    const Bytes piece = data;
    EXPECT_TRUE(stack_.send_datagram(socket, std::span(&piece, 1), target, Clock::now()));
  }
  void take_echoes(SocketId socket, Instant now) {
    std::vector<std::byte> room(65'536);
    while (const auto got = stack_.receive_datagram(socket, room, false, now)) {
      if (got->size == kDatagramBytes) ++echoes_;
    }
  }

  PoolMemory memory_;
  Stack stack_;
  Driver driver_;
  std::map<SocketId, Stream> streams_;
  std::size_t good_ = 0, echoes_ = 0;
};

ShardsOptions options() {
  ShardsOptions options;
  options.seed = {1, 2};
  options.memory_bytes = std::size_t{64} << 20;
  options.pin = false;
  return options;
}

/// `count` queues, and the client's place.
struct Net {
  explicit Net(std::size_t count) : boxes(count) {
    std::vector<Mailbox*> all;
    for (auto& box : boxes) {
      box = std::make_unique<Mailbox>();
      all.push_back(box.get());
      queues.push_back(std::make_unique<Port>(*box, std::vector{&back}));
    }
    client = std::make_unique<Port>(back, all);
  }
  std::vector<std::unique_ptr<Mailbox>> boxes;
  Mailbox back;
  std::vector<std::unique_ptr<device::Device>> queues;
  std::unique_ptr<Port> client;
};

TEST(Shards, ServeEveryFlowWhereverItsFramesArrive) {
  for (const std::size_t count : {2U, 3U}) {
    Net net(count);
    Shards shards(options(), std::move(net.queues), Clock::now());
    std::vector<std::uint64_t> connections(count), datagrams(count);
    std::jthread servers([&] {
      shards.run([&](Shard& shard) {
        Echo echo(shard);
        shard.driver().run();
        shard.driver().set_owner(shard.stack(), nullptr);
        connections[shard.index()] = echo.connections();
        datagrams[shard.index()] = echo.datagrams();
      });
    });
    Client client(*net.client);
    EXPECT_TRUE(client.run(Duration::seconds(60)))
        << client.good() << " streams, " << client.echoes() << " datagrams";
    shards.stop();
    servers.join();
    SteeringCounters sum;
    std::uint64_t accepted = 0, answered = 0;
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_GT(connections[i], 0U);
      accepted += connections[i];
      answered += datagrams[i];
      const SteeringCounters one = shards[i].counters();
      sum.handed_over += one.handed_over;
      sum.taken_over += one.taken_over;
      sum.fragments += one.fragments;
    }
    EXPECT_EQ(accepted, Client::kStreams);
    EXPECT_EQ(answered, Client::kDatagrams);
    EXPECT_GT(sum.handed_over, 100U);
    EXPECT_EQ(sum.fragments, Client::kDatagrams * 4) << "5000 bytes in pieces of 1500";
    EXPECT_LE(sum.taken_over, sum.handed_over);
  }
}

TEST(Shards, OneThatFailsEndsTheOthers) {
  Net net(2);
  Shards shards(options(), std::move(net.queues), Clock::now());
  EXPECT_THROW(shards.run([](Shard& shard) {
    if (shard.index() == 1) throw std::runtime_error("no");
    shard.driver().run();
  }),
               std::runtime_error);
}

TEST(Shards, OneQueueNeedsNoSteering) {
  Net net(1);
  Shards shards(options(), std::move(net.queues), Clock::now());
  std::jthread server([&] {
    shards.run([](Shard& shard) {
      Echo echo(shard);
      shard.driver().run();
      shard.driver().set_owner(shard.stack(), nullptr);
    });
  });
  Client client(*net.client);
  EXPECT_TRUE(client.run(Duration::seconds(60)));
  shards.stop();
  server.join();
  EXPECT_EQ(shards[0].counters().handed_over, 0U);
}

}  // namespace
}  // namespace tidewire::runtime
