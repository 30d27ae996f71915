#include "sim/world.hpp"

#include <gtest/gtest.h>

#include "sim/apps.hpp"

namespace tidewire::sim {
namespace {

TEST(World, ActionsRunInOrderAndTheClockJumps) {
  World world{{1, 0}};
  std::vector<int> order;
  const Instant start = world.now();
  world.after(Duration::seconds(3600), [&] { order.push_back(3); });
  world.after(Duration::seconds(1), [&] { order.push_back(1); });
  world.after(Duration::seconds(1), [&] { order.push_back(2); });
  EXPECT_EQ(world.run_until_idle(Instant::never()), Outcome::idle);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(world.now(), start + Duration::seconds(3600));
}

TEST(World, LimitsEndARun) {
  World world{{1, 0}};
  const Instant start = world.now();
  world.after(Duration::seconds(5), [] {});
  EXPECT_EQ(world.run_for(Duration::seconds(2)), Outcome::time_up);
  EXPECT_EQ(world.now(), start + Duration::seconds(2));
  world.set_step_limit(10);
  std::function<void()> again = [&] { world.after(Duration::zero(), [&] { again(); }); };
  again();
  EXPECT_EQ(world.run_for(Duration::seconds(2)), Outcome::too_many_steps);
}

TEST(Pattern, AnyPieceMatches) {
  const Pattern pattern{9};
  std::vector<std::byte> all(10'000);
  pattern.fill(0, all);
  EXPECT_TRUE(pattern.matches(0, all));
  EXPECT_TRUE(pattern.matches(4999, Bytes{all}.subspan(4999, 77)));
  EXPECT_FALSE(pattern.matches(5000, Bytes{all}.subspan(4999, 77)));
  for (std::size_t at = 0; at < 700; ++at) ASSERT_EQ(pattern.at(at), all[at]) << at;
  for (std::size_t at = 0; at < 300; ++at) {
    std::vector<std::byte> piece(at % 97 + 1);
    pattern.fill(at, piece);
    ASSERT_TRUE(std::equal(piece.begin(), piece.end(), all.begin() + static_cast<long>(at))) << at;
  }
  EXPECT_FALSE(Pattern{8}.matches(0, all));
}

class Frames final : public device::Device {
 public:
  device::Capabilities capabilities() const noexcept override { return {}; }
  std::string_view name() const noexcept override { return "frames"; }
  PushResult push(const TxFrame& frame) noexcept override {
    sent.emplace_back(frame.headers.begin(), frame.headers.end());
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant, std::size_t) noexcept override {
    served_ = std::exchange(arriving, {});
    frames_.clear();
    for (const auto& bytes : served_) {
      RxFrame frame;
      frame.head = bytes;
      frames_.push_back(frame);
    }
    return frames_;
  }
  std::vector<std::vector<std::byte>> sent;
  std::vector<std::vector<std::byte>> arriving;

 private:
  std::vector<std::vector<std::byte>> served_;
  std::vector<RxFrame> frames_;
};

std::vector<std::byte> frame(std::uint8_t from, std::uint8_t to) {
  std::vector<std::byte> bytes(60);
  bytes[5] = std::byte{to};
  if (to == 0xff) std::fill_n(bytes.begin(), 6, std::byte{0xff});
  bytes[11] = std::byte{from};
  return bytes;
}

TEST(Switch, FloodsUntilItHasLearned) {
  Switch sw;
  std::vector<Frames*> ports;
  for (int i = 0; i < 3; ++i) {
    auto port = std::make_unique<Frames>();
    ports.push_back(port.get());
    sw.attach(std::move(port));
  }
  const Instant now;
  ports[0]->arriving = {frame(1, 2)};
  sw.turn(now);
  EXPECT_EQ(ports[1]->sent.size(), 1U);
  EXPECT_EQ(ports[2]->sent.size(), 1U);
  EXPECT_TRUE(ports[0]->sent.empty());
  ports[1]->arriving = {frame(2, 1)};
  sw.turn(now);
  EXPECT_EQ(ports[0]->sent.size(), 1U);
  EXPECT_EQ(ports[2]->sent.size(), 1U);
  ports[0]->arriving = {frame(1, 2), frame(1, 0xff), frame(9, 1)};
  sw.turn(now);
  EXPECT_EQ(ports[1]->sent.size(), 3U);
  EXPECT_EQ(ports[2]->sent.size(), 2U);
  EXPECT_EQ(ports[0]->sent.size(), 1U);  // 9 → 1 is on the same port
}

}  // namespace
}  // namespace tidewire::sim
