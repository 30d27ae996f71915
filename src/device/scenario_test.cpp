#include "device/scenario.hpp"

#include <gtest/gtest.h>

namespace tidewire::device {
namespace {

Scenario read(std::string_view text) {
  auto scenario = parse_scenario(text, "s.toml");
  EXPECT_TRUE(scenario) << (scenario ? "" : scenario.error());
  return scenario ? *scenario : Scenario{};
}

std::string error_of(std::string_view text) {
  const auto scenario = parse_scenario(text, "s.toml");
  return scenario ? "taken" : scenario.error();
}

/// What the link is at each event: its words, "down" in front where it is.
std::vector<std::string> told(const Scenario& scenario) {
  std::vector<std::string> lines;
  for (const NetEvent& event : scenario.events) {
    lines.push_back(std::to_string(event.at.count_micros() / 1000) + (event.up ? " " : " down ") +
                    to_string(event.spec));
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Scenario, StartsWithWordsAndTables) {
  const Scenario s = read(R"(
net = "delay=20ms"
[both]
mtu = 1400
codel.target = "6ms"
aqm = "codel"
[up]
rate = "5mbit"
lose = [3, "7-9"]
[down]
rate = "20mbit"
ecn = false
)");
  EXPECT_EQ(s.start, *parse_net_spec("delay=20ms mtu=1400 codel.target=6ms aqm=codel up.rate=5mbit "
                                     "up.lose=3,7-9 down.rate=20mbit down.ecn=off"));
  EXPECT_TRUE(s.events.empty());
}

TEST(Scenario, EventsChangeWhatTheyNameAndStay) {
  const Scenario s = read(R"(
net = "delay=20ms"
[[at]]
time = "5s"
link = "down"
[[at]]
time = "2s"
net = "loss=5%"
[[at]]
time = "6s"
link = "up"
net = "rate=1mbit"
replace = true
)");
  EXPECT_EQ(told(s),
            (Lines{"2000 delay=20ms loss=5%", "5000 down delay=20ms loss=5%", "6000 rate=1mbit"}));
}

TEST(Scenario, AnEventMayPassAndRepeat) {
  const Scenario s = read(R"(
[[at]]
time = "1s"
for = "250ms"
every = "1s"
times = 2
link = "down"
)");
  EXPECT_EQ(told(s), (Lines{"1000 down ", "1250 ", "2000 down ", "2250 "}));
}

TEST(Scenario, ErrorsTellLineColumnAndTheFix) {
  EXPECT_EQ(error_of("net = \"delay=20ms los=1%\"").substr(0, 28), "s.toml:1:19: unknown word 'l");
  EXPECT_EQ(error_of("net = 3"),
            "s.toml:1:7: words in a string are wanted, like \"delay=20ms loss=1%\"");
  EXPECT_EQ(error_of("[up]\nrate = \"5mb\""),
            "s.toml:2:1: 'up.rate=5mb' is not understood; write rate=N{k,m,g}bit like 50mbit, "
            "512kbit or 1.5gbit");
  EXPECT_EQ(error_of("[left]\nrate = 1"),
            "s.toml:1:2: 'left' is not known in a scenario; known are: net, both, up, down, at");
  EXPECT_EQ(error_of("[[at]]\nnet = \"loss=1%\""),
            "s.toml:1:1: a change needs time = \"T\", since the start");
  EXPECT_EQ(error_of("[[at]]\ntime = 3\nnet = \"loss=1%\""),
            "s.toml:2:8: time wants a time like \"2s\" or \"500ms\", at most an hour");
  EXPECT_EQ(error_of("[[at]]\ntime = \"1s\"\nlink = \"off\""),
            "s.toml:3:8: link wants \"up\" or \"down\"");
  EXPECT_EQ(error_of("[[at]]\ntime = \"1s\""),
            "s.toml:1:1: a change needs net = \"WORDS\" or link = \"down\"");
  EXPECT_EQ(error_of("[[at]]\ntime = \"1s\"\nevery = \"1s\"\nlink = \"up\""),
            "s.toml:3:9: every = \"T\" needs times = N beside it");
  EXPECT_EQ(error_of("[[at]]\ntime = \"1s\"\nnet = \"queue=10packets\"").substr(0, 33),
            "s.toml:1:1: queue=N{packets,KB} i");
  EXPECT_EQ(error_of("[[at]]\ntime=\"1s\"\nfor=\"1s\"\nlink=\"down\"\n"
                     "[[at]]\ntime=\"1500ms\"\nnet=\"loss=1%\""),
            "s.toml:5:1: it falls into the time of the change in line 1, after which all is as "
            "before");
  EXPECT_EQ(error_of("[[at]]\ntime=\"1s\"\nevery=\"1ms\"\ntimes=100001\nlink=\"up\""),
            "s.toml:4:7: times wants a number from 1 to 100000");
  EXPECT_EQ(error_of("net = \"").substr(0, 10), "s.toml:1:8");
  EXPECT_EQ(
      error_of("# η\nnet = \"\" # η\n η = 1"),
      "s.toml:3:2: characters beyond ASCII can stand in comments only, and names have few dots");
  EXPECT_EQ(error_of("net = \"\"\"\\\n η\"\"\"").substr(0, 10), "s.toml:2:2");
  EXPECT_EQ(error_of("net = \"\\\"# η\"").substr(0, 13), "s.toml:1:12: ");
  EXPECT_EQ(error_of("[& up]"),
            "s.toml:1:1: it is not valid TOML: look for a malformed [table] or value");
}

TEST(Scenario, DepthAndLengthAreBounded) {
  std::string deep = "[up";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  EXPECT_EQ(error_of(deep + "]").substr(0, 12), "s.toml:1:36:");
  const std::string listed = "[[at]]\ntime=\"1s\"\nevery=\"1s\"\ntimes=1000\nnet=\"lose=1-9999\"";
  EXPECT_NE(error_of(listed).find("longer than 1000000 entries"), std::string::npos);
  int reads = 0;
  const FileReader files = [&](const std::string&) -> Result<std::string, std::string> {
    ++reads;
    return std::string("1\n");
  };
  EXPECT_TRUE(parse_scenario("[[at]]\ntime=\"1s\"\nevery=\"1s\"\ntimes=1000\nnet=\"trace=f\"",
                             "s.toml", files));
  EXPECT_LE(reads, 3);
}

TEST(Scenario, FilesAreReadThroughTheReader) {
  const FileReader files = [](const std::string& name) -> Result<std::string, std::string> {
    if (name == "a.trace") return std::string("1\n2\n");
    return fail("cannot read " + name);
  };
  const auto good = parse_scenario("[down]\ntrace = \"a.trace\"", "s.toml", files);
  ASSERT_TRUE(good) << good.error();
  EXPECT_EQ(good->start.down.trace->average_bps(), 12'000'000U);
  EXPECT_FALSE(good->start.up.trace);
  const auto bad = parse_scenario("net = \"trace=b\"", "s.toml", files);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error(), "s.toml:1:8: cannot read b");
}

TEST(ScenarioPlayer, TellsTheLastEventThatIsDue) {
  const Instant start = Instant::from_nanos(5);
  ScenarioPlayer player(read("[[at]]\ntime=\"1s\"\nnet=\"loss=1%\"\n[[at]]\ntime=\"2s\"\n"
                             "net=\"loss=2%\"\n[[at]]\ntime=\"3s\"\nlink=\"down\""),
                        start);
  EXPECT_EQ(player.next(), start + Duration::seconds(1));
  EXPECT_EQ(player.due(start), nullptr);
  const NetEvent* event = player.due(start + Duration::millis(2500));
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(to_string(event->spec), "loss=2%");
  EXPECT_EQ(player.due(start + Duration::millis(2500)), nullptr);
  ASSERT_NE(player.due(start + Duration::seconds(9)), nullptr);
  EXPECT_TRUE(player.next().is_never());
}

}  // namespace
}  // namespace tidewire::device
