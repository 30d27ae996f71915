// Habits that no RFC asks for but that peers and programs know from Linux.
#include <cstdio>
#include <string>
#include <vector>

#include "core/tcp/fast_open.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

std::string hex_of(Bytes bytes) {
  std::string out;
  char two[3];
  for (const std::byte b : bytes) {
    std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
    out += two;
  }
  return out;
}

// So that servers of both kinds can stand behind one address with one key. The figures are
// SipHash-2-4 over the addresses, the client's first, computed apart from this code.
TEST(TcpAsLinux, FastOpenCookiesAreMadeInTheSameWay) {
  const RandomSeed key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  const auto cookie = [&](std::string_view local, std::string_view remote) {
    const Tuple tuple = Tuple::of(addr(local), 80, addr(remote), 1234);
    return hex_of(make_fast_open_cookie(key, tuple).bytes());
  };
  EXPECT_EQ(cookie("203.0.113.1", "198.51.100.7"), "49136188acdc9c96");
  EXPECT_EQ(cookie("2001:db8::1", "2001:db8::7"), "a59d162f72f36c5d");
}

TEST(TcpAsLinux, TheStacksFastOpenKeysAreForListenersWithoutTheirOwn) {
  Host host;
  const SocketId listener = host.listen(80);
  std::vector<std::byte> keys(32);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::byte>(i);
  ASSERT_TRUE(host.engine.set_fast_open_keys(keys));
  std::vector<std::byte> back(32);
  EXPECT_EQ(host.engine.fast_open_keys(listener, back).value(), 32U);
  EXPECT_EQ(back, keys);
  EXPECT_EQ(host.engine.set_fast_open_keys(Bytes{keys}.first(20)).error(), SocketError::invalid);
  ASSERT_TRUE(host.engine.set_fast_open_keys(listener, Bytes{keys}.first(16)));
  EXPECT_EQ(host.engine.fast_open_keys(listener, back).value(), 16U);
}

TEST(TcpAsLinux, ServersCanBeForgotten) {
  Host host;
  FastOpen cache{host.context};
  const Tuple tuple = Tuple::of(IpAddress::v4(1), 1, IpAddress::v4(2), 2);
  FastOpen::Outcome outcome;
  outcome.cookie = make_fast_open_cookie({1, 2}, tuple);
  cache.learn(tuple, outcome);
  EXPECT_EQ(cache.find(tuple).cookie.size, 8);
  cache.forget();
  EXPECT_EQ(cache.find(tuple).cookie.size, 0);
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace tidewire::tcp
