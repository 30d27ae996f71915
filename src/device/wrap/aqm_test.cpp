#include "device/wrap/aqm.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "device/wrap/impaired_line.hpp"
#include "device/wrap/test_frames.hpp"
#include "wire/ecn.hpp"

namespace tidewire::device {
namespace {

constexpr Instant kStart = Instant::from_nanos(0);
constexpr std::uint64_t kSize = 1500;

Instant at(std::int64_t millis) { return kStart + Duration::millis(millis); }

TEST(Codel, SignalsOnlyAfterAnIntervalAboveTheTarget) {
  Codel codel{CodelSpec{}};
  const auto leaves = [&](std::int64_t waited, std::int64_t now) {
    return codel.leaves(Duration::millis(waited), kSize, 10 * kSize, false, at(now));
  };
  for (int t = 0; t < 100; ++t) EXPECT_EQ(leaves(6, t), QueueVerdict::pass) << t;
  EXPECT_EQ(leaves(4, 99), QueueVerdict::pass);  // once below: the interval starts again
  for (int t = 100; t < 200; ++t) EXPECT_EQ(leaves(6, t), QueueVerdict::pass) << t;
  EXPECT_EQ(leaves(6, 200), QueueVerdict::drop);
  EXPECT_EQ(leaves(6, 200), QueueVerdict::pass);  // the one behind it
}

TEST(Codel, SignalsCloserWithTheRootOfTheirNumber) {
  Codel codel{CodelSpec{}};
  std::vector<std::int64_t> dropped;
  for (int t = 0; t < 1000; ++t) {
    const auto verdict = codel.leaves(Duration::millis(20), kSize, 10 * kSize, false, at(t));
    if (verdict == QueueVerdict::drop) dropped.push_back(t);
  }
  // 100, then 100 + 100/√1, + 100/√2, + 100/√3, + 100/√4 …, each rounded up to the next turn.
  ASSERT_GE(dropped.size(), 6U);
  EXPECT_EQ((std::vector<std::int64_t>{dropped.begin(), dropped.begin() + 6}),
            (std::vector<std::int64_t>{100, 200, 271, 329, 379, 424}));
}

TEST(Codel, OnePacketBehindIsNoStandingQueue) {
  Codel codel{CodelSpec{}};
  for (int t = 0; t < 1000; ++t) {
    EXPECT_EQ(codel.leaves(Duration::millis(50), kSize, kSize, false, at(t)), QueueVerdict::pass);
  }
}

TEST(Codel, MarksWhatCanBeMarked) {
  Codel codel{CodelSpec{}};
  int marked = 0;
  for (int t = 0; t < 500; ++t) {
    const auto verdict = codel.leaves(Duration::millis(20), kSize, 10 * kSize, true, at(t));
    EXPECT_NE(verdict, QueueVerdict::drop);
    if (verdict == QueueVerdict::mark) ++marked;
  }
  EXPECT_GE(marked, 7);
  EXPECT_LE(marked, 9);
}

RedSpec red_spec(bool gentle) {
  return {{0, 10'000}, {0, 30'000}, Probability::percent(10), gentle};
}

struct Counts {
  int passed = 0, marked = 0, dropped = 0;
};

Counts steady(Red& red, std::uint64_t length, bool can_mark) {
  for (int i = 0; i < 20'000; ++i) red.arrives(length, 0, ~std::uint64_t{0}, false);
  Rng rng{{5, 6}};
  Counts counts;
  for (int i = 0; i < 10'000; ++i) {
    const QueueVerdict verdict = red.arrives(length, 0, rng.next(), can_mark);
    ++(verdict == QueueVerdict::pass   ? counts.passed
       : verdict == QueueVerdict::mark ? counts.marked
                                       : counts.dropped);
  }
  return counts;
}

TEST(Red, NothingBelowMin) {
  Red red{red_spec(true)};
  EXPECT_EQ(steady(red, 9'900, true).passed, 10'000);
}

TEST(Red, TheChanceRisesFromMinToMaxAndGentlyBeyond) {
  Red middle{red_spec(true)};
  const Counts half = steady(middle, 20'000, true);  // 5 %, evenly spread: every 1.5/p on average
  EXPECT_NEAR(half.marked, 10'000 * 0.05 * 2, 300);
  EXPECT_EQ(half.dropped, 0);
  Red above{red_spec(true)};
  const Counts more = steady(above, 45'000, false);  // 10 % + half of the rest
  EXPECT_GT(more.dropped, 5'500);
  EXPECT_GT(more.passed, 500);
  Red far{red_spec(true)};
  EXPECT_EQ(steady(far, 61'000, true).dropped, 10'000);  // RFC 3168 §7: no marks for ever
  Red classic{red_spec(false)};
  EXPECT_EQ(steady(classic, 31'000, true).dropped, 10'000);
}

TEST(Red, AnIdleQueueForgets) {
  Red red{red_spec(true)};
  steady(red, 20'000, true);
  EXPECT_GT(red.average(), 19'000U);
  red.arrives(0, 512, 0, true);
  EXPECT_GT(red.average(), 6'000U);  // about 1/e is left
  EXPECT_LT(red.average(), 8'000U);
  red.arrives(0, 1'000'000, 0, true);
  EXPECT_EQ(red.average(), 0U);
}

/// One line at a rate, fed faster than it carries; frames are TCP over IPv4 with an ECN field.
class QueueBench {
 public:
  explicit QueueBench(std::string_view words, wire::Ecn ecn) : ecn_(ecn) {
    ImpairedLine::Options options;
    options.spec = parse_net_spec(words)->up;
    options.seed = {3, 4};
    options.origin = kStart;
    line_ = std::make_unique<ImpairedLine>(options, pool_, flows_, nullptr);
  }

  /// Offers a packet of 1000 bytes every `gap` until `until`; takes what arrives.
  void run(Duration gap, Instant until) {
    Instant next = kStart;
    while (next < until || !line_->empty()) {
      now_ = earlier(next < until ? next : Instant::never(), line_->next_arrival());
      line_->advance(now_);
      take();
      if (now_ != next || next >= until) continue;
      offer();
      next += gap;
    }
  }

  const LinkCounters& counters() const { return line_->counters(); }
  int arrived = 0, with_ce = 0, damaged = 0;
  Duration longest_late;  ///< delay in the second half

 private:
  void offer() {
    test::Headers h;
    h.seq = static_cast<std::uint32_t>(now_.nanos() / 1000);
    auto head = test::headers(h, 960);
    const std::size_t tos = 14 + 1;
    head[tos] = static_cast<std::byte>(ecn_);
    head[24] = head[25] = std::byte{0};
    const std::uint16_t sum = wire::internet_checksum(Bytes{head}.subspan(14, 20));
    head[24] = static_cast<std::byte>(sum >> 8);
    head[25] = static_cast<std::byte>(sum);
    const std::vector<std::byte> payload(960);
    const Bytes region{payload};
    line_->push(test::frame_of(h, head, {&region, 1}));
  }
  void take() {
    for (const RxFrame& frame : line_->receive(1000)) {
      ++arrived;
      const Bytes ip = frame.head.subspan(14);
      if (wire::ecn_of(wire::traffic_class_of(ip)) == wire::Ecn::ce) ++with_ce;
      if (wire::internet_checksum(ip.first(20)) != 0) ++damaged;
      const Instant sent = kStart + Duration::micros(wire::load_u32(frame.head.data() + 14 + 24));
      if (now_ > at(5000)) longest_late = std::max(longest_late, frame.ingress - sent);
    }
  }

  wire::Ecn ecn_;
  FramePool pool_;
  FlowTable flows_;
  std::unique_ptr<ImpairedLine> line_;
  Instant now_ = kStart;
};

TEST(ActiveQueue, CodelDropsWhatCannotBeMarked) {
  QueueBench bench{"rate=8mbit queue=1000packets aqm=codel", wire::Ecn::not_ect};
  bench.run(Duration::micros(1000), at(10'000));
  EXPECT_EQ(bench.with_ce, 0);
  EXPECT_GT(bench.counters().of(Impact::queue_early), 50U);
  EXPECT_EQ(bench.arrived + bench.counters().dropped(), 10'000U);
  // 1.4 % too much comes in: the drops bring the queue near the target and keep it there.
  EXPECT_LT(bench.longest_late, Duration::millis(40));
}

TEST(ActiveQueue, CodelMarksEct) {
  for (const wire::Ecn ecn : {wire::Ecn::ect0, wire::Ecn::ect1, wire::Ecn::ce}) {
    QueueBench bench{"rate=8mbit queue=1000packets aqm=codel", ecn};
    bench.run(Duration::micros(1000), at(2'000));
    EXPECT_EQ(bench.counters().of(Impact::queue_early), 0U);
    EXPECT_GT(bench.counters().of(Impact::marked), 5U);
    if (ecn != wire::Ecn::ce) {
      EXPECT_EQ(bench.with_ce, static_cast<int>(bench.counters().of(Impact::marked)));
    }
    EXPECT_EQ(bench.damaged, 0);
    EXPECT_EQ(bench.arrived, 2'000);
  }
}

TEST(ActiveQueue, RedMarksOrDrops) {
  QueueBench marks{"rate=8mbit queue=64KB aqm=red", wire::Ecn::ect0};
  marks.run(Duration::micros(1000), at(2'000));
  EXPECT_GT(marks.counters().of(Impact::marked), 5U);
  EXPECT_EQ(marks.damaged, 0);
  QueueBench drops{"rate=8mbit queue=64KB aqm=red ecn=off", wire::Ecn::ect0};
  drops.run(Duration::micros(1000), at(2'000));
  EXPECT_EQ(drops.counters().of(Impact::marked), 0U);
  EXPECT_GT(drops.counters().of(Impact::queue_early), 5U);
  EXPECT_EQ(drops.with_ce, 0);
}

TEST(ActiveQueue, OneSeedGivesTheSameFates) {
  for (const char* words : {"rate=8mbit aqm=red loss=1%", "rate=8mbit aqm=codel loss=1% dup=1%"}) {
    QueueBench one{words, wire::Ecn::ect0};
    QueueBench two{words, wire::Ecn::ect0};
    one.run(Duration::micros(1000), at(3'000));
    two.run(Duration::micros(1000), at(3'000));
    EXPECT_EQ(one.counters().impacts, two.counters().impacts);
    EXPECT_GT(one.counters().of(Impact::lost), 0U);
    EXPECT_EQ(one.arrived, two.arrived);
  }
}

TEST(ActiveQueue, MarksTheTrafficClassOfIpv6) {
  std::vector<std::byte> packet(40);
  packet[0] = std::byte{0x60};
  packet[1] = std::byte{0x20};
  wire::mark_ce(packet);
  EXPECT_EQ(wire::ecn_of(wire::traffic_class_of(packet)), wire::Ecn::ce);
  EXPECT_EQ(packet[1], std::byte{0x30});
  std::vector<std::byte> stub(3, std::byte{0x45});
  wire::mark_ce(stub);  // too short: left alone
  EXPECT_EQ(stub, std::vector<std::byte>(3, std::byte{0x45}));
}

}  // namespace
}  // namespace tidewire::device
