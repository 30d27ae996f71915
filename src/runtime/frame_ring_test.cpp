// Frames between threads: order, bounds, and nothing torn.
#include "runtime/frame_ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/random.hpp"

namespace tidewire::runtime {
namespace {

RxFrame frame_of(const std::vector<std::byte>& bytes) {
  RxFrame frame;
  frame.head = bytes;
  return frame;
}

TEST(FrameRing, GivesFramesInOrderWithAllThatIsKnownOfThem) {
  FrameRing ring(1);
  EXPECT_TRUE(ring.empty());
  EXPECT_FALSE(ring.take());
  const std::vector<std::byte> head(60, std::byte{1}), more(1000, std::byte{2});
  RxFrame frame = frame_of(head);
  frame.more[1] = more;
  frame.seg_size = 500;
  frame.segs = 2;
  frame.checksum = ChecksumState::partial;
  frame.ingress = Instant::from_nanos(77);
  ASSERT_TRUE(ring.push(frame, 3));
  ASSERT_TRUE(ring.push(frame_of(head), 4));
  const auto one = ring.take(), two = ring.take();
  ASSERT_TRUE(one && two);
  EXPECT_FALSE(ring.take());
  EXPECT_EQ(one->note, 3);
  EXPECT_EQ(one->frame.size(), 1060U);
  EXPECT_TRUE(std::ranges::equal(one->frame.head.first(60), head));
  EXPECT_TRUE(std::ranges::equal(one->frame.head.subspan(60), more));
  EXPECT_EQ(one->frame.seg_size, 500);
  EXPECT_EQ(one->frame.segs, 2);
  EXPECT_EQ(one->frame.checksum, ChecksumState::partial);
  EXPECT_EQ(one->frame.ingress, frame.ingress);
  EXPECT_EQ(two->note, 4);
  EXPECT_TRUE(std::ranges::equal(two->frame.head, head));
}

TEST(FrameRing, IsFullUntilWhatWasTakenIsReleased) {
  FrameRing ring(1);
  const std::vector<std::byte> big(65'000);
  int pushed = 0;
  while (ring.push(frame_of(big), 0)) ++pushed;
  EXPECT_EQ(pushed, 4) << "256 KiB";
  ASSERT_TRUE(ring.take());
  EXPECT_FALSE(ring.push(frame_of(big), 0)) << "somebody still looks at it";
  ring.release();
  EXPECT_TRUE(ring.push(frame_of(big), 0));
  EXPECT_FALSE(ring.push(frame_of(std::vector<std::byte>(300'000)), 0)) << "greater than the ring";
}

/// Bytes that tell their frame's number in every place.
std::vector<std::byte> pattern(std::uint32_t number, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(number * 31 + i);
  return bytes;
}
std::size_t size_of(std::uint32_t number) {
  return 1 + siphash13({1, 2}, number) % (number % 50 == 0 ? 60'000 : 2000);
}

TEST(FrameRing, TwoThreadsLoseAndTearNothing) {
  constexpr std::uint32_t kFrames = 20'000;
  FrameRing ring(1);
  std::jthread producer([&ring] {
    for (std::uint32_t i = 0; i < kFrames; ++i) {
      const auto bytes = pattern(i, size_of(i));
      while (!ring.push(frame_of(bytes), static_cast<std::uint8_t>(i))) std::this_thread::yield();
    }
  });
  for (std::uint32_t i = 0; i < kFrames;) {
    ring.release();
    const std::uint32_t before = i;
    for (int batch = 0; batch < 7 && i < kFrames; ++batch) {
      const auto taken = ring.take();
      if (!taken) break;
      ASSERT_EQ(taken->note, static_cast<std::uint8_t>(i));
      ASSERT_TRUE(std::ranges::equal(taken->frame.head, pattern(i, size_of(i)))) << i;
      ++i;
    }
    if (i == before) std::this_thread::yield();
  }
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace tidewire::runtime
