#include "device/net_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"

namespace tidewire::device {
namespace {

using ::testing::HasSubstr;

NetSpec parsed(std::string_view text) {
  const Result<NetSpec, std::string> spec = parse_net_spec(text);
  EXPECT_TRUE(spec.has_value()) << text << ": " << spec.error();
  return spec.value_or(NetSpec{});
}

std::string error_of(std::string_view text) {
  const Result<NetSpec, std::string> spec = parse_net_spec(text);
  EXPECT_FALSE(spec.has_value()) << text;
  return spec ? "" : spec.error();
}

TEST(NetSpec, NothingIsAPerfectLink) {
  EXPECT_EQ(parsed(""), NetSpec{});
  EXPECT_EQ(parsed("  \t "), NetSpec{});
  EXPECT_FALSE(NetSpec{}.impairs());
}

TEST(NetSpec, EveryWord) {
  const NetSpec spec = parsed(
      "delay=20ms jitter=1.5ms loss=1% burst=3 rate=50mbit queue=100packets reorder=0.5% "
      "dup=0.25% corrupt=0.01% mtu=1400");
  EXPECT_EQ(spec.up, spec.down);
  EXPECT_EQ(spec.up.delay, Duration::millis(20));
  EXPECT_EQ(spec.up.jitter, Duration::micros(1500));
  EXPECT_EQ(spec.up.loss, Probability::percent(1));
  EXPECT_EQ(spec.up.burst, 3U);
  EXPECT_EQ(spec.up.rate_bps, 50'000'000U);
  EXPECT_EQ(spec.up.queue.packets, 100U);
  EXPECT_EQ(spec.up.reorder, Probability::ratio(5, 1000));
  EXPECT_EQ(spec.up.duplicate, Probability::ratio(25, 10'000));
  EXPECT_EQ(spec.up.corrupt, Probability::ratio(1, 10'000));
  EXPECT_EQ(spec.up.mtu, 1400U);
  EXPECT_TRUE(spec.impairs());
}

TEST(NetSpec, Reordering) {
  EXPECT_FALSE(parsed("jitter=5ms").up.jitter_reorders);
  const NetSpec spec = parsed("jitter=5ms,reorder reorder=10% reorder.by=2ms down.jitter=1ms");
  EXPECT_EQ(spec.up.jitter, Duration::millis(5));
  EXPECT_TRUE(spec.up.jitter_reorders);
  EXPECT_EQ(spec.up.reorder, Probability::percent(10));
  EXPECT_EQ(spec.up.reorder_by, Duration::millis(2));
  EXPECT_EQ(spec.down.jitter, Duration::millis(1));
  EXPECT_FALSE(spec.down.jitter_reorders);
}

TEST(NetSpec, ActiveQueues) {
  const NetSpec spec = parsed(
      "rate=10mbit up.aqm=codel up.codel.target=3ms up.codel.interval=60ms down.aqm=red "
      "down.red.min=10KB down.red.max=40KB down.red.p=2% down.red.gentle=off down.ecn=off");
  EXPECT_EQ(spec.up.aqm, QueueKind::codel);
  EXPECT_EQ(spec.up.codel.target, Duration::millis(3));
  EXPECT_EQ(spec.up.codel.interval, Duration::millis(60));
  EXPECT_TRUE(spec.up.ecn);
  EXPECT_EQ(spec.down.aqm, QueueKind::red);
  EXPECT_EQ(spec.down.red.min.bytes, 10240U);
  EXPECT_EQ(spec.down.red.max.bytes, 40960U);
  EXPECT_EQ(spec.down.red.p, Probability::percent(2));
  EXPECT_FALSE(spec.down.red.gentle);
  EXPECT_FALSE(spec.down.ecn);
  EXPECT_EQ(parsed("aqm=droptail"), NetSpec{});
  EXPECT_EQ(parsed("hole=1300").up.hole, 1300U);
  EXPECT_TRUE(parsed("hole=1300").impairs());
  // RED's defaults: signals from a sixth to half of the queue.
  const RedSpec bytes = resolve_red(parsed("rate=8mbit aqm=red").up);
  EXPECT_EQ(bytes.max.bytes, 50'000U);
  EXPECT_EQ(bytes.min.bytes, 16'666U);
  const RedSpec packets = resolve_red(parsed("rate=8mbit aqm=red queue=100packets").up);
  EXPECT_EQ(packets.max.packets, 50U);
  EXPECT_EQ(packets.min.packets, 16U);
}

TEST(NetSpec, DirectionsAndTheirPrecedence) {
  const NetSpec spec = parsed("up.rate=5mbit delay=10ms down.delay=30ms down.rate=50mbit");
  EXPECT_EQ(spec.up.rate_bps, 5'000'000U);
  EXPECT_EQ(spec.down.rate_bps, 50'000'000U);
  EXPECT_EQ(spec.up.delay, Duration::millis(10));
  EXPECT_EQ(spec.down.delay, Duration::millis(30));
  EXPECT_EQ(parsed("down.delay=30ms delay=10ms").down.delay, Duration::millis(30));
}

TEST(NetSpec, DecimalsAreExact) {
  EXPECT_EQ(parsed("delay=0.000001s").up.delay, Duration::micros(1));
  EXPECT_EQ(parsed("delay=1.000000001s").up.delay, Duration::nanos(1'000'000'001));
  EXPECT_EQ(parsed("rate=1.5gbit").up.rate_bps, 1'500'000'000U);
  EXPECT_EQ(parsed("rate=0.5mbit").up.rate_bps, 500'000U);
  EXPECT_EQ(parsed("queue=64KB rate=1mbit").up.queue.bytes, 65536U);
  EXPECT_EQ(parsed("loss=100%").up.loss, Probability::always());
  EXPECT_EQ(parsed("loss=50.000%").up.loss.per_2_32, 1U << 31);
  EXPECT_EQ(parsed("loss=0%").up.loss, Probability::never());
  EXPECT_EQ(parsed("loss=0.000001%").up.loss.per_2_32, 43U);
}

TEST(NetSpec, AnOnlyMtuIsNoImpairment) {
  EXPECT_FALSE(parsed("mtu=576").impairs());
  EXPECT_TRUE(parsed("down.delay=1ns").impairs());
}

TEST(NetSpec, TellsTheColumnOfTheWordAtFault) {
  const auto column = [](std::string_view text) {
    const auto spec = read_net_spec({}, text);
    return spec ? -1 : static_cast<int>(spec.error().column);
  };
  EXPECT_EQ(column("loss=5% delya=3ms"), 9);
  EXPECT_EQ(column("  rate=fast"), 3);
  EXPECT_EQ(column("loss=5%\tup.loss=1% loss=2%"), 20);
  EXPECT_EQ(column("burst=4"), 0) << "wrong only without another one";
  EXPECT_EQ(column("loss=5% delay=3ms"), -1);
  EXPECT_EQ(column(""), -1);
  EXPECT_TRUE(to_string(read_net_spec({}, "delya=3ms").error()).starts_with("column 1: "));
}

TEST(NetSpec, ErrorsNameTheRightForm) {
  const struct {
    std::string_view text;
    std::string_view says;
  } cases[] = {
      {"delay=20", "20ms"},
      {"delay=", "delay=T"},
      {"delay", "lacks a value; write delay=T"},
      {"delay=-1ms", "delay=T"},
      {"delay=.5ms", "delay=T"},
      {"delay=5.ms", "delay=T"},
      {"delay=1.2.3ms", "delay=T"},
      {"delay=20 ms", "'delay=20'"},
      {"delay=2h", "delay=T"},
      {"delay=3601s", "at most an hour"},
      {"delay=0.1ns", "delay=T"},
      {"delay=99999999999999999999s", "delay=T"},
      {"loss=1", "1%"},
      {"loss=101%", "at most 100%"},
      {"loss=100.0001%", "at most 100%"},
      {"loss=1%%", "loss=P"},
      {"rate=50", "50mbit"},
      {"rate=50Mbit", "50mbit"},
      {"rate=50mbps", "50mbit"},
      {"rate=0mbit", "50mbit"},
      {"queue=100 rate=1mbit", "100packets or 64KB"},
      {"queue=1.5KB rate=1mbit", "100packets or 64KB"},
      {"queue=0packets rate=1mbit", "100packets or 64KB"},
      {"burst=0 loss=1%", "1 to 1000"},
      {"burst=2.5 loss=1%", "1 to 1000"},
      {"mtu=67", "68 to 65535"},
      {"mtu=1500bytes", "68 to 65535"},
      {"hole=60", "68 to 65535"},
      {"lost=1%", "unknown word 'lost=1%'"},
      {"up.lost=1%", "known are: delay jitter loss"},
      {"left.delay=1ms", "unknown word"},
      {"delay=1ms delay=2ms", "already given"},
      {"up.loss=1% up.loss=1%", "already given"},
      {"burst=3", "needs loss=P"},
      {"queue=10packets", "needs rate="},
      {"up.rate=1mbit down.queue=10packets", "needs rate="},
      {"delay=1ms,loss=1%", "delay=T"},
      {"jitter=5ms,reorders", "or jitter=T,reorder"},
      {"jitter=,reorder", "jitter=T with T like 5ms"},
      {"jitter=0ms,reorder", "jitter=T with T like 5ms"},
      {"reorder=1% reorder.by=5", "reorder.by=T with T like 5ms"},
      {"reorder.by=5ms", "needs reorder=P"},
      {"up.reorder=1% down.reorder.by=5ms", "needs reorder=P"},
      {"aqm=pie rate=1mbit", "aqm=codel, aqm=red or aqm=droptail"},
      {"aqm=codel", "need rate="},
      {"ecn=1 aqm=red rate=1mbit", "ecn=on or ecn=off"},
      {"ecn=off rate=1mbit", "needs aqm="},
      {"codel.target=0ms aqm=codel rate=1mbit", "codel.target=T"},
      {"codel.interval=50ms aqm=red rate=1mbit", "need aqm=codel"},
      {"red.p=5% aqm=codel rate=1mbit", "need aqm=red"},
      {"red.min=20 aqm=red rate=1mbit", "20packets or 30KB"},
      {"red.min=20packets aqm=red rate=1mbit", "same unit"},
      {"red.min=60KB red.max=60KB aqm=red rate=1mbit", "less than red.max"},
      {"red.min=600KB aqm=red rate=1mbit", "less than red.max"},
      {"queue=2packets aqm=red rate=1mbit", "less than red.max"},
      {"red.mean=1KB", "unknown word"},
  };
  for (const auto& c : cases) {
    const std::string error = error_of(c.text);
    EXPECT_THAT(error, HasSubstr(std::string(c.says))) << c.text;
    EXPECT_EQ(error.find('\n'), std::string::npos) << c.text;
  }
}

TEST(NetSpec, TextForms) {
  EXPECT_EQ(to_string(parsed("delay=20ms loss=1% rate=50mbit")), "delay=20ms loss=1% rate=50mbit");
  EXPECT_EQ(to_string(parsed("delay=1500us loss=0.1%")), "delay=1.5ms loss=0.1%");
  EXPECT_EQ(to_string(parsed("delay=1ms up.delay=2ms")), "up.delay=2ms down.delay=1ms");
  EXPECT_EQ(to_string(parsed("loss=1% up.loss=0%")), "down.loss=1%");
  EXPECT_EQ(to_string(parsed("reorder.by=5ms jitter=4ms,reorder reorder=1%")),
            "jitter=4ms,reorder reorder=1% reorder.by=5ms");
  EXPECT_EQ(to_string(NetSpec{}), "");
}

TEST(NetSpec, ChangesKeepWhatTheyDoNotName) {
  const auto changed = [](std::string_view base, std::string_view words) {
    const Result<NetSpec, std::string> spec = change_net_spec(parsed(base), words);
    return spec ? to_string(*spec) : "error: " + spec.error();
  };
  EXPECT_EQ(changed("delay=20ms loss=1%", "loss=5%"), "delay=20ms loss=5%");
  EXPECT_EQ(changed("delay=20ms", ""), "delay=20ms");
  EXPECT_EQ(changed("delay=20ms", "up.delay=1ms"), "up.delay=1ms down.delay=20ms");
  // A word for both directions counts for both, whatever one of them had.
  EXPECT_EQ(changed("up.delay=1ms down.delay=20ms", "delay=3ms"), "delay=3ms");
  // What has nothing to depend on any more goes too, and only that.
  EXPECT_EQ(changed("loss=1% burst=4 reorder=1% reorder.by=2ms", "loss=0%"),
            "reorder=1% reorder.by=2ms");
  EXPECT_EQ(changed("reorder=1% reorder.by=2ms loss=1% burst=4", "reorder=0%"), "loss=1% burst=4");
  EXPECT_EQ(changed("rate=1mbit aqm=codel codel.target=9ms ecn=off", "aqm=droptail"), "rate=1mbit");
  EXPECT_EQ(changed("rate=1mbit aqm=red red.p=3%", "aqm=codel"), "rate=1mbit aqm=codel");
  EXPECT_THAT(changed("delay=20ms", "burst=4"), HasSubstr("error: burst=N"));
  EXPECT_THAT(changed("delay=20ms", "los=5%"), HasSubstr("error: unknown word 'los=5%'"));
}

TEST(NetSpec, TextAndBack) {
  Rng rng{{1, 2}};
  for (int i = 0; i < 2000; ++i) {
    NetSpec spec;
    for (LinkSpec* link : {&spec.up, &spec.down}) {
      link->delay = Duration::nanos(static_cast<std::int64_t>(rng.below(3'600'000'000'000)));
      link->jitter = Duration::nanos(static_cast<std::int64_t>(rng.below(100'000)));
      link->jitter_reorders = link->jitter != Duration{} && rng.below(2) == 0;
      link->loss.per_2_32 = 1 + rng.below(Probability::kOne);
      link->burst = 1 + static_cast<std::uint32_t>(rng.below(1000));
      link->rate_bps = 1000 + rng.below(1'000'000'000);
      link->queue.packets = static_cast<std::uint32_t>(rng.below(100));
      if (link->queue.packets == 0) link->queue.bytes = 1024 * (1 + rng.below(1000));
      link->reorder.per_2_32 = rng.below(1000);
      if (link->reorder.per_2_32 != 0) {
        link->reorder_by = Duration::nanos(static_cast<std::int64_t>(rng.below(1'000'000)));
      }
      link->duplicate.per_2_32 = rng.below(Probability::kOne);
      link->corrupt.per_2_32 = rng.below(1 << 20);
      link->aqm = static_cast<QueueKind>(rng.below(3));
      if (link->aqm != QueueKind::drop_tail) link->ecn = rng.below(2) == 0;
      if (link->aqm == QueueKind::codel) link->codel.target = Duration::micros(1 + i);
      if (link->aqm == QueueKind::red) {
        link->red = {{0, 1024}, {0, 2048}, {1 + rng.below(Probability::kOne)}, rng.below(2) == 0};
      }
      link->hole = static_cast<std::uint32_t>(rng.below(2)) * 1300;
      link->mtu = 68 + static_cast<std::uint32_t>(rng.below(9000));
    }
    const std::string text = to_string(spec);
    EXPECT_EQ(parsed(text), spec) << text;
  }
}

TEST(NetSpec, TroubleHasWordsAndReadsBack) {
  const std::string words =
      "ack.loss=10% lose=3,7-9 blackout=2s+500ms,10s+1s blackhole=60s flap=1s/10s loss=1%";
  const auto spec = parse_net_spec(words);
  ASSERT_TRUE(spec) << spec.error();
  EXPECT_EQ(spec->up.lose, (std::vector<std::uint64_t>{3, 7, 8, 9}));
  ASSERT_EQ(spec->up.blackouts.size(), 3U);
  EXPECT_EQ(spec->up.blackouts[1].until, Duration::seconds(11));
  EXPECT_EQ(spec->up.blackouts[2].until, kForEver);
  EXPECT_EQ(*parse_net_spec(to_string(*spec)), *spec) << to_string(*spec);
  const auto bytes = parse_net_spec("down.blackhole=3MB");
  EXPECT_EQ(bytes->down.dead_after, 3U << 20);
  EXPECT_EQ(to_string(*bytes), "down.blackhole=3MB");
}

TEST(NetSpec, RefusesTroubleThatIsNone) {
  for (const char* word : {"lose=0", "lose=3,3", "lose=9-7", "lose=", "lose=1-99999", "flap=2s/1s",
                           "flap=1s", "blackout=2s", "blackout=2s+0s", "blackhole=1XB",
                           "blackhole=0KB", "up.preset=lte", "preset=dialup", "trace=x"}) {
    EXPECT_FALSE(parse_net_spec(word)) << word;
  }
  EXPECT_EQ(parse_net_spec("preset=dialup").error(),
            "'preset=dialup' names no preset; there are cafe-wifi, 3g, lte, satellite, "
            "transatlantic, datacenter-incast");
}

TEST(NetSpec, PresetsAreWordsThatOthersChange) {
  for (const NetPreset& preset : net_presets()) {
    const auto plain = parse_net_spec(preset.words);
    ASSERT_TRUE(plain) << preset.name << ": " << plain.error();
    EXPECT_EQ(*parse_net_spec("preset=" + std::string(preset.name)), *plain) << preset.name;
    EXPECT_FALSE(preset.source.empty());
    EXPECT_NE(net_spec_help().find(preset.name), std::string_view::npos) << preset.name;
  }
  EXPECT_EQ(*parse_net_spec("loss=2% preset=lte"),
            *parse_net_spec("delay=35ms rate=12mbit loss=2%"));
}

TEST(NetSpec, ARateReplacesATraceAndTheOtherWayRound) {
  const FileReader files = [](const std::string&) -> Result<std::string, std::string> {
    return std::string("1\n");
  };
  const auto traced = parse_net_spec("up.trace=f", files);
  ASSERT_TRUE(traced) << traced.error();
  EXPECT_TRUE(traced->up.trace);
  EXPECT_FALSE(traced->down.trace);
  EXPECT_EQ(to_string(*traced), "up.trace=f");
  EXPECT_EQ(to_string(*change_net_spec(*traced, "rate=1mbit")), "rate=1mbit");
  EXPECT_EQ(to_string(*change_net_spec(*parse_net_spec("rate=1mbit"), "trace=f", files)),
            "trace=f");
  EXPECT_FALSE(parse_net_spec("trace=f rate=1mbit", files));
  EXPECT_TRUE(parse_net_spec("trace=f queue=10packets", files));
}

}  // namespace
}  // namespace tidewire::device
