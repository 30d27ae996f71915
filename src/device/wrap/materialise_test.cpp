#include "device/wrap/materialise.hpp"

#include <gtest/gtest.h>

#include "device/wrap/offload_emulator.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

std::vector<std::vector<std::byte>> cut(const TxFrame& frame) {
  std::vector<std::vector<std::byte>> packets;
  std::vector<std::byte> out(70000);
  for (std::uint32_t i = 0; i < wire_packets(frame); ++i) {
    const std::size_t size = materialise(frame, i, out);
    EXPECT_EQ(size, wire_packet_size(frame, i));
    packets.push_back(copy_of(Bytes{out}.first(size)));
  }
  EXPECT_EQ(materialise(frame, wire_packets(frame), out), 0U);
  return packets;
}

TEST(Materialise, CompletesOneChecksum) {
  for (const bool udp : {false, true}) {
    for (const std::size_t size : {0U, 1U, 2U, 3U, 99U, 1460U}) {
      Headers h;
      h.udp = udp;
      const auto head = headers(h, size);
      const auto data = pattern(size);
      const Bytes payload[] = {Bytes{data}.first(size / 3), Bytes{data}.subspan(size / 3)};
      const auto packets = cut(frame_of(h, head, payload));
      ASSERT_EQ(packets.size(), 1U);
      EXPECT_TRUE(is_sound(packets[0])) << size;
    }
  }
}

TEST(Materialise, LeavesFinalChecksumsAlone) {
  Headers h;
  const auto head = headers(h, 3);
  const auto data = pattern(3);
  const Bytes payload[] = {data};
  TxFrame frame = frame_of(h, head, payload);
  frame.checksum_pending = false;
  auto expected = head;
  expected.insert(expected.end(), data.begin(), data.end());
  EXPECT_EQ(cut(frame)[0], expected);
}

// Every packet is sound, the payload is whole, identification and sequence number advance, CWR
// is on the first and FIN and PSH on the last only.
TEST(Materialise, CutsTcpSuperSegments) {
  for (const std::size_t size : {1461U, 2920U, 2921U, 10'000U, 65'000U}) {
    Headers h;
    h.flags = 0x10 | 0x80 | 0x08 | 0x01;
    h.seq = 0xfffff000;
    const auto head = headers(h, size);
    const auto data = pattern(size);
    const Bytes payload[] = {Bytes{data}.first(size / 2), Bytes{}, Bytes{data}.subspan(size / 2, 1),
                             Bytes{data}.subspan(size / 2 + 1)};
    const auto packets = cut(frame_of(h, head, payload, 1460));
    ASSERT_EQ(packets.size(), (size + 1459) / 1460);
    std::vector<std::byte> joined;
    for (std::size_t i = 0; i < packets.size(); ++i) {
      const std::byte* ip = packets[i].data() + 14;
      EXPECT_TRUE(is_sound(packets[i])) << i;
      EXPECT_EQ(wire::load_u16(ip + 4), 0x1234 + i);
      EXPECT_EQ(wire::load_u32(ip + 24), static_cast<std::uint32_t>(0xfffff000U + joined.size()));
      const std::uint8_t flags = wire::load_u8(ip + 33);
      EXPECT_EQ((flags & 0x80) != 0, i == 0);
      EXPECT_EQ((flags & 0x09) != 0, i + 1 == packets.size());
      EXPECT_NE(flags & 0x10, 0);
      joined.insert(joined.end(), packets[i].begin() + 54, packets[i].end());
    }
    EXPECT_EQ(joined, data);
  }
}

TEST(Materialise, CutsUdpSuperSegments) {
  Headers h;
  h.udp = true;
  const auto head = headers(h, 2500);
  const auto data = pattern(2500);
  const Bytes payload[] = {data};
  const auto packets = cut(frame_of(h, head, payload, 1000));
  ASSERT_EQ(packets.size(), 3U);
  for (const auto& packet : packets) {
    EXPECT_TRUE(is_sound(packet));
    EXPECT_EQ(wire::load_u16(packet.data() + 14 + 24), packet.size() - 34);
  }
  EXPECT_EQ(packets[2].size(), 42U + 500);
}

TEST(Materialise, RefusesWhatDoesNotFit) {
  Headers h;
  const auto head = headers(h, 100);
  const auto data = pattern(100);
  const Bytes payload[] = {data};
  std::vector<std::byte> out(153);
  EXPECT_EQ(materialise(frame_of(h, head, payload), 0, out), 0U);
  EXPECT_EQ(gather(frame_of(h, head, payload), out), 0U);
}

TEST(OffloadEmulator, HandsOverWhatTheDeviceCan) {
  auto owned = std::make_unique<Recorder>();
  Recorder& recorder = *owned;
  recorder.can.tx_checksum = recorder.can.tx_segmentation = true;
  OffloadEmulator emulator{std::move(owned)};
  EXPECT_TRUE(emulator.capabilities().tx_udp_segmentation);
  Headers h;
  const auto head = headers(h, 5000);
  const auto data = pattern(5000);
  const Bytes payload[] = {data};
  EXPECT_EQ(emulator.push(frame_of(h, head, payload, 1000)), PushResult::taken);
  ASSERT_EQ(recorder.pushed.size(), 1U);
  EXPECT_EQ(recorder.seg_sizes[0], 1000U);
  h.udp = true;
  const auto udp_head = headers(h, 5000);
  EXPECT_EQ(emulator.push(frame_of(h, udp_head, payload, 1000)), PushResult::taken);
  ASSERT_EQ(recorder.pushed.size(), 6U);
  EXPECT_TRUE(is_sound(recorder.pushed[5]));
}

TEST(OffloadEmulator, KeepsTheRestWhenTheDeviceFillsUp) {
  auto owned = std::make_unique<Recorder>();
  Recorder& recorder = *owned;
  OffloadEmulator emulator{std::move(owned)};
  Headers h;
  const auto head = headers(h, 60'000);
  const auto data = pattern(60'000);
  const Bytes payload[] = {data};
  const TxFrame frame = frame_of(h, head, payload, 1000);
  recorder.room = 0;
  EXPECT_EQ(emulator.push(frame), PushResult::full);
  EXPECT_FALSE(emulator.writable());
  recorder.room = 10;
  EXPECT_EQ(emulator.push(frame), PushResult::taken);
  EXPECT_EQ(recorder.pushed.size(), 10U);
  EXPECT_EQ(emulator.push(frame), PushResult::full);
  EXPECT_FALSE(emulator.next_deadline().is_never());
  recorder.room = 30;
  EXPECT_FALSE(emulator.writable());
  recorder.room = 100;
  EXPECT_TRUE(emulator.writable());
  EXPECT_TRUE(emulator.next_deadline().is_never());
  ASSERT_EQ(recorder.pushed.size(), 60U);
  std::vector<std::byte> joined;
  for (const auto& packet : recorder.pushed) {
    EXPECT_TRUE(is_sound(packet));
    joined.insert(joined.end(), packet.begin() + 54, packet.end());
  }
  EXPECT_EQ(joined, data);
}

}  // namespace
}  // namespace tidewire::device
