// What one queue received goes to whom it belongs, and nothing else does.
#include "runtime/steered_device.hpp"

#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/ipv4.hpp"
#include "wire/testing.hpp"

namespace tidewire::runtime {
namespace {

using namespace wire::testing;
using wire::EtherType;
using Frames = std::vector<Buffer>;

constexpr wire::ShardMap kMap{.count = 3, .key = {1, 2}};
const Instant kNow = Instant::from_nanos(1);

/// Gives what a test puts there.
class Queue final : public device::Device {
 public:
  device::Capabilities capabilities() const noexcept override { return {}; }
  std::string_view name() const noexcept override { return "queue"; }
  PushResult push(const TxFrame&) noexcept override { return PushResult::taken; }
  std::span<const RxFrame> receive(Instant, std::size_t limit) noexcept override {
    given_ = std::exchange(next, {});
    frames_.clear();
    for (std::size_t i = 0; i < given_.size() && i < limit; ++i)
      frames_.emplace_back().head = given_[i];
    return frames_;
  }
  Frames next;

 private:
  Frames given_;
  std::vector<RxFrame> frames_;
};

struct Three {
  Three() {
    for (std::uint32_t i = 0; i < 3; ++i) {
      auto queue = std::make_unique<Queue>();
      queues.push_back(queue.get());
      devices.push_back(std::make_unique<SteeredDevice>(std::move(queue), exchange, i));
    }
  }
  /// Frames that arrive at shard `index` now, and what comes out of it then.
  Frames receive(std::uint32_t index, Frames arriving = {}) {
    queues[index]->next = std::move(arriving);
    Frames out;
    for (const RxFrame& frame : devices[index]->receive(kNow, 64)) {
      out.emplace_back(frame.head.begin(), frame.head.end());
    }
    return out;
  }
  ShardExchange exchange{kMap, 1};
  std::vector<Queue*> queues;
  std::vector<std::unique_ptr<SteeredDevice>> devices;
};

Buffer framed(Bytes packet, EtherType type) {
  return joined(
      {emitted(wire::EthernetRepr{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, type}, 14), packet});
}

/// A UDP packet to port 53 whose owner is `owner`, or a piece of it.
Buffer packet_for(std::uint32_t owner, std::uint16_t offset = 0, bool more = false) {
  std::uint16_t from = 1;
  while (kMap.owner(wire::protocol::udp, {kHost, 53, 0}, {kPeer, from, 0}) != owner) ++from;
  Buffer payload(64);
  wire::store_u16(payload.data(), from);
  wire::store_u16(payload.data() + 2, 53);
  wire::Ipv4Repr repr{.source = kPeer, .destination = kHost, .protocol = wire::protocol::udp};
  repr.id = 5;
  repr.fragment_offset = offset;
  repr.more_fragments = more;
  repr.payload_len = 64;
  return framed(joined({emitted(repr, 20), payload}), EtherType::ipv4);
}

TEST(SteeredDevice, KeepsItsOwnAndHandsOverTheRest) {
  Three net;
  const Buffer a = packet_for(0), b = packet_for(1);
  EXPECT_EQ(net.receive(0, {a, a}), (Frames{a, a}));
  EXPECT_EQ(net.receive(0, {a, b, a}), (Frames{a, a}));
  EXPECT_EQ(net.devices[1]->next_deadline(), Instant::from_nanos(0)) << "something waits";
  EXPECT_TRUE(net.devices[2]->next_deadline().is_never());
  EXPECT_EQ(net.receive(1), Frames{b});
  EXPECT_TRUE(net.receive(1).empty());
  EXPECT_TRUE(net.receive(2).empty());
  EXPECT_EQ(net.devices[0]->counters().own, 4U);
  EXPECT_EQ(net.devices[0]->counters().handed_over, 1U);
  EXPECT_EQ(net.devices[1]->counters().taken_over, 1U);
}

TEST(SteeredDevice, WakesOnlyWhoSleeps) {
  Three net;
  (void)net.receive(0, {packet_for(1)});
  EXPECT_FALSE(net.exchange.wakeup(1).requested());
  (void)net.receive(1);
  (void)net.devices[1]->next_deadline();
  (void)net.receive(0, {packet_for(1)});
  EXPECT_TRUE(net.exchange.wakeup(1).requested());
}

TEST(SteeredDevice, AFullRingLosesAndCounts) {
  Three net;
  const Frames some(60, packet_for(1));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(net.receive(0, some).empty());
  const SteeringCounters counters = net.devices[0]->counters();
  EXPECT_GT(counters.ring_full, 0U);
  EXPECT_EQ(counters.ring_full + counters.handed_over, 6000U);
  std::uint64_t taken = 0;
  while (const std::size_t n = net.receive(1).size()) taken += n;
  EXPECT_EQ(taken, counters.handed_over);
}

// req: RFC826-Reception-2
TEST(SteeredDevice, OneShardAnswersArpAndAllLearnFromIt) {
  Three net;
  const wire::ArpRepr arp{.operation = wire::ArpOperation::request,
                          .sender_mac = {{2, 0, 0, 0, 0, 9}},
                          .sender_ip = kPeer,
                          .target_ip = kHost};
  const Buffer request = framed(emitted(arp, wire::kArpLen), EtherType::arp);
  EXPECT_EQ(net.receive(2, {request}), Frames{request});
  for (const std::uint32_t other : {0U, 1U}) {
    const auto told = net.receive(other);
    ASSERT_EQ(told.size(), 1U);
    const auto view = wire::ArpView::parse(Bytes{told[0]}.subspan(14));
    ASSERT_TRUE(view);
    EXPECT_EQ(view->operation(), wire::ArpOperation::reply);
    EXPECT_EQ(view->sender_mac(), arp.sender_mac);
    EXPECT_EQ(view->sender_ip(), arp.sender_ip);
  }
}

TEST(SteeredDevice, FragmentsMeetInWhateverOrderAndPlaceTheyCome) {
  for (std::uint32_t owner = 0; owner < 3; ++owner) {
    Three net;
    const Buffer first = packet_for(owner, 0, true), middle = packet_for(owner, 64, true),
                 last = packet_for(owner, 128);
    Frames got;
    const auto turn = [&](std::uint32_t index, Frames arriving = {}) {
      const auto out = net.receive(index, std::move(arriving));
      EXPECT_TRUE(index == owner || out.empty());
      got.insert(got.end(), out.begin(), out.end());
    };
    turn(0, {last});
    turn(1, {first});
    turn(2, {middle});
    for (int round = 0; round < 3; ++round) {
      for (std::uint32_t index = 0; index < 3; ++index) turn(index);
    }
    EXPECT_EQ(got.size(), 3U);
    for (const Buffer& one : {first, middle, last}) {
      EXPECT_TRUE(std::ranges::find(got, one) != got.end());
    }
  }
}

}  // namespace
}  // namespace tidewire::runtime
