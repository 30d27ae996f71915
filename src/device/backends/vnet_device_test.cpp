#include "device/backends/vnet_device.hpp"

#include <gtest/gtest.h>

#include "device/factory.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

struct Received {
  RxFrame frame;
  bool sound = false;
};

Received received(const VnetHeader& header, Bytes bytes, Medium medium = Medium::ethernet) {
  Received r;
  r.frame.head = bytes;
  r.sound = apply_vnet_header(header, medium, r.frame);
  return r;
}

VnetHeader gso(std::uint16_t size) {
  VnetHeader header;
  header.flags = VnetHeader::kNeedsChecksum;
  header.gso_type = VnetHeader::kGsoTcp4;
  header.gso_size = size;
  header.header_length = 54;
  header.checksum_start = 34;
  header.checksum_offset = 16;
  return header;
}

TEST(VnetHeader, TransmitAndBack) {
  Headers h;
  h.flags = 0x90;
  const auto head = headers(h, 5000);
  const auto data = pattern(5000);
  const Bytes payload[] = {data};
  const TxFrame frame = frame_of(h, head, payload, 1460);
  const VnetHeader header = vnet_header(frame);
  EXPECT_EQ(header.gso_type, VnetHeader::kGsoTcp4 | VnetHeader::kGsoEcn);
  auto all = head;
  all.insert(all.end(), data.begin(), data.end());
  const Received r = received(header, all);
  EXPECT_TRUE(r.sound);
  EXPECT_EQ(r.frame.seg_size, 1460);
  EXPECT_EQ(r.frame.segs, 4);
  EXPECT_EQ(r.frame.checksum, ChecksumState::partial);
}

TEST(VnetHeader, OneSegmentIsNoSuperSegment) {
  Headers h;
  const auto head = headers(h, 1000);
  const auto data = pattern(1000);
  const Bytes payload[] = {data};
  EXPECT_EQ(vnet_header(frame_of(h, head, payload, 1460)).gso_type, VnetHeader::kGsoNone);
  TxFrame final = frame_of(h, head, payload);
  final.checksum_pending = false;
  EXPECT_EQ(vnet_header(final).flags, 0);
}

// What a device says about a frame is checked before it is believed.
TEST(VnetHeader, BadMetadataIsRecomputed) {
  Headers h;
  auto packet = headers(h, 3000);
  packet.resize(packet.size() + 3000);
  EXPECT_FALSE(received(gso(0), packet).sound);
  EXPECT_EQ(received(gso(0), packet).frame.seg_size, 0);
  EXPECT_EQ(received(gso(0), packet).frame.segs, 1);
  EXPECT_EQ(received(gso(60'000), packet).frame.segs, 1);
  EXPECT_EQ(received(gso(1), packet).frame.segs, 3000);
  VnetHeader udp = gso(1460);
  udp.gso_type = VnetHeader::kGsoUdp;
  EXPECT_FALSE(received(udp, packet).sound);
  EXPECT_EQ(received(udp, packet).frame.segs, 1);
  VnetHeader elsewhere = gso(1460);
  elsewhere.checksum_start = 20;
  EXPECT_FALSE(received(elsewhere, packet).sound);
  EXPECT_EQ(received(elsewhere, packet).frame.checksum, ChecksumState::unknown);
  VnetHeader field = gso(1460);
  field.checksum_offset = 6;
  EXPECT_EQ(received(field, packet).frame.checksum, ChecksumState::unknown);
  VnetHeader valid;
  valid.flags = VnetHeader::kDataValid;
  EXPECT_EQ(received(valid, packet).frame.checksum, ChecksumState::verified);
  for (std::size_t size = 0; size < 54; ++size) {
    const Received r = received(gso(1460), Bytes{packet}.first(size));
    EXPECT_FALSE(r.sound);
    EXPECT_EQ(r.frame.segs, 1);
    EXPECT_EQ(r.frame.seg_size, 0);
    EXPECT_NE(r.frame.checksum, ChecksumState::partial);
  }
}

/// Hands out what a test puts in line.
class FakeVnet final : public VnetDevice {
 public:
  FakeVnet() : VnetDevice(OwnedFd{}, "fake", {}) {}
  std::size_t waiting = 0;
  std::size_t reads = 0;
  std::size_t size = 100;  ///< of each

 private:
  std::ptrdiff_t read_frame(MutBytes out) noexcept override {
    ++reads;
    if (waiting == 0) return 0;
    --waiting;
    std::memset(out.data(), 0, size);
    return static_cast<std::ptrdiff_t>(size);
  }
};

// Frames that come one at a time cost one read each after a while; when more come at once they are
// read together again soon, and none is lost.
TEST(VnetDevice, LeavesTheSecondReadAwayWhereFramesComeAlone) {
  FakeVnet device;
  for (int i = 0; i < 8; ++i) {
    device.waiting = 1;
    EXPECT_EQ(device.receive({}, 64).size(), 1U);
  }
  const std::size_t before = device.reads;
  for (int i = 0; i < 160; ++i) {
    device.waiting = 1;
    EXPECT_EQ(device.receive({}, 64).size(), 1U);
  }
  EXPECT_LE(device.reads - before, 171U);
  device.waiting = 100;
  std::size_t calls = 0;
  for (std::size_t seen = 0; seen < 100; ++calls) {
    const std::size_t n = device.receive({}, 64).size();
    ASSERT_GT(n, 0U);
    seen += n;
  }
  EXPECT_LE(calls, 18U);
  device.waiting = 10;
  EXPECT_EQ(device.receive({}, 64).size(), 10U);
}

// A connection that ends and the next one that begins: two frames are answered by two, and the
// next one by three. In the end each costs its own read and no more.
TEST(VnetDevice, LearnsHowManyFramesAnswerHowMany) {
  FakeVnet device;
  const auto connection = [&] {
    (void)device.push({});
    (void)device.push({});
    device.waiting = 2;
    EXPECT_EQ(device.receive({}, 64).size(), 2U);
    (void)device.push({});
    device.waiting = 3;
    EXPECT_EQ(device.receive({}, 64).size(), 3U);
  };
  for (int i = 0; i < 8; ++i) connection();
  const std::size_t before = device.reads;
  for (int i = 0; i < 160; ++i) connection();
  EXPECT_LE(device.reads - before, 160U * 5 + 21);
  // Once fewer come first: the guess stands.
  (void)device.push({});
  device.waiting = 2;
  EXPECT_EQ(device.receive({}, 64).size(), 2U);
  const std::size_t again = device.reads;
  for (int i = 0; i < 4; ++i) connection();
  EXPECT_LE(device.reads - again, 4U * 5 + 1);
}

// What ends at the memory of the device, and not because there is no more, is no sign.
TEST(VnetDevice, ReadsOnWhereItsMemoryWasTheEnd) {
  FakeVnet device;
  device.size = 65'000;
  for (int i = 0; i < 32; ++i) {
    device.waiting = 8;
    std::size_t seen = 0;
    do {
      seen += device.receive({}, 64).size();
    } while (device.receive_again());
    EXPECT_EQ(seen, 8U);
  }
}

TEST(Factory, ErrorsSayWhatToWrite) {
  for (const char* text : {"", "tap", "tap:", "eth0", "bridge:x", ":x"}) {
    const auto device = open_device(text);
    ASSERT_FALSE(device.has_value()) << text;
    EXPECT_NE(device.error().find("tap:NAME"), std::string::npos) << device.error();
  }
  const auto missing = open_device("veth:surely-absent0");
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().find("ip link add"), std::string::npos) << missing.error();
  const auto name = open_device("tap:a-name-much-too-long");
  ASSERT_FALSE(name.has_value());
  EXPECT_NE(name.error().find("15 characters"), std::string::npos) << name.error();
}

}  // namespace
}  // namespace tidewire::device
