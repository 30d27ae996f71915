#include "runtime/joint.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "device/backends/sim_link.hpp"
#include "runtime/clock.hpp"
#include "runtime/wakeup.hpp"
#include "wire/load.hpp"

namespace tidewire::runtime {
namespace {

using Packet = std::vector<std::byte>;

constexpr MacAddress kOurs{{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kTheirs{{2, 0, 0, 0, 0, 2}};

/// Somebody outside, who is told what to send and remembers what came.
class Outside final : public device::Device {
 public:
  explicit Outside(Medium medium) : medium_(medium) {}
  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = medium_;
    can.mac = kOurs;
    return can;
  }
  std::string_view name() const noexcept override { return "outside"; }
  PushResult push(const TxFrame& frame) noexcept override {
    if (room == 0) return PushResult::full;
    --room;
    Packet& packet = came.emplace_back(frame.headers.begin(), frame.headers.end());
    for (const Bytes part : frame.payload) packet.insert(packet.end(), part.begin(), part.end());
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant, std::size_t limit) noexcept override {
    held_.clear();
    frames_.clear();
    while (!sends.empty() && held_.size() < limit) {
      held_.push_back(std::move(sends.front()));
      sends.pop_front();
    }
    for (const Packet& packet : held_) frames_.emplace_back().head = packet;
    return frames_;
  }
  bool writable() noexcept override { return room != 0; }
  int descriptor() const noexcept override { return wakeup_.descriptor(); }

  std::size_t room = 100;
  std::deque<Packet> sends;
  std::vector<Packet> came;

 private:
  Medium medium_;
  Wakeup wakeup_;
  std::deque<Packet> held_;
  std::vector<RxFrame> frames_;
};

Packet ipv4(std::uint8_t mark) {
  Packet packet(28);
  wire::store_u8(packet.data(), 0x45);
  wire::store_u16(packet.data() + 2, 28);
  wire::store_u8(packet.data() + 9, 1);
  wire::store_u8(packet.data() + 27, mark);
  return packet;
}

Packet framed(const MacAddress& to, const MacAddress& from, std::uint16_t type, const Packet& ip) {
  Packet frame;
  for (const auto octet : to.octets) frame.push_back(std::byte{octet});
  for (const auto octet : from.octets) frame.push_back(std::byte{octet});
  frame.resize(14);
  wire::store_u16(frame.data() + 12, type);
  frame.insert(frame.end(), ip.begin(), ip.end());
  return frame;
}

struct Bench {
  explicit Bench(Medium medium)
      : outside(medium),
        link(device::SimLink::make({.name = "link",
                                    .medium = Medium::ip,
                                    .spec = {},
                                    .mac_a = {},
                                    .mac_b = {},
                                    .seed = {1, 2},
                                    .origin = Clock::now()})),
        near(link->open(device::SimLink::End::a)),
        far(link->open(device::SimLink::End::b)),
        joint(driver, outside, *near, kTheirs) {}

  void turn() { driver.run(Clock::now()); }
  std::vector<Packet> arrived() {
    std::vector<Packet> all;
    for (const RxFrame& frame : far->receive(Clock::now(), 100)) {
      all.emplace_back(frame.head.begin(), frame.head.end());
    }
    return all;
  }
  void send(const Packet& packet) {
    far->advance(Clock::now());
    TxFrame frame;
    frame.headers = packet;
    ASSERT_EQ(far->push(frame), PushResult::taken);
  }

  Driver driver;
  Outside outside;
  std::shared_ptr<device::SimLink> link;
  std::unique_ptr<device::Device> near;
  std::unique_ptr<device::Device> far;
  Joint joint;
};

TEST(Joint, CarriesPacketsBothWays) {
  Bench bench(Medium::ip);
  bench.outside.sends = {ipv4(1), ipv4(2)};
  bench.turn();
  EXPECT_EQ(bench.arrived(), (std::vector<Packet>{ipv4(1), ipv4(2)}));
  bench.send(ipv4(3));
  bench.turn();
  EXPECT_EQ(bench.outside.came, (std::vector<Packet>{ipv4(3)}));
}

TEST(Joint, TakesTheLinkHeaderOffAndPutsItOn) {
  Bench bench(Medium::ethernet);
  bench.outside.sends = {framed(kOurs, kTheirs, 0x0800, ipv4(1))};
  bench.turn();
  EXPECT_EQ(bench.arrived(), (std::vector<Packet>{ipv4(1)}));
  bench.send(ipv4(2));
  bench.turn();
  EXPECT_EQ(bench.outside.came, (std::vector<Packet>{framed(kTheirs, kOurs, 0x0800, ipv4(2))}));
}

TEST(Joint, IgnoresWhatIsNoIpv4) {
  Bench bench(Medium::ethernet);
  Packet v6 = ipv4(1);
  wire::store_u8(v6.data(), 0x60);
  bench.outside.sends = {framed(kOurs, kTheirs, 0x0806, ipv4(1)), Packet(5),
                         framed(kOurs, kTheirs, 0x0800, v6)};
  bench.turn();
  EXPECT_TRUE(bench.arrived().empty());
  EXPECT_EQ(bench.joint.ignored(), 3U);
}

TEST(Joint, KeepsWhatFindsNoRoom) {
  Bench bench(Medium::ip);
  bench.turn();
  for (std::uint8_t i = 1; i <= 3; ++i) bench.send(ipv4(i));
  bench.outside.room = 1;
  bench.turn();
  EXPECT_EQ(bench.outside.came.size(), 1U);
  EXPECT_TRUE(bench.joint.next_deadline().is_never()) << "it waits for room, not for a time";
  bench.outside.room = 10;
  bench.turn();
  EXPECT_EQ(bench.outside.came, (std::vector<Packet>{ipv4(1), ipv4(2), ipv4(3)}));
}

}  // namespace
}  // namespace tidewire::runtime
