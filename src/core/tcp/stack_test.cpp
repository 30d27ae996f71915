// TCP through whole stacks: ARP before the first SYN, loopback, IPv6 and mapped addresses.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/testing.hpp"

namespace tidewire {
namespace {

using testing::at;
using testing::Frame;
using testing::Host;

/// Moves frames between two interfaces; super-segments arrive as coalesced frames.
void carry(Host& from, Host& to, InterfaceId into) {
  (void)from.poll();
  const std::vector<Frame> frames = std::move(from.out.frames);
  const std::vector<std::uint32_t> sizes = std::move(from.out.seg_sizes);
  from.out.clear();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    RxFrame rx;
    rx.head = frames[i];
    rx.ingress = to.now;
    if (sizes[i] != 0) {
      rx.seg_size = static_cast<std::uint16_t>(sizes[i]);
      rx.segs = static_cast<std::uint16_t>((frames[i].size() - 54 + sizes[i] - 1) / sizes[i]);
    }
    to.stack.on_frames(into, {&rx, 1}, to.now);
  }
}

SocketId listen(Host& host, std::string_view where) {
  const Endpoint endpoint = at(where);
  const SocketId id = host.stack.open(SocketKind::tcp, endpoint.address.family()).value();
  EXPECT_TRUE(host.stack.bind(id, endpoint, host.now));
  EXPECT_TRUE(host.stack.listen(id, 8, host.now));
  return id;
}

std::size_t drain(Host& host, SocketId id) {
  std::vector<std::byte> buffer(100'000);
  std::size_t total = 0;
  for (;;) {
    const auto n = host.stack.receive(id, buffer, {}, host.now);
    if (!n || *n == 0) return total;
    total += *n;
  }
}

/// Refers to the payload that stays, as a device does that sends at its flush().
class Referring final : public TxSink {
 public:
  PushResult push(const TxFrame& frame) noexcept override {
    if (!frame.payload_stays) {
      ++others;
      return PushResult::taken;
    }
    for (const Bytes part : frame.payload) {
      regions.push_back(part);
      copies.emplace_back(part.begin(), part.end());
    }
    return PushResult::taken;
  }
  std::vector<Bytes> regions;
  std::vector<Frame> copies;
  std::size_t others = 0;
};

TEST(TcpStack, TextStaysWhereItIsUntilTheStackIsCalledAgain) {
  testing::Pair net;
  (void)listen(net.b, "10.0.0.2:80");
  const SocketId client = net.a.stack.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(net.a.stack.connect(client, at("10.0.0.2:80"), net.a.now));
  net.run();
  Frame data(10'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
  ASSERT_EQ(net.a.stack.send(client, data, {}, net.a.now), data.size());
  const SocketId datagrams = net.a.udp("0.0.0.0:5000");
  ASSERT_TRUE(net.a.send_to(datagrams, "a datagram", "10.0.0.2:7"));
  Referring sink;
  (void)net.a.stack.poll_transmit(sink, net.a.now, {1000, 1U << 20});
  Frame text;
  for (std::size_t i = 0; i < sink.regions.size(); ++i) {
    EXPECT_TRUE(std::ranges::equal(sink.regions[i], sink.copies[i]));
    text.insert(text.end(), sink.regions[i].begin(), sink.regions[i].end());
  }
  EXPECT_EQ(text, data);
  EXPECT_EQ(sink.others, 1U) << "a datagram is freed when it was pushed";
}

/// Two hosts whose packets hold 64 KiB, and a connection between them.
struct LargePackets {
  LargePackets() {
    EXPECT_TRUE(a.stack.connect(client, at("10.0.0.2:80"), a.now));
    run();
    server = b.stack.accept(listener, b.now).value();
  }
  void run() {
    for (int round = 0; round < 100; ++round) {
      for (const Frame& frame : a.sent()) b.receive(ib, frame);
      for (const Frame& frame : b.sent()) a.receive(ia, frame);
      a.advance(Duration::millis(1));
      b.advance(Duration::millis(1));
    }
  }
  void deliver(const Frame& frame) {
    RxFrame rx;
    rx.head = frame;
    b.stack.on_frames(ib, {&rx, 1}, b.now, FrameLife::until_settled);
  }

  Host a{1}, b{2};
  InterfaceId ia = a.tun("10.0.0.1/24", 65'535);
  InterfaceId ib = b.tun("10.0.0.2/24", 65'535);
  SocketId listener = listen(b, "10.0.0.2:80");
  SocketId client = a.stack.open(SocketKind::tcp, Family::v4).value();
  SocketId server;
};

Frame patterned(std::size_t size) {
  Frame data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * 31 >> 7);
  return data;
}

bool is_inside(Bytes part, const Frame& frame) {
  return !part.empty() && part.data() >= frame.data() &&
         part.data() + part.size() <= frame.data() + frame.size();
}

// What is read before the frames settle is read out of them, the rest out of a copy.
TEST(TcpStack, ReadsLargeTextInTheFramesUntilTheySettle) {
  LargePackets net;
  const Frame data = patterned(500'000);
  std::size_t sent = 0;
  std::size_t in_place = 0;
  Frame got;
  for (int round = 0; round < 1000 && got.size() < data.size(); ++round) {
    for (const Frame& frame : net.b.sent()) net.a.receive(net.ia, frame);
    if (sent < data.size()) {
      sent += net.a.stack.send(net.client, Bytes{data}.subspan(sent), {}, net.a.now).value_or(0);
    }
    std::vector<Frame> frames = net.a.sent();
    for (Frame& frame : frames) {
      net.deliver(frame);
      const Bytes first = net.b.stack.received(net.server).first;
      if (is_inside(first, frame) && ++in_place % 2 == 0) {
        got.insert(got.end(), first.begin(), first.end());
        ASSERT_TRUE(net.b.stack.consumed(net.server, first.size(), net.b.now));
      }
      net.b.stack.settle_frames();
      std::ranges::fill(frame, std::byte{0xee});
      Frame rest(1 << 20);
      rest.resize(net.b.stack.receive(net.server, rest, {}, net.b.now).value_or(0));
      got.insert(got.end(), rest.begin(), rest.end());
    }
    net.a.advance(Duration::millis(1));
    net.b.advance(Duration::millis(1));
  }
  EXPECT_EQ(got, data);
  EXPECT_GE(in_place, 4U);
}

// A connection that ends before its frames settle: the memory that was set aside serves others, and
// the frame is left alone.
TEST(TcpStack, ForgetsTextInFramesWithItsConnection) {
  LargePackets net;
  const Frame data = patterned(60'000);
  std::size_t sent = 0;
  Frame last;
  // Until the congestion window lets all of it go as one packet.
  for (int tries = 0; tries < 20 && last.size() < data.size(); ++tries) {
    net.run();
    (void)drain(net.b, net.server);
    sent = net.a.stack.send(net.client, data, {}, net.a.now).value_or(0);
    const std::vector<Frame> frames = net.a.sent();
    ASSERT_FALSE(frames.empty());
    last = frames.front();
    net.deliver(last);
    if (last.size() < data.size()) net.b.stack.settle_frames();
  }
  ASSERT_EQ(sent, data.size());
  ASSERT_TRUE(is_inside(net.b.stack.received(net.server).first, last));
  const Frame before(last.begin(), last.end());
  net.b.stack.abort(net.server, net.b.now);

  const SocketId next = net.a.stack.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(net.a.stack.connect(next, at("10.0.0.2:80"), net.a.now));
  net.run();
  ASSERT_TRUE(net.a.stack.send(next, Bytes{data}.first(10'000), {}, net.a.now));
  net.run();
  net.b.stack.settle_frames();
  EXPECT_EQ(last, before) << "the frame was written to";
  const auto accepted = net.b.stack.accept(net.listener, net.b.now);
  ASSERT_TRUE(accepted);
  EXPECT_EQ(drain(net.b, *accepted), 10'000U);
}

TEST(TcpStack, TransferOverEthernetStartsWithArp) {
  testing::Pair net;
  const SocketId listener = listen(net.b, "10.0.0.2:80");
  const SocketId client = net.a.stack.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(net.a.stack.connect(client, at("10.0.0.2:80"), net.a.now));
  const std::vector<std::byte> data(200'000, std::byte{0x5a});
  std::size_t written = 0;
  std::size_t read = 0;
  SocketId server;
  for (int round = 0; round < 2000 && read < data.size(); ++round) {
    carry(net.a, net.b, net.ib);
    carry(net.b, net.a, net.ia);
    net.advance(Duration::millis(1));
    if (!server) server = net.b.stack.accept(listener, net.b.now).value_or(SocketId{});
    if (written < data.size()) {
      written += net.a.stack.send(client, Bytes{data}.subspan(written), {}, net.a.now).value_or(0);
    }
    if (server) read += drain(net.b, server);
  }
  EXPECT_EQ(read, data.size());
  EXPECT_EQ(net.a.stack.info(client)->retransmits, 0U);
}

class TcpLoopback : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(TcpLoopback, ConnectsAndTransfers) {
  Host host;
  const InterfaceId lo = host.loopback();
  const SocketId listener = listen(host, GetParam().first);
  const Endpoint to = at(GetParam().second);
  const SocketId client = host.stack.open(SocketKind::tcp, to.address.family()).value();
  ASSERT_TRUE(host.stack.connect(client, to, host.now));
  host.run_loopback(lo);
  const auto server = host.stack.accept(listener, host.now);
  ASSERT_TRUE(server);
  EXPECT_EQ(host.stack.remote_endpoint(client).value(), to);
  EXPECT_EQ(host.stack.remote_endpoint(*server)->address.family(),
            at(GetParam().first).address.family());
  ASSERT_TRUE(host.stack.send(client, testing::bytes_of("hello"), {}, host.now));
  host.run_loopback(lo);
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(host.stack.receive(*server, buffer, {}, host.now).value_or(0), 5U);
}

INSTANTIATE_TEST_SUITE_P(Families, TcpLoopback,
                         ::testing::Values(std::pair{"127.0.0.1:80", "127.0.0.1:80"},
                                           std::pair{"0.0.0.0:80", "127.0.0.1:80"},
                                           std::pair{"[::1]:80", "[::1]:80"},
                                           std::pair{"[::]:80", "[::1]:80"},
                                           std::pair{"[::]:80", "127.0.0.1:80"},
                                           std::pair{"[::]:80", "[::ffff:127.0.0.1]:80"},
                                           std::pair{"0.0.0.0:80", "[::ffff:127.0.0.1]:80"}));

TEST(TcpStack, NobodyListensRefusesAtOnce) {
  for (const char* where : {"127.0.0.1:81", "[::1]:81"}) {
    Host host;
    const InterfaceId lo = host.loopback();
    const SocketId client = host.stack.open(SocketKind::tcp, at(where).address.family()).value();
    ASSERT_TRUE(host.stack.connect(client, at(where), host.now));
    host.run_loopback(lo);
    EXPECT_EQ(host.stack.take_error(client), SocketError::connection_refused) << where;
  }
}

//= RFC 9293 §3.5
// A socket that connects to its own address and port opens simultaneously with itself.
TEST(TcpStack, SocketConnectsToItself) {
  Host host;
  const InterfaceId lo = host.loopback();
  const SocketId self = host.stack.open(SocketKind::tcp, Family::v4).value();
  ASSERT_TRUE(host.stack.bind(self, at("127.0.0.1:999"), host.now));
  ASSERT_TRUE(host.stack.connect(self, at("127.0.0.1:999"), host.now));
  host.run_loopback(lo);
  EXPECT_EQ(host.stack.info(self)->state, TcpState::established);
  ASSERT_TRUE(host.stack.send(self, testing::bytes_of("me"), {}, host.now));
  host.run_loopback(lo);
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(host.stack.receive(self, buffer, {}, host.now).value_or(0), 2U);
}

}  // namespace
}  // namespace tidewire
