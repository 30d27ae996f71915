#include "device/wrap/impairment.hpp"

#include <gtest/gtest.h>

#include <set>

#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

constexpr Instant kStart = Instant::from_nanos(0);

PacketKey key_of(const Headers& h) { return parse_packet_key(headers(h, 0), Medium::ethernet); }

Headers from_port(std::uint16_t port, std::uint16_t to = 80) {
  Headers h;
  h.source_port = port;
  h.destination_port = to;
  return h;
}

class Bench {
 public:
  explicit Bench(const LinkSpec& spec, RandomSeed seed = {7, 0})
      : engine(spec, Direction::up, seed, flows, kStart) {}
  FlowTable flows;
  Impairment engine;
  Fate send(const PacketKey& key, Instant now = kStart, std::size_t size = 1000) {
    return engine.decide(key, size + 14, size, now);
  }
};

std::vector<std::uint64_t> lost_of(Bench& bench, const Headers& h, int packets) {
  std::vector<std::uint64_t> lost;
  for (int i = 0; i < packets; ++i) {
    const Fate fate = bench.send(key_of(h));
    if (fate.dropped) lost.push_back(fate.ordinal);
  }
  return lost;
}

LinkSpec lossy(std::uint64_t percent, std::uint32_t burst = 1) {
  LinkSpec spec;
  spec.loss = Probability::percent(percent);
  spec.burst = burst;
  return spec;
}

TEST(Impairment, FateDependsOnFlowNumberAndOrdinalOnly) {
  Bench one{lossy(10)};
  Bench two{lossy(10)};
  const auto first = lost_of(one, from_port(1000), 500);
  EXPECT_GT(first.size(), 20U);
  // Another ephemeral port, other flows to other places in between: the same ordinals.
  lost_of(two, from_port(5, 443), 33);
  EXPECT_EQ(lost_of(two, from_port(2222), 500), first);
  // The second flow to the same place has its own fate, the same in both runs.
  const auto second = lost_of(one, from_port(1001), 500);
  EXPECT_NE(second, first);
  EXPECT_EQ(lost_of(two, from_port(3333), 500), second);
  Bench other_seed{lossy(10), {8, 0}};
  EXPECT_NE(lost_of(other_seed, from_port(1000), 500), first);
}

TEST(Impairment, AReusedPortIsANewFlowAtItsSyn) {
  Bench bench{lossy(0)};
  Headers syn = from_port(1000);
  syn.flags = 0x02;
  EXPECT_EQ(bench.send(key_of(syn)).flow_number, 1U);
  EXPECT_EQ(bench.send(key_of(syn)).ordinal, 2U);  // its retransmission
  EXPECT_EQ(bench.send(key_of(from_port(1000))).ordinal, 3U);
  syn.seq = 999;
  const Fate fate = bench.send(key_of(syn));
  EXPECT_EQ(fate.flow_number, 2U);
  EXPECT_EQ(fate.ordinal, 1U);
}

TEST(Impairment, BothDirectionsKnowTheFlow) {
  FlowTable flows;
  Impairment up{lossy(20), Direction::up, {1, 1}, flows, kStart};
  Impairment down{lossy(20), Direction::down, {1, 1}, flows, kStart};
  Headers there = from_port(1000);
  Headers back;
  std::swap(back.source, back.destination);
  std::swap(back.source_port, back.destination_port);
  back.destination_port = 1000;
  up.decide(key_of(there), 100, 86, kStart);
  EXPECT_EQ(down.decide(key_of(back), 100, 86, kStart).flow_number, 1U);
  EXPECT_EQ(down.decide(key_of(back), 100, 86, kStart).ordinal, 2U);
  EXPECT_EQ(up.decide(key_of(there), 100, 86, kStart).ordinal, 2U);
}

TEST(Impairment, LossRateHolds) {
  for (const std::uint64_t percent : {1U, 10U, 30U}) {
    for (const std::uint32_t burst : {1U, 3U, 10U}) {
      Bench bench{lossy(percent, burst)};
      const auto lost = lost_of(bench, from_port(1), 100'000);
      const auto expected = percent * 1000;
      EXPECT_GT(lost.size(), expected * 85 / 100) << percent << " " << burst;
      EXPECT_LT(lost.size(), expected * 115 / 100) << percent << " " << burst;
      for (std::size_t i = 0; burst > 1 && i + burst < lost.size();) {
        std::size_t run = 1;
        while (i + run < lost.size() && lost[i + run] == lost[i] + run) ++run;
        EXPECT_GE(run, burst);
        i += run;
      }
    }
  }
  Bench all{lossy(100, 5)};
  EXPECT_EQ(lost_of(all, from_port(1), 100).size(), 100U);
}

TEST(Impairment, LossByList) {
  LinkSpec spec;
  spec.lose = {2, 5, 6};
  Bench bench{spec};
  EXPECT_EQ(lost_of(bench, from_port(1), 10), (std::vector<std::uint64_t>{2, 5, 6}));
  EXPECT_EQ(lost_of(bench, from_port(2), 10), (std::vector<std::uint64_t>{2, 5, 6}));
}

TEST(Impairment, DelayAndOrderedJitter) {
  LinkSpec spec;
  spec.delay = Duration::millis(20);
  spec.jitter = Duration::millis(5);
  Bench bench{spec};
  Instant last = kStart;
  std::set<std::int64_t> seen;
  for (int i = 0; i < 200; ++i) {
    const Instant now = kStart + Duration::millis(i);
    const Fate fate = bench.send(key_of(from_port(1)), now);
    EXPECT_GE(fate.release, last);
    EXPECT_GE(fate.release, now + spec.delay);
    EXPECT_LE(fate.release, now + spec.delay + spec.jitter);
    seen.insert((fate.release - now).count_nanos());
    last = fate.release;
  }
  EXPECT_GT(seen.size(), 50U);
}

TEST(Impairment, JitterThatReorders) {
  LinkSpec spec;
  spec.delay = Duration::millis(20);
  spec.jitter = Duration::millis(5);
  spec.jitter_reorders = true;
  Bench bench{spec};
  Instant newest = kStart;
  int overtaking = 0;
  for (int i = 0; i < 1000; ++i) {
    const Instant now = kStart + Duration::millis(i);
    const Fate fate = bench.send(key_of(from_port(1)), now);
    EXPECT_GE(fate.release, now + spec.delay);
    EXPECT_LE(fate.release, now + spec.delay + spec.jitter);
    EXPECT_EQ(fate.reordered, fate.release < newest);
    overtaking += fate.release < newest ? 1 : 0;
    newest = later(newest, fate.release);
  }
  EXPECT_GT(overtaking, 200);
}

TEST(Impairment, ReorderedPacketsAreLateByUpToATime) {
  LinkSpec spec;
  spec.delay = Duration::millis(20);
  spec.reorder = Probability::percent(10);
  spec.reorder_by = Duration::millis(5);
  Bench bench{spec};
  int late = 0;
  Duration latest{};
  for (int i = 0; i < 10'000; ++i) {
    const Instant now = kStart + Duration::micros(i * 100);
    const Fate fate = bench.send(key_of(from_port(1)), now);
    const Duration extra = fate.release - (now + spec.delay);
    EXPECT_EQ(fate.overtaken_by, 0U);
    if (!fate.reordered) {
      EXPECT_EQ(extra, Duration::zero());
    }
    late += fate.reordered ? 1 : 0;
    latest = std::max(latest, extra);
  }
  EXPECT_GT(late, 850);
  EXPECT_LT(late, 1150);
  EXPECT_LE(latest, spec.reorder_by);
  EXPECT_GT(latest, Duration::micros(4900));
}

TEST(Impairment, RateAndPacketQueue) {
  LinkSpec spec;
  spec.rate_bps = 8'000'000;  // one byte a microsecond
  spec.queue.packets = 3;
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1));
  for (int i = 1; i <= 4; ++i) {  // one under way, three waiting
    const Fate fate = bench.send(key, kStart, 986);
    EXPECT_FALSE(fate.dropped);
    EXPECT_EQ(fate.release, kStart + Duration::millis(i));
  }
  EXPECT_EQ(bench.send(key, kStart, 986).why, Impact::queue_full);
  EXPECT_TRUE(bench.send(key, kStart + Duration::micros(999), 986).dropped);
  EXPECT_EQ(bench.send(key, kStart + Duration::millis(1), 986).release,
            kStart + Duration::millis(5));
  EXPECT_EQ(bench.send(key, kStart + Duration::seconds(1), 986).release,
            kStart + Duration::millis(1001));
}

TEST(Impairment, ByteQueue) {
  LinkSpec spec;
  spec.rate_bps = 8'000'000;
  spec.queue.bytes = 2048;
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1));
  EXPECT_FALSE(bench.send(key, kStart, 986).dropped);
  EXPECT_FALSE(bench.send(key, kStart, 986).dropped);
  EXPECT_FALSE(bench.send(key, kStart, 986).dropped);
  EXPECT_TRUE(bench.send(key, kStart, 986).dropped);
  EXPECT_FALSE(bench.send(key, kStart, 20).dropped);
}

TEST(Impairment, AnotherSpecCountsFromTheNextPacket) {
  Bench bench{lossy(100, 8)};
  const PacketKey key = key_of(from_port(1));
  EXPECT_TRUE(bench.send(key).dropped);
  LinkSpec slow;
  slow.delay = Duration::millis(50);
  bench.engine.set_spec(slow);
  EXPECT_FALSE(bench.send(key).dropped) << "the run of losses is over with its cause";
  slow.delay = Duration::millis(1);
  slow.rate_bps = 8'000'000;
  bench.engine.set_spec(slow);
  EXPECT_EQ(bench.send(key).release, kStart + Duration::millis(50)) << "nobody is overtaken";
  // Without a rate there is nothing to wait for.
  bench.engine.set_spec(LinkSpec{});
  EXPECT_EQ(bench.send(key, kStart + Duration::millis(60)).release, kStart + Duration::millis(60));
  // The same packets are hit as if it had been so from the start.
  Bench other{lossy(10)};
  Bench late{LinkSpec{}};
  for (int i = 0; i < 100; ++i) late.send(key_of(from_port(9)));
  late.engine.set_spec(lossy(10));
  std::vector<std::uint64_t> expected = lost_of(other, from_port(9), 300);
  std::erase_if(expected, [](std::uint64_t ordinal) { return ordinal <= 100; });
  EXPECT_EQ(lost_of(late, from_port(9), 200), expected);
}

TEST(Impairment, WhatWaitsForCodelLeavesFirstWhateverComesThen) {
  LinkSpec spec;
  spec.rate_bps = 8'000'000;
  spec.aqm = QueueKind::codel;
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1));
  EXPECT_FALSE(bench.send(key, kStart, 986).waits);
  EXPECT_TRUE(bench.send(key, kStart, 986).waits);
  bench.engine.set_spec(LinkSpec{});
  EXPECT_TRUE(bench.send(key, kStart, 986).waits);
  const Instant later = kStart + Duration::millis(1);
  for (int i = 0; i < 2; ++i) {
    const auto fate = bench.engine.next_leaving(later);
    ASSERT_TRUE(fate.has_value());
    EXPECT_EQ(fate->release, later);
  }
  EXPECT_FALSE(bench.engine.next_leaving(later).has_value());
  EXPECT_FALSE(bench.send(key, later, 986).waits);
}

TEST(Impairment, MtuBlackoutAndFullWindows) {
  LinkSpec spec;
  spec.mtu = 1400;
  spec.blackouts = {{Duration::seconds(1), Duration::seconds(2)}};
  spec.full = {{Duration::seconds(3), Duration::seconds(4)}};
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1));
  EXPECT_FALSE(bench.send(key, kStart, 1400).dropped);
  EXPECT_EQ(bench.send(key, kStart, 1401).why, Impact::too_big);
  EXPECT_EQ(bench.send(key, kStart + Duration::seconds(1)).why, Impact::blackout);
  EXPECT_FALSE(bench.send(key, kStart + Duration::seconds(2)).dropped);
  EXPECT_EQ(bench.engine.full_until(kStart + Duration::millis(3500)),
            kStart + Duration::seconds(4));
  EXPECT_EQ(bench.engine.full_until(kStart + Duration::seconds(4)), kStart + Duration::seconds(4));
}

TEST(PacketKey, SurvivesEveryTruncation) {
  for (const Medium medium : {Medium::ethernet, Medium::ip}) {
    Headers h;
    h.ethernet = medium == Medium::ethernet;
    const auto packet = headers(h, 0);
    for (std::size_t size = 0; size <= packet.size(); ++size) {
      const PacketKey key = parse_packet_key(Bytes{packet}.first(size), medium);
      EXPECT_LE(key.network_offset, size);
    }
    EXPECT_EQ(parse_packet_key(packet, medium).destination_port, 80);
  }
}

TEST(FlowTable, IsBounded) {
  FlowTable flows{16};
  for (std::uint16_t port = 1; port < 1000; ++port) {
    EXPECT_EQ(flows.count(key_of(from_port(port)), Direction::up).number, port);
  }
}

TEST(Impairment, LosesAcksOnly) {
  LinkSpec spec;
  spec.ack_loss = Probability::always();
  Bench bench{spec};
  const Headers h = from_port(1000);
  const auto sent = [&](std::uint8_t flags, std::size_t text) {
    auto bytes = headers(h, static_cast<std::uint16_t>(text));
    bytes.resize(bytes.size() + text);
    bytes[14 + 20 + 13] = std::byte{flags};
    return !bench.send(parse_packet_key(bytes, Medium::ethernet)).dropped;
  };
  EXPECT_FALSE(sent(0x10, 0));
  EXPECT_TRUE(sent(0x10, 1));
  EXPECT_TRUE(sent(0x11, 0));  // FIN
  EXPECT_TRUE(sent(0x12, 0));  // SYN
  EXPECT_TRUE(sent(0x14, 0));  // RST
}

TEST(Impairment, BlackHoleAfterBytes) {
  LinkSpec spec;
  spec.dead_after = 3500;
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1000));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(bench.send(key).dropped) << i;
  const Fate fate = bench.send(key, kStart + Duration::seconds(60));
  EXPECT_TRUE(fate.dropped);
  EXPECT_EQ(fate.why, Impact::blackout);
}

TEST(Impairment, FlapsAtTheEndOfEachPeriod) {
  LinkSpec spec;
  spec.flap = {Duration::seconds(10), Duration::seconds(1)};
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1000));
  for (int half = 0; half < 60; ++half) {
    const bool dead = half % 20 >= 18;
    EXPECT_EQ(bench.send(key, kStart + Duration::millis(500 * half)).dropped, dead) << half;
  }
}

TEST(Impairment, LeavesAtTheOpportunitiesOfATrace) {
  LinkSpec spec;
  spec.trace = SharedTrace(*RateTrace::parse("10\n20\n20\n100\n", "t"));
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1000));
  const auto leaves = [&](std::int64_t at_ms, std::size_t ip_size) {
    const Fate fate = bench.send(key, kStart + Duration::millis(at_ms), ip_size - 14);
    return fate.dropped ? -1 : (fate.release - kStart).count_micros() / 1000;
  };
  EXPECT_EQ(leaves(0, 700), 10);
  EXPECT_EQ(leaves(0, 700), 10);     // both fit into one opportunity
  EXPECT_EQ(leaves(0, 700), 20);     // 100 bytes there, the rest at the next
  EXPECT_EQ(leaves(0, 1500), 20);    // the rest of that and a part of its twin
  EXPECT_EQ(leaves(50, 1500), 100);  // what was left at 20 is gone
  EXPECT_EQ(leaves(100, 1500), 110);
  EXPECT_EQ(leaves(100, 3000), 120);
  EXPECT_EQ(leaves(1000, 1500), 1000);
}

TEST(Impairment, ATraceHasAQueueOfItsAverageRate) {
  LinkSpec spec;
  spec.trace = SharedTrace(*RateTrace::parse("1000\n", "t"));  // 12 kbit/s
  Bench bench{spec};
  const PacketKey key = key_of(from_port(1000));
  int taken = 0;
  while (!bench.send(key, kStart, 1486).dropped) ASSERT_LT(++taken, 1000);
  EXPECT_NEAR(taken, 43, 2);  // 64 KiB
}

}  // namespace
}  // namespace tidewire::device
