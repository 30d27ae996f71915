#include "device/backends/af_xdp.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "device/backends/af_xdp_rings.hpp"
#include "device/factory.hpp"

namespace tidewire::device {
namespace {

/// A ring in plain memory, and the kernel's end of it.
class XdpRingTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kSize = 8;
  alignas(8) std::array<std::uint32_t, 4 + 2 * kSize> words{};
  xdp_ring_offset at{.producer = 0, .consumer = 4, .desc = 16, .flags = 8};
  XdpRing<std::uint64_t> ring{reinterpret_cast<std::byte*>(words.data()), at, kSize};
  std::uint32_t& producer() { return words[0]; }
  std::uint32_t& consumer() { return words[1]; }
  std::uint32_t& flags() { return words[2]; }
};

TEST_F(XdpRingTest, AProducerFillsAndSeesRoomAgain) {
  for (std::uint64_t i = 0; i < kSize; ++i) {
    ASSERT_NE(ring.room(), 0U);
    ring.put(i * 2048);
  }
  EXPECT_EQ(ring.room(), 0U);
  EXPECT_EQ(producer(), 0U) << "not published yet";
  ring.publish();
  EXPECT_EQ(producer(), kSize);
  EXPECT_EQ(ring.outstanding(), kSize);
  consumer() = 3;
  EXPECT_EQ(ring.room(), 3U);
  EXPECT_EQ(ring.outstanding(), kSize - 3);
}

TEST_F(XdpRingTest, AConsumerTakesInOrderAroundTheEnd) {
  std::uint64_t next = 0;
  for (std::uint32_t round = 0; round < 5; ++round) {
    for (std::uint32_t i = 0; i < 5; ++i) {
      const std::uint64_t value = 100 + next + i;
      std::memcpy(&words[4 + (next + i) % kSize * 2], &value, sizeof value);
    }
    EXPECT_EQ(ring.available(), 0U);
    producer() += 5;
    ASSERT_EQ(ring.available(), 5U);
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_EQ(ring.take(), 100 + next++);
    EXPECT_EQ(consumer(), producer() - 5) << "not given back yet";
    ring.release();
    EXPECT_EQ(consumer(), producer());
  }
}

TEST_F(XdpRingTest, TellsWhetherTheKernelMustBeWoken) {
  EXPECT_FALSE(ring.needs_wakeup());
  flags() = XDP_RING_NEED_WAKEUP;
  EXPECT_TRUE(ring.needs_wakeup());
}

TEST(Xdp, ErrorsSayWhatToDo) {
  const auto missing = open_xdp({.interface = "surely-absent0"});
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().find("no interface surely-absent0"), std::string::npos);
  const auto queue = open_device("xdp:lo:many");
  ASSERT_FALSE(queue.has_value());
  EXPECT_NE(queue.error().find("xdp:INTERFACE:0"), std::string::npos) << queue.error();
  const auto great = open_device("xdp:lo");
  ASSERT_FALSE(great.has_value());
  EXPECT_NE(great.error().find("MTU of 65536"), std::string::npos) << great.error();
}

}  // namespace
}  // namespace tidewire::device
