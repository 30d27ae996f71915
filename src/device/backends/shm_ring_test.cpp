#include "device/backends/shm_ring.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/random.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

constexpr std::size_t kCapacity = ShmMemory::kLeast;
constexpr Instant kNow = Instant::from_nanos(7);

Headers ip_headers() {
  Headers h;
  h.ethernet = false;
  return h;
}

/// Both ends of one lane.
class ShmRing : public ::testing::Test {
 protected:
  ShmRing()
      : memory(*ShmMemory::create(kCapacity)),
        lane(memory.lane(0)),
        writer(lane),
        reader(lane, Medium::ip) {}

  PushResult push(std::size_t payload, std::uint32_t seg_size = 0, unsigned start = 0) {
    const Headers h = ip_headers();
    head = headers(h, payload);
    data = pattern(payload, start);
    const Bytes parts[] = {Bytes{data}.first(payload / 3), Bytes{data}.subspan(payload / 3)};
    return writer.push(frame_of(h, head, parts, seg_size));
  }
  static std::vector<std::byte> whole(const RxFrame& frame) {
    std::vector<std::byte> bytes = copy_of(frame.head);
    for (const Bytes part : frame.more) bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
  }
  std::vector<std::byte> pushed() const {
    std::vector<std::byte> bytes = head;
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
  }

  ShmMemory memory;
  ShmLane lane;
  ShmWriter writer;
  ShmReader reader;
  std::vector<std::byte> head, data;
};

TEST_F(ShmRing, CarriesSuperSegmentsAndPendingChecksums) {
  ASSERT_EQ(push(60'000, 1460), PushResult::taken);
  EXPECT_TRUE(reader.read(kNow, 64).empty()) << "before publish()";
  writer.publish();
  const auto frames = reader.read(kNow, 64);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(whole(frames[0]), pushed());
  EXPECT_EQ(frames[0].seg_size, 1460);
  EXPECT_EQ(frames[0].segs, (60'000 + 1459) / 1460);
  EXPECT_EQ(frames[0].checksum, ChecksumState::partial);
  EXPECT_EQ(frames[0].ingress, kNow);
  EXPECT_LT(frames[0].head.size(), 1000U) << "the payload is not copied";
  EXPECT_EQ(reader.bad_metadata(), 0U);
}

TEST_F(ShmRing, CopiesWhatIsNotTcp) {
  Headers h = ip_headers();
  h.udp = true;
  head = headers(h, 5000);
  data = pattern(5000);
  const Bytes parts[] = {data};
  ASSERT_EQ(writer.push(frame_of(h, head, parts)), PushResult::taken);
  writer.publish();
  const auto frames = reader.read(kNow, 64);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].head.size(), 5028U);
  EXPECT_EQ(whole(frames[0]), pushed());
}

TEST_F(ShmRing, FullAndRoomAgain) {
  std::size_t count = 0;
  while (push(60'000) == PushResult::taken) ++count;
  EXPECT_EQ(count, kCapacity / shm_record_size(60'040));
  EXPECT_EQ(push(60'000), PushResult::full);
  EXPECT_FALSE(writer.has_room());
  EXPECT_FALSE(writer.wait_for_room());
  writer.publish();
  std::size_t seen = 0;
  bool woken = false;
  while (!reader.read(kNow, 1).empty()) {
    ++seen;
    EXPECT_FALSE(woken) << "once";
    woken = reader.release() || woken;
    if (seen == 1) {
      EXPECT_FALSE(woken) << "for so little";
    }
    if (woken) break;
  }
  EXPECT_TRUE(woken);
  EXPECT_TRUE(writer.has_room());
  EXPECT_EQ(push(60'000), PushResult::taken);
}

TEST_F(ShmRing, WakesASleeperOnce) {
  EXPECT_FALSE(reader.sleep());
  ASSERT_EQ(push(10), PushResult::taken);
  EXPECT_TRUE(writer.publish());
  ASSERT_EQ(push(10), PushResult::taken);
  EXPECT_FALSE(writer.publish());
  EXPECT_TRUE(reader.sleep()) << "there is something already";
  EXPECT_EQ(reader.read(kNow, 64).size(), 2U);
}

// Frames of every length stand across the end of the lane many times.
TEST_F(ShmRing, WrapsAround) {
  Rng rng({3, 4});
  std::uint64_t bytes = 0;
  for (unsigned i = 0; bytes < 40 * kCapacity; ++i) {
    const auto size = static_cast<std::size_t>(i < 3000 ? rng.below(1500) : rng.below(65'000));
    ASSERT_EQ(push(size, 0, i), PushResult::taken) << i;
    writer.publish();
    const auto frames = reader.read(kNow, 64);
    ASSERT_EQ(frames.size(), 1U);
    ASSERT_EQ(whole(frames[0]), pushed()) << i << ": " << size;
    reader.release();
    bytes += size;
  }
}

TEST_F(ShmRing, ABatchLeavesRoomForTheWriter) {
  while (push(1000) == PushResult::taken) {
  }
  writer.publish();
  const std::size_t first = reader.read(kNow, 100'000).size();
  EXPECT_NEAR(static_cast<double>(first * shm_record_size(1040)), kCapacity / 4.0, 2000.0);
  std::size_t rest = 0;
  for (;;) {
    reader.release();
    const std::size_t n = reader.read(kNow, 64).size();
    if (n == 0) break;
    rest += n;
  }
  EXPECT_EQ(first + rest, kCapacity / shm_record_size(1040));
}

TEST_F(ShmRing, AFrameThatNoLaneTakesIsCounted) {
  const std::vector<std::byte> much(kShmGreatest + 1);
  TxFrame frame;
  frame.headers = much;
  EXPECT_EQ(writer.push(frame), PushResult::taken);
  frame.headers = {};
  EXPECT_EQ(writer.push(frame), PushResult::taken);
  EXPECT_EQ(writer.too_long(), 2U);
  EXPECT_EQ(writer.unpublished(), 0U);
}

// --- the other side lies ---

struct Lie {
  const char* what;
  std::uint64_t head;    ///< of the lane, after one true record of 64 bytes
  std::uint32_t length;  ///< of that record
};

TEST_F(ShmRing, AWriterThatLiesIsFoundOut) {
  const Lie lies[] = {
      {"a head that is no multiple", 65, 30},
      {"a head beyond the lane", kCapacity + 64, 30},
      {"a head far ahead", std::uint64_t{1} << 63, 30},
      {"a head that seems to lie back", ~std::uint64_t{63}, 30},
      {"a length of nothing", 64, 0},
      {"a length beyond the head", 64, 49},
      {"a length beyond any frame", kCapacity, kShmGreatest + 1},
      {"a length beyond everything", kCapacity, 0xffff'ffff},
      {"a length that is small again with its record", kCapacity, 0xffff'fff0},
  };
  for (const Lie& lie : lies) {
    lane.control->head = 0;
    ShmReader victim(lane, Medium::ip);
    const ShmRecord record{.length = lie.length, .vnet = {}};
    std::memcpy(lane.data, &record, sizeof record);
    lane.control->head = lie.head;
    EXPECT_TRUE(victim.read(kNow, 64).empty()) << lie.what;
    EXPECT_TRUE(victim.broken()) << lie.what;
    lane.control->head = 64;
    EXPECT_TRUE(victim.read(kNow, 64).empty()) << lie.what << ": it stays broken";
    EXPECT_FALSE(victim.release()) << lie.what;
  }
}

TEST_F(ShmRing, AHeadThatGoesBackIsFoundOut) {
  ASSERT_EQ(push(10), PushResult::taken);
  ASSERT_EQ(push(10), PushResult::taken);
  writer.publish();
  ASSERT_EQ(reader.read(kNow, 64).size(), 2U);
  lane.control->head = 64;
  EXPECT_TRUE(reader.read(kNow, 64).empty());
  EXPECT_TRUE(reader.broken());
}

TEST_F(ShmRing, AReaderThatLiesIsFoundOut) {
  ASSERT_EQ(push(10), PushResult::taken);
  writer.publish();
  ASSERT_EQ(push(10), PushResult::taken);  // not shown yet
  for (const std::uint64_t tail :
       {std::uint64_t{256}, std::uint64_t{1}, ~std::uint64_t{63}, std::uint64_t{1} << 40,
        std::uint64_t{shm_record_size(50) * 2}}) {
    ShmWriter victim = writer;
    lane.control->tail = tail;
    EXPECT_FALSE(victim.has_room()) << tail;
    EXPECT_TRUE(victim.broken()) << tail;
    for (int i = 0; i < 5000; ++i) {
      const std::vector<std::byte> frame(1500);
      TxFrame tx;
      tx.headers = frame;
      if (victim.push(tx) == PushResult::full) break;
      ASSERT_LT(i, 4999) << "a broken lane fills up";
    }
  }
}

// Whatever stands in the record's metadata: the frame is what it was, or it is counted.
TEST_F(ShmRing, MetadataThatContradictsTheFrameIsNotBelieved) {
  const VnetHeader lies[] = {
      {VnetHeader::kNeedsChecksum, 0, 0, 0, 60'000, 16},
      {VnetHeader::kNeedsChecksum, 0, 0, 0, 20, 6},
      {VnetHeader::kNeedsChecksum, VnetHeader::kGsoTcp4, 0, 0, 20, 16},
      {VnetHeader::kNeedsChecksum, VnetHeader::kGsoUdp, 0, 500, 20, 16},
  };
  for (const VnetHeader& lie : lies) {
    ASSERT_EQ(push(3000), PushResult::taken);
    auto* at = lane.data + (lane.control->head.load() & (kCapacity - 1));
    std::memcpy(at + offsetof(ShmRecord, vnet), &lie, sizeof lie);
    writer.publish();
    const std::uint64_t before = reader.bad_metadata();
    const auto frames = reader.read(kNow, 64);
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(reader.bad_metadata(), before + 1);
    EXPECT_EQ(frames[0].segs, 1);
    EXPECT_EQ(whole(frames[0]), pushed());
    reader.release();
  }
}

// A parser sees a copy: the headers cannot change between its look and its next.
TEST_F(ShmRing, HeadersDoNotChangeUnderAParser) {
  ASSERT_EQ(push(3000), PushResult::taken);
  writer.publish();
  const auto frames = reader.read(kNow, 64);
  ASSERT_EQ(frames.size(), 1U);
  const auto before = copy_of(frames[0].head);
  std::memset(lane.data, 0xff, 4096);
  EXPECT_EQ(copy_of(frames[0].head), before);
}

TEST(ShmMemory, RefusesWhatCouldBeCutOff) {
  EXPECT_FALSE(ShmMemory::create(kCapacity - 1).has_value());
  EXPECT_FALSE(ShmMemory::create(kCapacity / 2).has_value());
  EXPECT_FALSE(ShmMemory::create(std::size_t{1} << 40).has_value());
  const auto made = ShmMemory::create(kCapacity);
  ASSERT_TRUE(made.has_value());
  EXPECT_NE(ftruncate(made->fd(), 0), 0) << "sealed";
  EXPECT_NE(ftruncate(made->fd(), std::int64_t{1} << 30), 0);
  EXPECT_TRUE(ShmMemory::open(OwnedFd{dup(made->fd())}, kCapacity).has_value());
  const auto wrong = ShmMemory::open(OwnedFd{dup(made->fd())}, 2 * kCapacity);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().find("size"), std::string::npos) << wrong.error();
  OwnedFd unsealed{memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  ASSERT_EQ(ftruncate(unsealed.get(), 8192 + 2 * kCapacity), 0);
  const auto loose = ShmMemory::open(std::move(unsealed), kCapacity);
  ASSERT_FALSE(loose.has_value());
  EXPECT_NE(loose.error().find("sealed"), std::string::npos) << loose.error();
  EXPECT_FALSE(ShmMemory::open(OwnedFd{}, kCapacity).has_value());
  EXPECT_FALSE(ShmMemory::open(OwnedFd{open("/dev/null", O_RDWR | O_CLOEXEC)}, kCapacity));
}

}  // namespace
}  // namespace tidewire::device
