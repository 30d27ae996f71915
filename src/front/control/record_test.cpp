#include "front/control/record.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace tidewire::control {
namespace {

TEST(Record, TextAndBack) {
  Record record("net");
  record.add("action", "set").add("words", "loss=5% delay=1ms").add("n", std::uint64_t{42});
  record.add("publish", "1:2").add("publish", "").add("odd", std::string_view("a\n\0\x7f\tö", 7));
  const std::string line = to_line(record);
  EXPECT_EQ(line.substr(0, 44), "net action=set words=loss%3d5%25%20delay%3d1");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto back = parse_record(line.substr(0, line.size() - 1));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->kind(), "net");
  EXPECT_EQ(back->values(), record.values());
  EXPECT_EQ(back->number("n"), 42U);
  EXPECT_EQ(back->all("publish"), (std::vector<std::string>{"1:2", ""}));
  EXPECT_TRUE(back->has("odd"));
  EXPECT_FALSE(back->has("od"));
  EXPECT_EQ(back->get("nothing"), "");
}

TEST(Record, RefusesWhatItWouldNotWrite) {
  for (const char* line :
       {"", " ", "Net", "a b", "a =b", "a b=%4", "a b=%4x", "a b=%", "a b=c d", "a  b=c", "a b=c ",
        "a b=c=d", "a\tb=c", "a b=\x01", "a b=\x7f", "GET / HTTP/1.1\r", "\xff\xfe"}) {
    EXPECT_FALSE(parse_record(line).has_value()) << line;
  }
  std::string many = "a";
  for (int i = 0; i < 64; ++i) many += " b=c";
  EXPECT_TRUE(parse_record(many).has_value());
  EXPECT_FALSE(parse_record(many + " b=c").has_value());
}

TEST(Record, NumbersAreWholeAndFit) {
  for (const char* text : {"", "-1", "1x", "0x10", "18446744073709551616", "1.5"}) {
    EXPECT_FALSE(Record("a").add("n", text).number("n").has_value()) << text;
  }
  EXPECT_EQ(Record("a").add("n", "18446744073709551615").number("n"), ~std::uint64_t{0});
}

TEST(Record, AnyBytesAreParsedOrRefused) {
  Rng rng{{5, 6}};
  for (int i = 0; i < 20'000; ++i) {
    std::string line;
    for (std::uint64_t n = rng.below(40); n > 0; --n) {
      line += "a9_= %2fZ\n\x80"[rng.below(11)];
    }
    if (const auto record = parse_record(line)) {
      const std::string again = to_line(*record);
      EXPECT_EQ(parse_record(again.substr(0, again.size() - 1))->values(), record->values());
    }
  }
}

}  // namespace
}  // namespace tidewire::control
