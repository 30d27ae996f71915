// The parts of the gateway that are pure functions: destinations, --publish, names, idle lists.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "front/gateway/address_map.hpp"
#include "front/gateway/host_name.hpp"
#include "front/gateway/idle_list.hpp"
#include "front/gateway/publish.hpp"

namespace tidewire::gateway {
namespace {

Endpoint at(const char* text) { return parse_endpoint(text).value(); }

TEST(MapDestination, GatewayStandsForTheHostsLoopback) {
  const GatewayConfig config;
  EXPECT_EQ(map_destination(config, Protocol::tcp, at("10.0.2.2:8080")), at("127.0.0.1:8080"));
  EXPECT_EQ(map_destination(config, Protocol::tcp, at("192.0.2.7:80")), at("192.0.2.7:80"));
  EXPECT_EQ(map_destination(config, Protocol::udp, at("127.0.0.53:53")), at("127.0.0.53:53"));
}

TEST(MapDestination, NobodyElseIsOnTheVirtualNetwork) {
  GatewayConfig config;
  config.network = {config.address, 24};
  EXPECT_EQ(map_destination(config, Protocol::tcp, at("10.0.2.77:80")).error(),
            ForwardReject::host_unreachable);
  EXPECT_TRUE(map_destination(config, Protocol::tcp, at("10.0.3.77:80")));
}

TEST(MapDestination, NoHostForbidsEveryWayToTheHost) {
  GatewayConfig config;
  config.allow_host = false;
  config.host_addresses = {IpAddress::v4(192, 0, 2, 1)};
  for (const char* to : {"10.0.2.2:80", "127.0.0.1:80", "0.0.0.0:80", "192.0.2.1:80"}) {
    EXPECT_EQ(map_destination(config, Protocol::tcp, at(to)).error(), ForwardReject::reset) << to;
    EXPECT_EQ(map_destination(config, Protocol::udp, at(to)).error(), ForwardReject::prohibited);
  }
  EXPECT_TRUE(map_destination(config, Protocol::tcp, at("192.0.2.2:80")));
}

TEST(MapDestination, NoHostForbidsAResolverThatRunsThere) {
  GatewayConfig config;
  config.allow_host = false;
  config.host_addresses = {IpAddress::v4(192, 0, 2, 1)};
  for (const char* resolver : {"127.0.0.53:53", "192.0.2.1:53"}) {
    config.host_resolver = at(resolver);
    EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.3:53")).error(),
              ForwardReject::port_unreachable);
    EXPECT_FALSE(map_destination(config, Protocol::tcp, at("10.0.2.2:53")));
  }
  config.host_resolver = at("192.0.2.53:53");
  EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.3:53")), at("192.0.2.53:53"));
}

TEST(MapDestination, QueriesGoToTheHostsResolver) {
  GatewayConfig config;
  EXPECT_FALSE(map_destination(config, Protocol::udp, at("10.0.2.3:53")));
  config.host_resolver = at("192.0.2.53:53");
  EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.3:53")), at("192.0.2.53:53"));
  EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.2:53")), at("127.0.0.1:53"));
  EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.3:54")).error(),
            ForwardReject::port_unreachable);
  config.host_resolver = at("127.0.0.53:53");
  EXPECT_EQ(map_destination(config, Protocol::udp, at("10.0.2.2:53")), at("127.0.0.53:53"));
}

TEST(MapDestination, ErrnoBecomesWhatAPeerWouldHaveSeen) {
  EXPECT_EQ(reject_for(ECONNREFUSED), ForwardReject::reset);
  EXPECT_EQ(reject_for(EHOSTUNREACH), ForwardReject::host_unreachable);
  EXPECT_EQ(reject_for(ETIMEDOUT), ForwardReject::host_unreachable);
  EXPECT_EQ(reject_for(ENETUNREACH), ForwardReject::network_unreachable);
  EXPECT_EQ(reject_for(EACCES), ForwardReject::prohibited);
}

TEST(ResolvConf, TakesTheFirstIpv4Server) {
  EXPECT_EQ(parse_resolv_conf("# x\nsearch a b\nnameserver fe80::1\n nameserver\t192.0.2.1 # c\n"
                              "nameserver 192.0.2.2"),
            at("192.0.2.1:53"));
  EXPECT_EQ(parse_resolv_conf("nameserver 2001:db8::1\n"), at("[2001:db8::1]:53"));
  EXPECT_EQ(parse_resolv_conf("nameservers 192.0.2.1\nnameserver\nnameserver what"), std::nullopt);
  EXPECT_EQ(parse_resolv_conf(""), std::nullopt);
}

TEST(Publish, AcceptsTheDocumentedForms) {
  auto spec = parse_publish("8080:80");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->host, at("127.0.0.1:8080"));
  EXPECT_EQ(spec->target, at("0.0.0.0:80"));
  EXPECT_EQ(spec->protocol, Protocol::tcp);
  spec = parse_publish("0.0.0.0:5353:53/udp");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->host, at("0.0.0.0:5353"));
  EXPECT_EQ(spec->protocol, Protocol::udp);
  spec = parse_publish("8080:10.0.2.16:80");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->target, at("10.0.2.16:80"));
  spec = parse_publish("[::1]:8080:10.0.2.16:80");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->host, at("[::1]:8080"));
  EXPECT_EQ(to_string(*spec), "[::1]:8080:10.0.2.16:80");
  EXPECT_EQ(parse_publish(to_string(*spec)), *spec);
}

TEST(Publish, NamesTheRightFormInEveryError) {
  for (const char* text : {"", "80", "80:", ":80", "a:80", "80:a", "70000:80", "80:0", "1:2:3:4:5",
                           "80:80/sctp", "999.1.1.1:80:80", "80:80/", "[::1:80:80", "1:2:3"}) {
    const auto spec = parse_publish(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_NE(spec.error().find("[ADDR:]HOSTPORT:PORT[/udp]"), std::string::npos) << text;
    EXPECT_EQ(spec.error().find('\n'), std::string::npos);
  }
}

std::vector<std::byte> query_for(std::initializer_list<std::string> labels, std::uint16_t type) {
  std::vector<std::byte> query(300);
  Writer writer(query);
  writer.u16(0x1234);
  writer.u16(0x0100);
  writer.u16(1);
  writer.u16(0);
  writer.u32(0);
  for (const std::string& label : labels) {
    writer.u8(static_cast<std::uint8_t>(label.size()));
    writer.bytes(as_bytes(label.data(), label.size()));
  }
  writer.u8(0);
  writer.u16(type);
  writer.u16(1);
  query.resize(writer.written());
  return query;
}

std::size_t ask(Bytes query, MutBytes out) {
  return answer_for_host_name(query, "host.tidewire", IpAddress::v4(10, 0, 2, 2), out);
}

TEST(HostName, AnswersItsOwnNameOnly) {
  std::array<std::byte, 512> out;
  const auto query = query_for({"Host", "TIDEWIRE"}, 1);
  const std::size_t size = ask(query, out);
  ASSERT_EQ(size, query.size() + 16);
  Reader reader(Bytes(out).first(size));
  EXPECT_EQ(reader.u16(), 0x1234);
  EXPECT_EQ(reader.u16(), 0x8580);
  EXPECT_EQ(reader.u16(), 1);
  EXPECT_EQ(reader.u16(), 1);
  reader.skip(size - 8 - 4);
  EXPECT_EQ(reader.u32(), 0x0a000202U);
  EXPECT_EQ(ask(query_for({"host", "tidewire"}, 28), out), query.size()) << "AAAA: no data";
  EXPECT_EQ(ask(query_for({"host", "tidewir"}, 1), out), 0U);
  EXPECT_EQ(ask(query_for({"host", "tidewire", "org"}, 1), out), 0U);
  EXPECT_EQ(ask(query_for({"hosttidewire"}, 1), out), 0U);
  EXPECT_EQ(ask(query_for({}, 1), out), 0U);
}

TEST(HostName, SurvivesEveryTruncationAndBitFlip) {
  std::array<std::byte, 512> out;
  const auto query = query_for({"host", "tidewire"}, 1);
  for (std::size_t n = 0; n < query.size(); ++n) EXPECT_EQ(ask(Bytes(query).first(n), out), 0U);
  for (std::size_t bit = 0; bit < query.size() * 8; ++bit) {
    auto changed = query;
    changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_LE(ask(changed, out), query.size() + 16);
  }
  std::array<std::byte, 20> small;
  EXPECT_EQ(ask(query, small), 0U);
}

struct Thing {
  IdleLink link;
};

TEST(IdleList, TheOldestUseExpiresFirst) {
  IdleList<Thing> list(Duration::seconds(10));
  const auto t = [](int s) { return Instant::from_nanos(s * 1'000'000'000LL); };
  EXPECT_TRUE(list.next_deadline().is_never());
  Thing a, b;
  {
    Thing gone;
    list.touch(gone.link, gone, t(0));
    list.touch(a.link, a, t(1));
    list.touch(b.link, b, t(2));
  }
  EXPECT_EQ(list.next_deadline(), t(11));
  list.touch(a.link, a, t(5));
  EXPECT_EQ(list.expired(t(11)), nullptr);
  EXPECT_EQ(list.expired(t(12)), &b);
  b.link.unlink();
  EXPECT_EQ(list.expired(t(12)), nullptr);
  EXPECT_EQ(list.expired(t(15)), &a);
}

}  // namespace
}  // namespace tidewire::gateway
