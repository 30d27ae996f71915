// Text that arrives in one batch: handled as one segment where nothing speaks against it, with the
// same outcome as one by one.
#include "core/ip/train.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "base/random.hpp"
#include "core/testing_packets.hpp"
#include "wire/tcp.hpp"

namespace tidewire {
namespace {

using namespace testing;
using wire::TcpFlag;

constexpr std::uint16_t kPort = 80, kPeerPort = 5000;
constexpr std::uint32_t kPeerIsn = 0xffff'f000;  // numbers wrap early
constexpr std::size_t kText = 1000;

std::byte pattern(std::uint32_t position) {
  return static_cast<std::byte>((position * 7 + position / 256) & 0xff);
}

void store_checksums(Frame& packet) {
  std::byte* ip = packet.data();
  wire::store_u16(ip + 10, 0);
  wire::store_u16(ip + 10, wire::internet_checksum({ip, 20}));
  const MutBytes tcp = MutBytes{packet}.subspan(20);
  wire::store_u16(tcp.data() + 16, 0);
  wire::Checksum sum;
  sum.add_pseudo_header(wire::load_ipv4(ip + 12), wire::load_ipv4(ip + 16), wire::protocol::tcp,
                        static_cast<std::uint32_t>(tcp.size()));
  sum.add(tcp);
  wire::store_u16(tcp.data() + 16, sum.finish());
}

/// A host with one established connection from 10.0.0.2:5000 to its port 80.
struct Receiver {
  explicit Receiver(Medium medium = Medium::ip, const StackConfig& config = {})
      : host(7, config), ethernet(medium == Medium::ethernet) {
    interface = ethernet ? host.ethernet("10.0.0.1/24", 1) : host.tun("10.0.0.1/24");
    if (ethernet) {
      host.receive(interface, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
      (void)host.sent();
    }
    const SocketId listener = host.stack.open(SocketKind::tcp, Family::v4).value();
    (void)host.stack.bind(listener, at("10.0.0.1:80"), host.now).value();
    (void)host.stack.listen(listener, 10, host.now).value();
    wire::TcpRepr syn = header(0, TcpFlag::syn);
    syn.options.mss = 1460;
    syn.options.sack_permitted = true;
    syn.options.timestamps = wire::TcpTimestamps{100, 0};
    deliver({packet(syn, 0)});
    our_isn = tcp_of(host.sent().back()).seq();
    deliver({packet(header(1, TcpFlag::ack), 0)});
    socket = host.stack.accept(listener, host.now).value();
    (void)host.sent();
  }

  wire::TcpRepr header(std::uint32_t seq, wire::TcpFlags flags) const {
    wire::TcpRepr repr;
    repr.source_port = kPeerPort;
    repr.destination_port = kPort;
    repr.seq = Seq{kPeerIsn} + seq;
    repr.ack = our_isn + 1;
    repr.flags = flags;
    repr.window = 60'000;
    if (!flags.has(TcpFlag::syn)) repr.options.timestamps = wire::TcpTimestamps{101, 0};
    return repr;
  }
  Frame packet(const wire::TcpRepr& repr, std::size_t size) const {
    Frame tcp(wire::header_len(repr) + size);
    Writer writer{tcp};
    wire::emit(repr, writer, 0);
    const std::uint32_t first = Seq::span(Seq{kPeerIsn} + 1, repr.seq);
    for (std::size_t i = 0; i < size; ++i) {
      tcp[writer.written() + i] = pattern(first + static_cast<std::uint32_t>(i));
    }
    Frame out = ipv4(testing::header("10.0.0.2", "10.0.0.1", wire::protocol::tcp), tcp);
    store_checksums(out);
    return out;
  }
  /// The `n`th kText octets of the stream, from 0.
  Frame text(std::uint32_t n, std::size_t size = kText, wire::TcpFlags flags = TcpFlag::ack) const {
    return packet(header(1 + n * std::uint32_t{kText}, flags), size);
  }
  void deliver(const std::vector<Frame>& packets) {
    std::vector<Frame> frames = packets;
    if (ethernet) {
      for (Frame& f : frames) f = ether(mac(1), mac(2), wire::EtherType::ipv4, f);
    }
    std::vector<RxFrame> rx(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      rx[i].head = frames[i];
      rx[i].ingress = host.now;
    }
    host.stack.on_frames(interface, rx, host.now);
  }
  wire::TcpView tcp_of(const Frame& frame) const {
    const Bytes packet = Bytes{frame}.subspan(ethernet ? 14 : 0);
    return wire::TcpView::parse(ip_of(packet).payload()).value();
  }
  std::vector<std::byte> take() {
    std::vector<std::byte> data(65'536);
    data.resize(host.stack.receive(socket, data, {}, host.now).value_or(0));
    return data;
  }
  /// Reads all there is, checks it, and says how much it was.
  std::size_t read() {
    const std::vector<std::byte> data = take();
    for (std::size_t i = 0; i < data.size(); ++i) {
      EXPECT_EQ(data[i], pattern(consumed + static_cast<std::uint32_t>(i))) << "octet " << i;
      if (data[i] != pattern(consumed + static_cast<std::uint32_t>(i))) break;
    }
    consumed += static_cast<std::uint32_t>(data.size());
    return data.size();
  }
  std::uint64_t segments() const { return host.stack.info(socket)->segs_in; }

  Host host;
  bool ethernet;
  InterfaceId interface = kNoInterface;
  SocketId socket;
  Seq our_isn{0};
  std::uint32_t consumed = 0;
};

class TcpTrain : public ::testing::TestWithParam<Medium> {};
INSTANTIATE_TEST_SUITE_P(Media, TcpTrain, ::testing::Values(Medium::ip, Medium::ethernet));

TEST_P(TcpTrain, ABatchOfTextIsAcknowledgedOnce) {
  Receiver r{GetParam()};
  std::vector<Frame> frames;
  for (std::uint32_t i = 0; i < 20; ++i) frames.push_back(r.text(i));
  const std::uint64_t before = r.segments(), packets = r.host.stack.counters().ip_in;
  r.deliver(frames);
  const auto acks = r.host.sent();
  ASSERT_EQ(acks.size(), 1U);
  EXPECT_EQ(r.tcp_of(acks[0]).ack(), Seq{kPeerIsn} + 1 + 20 * kText);
  EXPECT_EQ(r.segments() - before, 20U);
  EXPECT_EQ(r.host.stack.counters().ip_in - packets, 20U);
  EXPECT_EQ(r.read(), 20 * kText);
}

// More than fit one train, the last one short and pushed.
TEST_P(TcpTrain, ALongBatchArrivesWhole) {
  Receiver r{GetParam()};
  r.deliver({r.text(0)});
  std::vector<Frame> frames;
  for (std::uint32_t i = 1; i < 40; ++i) frames.push_back(r.text(i));
  frames.push_back(r.text(40, 10, TcpFlag::ack | TcpFlag::psh));
  r.deliver(frames);
  EXPECT_EQ(r.read(), 40 * kText + 10);
  EXPECT_EQ(r.host.stack.counters().dropped_total(), 0U);
}

// A window that ends inside the batch: what is beyond it comes again another time.
TEST(TcpTrains, EndsWithTheWindow) {
  StackConfig config;
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 4096;
  for (const bool batch : {false, true}) {
    Receiver r{Medium::ip, config};
    std::vector<Frame> frames;
    for (std::uint32_t i = 0; i < 10; ++i) frames.push_back(r.text(i));
    if (batch) {
      r.deliver(frames);
    } else {
      for (const Frame& f : frames) r.deliver({f});
    }
    EXPECT_EQ(r.read(), 4096U) << (batch ? "in a batch" : "one by one");
    EXPECT_EQ(r.host.stack.counters().dropped(DropReason::tcp_out_of_window), 5U);
  }
}

TEST(TcpTrains, EachSegmentIsTraced) {
  Receiver r;
  std::array<TraceRecord, 64> slots;
  TraceRing ring{slots};
  r.host.stack.set_trace(&ring);
  r.deliver({r.text(0), r.text(1), r.text(2, kText, TcpFlag::ack | TcpFlag::psh)});
  std::vector<std::uint32_t> seen;
  std::vector<bool> pushed;
  for (const TraceRecord& record : std::span{slots}.first(ring.written)) {
    if (record.kind != TraceKind::segment_in) continue;
    seen.push_back(record.a - kPeerIsn);
    pushed.push_back(
        wire::TcpFlags::from_bits(static_cast<std::uint16_t>(record.d)).has(TcpFlag::psh));
  }
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{1, 1 + kText, 1 + 2 * kText}));
  EXPECT_EQ(pushed, (std::vector<bool>{false, false, true}));
}

// With little memory as much of a batch is taken as there is memory for.
TEST(TcpTrains, TakesWhatThereIsMemoryFor) {
  StackConfig config;
  config.tcp.buffer_memory_max = 24'000;
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 1U << 20;
  Receiver r{Medium::ip, config};
  std::vector<Frame> frames;
  for (std::uint32_t i = 0; i < 40; ++i) frames.push_back(r.text(i));
  r.deliver(frames);
  const std::size_t got = r.read();
  EXPECT_GE(got, 8 * kText);
  EXPECT_LE(got, 24'000U);
  EXPECT_GT(r.host.stack.counters().dropped(DropReason::no_memory), 0U);
  const auto acks = r.host.sent();
  ASSERT_FALSE(acks.empty());
  EXPECT_EQ(r.tcp_of(acks.back()).ack(), Seq{kPeerIsn} + 1 + static_cast<std::uint32_t>(got));
  for (auto n = static_cast<std::uint32_t>(got / kText); n < 40; ++n) {
    r.deliver({r.text(n)});
    r.read();
  }
  EXPECT_EQ(r.consumed, 40 * kText);
}

struct Change {
  const char* name;
  std::function<void(Frame& packet)> apply;
  bool sum = true;  ///< the checksums are made good afterwards
};

void add_u8(Frame& packet, std::size_t at, unsigned value) {
  packet[at] = static_cast<std::byte>(std::to_integer<unsigned>(packet[at]) + value);
}

const Change kChanges[] = {
    {"type of service", [](Frame& p) { p[1] = std::byte{3}; }},
    {"identification", [](Frame& p) { add_u8(p, 5, 1); }},
    {"time to live", [](Frame& p) { add_u8(p, 8, 1); }},
    {"another protocol", [](Frame& p) { p[9] = std::byte{99}; }},
    {"a fragment", [](Frame& p) { p[6] = std::byte{0x20}; }},
    {"another source", [](Frame& p) { p[15] = std::byte{3}; }},
    {"another port", [](Frame& p) { add_u8(p, 21, 1); }},
    {"sequence number", [](Frame& p) { add_u8(p, 26, 1); }},
    {"an old sequence number", [](Frame& p) { add_u8(p, 26, 252); }},
    {"an ACK of what was not sent", [](Frame& p) { add_u8(p, 31, 1); }},
    {"data offset", [](Frame& p) { p[32] = std::byte{0x50}; }},
    {"FIN", [](Frame& p) { p[33] |= std::byte{1}; }},
    {"SYN", [](Frame& p) { p[33] |= std::byte{2}; }},
    {"RST", [](Frame& p) { p[33] |= std::byte{4}; }},
    {"PSH", [](Frame& p) { p[33] |= std::byte{8}; }},
    {"no ACK", [](Frame& p) { p[33] = std::byte{}; }},
    {"URG", [](Frame& p) { p[33] |= std::byte{0x20}, p[39] = std::byte{1}; }},
    {"window", [](Frame& p) { add_u8(p, 34, 1); }},
    {"timestamp", [](Frame& p) { add_u8(p, 47, 1); }},
    {"an old timestamp", [](Frame& p) { add_u8(p, 47, 255); }},
    {"text", [](Frame& p) { add_u8(p, 60, 1); }, false},
    {"IP checksum", [](Frame& p) { add_u8(p, 10, 1); }, false},
    {"TCP checksum", [](Frame& p) { add_u8(p, 36, 1); }, false},
    {"IP length", [](Frame& p) { add_u8(p, 3, 255); }},
    {"cut short", [](Frame& p) { p.resize(700); }},
    {"only headers", [](Frame& p) { p.resize(52); }},
    {"less than headers", [](Frame& p) { p.resize(30); }, false},
    {"padding", [](Frame& p) { p.resize(p.size() + 6); }, false},
    {"empty", [](Frame& p) { p.clear(); }, false},
};

void mend(Frame& packet) {
  wire::store_u16(packet.data() + 2, static_cast<std::uint16_t>(packet.size()));
  store_checksums(packet);
}

void apply(const Change& change, Frame& packet) {
  const std::size_t size = packet.size();
  change.apply(packet);
  if (!change.sum) return;
  if (packet.size() != size) mend(packet);
  store_checksums(packet);
}

/// What must be the same whether frames come in a batch or one by one.
void expect_same(Receiver& one, Receiver& batch) {
  EXPECT_EQ(one.host.stack.counters().drops, batch.host.stack.counters().drops);
  EXPECT_EQ(one.host.stack.counters().frames_in, batch.host.stack.counters().frames_in);
  EXPECT_EQ(one.host.stack.counters().bytes_in, batch.host.stack.counters().bytes_in);
  EXPECT_EQ(one.host.stack.counters().ip_in, batch.host.stack.counters().ip_in);
  EXPECT_EQ(one.host.stack.counters().tcp_segs_in, batch.host.stack.counters().tcp_segs_in);
  const auto a = one.host.stack.info(one.socket), b = batch.host.stack.info(batch.socket);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->state, b->state);
  EXPECT_EQ(a->segs_in, b->segs_in);
  EXPECT_EQ(a->data_segs_in, b->data_segs_in);
  EXPECT_EQ(a->bytes_received, b->bytes_received);
  EXPECT_EQ(a->receive_queue, b->receive_queue);
  EXPECT_EQ(one.host.stack.readiness(one.socket), batch.host.stack.readiness(batch.socket));
  EXPECT_EQ(one.take(), batch.take());
  // The last ACK of both says the same, SACK blocks included.
  const auto last_one = one.host.sent(), last_batch = batch.host.sent();
  ASSERT_EQ(last_one.empty(), last_batch.empty());
  if (last_one.empty()) return;
  const auto x = one.tcp_of(last_one.back()), y = batch.tcp_of(last_batch.back());
  EXPECT_EQ(x.ack(), y.ack());
  EXPECT_EQ(x.flags().bits(), y.flags().bits());
}

TEST_P(TcpTrain, WhatDiffersIsHandledByItself) {
  for (const Change& change : kChanges) {
    for (const std::size_t which : {0U, 1U, 3U, 5U}) {
      SCOPED_TRACE(std::string{change.name} + " in number " + std::to_string(which));
      Receiver one{GetParam()}, batch{GetParam()};
      std::vector<Frame> frames;
      for (std::uint32_t i = 0; i < 6; ++i) frames.push_back(one.text(i));
      apply(change, frames[which]);
      for (const Frame& f : frames) one.deliver({f});
      batch.deliver(frames);
      expect_same(one, batch);
    }
  }
}

// Any mixture of order, duplicates, gaps and changes, cut into batches anywhere.
TEST_P(TcpTrain, ABatchIsAsGoodAsOneByOne) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(RandomSeed{seed, 5});
    Receiver one{GetParam()}, batch{GetParam()};
    std::vector<Frame> frames;
    std::uint32_t next = 0;
    for (int i = 0; i < 40; ++i) {
      std::uint32_t n = next;
      if (rng.below(8) == 0) n = next + static_cast<std::uint32_t>(rng.below(4));
      if (rng.below(8) == 0) n = next - std::min<std::uint32_t>(next, 2);
      next = std::max(next, n + 1);
      frames.push_back(one.text(n, rng.below(10) == 0 ? 1 + rng.below(kText) : kText));
      if (rng.below(12) == 0) apply(kChanges[rng.below(std::size(kChanges))], frames.back());
    }
    for (const Frame& f : frames) one.deliver({f});
    for (std::size_t at = 0; at < frames.size();) {
      const std::size_t n = std::min<std::size_t>(1 + rng.below(16), frames.size() - at);
      const auto from = frames.begin() + static_cast<std::ptrdiff_t>(at);
      batch.deliver({from, from + static_cast<std::ptrdiff_t>(n)});
      at += n;
    }
    expect_same(one, batch);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace tidewire
