#include "device/rate_trace.hpp"

#include <gtest/gtest.h>

namespace tidewire::device {
namespace {

RateTrace read(std::string_view text) {
  auto trace = RateTrace::parse(text, "t");
  EXPECT_TRUE(trace) << (trace ? "" : trace.error());
  return trace ? *trace : RateTrace{};
}

TEST(RateTrace, RepeatsAfterItsLastEntry) {
  const RateTrace trace = read("2\n5\n5\n10\n");
  EXPECT_EQ(trace.opportunity(0), Duration::millis(2));
  EXPECT_EQ(trace.opportunity(2), Duration::millis(5));
  EXPECT_EQ(trace.opportunity(3), Duration::millis(10));
  EXPECT_EQ(trace.opportunity(4), Duration::millis(12));
  EXPECT_EQ(trace.opportunity(4 * 1000 + 1), Duration::millis(10'005));
  EXPECT_EQ(trace.average_bps(), 4U * 1500 * 8 * 100);
}

TEST(RateTrace, FindsTheFirstOpportunityFromATime) {
  const RateTrace trace = read("2\r\n5\r\n5\r\n10");
  for (std::int64_t micros = 0; micros < 60'000; micros += 250) {
    const Duration at = Duration::micros(micros);
    const std::uint64_t n = trace.first_from(at);
    EXPECT_GE(trace.opportunity(n), at) << micros;
    if (n > 0) {
      EXPECT_LT(trace.opportunity(n - 1), at) << micros;
    }
  }
}

TEST(RateTrace, RefusesWhatIsNoRecordingWithTheLine) {
  const auto error = [](std::string_view text) {
    const auto trace = RateTrace::parse(text, "f.trace");
    return trace ? std::string("taken") : trace.error();
  };
  EXPECT_EQ(error("1\nx\n"),
            "f.trace:2: a line is a whole number of milliseconds, at which 1500 bytes may leave");
  EXPECT_EQ(error("1\n\n2\n"),
            "f.trace:2: a line is a whole number of milliseconds, at which 1500 bytes may leave");
  EXPECT_EQ(error("5\n4\n"), "f.trace:2: the times have to ascend; the line before has 5");
  EXPECT_EQ(error(""),
            "f.trace:0: the last time is the length of the recording and has to be above zero");
  EXPECT_EQ(error("0\n0\n"),
            "f.trace:2: the last time is the length of the recording and has to be above zero");
  EXPECT_NE(error("99999999999\n").find("f.trace:1: a line"), std::string::npos);
}

TEST(RateTrace, EqualIfTheRecordingsAre) {
  const SharedTrace a(read("1\n2\n")), b(read("1\n2\n")), c(read("1\n3\n"));
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  EXPECT_NE(a, SharedTrace{});
  EXPECT_EQ(SharedTrace{}, SharedTrace{});
}

}  // namespace
}  // namespace tidewire::device
