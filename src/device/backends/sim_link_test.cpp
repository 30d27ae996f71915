#include "device/backends/sim_link.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "device/backends/loopback.hpp"
#include "device/wrap/capture.hpp"
#include "device/wrap/impaired_device.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

constexpr Instant kStart = Instant::from_nanos(0);
constexpr Instant at_ms(std::int64_t ms) { return kStart + Duration::millis(ms); }

struct Observer final : ImpactObserver {
  std::map<Impact, std::vector<std::uint64_t>> seen;
  void on_impact(const ImpactRecord& r) noexcept override { seen[r.impact].push_back(r.ordinal); }
};

SimLink::Options options(std::string_view words) {
  SimLink::Options o;
  o.spec = parse_net_spec(words).value();
  o.seed = {3, 4};
  return o;
}

void send(Device& device, std::uint32_t seq, std::size_t size = 100) {
  Headers h;
  h.seq = seq;
  const auto head = headers(h, size);
  const auto data = pattern(size, seq);
  const Bytes payload[] = {data};
  EXPECT_EQ(device.push(frame_of(h, head, payload)), PushResult::taken);
}

std::vector<std::uint32_t> seqs(std::span<const RxFrame> frames) {
  std::vector<std::uint32_t> out;
  for (const RxFrame& f : frames) out.push_back(wire::load_u32(f.head.data() + 38));
  return out;
}

std::vector<std::uint32_t> drain(Device& device, Instant last = at_ms(60'000)) {
  std::vector<std::uint32_t> all;
  for (int i = 0; i < 100'000; ++i) {
    const Instant next = device.next_deadline();
    if (next.is_never() || next > last) break;
    const auto some = seqs(device.receive(next, 16));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

TEST(SimLink, DelaysAndCompletesChecksums) {
  const auto link = SimLink::make(options("delay=20ms"));
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  EXPECT_FALSE(a->capabilities().tx_segmentation);
  a->advance(at_ms(5));
  send(*a, 1);
  EXPECT_TRUE(a->next_deadline().is_never());
  EXPECT_EQ(b->next_deadline(), at_ms(25));
  EXPECT_TRUE(b->receive(at_ms(24), 10).empty());
  const auto frames = b->receive(at_ms(30), 10);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_TRUE(is_sound(frames[0].head));
  EXPECT_EQ(frames[0].ingress, at_ms(25));
  EXPECT_TRUE(b->receive(at_ms(31), 10).empty());
  EXPECT_TRUE(link->empty());
}

TEST(SimLink, PerfectLinkCarriesSuperSegmentsWhole) {
  SimLink::Options o = options("mtu=9000");
  o.offload = true;
  const auto link = SimLink::make(o);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  EXPECT_TRUE(a->capabilities().tx_segmentation);
  EXPECT_TRUE(b->capabilities().rx_trusted);
  EXPECT_EQ(a->capabilities().mtu, 9000U);
  Headers h;
  const auto head = headers(h, 20'000);
  const auto data = pattern(20'000);
  const Bytes payload[] = {data};
  EXPECT_EQ(a->push(frame_of(h, head, payload, 1460)), PushResult::taken);
  const auto frames = b->receive(kStart, 10);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].seg_size, 1460);
  EXPECT_EQ(frames[0].segs, 14);
  EXPECT_EQ(frames[0].checksum, ChecksumState::partial);
}

TEST(SimLink, FramesStayWhateverIsSentMeanwhile) {
  SimLink::Options o = options("");
  o.offload = true;
  const auto link = SimLink::make(o);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  ASSERT_TRUE(b->frames_stay());
  for (std::uint32_t i = 0; i < 8; ++i) send(*a, i, 1000);
  const auto frames = b->receive(kStart, 10);
  ASSERT_EQ(frames.size(), 8U);
  std::vector<std::vector<std::byte>> before;
  for (const RxFrame& f : frames) before.emplace_back(f.head.begin(), f.head.end());
  // Buffers go round: those of the frames must not be among them.
  for (std::uint32_t round = 0; round < 20; ++round) {
    for (std::uint32_t i = 0; i < 8; ++i) {
      send(*a, 100 + i, 1000);
      send(*b, 200 + i, 1000);
    }
    (void)a->receive(kStart, 10);
    a->flush();
    b->advance(at_ms(round));
  }
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_TRUE(std::ranges::equal(frames[i].head, before[i])) << i;
  }
}

std::shared_ptr<SimLink> lending_link() {
  SimLink::Options o = options("");
  o.offload = o.lend = true;
  return SimLink::make(o);
}

/// Pushes one super-segment whose payload stays where `data` is.
void lend(Device& device, std::span<const Bytes> data) {
  Headers h;
  std::size_t size = 0;
  for (const Bytes part : data) size += part.size();
  const auto head = headers(h, size);
  TxFrame frame = frame_of(h, head, data, 1460);
  frame.payload_stays = true;
  EXPECT_EQ(device.push(frame), PushResult::taken);
}

std::vector<std::byte> payload_of(const RxFrame& frame, std::size_t size) {
  std::vector<std::byte> all(frame.head.begin(), frame.head.end());
  for (const Bytes part : frame.more) all.insert(all.end(), part.begin(), part.end());
  all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(size));
  return all;
}

TEST(SimLink, LendsPayloadThatStaysUntilTheFlush) {
  const auto link = lending_link();
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  auto data = pattern(40'000);
  const auto before = data;
  const Bytes parts[] = {Bytes{data}.first(15'000), Bytes{data}.subspan(15'000)};
  lend(*a, parts);
  lend(*a, parts);
  lend(*a, parts);
  send(*a, 7, 3'000);
  EXPECT_EQ(b->lent(), 120'000U);
  EXPECT_EQ(a->lent(), 0U);
  const auto first = b->receive(kStart, 1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].size(), 40'054U);
  EXPECT_EQ(first[0].more[0].data(), data.data()) << "where its sender has it";
  EXPECT_EQ(first[0].more[1].data(), data.data() + 15'000);
  EXPECT_EQ(payload_of(first[0], data.size()), before);
  EXPECT_EQ(b->lent(), 80'000U);
  a->flush();
  std::ranges::fill(data, std::byte{0xee});
  EXPECT_EQ(b->lent(), 0U);
  // Another loan between those that were copied meanwhile.
  auto more = pattern(20'000, 5);
  const Bytes rest[] = {more};
  lend(*a, rest);
  const auto frames = b->receive(kStart, 10);
  ASSERT_EQ(frames.size(), 4U);
  EXPECT_EQ(payload_of(frames[0], before.size()), before);
  EXPECT_EQ(payload_of(frames[1], before.size()), before);
  EXPECT_TRUE(frames[1].more[0].empty());
  EXPECT_EQ(frames[2].size(), 3'054U);
  EXPECT_EQ(frames[3].more[0].data(), more.data());
  EXPECT_EQ(b->lent(), 0U);
  a->flush();
  EXPECT_TRUE(link->empty());
}

// Small payload, payload that does not stay or in many parts, and what arrives later is copied.
TEST(SimLink, LendsNothingElse) {
  const auto link = lending_link();
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  const auto data = pattern(40'000);
  const Bytes whole[] = {data};
  const Bytes small[] = {Bytes{data}.first(4'000)};
  std::array<Bytes, 4> many;
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = Bytes{data}.subspan(i * 10'000, 10'000);
  lend(*a, small);
  lend(*a, many);
  send(*a, 1, 40'000);
  EXPECT_EQ(b->lent(), 0U);
  const auto frames = b->receive(kStart, 10);
  ASSERT_EQ(frames.size(), 3U);
  for (const RxFrame& frame : frames) EXPECT_TRUE(frame.more[0].empty());
  EXPECT_EQ(payload_of(frames[1], data.size()), data);
  link->set_spec(options("delay=5ms").spec);
  lend(*a, whole);
  EXPECT_EQ(b->lent(), 0U);
}

TEST(SimLink, CutsSuperSegmentsWhereItImpairs) {
  SimLink::Options o = options("delay=1ms");
  o.offload = true;
  const auto link = SimLink::make(o);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  Headers h;
  const auto head = headers(h, 5000);
  const auto data = pattern(5000);
  const Bytes payload[] = {data};
  EXPECT_EQ(a->push(frame_of(h, head, payload, 1460)), PushResult::taken);
  const auto frames = b->receive(at_ms(2), 10);
  ASSERT_EQ(frames.size(), 4U);
  for (const RxFrame& frame : frames) EXPECT_TRUE(is_sound(frame.head));
}

TEST(SimLink, AnotherSpecUnderWay) {
  SimLink::Options o = options("");
  o.offload = true;
  const auto link = SimLink::make(o);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  Headers h;
  const auto head = headers(h, 5000);
  const auto data = pattern(5000);
  const Bytes payload[] = {data};
  const auto push = [&] {
    EXPECT_EQ(a->push(frame_of(h, head, payload, 1460)), PushResult::taken);
  };
  link->set_spec(parse_net_spec("delay=5ms").value());
  EXPECT_EQ(link->spec().up.delay, Duration::millis(5));
  EXPECT_TRUE(a->capabilities().tx_segmentation) << "its stack was told so";
  push();
  link->set_spec({});
  push();
  EXPECT_TRUE(b->receive(at_ms(4), 10).empty());
  const auto frames = b->receive(at_ms(5), 10);
  ASSERT_EQ(frames.size(), 5U) << "four packets, then one whole that did not overtake them";
  for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(is_sound(frames[i].head));
  EXPECT_EQ(frames[4].segs, 4);
  link->set_spec(parse_net_spec("loss=100%").value());
  push();
  EXPECT_EQ(link->counters(Direction::up).of(Impact::lost), 4U);
}

TEST(SimLink, ReorderingLosesNothing) {
  Observer observer;
  const auto link = SimLink::make(options("delay=5ms reorder=20%"), &observer);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  std::vector<std::uint32_t> expected;
  std::vector<std::uint32_t> got;
  for (std::uint32_t i = 0; i < 300; ++i) {
    a->advance(at_ms(i));
    send(*a, i);
    expected.push_back(i);
    const auto some = seqs(b->receive(at_ms(i), 10));
    got.insert(got.end(), some.begin(), some.end());
  }
  const auto rest = drain(*b);
  got.insert(got.end(), rest.begin(), rest.end());
  EXPECT_NE(got, expected);
  std::ranges::sort(got);
  EXPECT_EQ(got, expected);
  EXPECT_GT(observer.seen[Impact::reordered].size(), 30U);
  EXPECT_LT(observer.seen[Impact::reordered].size(), 100U);
}

TEST(SimLink, AReorderedLastPacketArrivesByItself) {
  const auto link = SimLink::make(options("reorder=100%"));
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  send(*a, 9);
  EXPECT_TRUE(b->receive(kStart, 1).empty());
  EXPECT_EQ(drain(*b), (std::vector<std::uint32_t>{9}));
}

TEST(SimLink, DuplicatesCorruptsAndLoses) {
  Observer observer;
  const auto link = SimLink::make(options("dup=10% corrupt=10% loss=10%"), &observer);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  std::size_t arrived = 0;
  std::size_t damaged = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    send(*a, i);
    for (const RxFrame& frame : b->receive(kStart, 10)) {
      ++arrived;
      damaged += is_sound(frame.head) ? 0U : 1U;
    }
  }
  const LinkCounters& counters = link->counters(Direction::up);
  EXPECT_EQ(counters.packets, 1000U);
  EXPECT_EQ(counters.delivered, arrived);
  EXPECT_EQ(arrived, 1000 - counters.of(Impact::lost) + counters.of(Impact::duplicated));
  EXPECT_GE(damaged, counters.of(Impact::corrupted));
  EXPECT_GT(counters.of(Impact::corrupted), 50U);
  EXPECT_GT(counters.of(Impact::duplicated), 50U);
  EXPECT_EQ(observer.seen[Impact::lost].size(), counters.of(Impact::lost));
  EXPECT_EQ(counters.dropped(), counters.of(Impact::lost));
}

TEST(SimLink, FullWindowsAndUnpluggedCable) {
  SimLink::Options o = options("");
  o.spec.up.full = {{Duration::zero(), Duration::millis(10)}};
  const auto link = SimLink::make(o);
  const auto a = link->open(SimLink::End::a);
  const auto b = link->open(SimLink::End::b);
  Headers h;
  const auto head = headers(h, 0);
  EXPECT_FALSE(a->writable());
  EXPECT_EQ(a->push(frame_of(h, head, {})), PushResult::full);
  EXPECT_EQ(a->next_deadline(), at_ms(10));
  a->advance(at_ms(10));
  EXPECT_TRUE(a->writable());
  EXPECT_TRUE(a->next_deadline().is_never());
  send(*a, 1);
  EXPECT_EQ(b->receive(at_ms(10), 10).size(), 1U);
  link->set_up(false);
  EXPECT_FALSE(b->link_up());
  send(*a, 2);
  EXPECT_TRUE(b->receive(at_ms(11), 10).empty());
}

TEST(Loopback, BoundedAndWhole) {
  Loopback lo{2};
  Headers h;
  h.ethernet = false;
  const auto head = headers(h, 3000);
  const auto data = pattern(3000);
  const Bytes payload[] = {data};
  const TxFrame frame = frame_of(h, head, payload, 1000);
  EXPECT_TRUE(lo.next_deadline().is_never());
  EXPECT_EQ(lo.push(frame), PushResult::taken);
  EXPECT_EQ(lo.push(frame), PushResult::taken);
  EXPECT_EQ(lo.push(frame), PushResult::full);
  EXPECT_FALSE(lo.writable());
  EXPECT_LE(lo.next_deadline(), at_ms(1));
  EXPECT_EQ(lo.receive(at_ms(1), 1).size(), 1U);
  EXPECT_TRUE(lo.writable());
  const auto frames = lo.receive(at_ms(1), 10);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].segs, 3);
  EXPECT_EQ(frames[0].checksum, ChecksumState::partial);
  EXPECT_TRUE(lo.receive(at_ms(1), 10).empty());
}

TEST(ImpairedDevice, DelaysBothWaysAndWaitsForTheDeviceBehind) {
  auto owned = std::make_unique<Recorder>();
  Recorder& recorder = *owned;
  ImpairedDevice::Options o;
  o.spec = parse_net_spec("delay=10ms").value();
  ImpairedDevice device{std::move(owned), o};
  device.advance(at_ms(1));
  send(device, 1);
  EXPECT_EQ(device.next_deadline(), at_ms(11));
  recorder.room = 0;
  device.advance(at_ms(11));
  EXPECT_TRUE(recorder.pushed.empty());
  recorder.room = 5;
  device.advance(at_ms(12));
  ASSERT_EQ(recorder.pushed.size(), 1U);
  EXPECT_TRUE(is_sound(recorder.pushed[0]));
  RxFrame in;
  in.head = recorder.pushed[0];
  recorder.arriving = {in};
  EXPECT_TRUE(device.receive(at_ms(12), 8).empty());
  EXPECT_EQ(device.next_deadline(), at_ms(22));
  EXPECT_EQ(device.receive(at_ms(22), 8).size(), 1U);
}

std::uint64_t capture_hash(RandomSeed seed) {
  HashSink sink;
  PcapngWriter writer{sink};
  SimLink::Options o = options("delay=3ms loss=10% dup=5% reorder=5% corrupt=2%");
  o.seed = seed;
  const auto link = SimLink::make(o);
  Capture a{link->open(SimLink::End::a), writer};
  Capture b{link->open(SimLink::End::b), writer};
  for (std::uint32_t i = 0; i < 200; ++i) {
    a.advance(at_ms(i));
    send(a, i, 100 + i);
    b.receive(at_ms(i), 16);
  }
  EXPECT_EQ(sink.size() % 4, 0U);
  return sink.hash();
}

TEST(Capture, SameSeedSameBytes) {
  EXPECT_EQ(capture_hash({1, 1}), capture_hash({1, 1}));
  EXPECT_NE(capture_hash({1, 1}), capture_hash({2, 1}));
  EXPECT_EQ(capture_hash({1, 1}), 9144699615553802065U);  // on every compiler
}

TEST(Capture, DropsAreComments) {
  MemorySink sink;
  PcapngWriter writer{sink};
  SimLink::Options o = options("");
  o.spec.up.lose = {2};
  const auto link = SimLink::make(o);
  Capture a{link->open(SimLink::End::a), writer};
  link->set_observer(&a);
  send(a, 1);
  send(a, 2);
  const std::string_view text{reinterpret_cast<const char*>(sink.data().data()),
                              sink.data().size()};
  EXPECT_NE(text.find("lost_listed (flow 1, packet 2)"), std::string_view::npos);
  EXPECT_EQ(text.find("packet 1)"), std::string_view::npos);
}

TEST(Capture, SplitsSuperSegmentsBothWays) {
  MemorySink sink;
  PcapngWriter writer{sink};
  SimLink::Options o = options("");
  o.offload = true;
  const auto link = SimLink::make(o);
  Capture a{link->open(SimLink::End::a), writer};
  Capture b{link->open(SimLink::End::b), writer};
  Headers h;
  const auto head = headers(h, 3000);
  const auto data = pattern(3000);
  const Bytes payload[] = {data};
  EXPECT_EQ(a.push(frame_of(h, head, payload, 1460)), PushResult::taken);
  EXPECT_EQ(writer.packets(), 3U);
  EXPECT_EQ(b.receive(kStart, 8).size(), 1U);
  EXPECT_EQ(writer.packets(), 6U);
  // Both ends recorded the same packets: everything after the headers of the two halves.
  std::vector<std::vector<std::byte>> packets;
  for (std::size_t at = 0; at < sink.data().size();) {
    const Bytes block = sink.data().subspan(at);
    std::uint32_t type = 0;
    std::uint32_t length = 0;
    std::memcpy(&type, block.data(), 4);
    std::memcpy(&length, block.data() + 4, 4);
    if (type == 6) {
      std::uint32_t size = 0;
      std::memcpy(&size, block.data() + 20, 4);
      packets.push_back(copy_of(block.subspan(28, size)));
      EXPECT_TRUE(is_sound(packets.back()));
    }
    at += length;
  }
  ASSERT_EQ(packets.size(), 6U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(packets[i], packets[i + 3]);
}

}  // namespace
}  // namespace tidewire::device
