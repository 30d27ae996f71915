// Fragments wait for the first of their packet, but not for ever and not without bound.
#include "runtime/fragment_owners.hpp"

#include <gtest/gtest.h>

namespace tidewire::runtime {
namespace {

const Instant kStart = Instant::from_nanos(1);

RxFrame frame_of(const std::vector<std::byte>& bytes) {
  RxFrame frame;
  frame.head = Bytes{bytes}.first(bytes.size() / 2);
  frame.more[0] = Bytes{bytes}.subspan(bytes.size() / 2);
  return frame;
}

TEST(FragmentOwners, TheFirstFragmentNamesTheOwnerOfAll) {
  FragmentOwners owners;
  const std::vector<std::byte> early(100, std::byte{7});
  EXPECT_FALSE(owners.owner(1, kStart));
  owners.hold(1, frame_of(early), kStart);
  EXPECT_FALSE(owners.owner(1, kStart));
  EXPECT_EQ(owners.held_bytes(), 100U);
  const auto waited = owners.learn(1, 3, kStart);
  ASSERT_EQ(waited.size(), 1U);
  EXPECT_TRUE(std::ranges::equal(waited[0].frame.head, early));
  EXPECT_EQ(owners.owner(1, kStart), 3U);
  EXPECT_FALSE(owners.owner(2, kStart));
  EXPECT_EQ(owners.held_bytes(), 0U);
  EXPECT_EQ(owners.lost(), 0U);
}

TEST(FragmentOwners, NobodyWaitsForEver) {
  FragmentOwners owners;
  owners.hold(1, frame_of(std::vector<std::byte>(10)), kStart);
  EXPECT_FALSE(owners.owner(9, kStart + FragmentOwners::kLifetime - Duration::nanos(1)));
  EXPECT_EQ(owners.packets(), 1U);
  EXPECT_FALSE(owners.owner(9, kStart + FragmentOwners::kLifetime));
  EXPECT_EQ(owners.packets(), 0U);
  EXPECT_EQ(owners.lost(), 1U);
  EXPECT_TRUE(owners.learn(1, 2, kStart + FragmentOwners::kLifetime).empty());
}

TEST(FragmentOwners, AFloodOfFragmentsIsBounded) {
  FragmentOwners owners;
  const std::vector<std::byte> bytes(60'000);
  for (std::uint64_t packet = 0; packet < 5000; ++packet) {
    owners.hold(packet, frame_of(bytes), kStart);
    ASSERT_LE(owners.held_bytes(), FragmentOwners::kHeldBytes);
  }
  for (std::uint64_t packet = 10'000; packet < 15'000; ++packet) {
    (void)owners.learn(packet, 1, kStart);
    ASSERT_LE(owners.packets(), FragmentOwners::kPackets);
  }
  EXPECT_EQ(owners.lost(), 5000U);
  EXPECT_EQ(owners.owner(14'999, kStart), 1U);
  owners.hold(1, frame_of(std::vector<std::byte>(FragmentOwners::kHeldBytes + 1)), kStart);
  EXPECT_EQ(owners.held_bytes(), 0U) << "greater than all that may wait";
  EXPECT_EQ(owners.lost(), 5001U);
}

}  // namespace
}  // namespace tidewire::runtime
