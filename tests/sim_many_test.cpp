// A hundred thousand connections to one server port.
#include <gtest/gtest.h>

#include <unordered_set>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

/// Opens connections from several addresses, sends one byte on each, waits for its echo, and closes
/// them all when every one is open.
class Swarm final : public Application {
 public:
  Swarm(Host& host, std::uint32_t wanted, std::vector<IpAddress> sources)
      : host_(host), wanted_(wanted), sources_(std::move(sources)) {
    sockets_.reserve(wanted);
    open_more();
  }

  void on_event(const Event& event, Instant now) override {
    Stack& stack = host_.stack();
    if ((event.bits & kError) != 0) {
      ++failed_;
      last_error_ = stack.take_error(event.socket);
      return;
    }
    if ((event.bits & kReadable) != 0) {
      std::byte answer{};
      const auto got = stack.receive(event.socket, {&answer, 1}, {}, now);
      if (got && *got == 1) {
        ++echoed_;
        --opening_;
        open_more();
      }
    } else if ((event.bits & kConnected) != 0) {
      const std::byte ping{42};
      if (!stack.send(event.socket, {&ping, 1}, {}, now)) ++failed_;
    }
  }

  void close_all() {
    for (const SocketId socket : sockets_) {
      host_.unwatch(socket);
      host_.stack().close(socket, host_.now());
    }
  }
  std::uint32_t echoed() const { return echoed_; }
  std::uint32_t failed() const { return failed_; }
  SocketError last_error() const { return last_error_; }

 private:
  static constexpr std::uint32_t kAtOnce = 500;

  void open_more() {
    while (opening_ < kAtOnce && sockets_.size() < wanted_ && failed_ == 0) {
      Stack& stack = host_.stack();
      const auto id = stack.open(SocketKind::tcp, Family::v4);
      const IpAddress& source = sources_[sockets_.size() % sources_.size()];
      if (!id || !stack.bind(*id, {source, 0}, host_.now())) {
        ++failed_;
        return;
      }
      host_.watch(*id, *this);
      const auto result = stack.connect(*id, Endpoint{TwoHosts::kAddressB, kPort}, host_.now());
      if (!result && result.error() != SocketError::in_progress) ++failed_;
      sockets_.push_back(*id);
      ++opening_;
    }
  }

  Host& host_;
  std::uint32_t wanted_;
  std::vector<IpAddress> sources_;
  std::vector<SocketId> sockets_;
  std::uint32_t opening_ = 0;
  std::uint32_t echoed_ = 0;
  std::uint32_t failed_ = 0;
  SocketError last_error_ = SocketError::none;
};

TEST(ManyConnections, HundredThousandToOnePort) {
  constexpr std::uint32_t kWanted = 100'000;
  HostOptions big;
  big.memory_cap = std::size_t{2} << 30;
  TwoHosts two{net("delay=1ms"), {1, 2}, {}, {}, big, big};
  std::vector<IpAddress> sources;
  for (std::uint8_t i = 0; i < 5; ++i) {
    sources.push_back(IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(100 + i)));
    ASSERT_TRUE(two.a.stack().add_address(two.attached.a, {sources.back(), 24}, two.world.now()));
  }
  auto& server = two.b.add<EchoServer>(Endpoint{IpAddress::any(Family::v4), kPort}, 4096U);
  auto& swarm = two.a.add<Swarm>(kWanted, sources);
  const auto opened = [&] { return swarm.echoed() == kWanted || swarm.failed() > 0; };
  const Outcome outcome = two.world.run_until(opened, two.world.now() + Duration::seconds(600));
  EXPECT_EQ(outcome, Outcome::done) << to_string(outcome) << " " << swarm.echoed();
  EXPECT_EQ(swarm.failed(), 0U) << to_string(swarm.last_error());
  EXPECT_EQ(swarm.echoed(), kWanted);
  EXPECT_EQ(server.accepted(), kWanted);
  const std::size_t bytes = two.b.memory().in_use() / kWanted;
  RecordProperty("bytes_per_connection", static_cast<int>(bytes));
  EXPECT_LT(bytes, 4096U);
  swarm.close_all();
  EXPECT_EQ(two.world.run_for(Duration::seconds(300)), Outcome::idle);
  std::size_t left = 0;
  for (auto s = two.b.stack().next_socket({}); s; s = two.b.stack().next_socket(s->id)) ++left;
  EXPECT_EQ(left, 1U);  // the listener
}

}  // namespace
}  // namespace tidewire::sim
