#include "wire/address.hpp"

#include <gtest/gtest.h>

namespace tidewire {
namespace {

TEST(Address, Ipv4TextRoundTrip) {
  EXPECT_EQ(parse_ip("10.0.2.15"), IpAddress::v4(10, 0, 2, 15));
  EXPECT_EQ(to_string(IpAddress::v4(255, 0, 1, 254)), "255.0.1.254");
  for (const char* bad :
       {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.", "1..2.3", " 1.2.3.4",
        "1.2.3.4 ", "1.2.3.-4", "1.2.3.99999999999999999999"}) {
    EXPECT_FALSE(parse_ip(bad)) << bad;
  }
}

TEST(Address, Ipv6TextFollowsRfc5952) {
  struct Case {
    const char* in;
    const char* out;
  };
  for (const Case& c :
       {Case{"::", "::"}, Case{"::1", "::1"}, Case{"1::", "1::"},
        Case{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        Case{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        Case{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"}, Case{"1:0:0:2:0:0:3:4", "1::2:0:0:3:4"},
        Case{"::ffff:10.0.2.2", "::ffff:10.0.2.2"}, Case{"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
        Case{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"}, Case{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"}}) {
    const auto parsed = parse_ip(c.in);
    ASSERT_TRUE(parsed) << c.in;
    EXPECT_EQ(to_string(*parsed), c.out);
    EXPECT_EQ(parse_ip(c.out), parsed);
  }
  for (const char* bad : {":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
                          "12345::", "::g", "1:2:3:4:5:6:7:8::", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4",
                          "::1%1", ":1::", "1:", "1:2:3:4:5:6:7:8:"}) {
    EXPECT_FALSE(parse_ip(bad)) << bad;
  }
}

TEST(Address, MacText) {
  const MacAddress mac{{0x02, 0, 0xab, 0xcd, 0xef, 0x01}};
  EXPECT_EQ(to_string(mac), "02:00:ab:cd:ef:01");
  EXPECT_EQ(parse_mac("02:00:AB:cd:ef:01"), mac);
  EXPECT_EQ(parse_mac("02-00-ab-cd-ef-01"), mac);
  EXPECT_FALSE(parse_mac("02:00:ab:cd:ef"));
  EXPECT_FALSE(parse_mac("02:00:ab:cd:ef:0g"));
  EXPECT_FALSE(parse_mac("02.00.ab.cd.ef.01"));
}

TEST(Address, PrefixesContainAndBroadcast) {
  const auto lan = parse_cidr("10.0.2.15/24");
  ASSERT_TRUE(lan);
  EXPECT_TRUE(lan->contains(IpAddress::v4(10, 0, 2, 255)));
  EXPECT_FALSE(lan->contains(IpAddress::v4(10, 0, 3, 0)));
  EXPECT_FALSE(lan->contains(IpAddress::loopback(Family::v6)));
  EXPECT_EQ(lan->network(), IpAddress::v4(10, 0, 2, 0));
  EXPECT_EQ(lan->directed_broadcast(), IpAddress::v4(10, 0, 2, 255));
  EXPECT_EQ(parse_cidr("10.0.0.9/0")->directed_broadcast(), IpAddress::v4_broadcast());
  EXPECT_FALSE(parse_cidr("10.0.0.0/31")->directed_broadcast());
  EXPECT_TRUE(parse_cidr("0.0.0.0/0")->contains(IpAddress::v4(1, 2, 3, 4)));
  const auto odd = parse_cidr("2001:db8:ffff::/43");
  ASSERT_TRUE(odd);
  EXPECT_EQ(to_string(odd->network()), "2001:db8:ffe0::");
  EXPECT_TRUE(odd->contains(*parse_ip("2001:db8:ffe1::1")));
  EXPECT_FALSE(odd->contains(*parse_ip("2001:db8:ffc1::1")));
  EXPECT_EQ(to_string(*odd), "2001:db8:ffff::/43");
  for (const char* bad : {"10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "/8"}) {
    EXPECT_FALSE(parse_cidr(bad)) << bad;
  }
}

TEST(Address, Endpoints) {
  EXPECT_EQ(parse_endpoint("10.0.2.15:80"), (Endpoint{IpAddress::v4(10, 0, 2, 15), 80, 0}));
  EXPECT_EQ(parse_endpoint("[::1]:65535"), (Endpoint{IpAddress::loopback(Family::v6), 65535, 0}));
  const auto scoped = parse_endpoint("[fe80::1%7]:22");
  ASSERT_TRUE(scoped);
  EXPECT_EQ(scoped->scope_id, 7U);
  EXPECT_EQ(to_string(*scoped), "[fe80::1%7]:22");
  EXPECT_EQ(to_string(Endpoint{IpAddress::v4(1, 2, 3, 4), 5, 0}), "1.2.3.4:5");
  for (const char* bad : {"10.0.2.15", "10.0.2.15:", "10.0.2.15:65536", "::1:80", "[::1]80",
                          "[::1]", "[10.0.0.1]:80", "[::1:80", "[fe80::1%x]:1", ":80"}) {
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
  }
}

}  // namespace
}  // namespace tidewire
