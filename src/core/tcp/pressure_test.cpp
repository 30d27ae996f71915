// Memory runs out: what is given up, in which order, and that nothing else is.
#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

/// Writes text as the trace expects it, but lets nothing leave yet.
void put(Trace& t, std::size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    data[i] = Trace::pattern(static_cast<std::uint32_t>(1 + t.written + i));
  }
  ASSERT_EQ(t.host.engine.send(t.socket, data, {}), bytes);
  t.written += bytes;
}

/// One of several peers of a trace, each with a port of its own.
struct Peer {
  Peer(Trace& trace, std::uint16_t own_port, bool finish = true) : t(trace), port(own_port) {
    send("S 0(0) win 65535 <mss 1460,sackOK>", false);
    isn = t.host.out.sent.back().view().seq();
    t.host.out.sent.clear();
    if (!finish) return;
    send(". 1(0) ack 1");
    socket = t.host.engine.accept(t.listener).value();
  }
  void send(std::string_view text, bool forget = true) {
    t.our_isn = isn;
    WireSegment s = t.make(text);
    wire::store_u16(s.bytes.data(), port);
    store_checksum(s);
    t.host.receive(s);
    t.poll();
    if (forget) t.host.out.sent.clear();
  }
  std::size_t read() {
    std::vector<std::byte> data(10'000);
    const std::size_t n = t.host.engine.receive(socket, data, {}).value_or(0);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(data[i], Trace::pattern(static_cast<std::uint32_t>(1 + i)));
    }
    return n;
  }

  Trace& t;
  std::uint16_t port;
  Seq isn;
  SocketId socket;
};

StackConfig with_two_chunks() {
  StackConfig config;
  config.tcp.buffer_memory_max = 4096;
  return config;
}

// req: RFC2018-8-2
TEST(TcpPressure, OutOfOrderDataOfAnyConnectionGoesFirst) {
  Trace t{with_two_chunks()};
  t.listen();
  Peer gap{t, 6001};
  Peer reader{t, 6002};
  Peer late{t, 6003};
  const Peer half{t, 6004, false};
  const Counters& n = t.host.context.counters;
  gap.send(". 1001(1000) ack 1");
  reader.send(". 1(1000) ack 1");
  EXPECT_EQ(n.tcp_shed_out_of_order, 0U);
  late.send(". 1(1000) ack 1");
  EXPECT_EQ(n.tcp_shed_out_of_order, 1U);
  EXPECT_EQ(n.tcp_shed_half_open, 0U);
  EXPECT_EQ(t.host.dropped(DropReason::no_memory), 0U);
  EXPECT_EQ(late.read(), 1000U);
  // The peer of the one that lost it sends it again, and all arrives.
  gap.send(". 1(1000) ack 1");
  EXPECT_EQ(gap.read(), 1000U);
  EXPECT_EQ(reader.read(), 1000U);
}

TEST(TcpPressure, UnreadDataStaysAndThePeerSendsAgain) {
  Trace t{with_two_chunks()};
  t.listen();
  Peer first{t, 6002};
  Peer second{t, 6003};
  Peer third{t, 6004};
  const Peer half{t, 6005, false};
  first.send(". 1(1000) ack 1");
  second.send(". 1(1000) ack 1");
  third.send(". 1(1000) ack 1");
  EXPECT_EQ(t.host.dropped(DropReason::no_memory), 1U);
  // Records of handshakes take nothing from the share of stream buffers, so they stay.
  EXPECT_EQ(t.host.context.counters.tcp_shed_half_open, 0U);
  EXPECT_EQ(first.read(), 1000U);
  third.send(". 1(1000) ack 1");
  EXPECT_EQ(third.read(), 1000U);
  EXPECT_EQ(second.read(), 1000U);
}

TEST(TcpPressure, ThenGrownBuffersHandshakesAndTimeWaitGo) {
  StackConfig config;
  config.tcp.receive_buffer = 20'000;
  Trace t{config};
  t.listen();
  Peer closing{t, 6001};
  t.host.engine.close(closing.socket);
  t.poll();
  closing.send("F. 1(0) ack 2");
  Peer grown{t, 6002};
  std::uint32_t seq = 1;
  for (int i = 0; i < 20; ++i) {
    for (int k = 0; k < 5; ++k, seq += 3500) {
      grown.send(". " + std::to_string(seq) + "(3500) ack 1");
    }
    std::vector<std::byte> data(20'000);
    EXPECT_EQ(t.host.engine.receive(grown.socket, data, {}).value_or(0), 17'500U);
    t.poll();
    t.pass(1);
  }
  const auto limit = [&] { return t.host.engine.info(grown.socket)->receive_buffer; };
  EXPECT_GT(limit(), 20'000U);
  Peer unread{t, 6003};
  unread.send(". 1(1000) ack 1");
  EXPECT_EQ(t.host.engine.info(unread.socket)->receive_memory, 2048U);
  Peer late{t, 6004};
  const Peer half{t, 6005, false};
  const Counters& n = t.host.context.counters;
  EXPECT_EQ(n.tcp_shed_excess + n.tcp_shed_half_open + n.tcp_shed_time_wait, 0U);

  t.host.memory.set_failing(true);
  late.send(". 1(1000) ack 1");
  EXPECT_EQ(limit(), 20'000U);
  // The unused chunks were enough where nothing else had to go; here they are not.
  late.send(". 1001(3000) ack 1");
  t.pass(11);
  late.send(". 1001(3000) ack 1");
  t.host.memory.set_failing(false);
  EXPECT_EQ(n.tcp_shed_excess, 1U);
  EXPECT_EQ(n.tcp_shed_half_open, 1U);
  EXPECT_EQ(n.tcp_shed_time_wait, 1U);
  EXPECT_EQ(unread.read(), 1000U);
  late.send(". 1(1000) ack 1");
  EXPECT_EQ(late.read(), 1000U);
}

// With nothing in flight there is no retransmission timer that would try again, and no need.
TEST(TcpPressure, WithNothingInFlightTextAndFinNeedNoMemory) {
  for (const bool text : {true, false}) {
    Trace t;
    t.accept("<mss 1000>");
    if (text) put(t, 100);
    t.host.memory.set_failing(true);
    text ? t.poll() : t.close();
    t.out(text ? "P. 1(100) ack 1" : "F. 1(0) ack 1");
    t.host.memory.set_failing(false);
  }
}

TEST(TcpPressure, WhatFoundNoMemoryLeavesWhenTheFlightIsAcknowledged) {
  for (const bool text : {true, false}) {
    Trace t;
    t.accept("<mss 1000>");
    for (int i = 0; i < 3; ++i) t.write(1000);
    EXPECT_EQ(t.skip(), 3U);
    if (text) put(t, 1000);
    t.host.memory.set_failing(true);
    text ? t.poll() : t.close();
    t.quiet();
    t.in(". 1(0) ack 3001");
    t.out(text ? "P. 3001(1000) ack 1" : "F. 3001(0) ack 1");
    t.host.memory.set_failing(false);
  }
}

// The retransmission timer tries again.
TEST(TcpPressure, WhatFoundNoMemoryLeavesLater) {
  Trace t;
  t.accept("<mss 1000>");
  for (int i = 0; i < 3; ++i) t.write(1000);
  EXPECT_EQ(t.skip(), 3U);
  t.host.memory.set_failing(true);
  t.pass(900);
  t.quiet();
  t.host.memory.set_failing(false);
  t.pass(3000);
  EXPECT_GE(t.skip(), 1U);
}

// A socket whose owner chose its size keeps it.
TEST(TcpPressure, AChosenSizeNeitherGrowsNorIsTakenBack) {
  Trace t;
  t.listen();
  ASSERT_TRUE(t.host.engine.set_option(t.listener, SocketOption::receive_buffer, 20'000));
  t.accept();
  t.pass(10);
  std::uint32_t seq = 1;
  for (int i = 0; i < 50; ++i) {
    t.in(". " + std::to_string(seq) + "(10000) ack 1");
    seq += 10'000;
    EXPECT_EQ(t.read(), 10'000U);
    t.pass(1);
  }
  EXPECT_EQ(t.host.engine.info(t.socket)->receive_buffer, 20'000U);
}

// Many connections share far less than they ask for, over a link that loses packets.
TEST(TcpPressure, AllArrivesWithManyConnectionsAtTheCap) {
  StackConfig sender;
  sender.tcp.buffer_memory_max = 256 * 1024;
  StackConfig receiver;
  receiver.tcp.buffer_memory_max = 96 * 1024;
  Link link{sender, receiver};
  link.lose = [](bool, std::uint32_t ordinal) { return ordinal % 53 == 0; };
  std::vector<std::unique_ptr<Transfer>> all;
  for (int i = 0; i < 30; ++i) {
    const auto [client, server] = link.connect();
    all.push_back(std::make_unique<Transfer>(link.a, client, link.b, server, 150'000));
  }
  link.app = [&] {
    for (auto& t : all) t->drive();
  };
  const auto done = [&] {
    return std::ranges::all_of(all, [](const auto& t) { return t->done(); });
  };
  EXPECT_TRUE(link.run(done, Duration::seconds(3000)));
  for (const auto& t : all) {
    EXPECT_TRUE(t->intact);
    EXPECT_EQ(t->read, t->size);
  }
  EXPECT_GT(link.b.context.counters.tcp_shed_out_of_order, 0U);
}

// More gaps than a connection keeps islands: what finds no place comes again, and the number of
// islands stays what the configuration says.
TEST(TcpPressure, MoreGapsThanIslandsAreFilledInTurns) {
  StackConfig config;
  config.tcp.out_of_order_max = 4;
  config.tcp.initial_window_segments = 400;
  config.tcp.send_buffer = config.tcp.receive_buffer = 1U << 20;
  Link link{config, config};
  link.lose = [](bool from_a, std::uint32_t ordinal) {
    return from_a && ordinal > 10 && ordinal < 300 && ordinal % 3 == 0;
  };
  const auto [client, server] = link.connect();
  Transfer t{link.a, client, link.b, server, 1'000'000};
  link.app = [&] { t.drive(); };
  EXPECT_TRUE(link.run([&] { return t.done(); }, Duration::seconds(300)));
  EXPECT_TRUE(t.intact);
  EXPECT_EQ(t.read, t.size);
  EXPECT_GT(link.b.dropped(DropReason::tcp_out_of_order_limit), 10U);
}

}  // namespace
}  // namespace tidewire::tcp
