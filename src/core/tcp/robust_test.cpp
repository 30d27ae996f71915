// Malformed and hostile segments in every state: nothing crashes, nothing leaks, nothing hangs.
#include <set>

#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

/// A trace in any state that has a record.
struct AnyState : Trace {
  explicit AnyState(TcpState wanted) {
    if (wanted == closed) return;
    if (wanted == syn_sent) {
      start_connect();
      out("S 0(0)");
      return;
    }
    listen();
    if (wanted == TcpState::listen) return;
    in("S 0(0) win 65535 <mss 1000>");
    out("S. 0(0) ack 1");
    if (wanted == syn_received) return;
    in(". 1(0) ack 1");
    socket = host.engine.accept(listener).value();
    if (wanted == established) return;
    if (wanted == close_wait || wanted == last_ack) {
      in("F. 1(0) ack 1");
      if (wanted == last_ack) shutdown();
      skip();
      return;
    }
    shutdown();
    if (wanted == fin_wait_2) in(". 1(0) ack 2");
    if (wanted == closing) in("F. 1(0) ack 1");
    if (wanted == time_wait) in("F. 1(0) ack 2");
    skip();
  }
};

class TcpEveryState : public ::testing::TestWithParam<TcpState> {};
INSTANTIATE_TEST_SUITE_P(States, TcpEveryState,
                         ::testing::Values(closed, listen, syn_sent, syn_received, established,
                                           fin_wait_1, fin_wait_2, close_wait, closing, last_ack,
                                           time_wait),
                         [](const auto& param) {
                           std::string name{to_string(param.param)};
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// Case 24: data offset below 5 or beyond the segment, fewer than 20 bytes, bad checksum, port 0.
TEST_P(TcpEveryState, Case24BrokenHeaders) {
  AnyState t{GetParam()};
  const auto before = t.states();
  const WireSegment good = t.make("P. 1(10) ack 1");
  for (std::size_t size = 0; size < 20; ++size) {
    WireSegment s = good;
    s.bytes.resize(size);
    t.host.receive(s);
  }
  for (const int offset : {0, 1, 4, 8, 15}) {
    WireSegment s = good;
    s.bytes[12] = static_cast<std::byte>(offset << 4);
    store_checksum(s);
    t.host.receive(s);
  }
  for (std::size_t bit = 0; bit < good.bytes.size() * 8; ++bit) {
    WireSegment s = good;
    s.bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    t.host.receive(s);
  }
  for (const std::size_t port_at : {0U, 2U}) {
    WireSegment s = good;
    wire::store_u16(s.bytes.data() + port_at, 0);
    store_checksum(s);
    t.host.receive(s);
  }
  t.quiet();
  EXPECT_EQ(t.states(), before);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_truncated), 20U);
  EXPECT_EQ(t.host.dropped(DropReason::tcp_port_zero), 2U);
}

// Cases 25 to 30: every option kind and length, cut anywhere; absurd values; urgent pointers.
TEST_P(TcpEveryState, Cases25To30StrangeOptions) {
  Rng rng{RandomSeed{25, 30}};
  for (int i = 0; i < 600; ++i) {
    AnyState t{GetParam()};
    for (int k = 0; k < 3; ++k) {
      WireSegment s = t.make(i % 3 == 0 ? "S 0(0) win 100" : "P. 1(0) ack 1");
      std::vector<std::byte> options(rng.below(11) * 4);
      for (std::byte& b : options) {
        b = static_cast<std::byte>(rng.below(3) == 0 ? rng.below(12) : rng.below(256));
      }
      s.bytes.insert(s.bytes.end(), options.begin(), options.end());
      s.bytes[12] = static_cast<std::byte>((20 + options.size()) / 4 << 4);
      s.bytes[13] |= static_cast<std::byte>(rng.below(4) == 0 ? 0x20 : 0);
      wire::store_u16(s.bytes.data() + 18, static_cast<std::uint16_t>(rng.next()));
      const std::size_t text = rng.below(50);
      s.bytes.resize(s.bytes.size() + text);
      store_checksum(s);
      t.host.receive(s);
    }
    EXPECT_LE(t.skip(), 6U);
  }
}

// Case 31: every combination of flags, with and without text.
TEST_P(TcpEveryState, Case31EveryCombinationOfFlags) {
  for (int flags = 0; flags < 256; ++flags) {
    for (const std::uint32_t length : {0U, 5U}) {
      for (const std::uint32_t seq : {0U, 1U, 2U, 70'000U}) {
        AnyState t{GetParam()};
        WireSegment s =
            t.make(". " + std::to_string(seq) + "(" + std::to_string(length) + ") ack 1");
        s.bytes[13] = static_cast<std::byte>(flags);
        store_checksum(s);
        t.host.receive(s);
        const std::size_t answers = t.skip();
        EXPECT_LE(answers, 2U);
        // A RST is never answered with a RST, nor with anything outside of the window rules.
        t.host.receive(s);
        EXPECT_LE(t.skip(), 2U);
      }
    }
  }
}

// Cases 32 and 33: sequence and acknowledgement numbers around every edge.
TEST_P(TcpEveryState, Cases32And33EveryEdge) {
  std::set<std::int64_t> edges;
  for (const std::int64_t base : {0LL, 65'535LL, 65'536LL, 131'072LL, 1LL << 30, 1LL << 31}) {
    for (int d = -1; d <= 1; ++d) {
      edges.insert(base + d);
      edges.insert(-base + d);
    }
  }
  for (const std::int64_t seq : edges) {
    for (const std::int64_t ack : edges) {
      for (const char* flags : {".", "R", "R.", "F.", "S", "S."}) {
        AnyState t{GetParam()};
        t.in(std::string{flags} + " " + std::to_string(seq) + "(1) ack " + std::to_string(ack));
        EXPECT_LE(t.skip(), 3U);
      }
    }
  }
}

// Random segments and random time: memory stays bounded, and at last everything is gone.
TEST_P(TcpEveryState, AStormOfRandomSegments) {
  Rng rng{RandomSeed{static_cast<std::uint64_t>(GetParam()), 99}};
  AnyState t{GetParam()};
  for (int i = 0; i < 20'000; ++i) {
    WireSegment s = t.make(". 1(0) ack 1");
    s.bytes.resize(20 + rng.below(30));
    wire::store_u32(s.bytes.data() + 4,
                    t.peer_isn.value() + static_cast<std::uint32_t>(rng.below(2000)));
    wire::store_u32(s.bytes.data() + 8,
                    t.our_isn.value() + static_cast<std::uint32_t>(rng.below(5)));
    s.bytes[13] = static_cast<std::byte>(rng.below(64));
    if (rng.below(20) != 0) s.bytes[13] &= std::byte{0x3a};
    wire::store_u16(s.bytes.data() + 14, static_cast<std::uint16_t>(rng.below(3000)));
    store_checksum(s);
    t.host.receive(s);
    if (rng.below(10) == 0) t.pass(static_cast<std::int64_t>(rng.below(100)));
    t.skip();
  }
  EXPECT_LT(t.host.memory.in_use(), 2U << 20);
  if (t.socket) t.host.engine.close(t.socket);
  if (t.listener) t.host.engine.close(t.listener);
  for (;;) {
    const auto taken = t.host.engine.next_socket({});
    if (!taken || !taken->owned) break;
    t.host.engine.close(taken->id);
  }
  for (int i = 0; i < 200; ++i) {
    t.pass(60'000);
    t.skip();
  }
  EXPECT_TRUE(t.states().empty());
}

// Case 28: SACK blocks that make no sense.
TEST(TcpRobust, Case28SackBlocks) {
  for (const char* blocks :
       {"sack 0-1", "sack -500-1", "sack 5001-6001", "sack 3001-2001", "sack 2001-2001",
        "sack 1001-9001", "sack 1-5001", "sack 4294966296-2001", "sack 1501-1502 2501-2502",
        "sack 1001-2001 1001-2001 1001-2001 1001-2001", "sack 2147483648-2147484648"}) {
    Trace t;
    t.accept("<mss 1000,sackOK>");
    t.write(5000);
    t.skip();
    for (int i = 0; i < 5; ++i) t.in(". 1(0) ack 1 <" + std::string{blocks} + ">");
    EXPECT_LE(t.skip(), 10U) << blocks;
    t.in(". 1(0) ack 5001");
    EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unacked).value(), 0) << blocks;
    t.pass(10'000);
    t.quiet();
  }
}

// Case 28: a sawtooth of one-byte blocks, always new ones.
TEST(TcpRobust, Case28SackSawtooth) {
  Trace t;
  t.accept("<mss 1000,sackOK,ws 7>", "65535");
  t.write(80'000);
  t.skip();
  const std::size_t before = t.host.memory.in_use();
  for (int i = 0; i < 5000; ++i) {
    std::string blocks = "sack";
    for (int k = 0; k < 4; ++k) {
      const int at = 2 + (i * 4 + k) * 2;
      blocks += " " + std::to_string(at) + "-" + std::to_string(at + 1);
    }
    t.in(". 1(0) ack 1 <" + blocks + ">");
  }
  t.skip();
  EXPECT_LT(t.host.memory.in_use(), before + (1U << 20));
}

// Case 37: one byte in two, out of order.
TEST(TcpRobust, Case37OutOfOrderStorm) {
  Trace t;
  t.accept("<mss 1000,sackOK>");
  const std::size_t before = t.host.memory.in_use();
  for (int i = 0; i < 30'000; ++i) t.in_batch(". " + std::to_string(3 + 2 * i) + "(1) ack 1");
  t.skip();
  EXPECT_LT(t.host.memory.in_use(), before + (1U << 20));
  EXPECT_GT(t.host.dropped(DropReason::tcp_out_of_order_limit), 0U);
  t.in(". 1(1000) ack 1");
  EXPECT_GE(t.read(), 1000U);
}

// Case 39: many ACKs for one segment, ACKs of what was never sent, duplicate ACKs by the thousand.
TEST(TcpRobust, Case39AckDivisionAndSpoofing) {
  Trace t;
  t.accept("<mss 1000>", "65535");
  t.write(60'000);
  t.skip();
  for (int i = 1; i <= 1000; ++i) t.in(". 1(0) ack " + std::to_string(1 + i));
  EXPECT_LE(t.host.engine.info(t.socket)->cwnd, 12'000U);
  t.skip();
  for (int i = 0; i < 1000; ++i) t.in(". 1(0) ack 1001");
  EXPECT_LE(t.skip(), 70U);
}

// Case 40: a transfer across the end of sequence space.
TEST(TcpRobust, Case40SequenceNumbersWrap) {
  Trace t;
  t.peer_isn = Seq{0xfffffff0U};
  t.accept("<mss 1000,sackOK>");
  std::uint32_t seq = 1;
  for (int i = 0; i < 20; ++i) {
    t.in(". " + std::to_string(seq + 7) + "(7) ack 1");
    t.in(". " + std::to_string(seq) + "(7) ack 1");
    seq += 14;
    EXPECT_EQ(t.read(), 14U);
  }
}

// Case 41: FIN beyond the window, twice at different places, data after it, into a closed window.
TEST(TcpRobust, Case41StrangeFins) {
  StackConfig config;
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 5000;
  config.tcp.window_scaling = false;
  Trace t{config};
  t.accept();
  t.in("F. 6000(0) ack 1");
  EXPECT_EQ(t.state(), established);
  t.in("F. 101(10) ack 1");  // FIN at 111
  t.in("F. 151(10) ack 1");  // another one at 161: the first counts
  t.in(". 1(100) ack 1");
  EXPECT_EQ(t.state(), close_wait);
  t.skip();
  t.in("P. 112(10) ack 1");
  t.in("F. 111(0) ack 1");
  EXPECT_EQ(t.state(), close_wait);
  EXPECT_EQ(t.read(), 110U);

  Trace full{config};
  full.accept();
  full.in("P. 1(5000) ack 1");
  full.skip();
  full.in("F. 5001(0) ack 1");
  full.out(". 1(0) ack 5001 win 0");
  EXPECT_EQ(full.state(), established);
  EXPECT_EQ(full.read(), 5000U);
  full.skip();
  full.in("F. 5001(0) ack 1");
  EXPECT_EQ(full.state(), close_wait);
}

// Case 42: the clock jumps.
TEST(TcpRobust, Case42ClockJumps) {
  Trace t;
  t.accept("<mss 1000>");
  t.write(1000);
  t.skip();
  t.host.context.now += Duration::seconds(86'400);
  t.host.engine.on_timeout(1024);
  t.host.engine.on_timeout(1024);
  EXPECT_EQ(t.skip(), 1U);
  EXPECT_EQ(t.state(), established);
  t.in(". 1(0) ack 1001");
  for (int i = 0; i < 100; ++i) t.host.engine.on_timeout(1024);
  EXPECT_EQ(t.state(), established);
}

// Cases 34 and 35: the four-tuple of a connection in each closing state is used again.
TEST_P(TcpEveryState, Case35TheTupleIsUsedAgain) {
  AnyState t{GetParam()};
  if (t.connected_out) return;
  WireSegment syn = t.make("S 1000000(0) win 1000 <mss 1000>");
  t.host.receive(syn);
  t.poll();
  // An honest peer answers a challenge with a RST that fits, and tries again.
  for (int i = 0; i < 4 && !t.host.out.sent.empty(); ++i) {
    const wire::TcpRepr answer = wire::to_repr(t.host.out.sent.back().view());
    t.host.out.sent.clear();
    if (answer.flags.has(wire::TcpFlag::syn) || answer.flags.has(wire::TcpFlag::rst)) break;
    WireSegment rst = t.make("R 0(0)");
    wire::store_u32(rst.bytes.data() + 4, answer.ack.value());
    store_checksum(rst);
    t.host.receive(rst);
    t.host.receive(syn);
    t.poll();
  }
  if (GetParam() == closed) return;
  const auto states = t.states();
  EXPECT_TRUE(std::ranges::find(states, syn_received) != states.end());
}

}  // namespace
}  // namespace tidewire::tcp
