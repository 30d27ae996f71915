// Output: routes, source addresses, fragmentation, identification, path MTU.
#include <gtest/gtest.h>

#include <set>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

// req: RFC1122-3.3.1.1-1, RFC1122-3.3.1.1-2, RFC1122-3.2.1.3-1, RFC1122-3.3.1.6-1
// req: RFC1122-3.2.2.9-1
TEST(Routes, TheMaskSaysWhatIsOnLink) {
  Host host;
  const InterfaceId eth = host.ethernet("10.0.1.1/23", 1);
  const SocketId socket = host.udp("0.0.0.0:5000");
  ASSERT_TRUE(host.send_to(socket, "x", "10.0.0.9:7"));
  auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(arp_of(out[0]).target_ip(), ip("10.0.0.9"));
  EXPECT_EQ(host.send_to(socket, "x", "10.0.2.9:7").error(), SocketError::network_unreachable);
  host.gateway(eth, "10.0.0.254");
  ASSERT_TRUE(host.send_to(socket, "x", "10.0.2.9:7"));
  out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(arp_of(out[0]).target_ip(), ip("10.0.0.254"));
}

TEST(Routes, TheLongestPrefixWinsThenTheMetric) {
  Host host;
  const InterfaceId a = host.tun("10.1.0.1/24");
  const InterfaceId b = host.tun("10.2.0.1/24");
  host.gateway(a, "10.1.0.254");
  ASSERT_TRUE(host.stack.add_route({cidr("192.168.0.0/16"), std::nullopt, b, 10}));
  ASSERT_TRUE(host.stack.add_route({cidr("192.168.7.0/24"), std::nullopt, a, 0}));
  ASSERT_TRUE(host.stack.add_route({cidr("192.168.9.0/24"), std::nullopt, a, 5}));
  ASSERT_TRUE(host.stack.add_route({cidr("192.168.9.0/24"), std::nullopt, b, 1}));
  EXPECT_EQ(host.stack.add_route({cidr("192.168.9.7/24"), std::nullopt, b, 1}).error(),
            SocketError::address_in_use);
  const SocketId socket = host.udp("0.0.0.0:5000");
  for (const char* to : {"192.168.1.1:1", "192.168.7.1:1", "192.168.9.1:1", "8.8.8.8:1"}) {
    ASSERT_TRUE(host.send_to(socket, "x", to));
  }
  (void)host.poll();
  EXPECT_EQ(host.out.interfaces, (std::vector<InterfaceId>{b, a, b, a}));
  ASSERT_TRUE(host.stack.remove_route(cidr("192.168.9.0/24")));
  EXPECT_FALSE(host.stack.remove_route(cidr("192.168.9.0/24")));
}

// req: RFC1122-3.2.1.3-2, RFC1122-3.2.1.3-5, RFC1122-3.2.1.3-6, RFC1122-4.1.3.6-2
// req: RFC1122-3.3.4.2-1, RFC1122-3.3.4.2-2, RFC1122-4.1.3.5-2, RFC1122-3.1-2
TEST(Source, IsAnAddressOfTheOutgoingInterfaceOrTheOneThatWasChosen) {
  Host host;
  (void)host.tun("10.1.0.1/24");
  const InterfaceId b = host.tun("10.2.0.1/24");
  ASSERT_TRUE(host.stack.add_address(b, cidr("10.3.0.1/24"), host.now));
  EXPECT_EQ(host.stack.source_for(ip("10.1.0.9")), ip("10.1.0.1"));
  EXPECT_EQ(host.stack.source_for(ip("10.2.0.9")), ip("10.2.0.1"));
  EXPECT_EQ(host.stack.source_for(ip("10.3.0.9")), ip("10.3.0.1"));
  EXPECT_EQ(host.stack.source_for(ip("99.0.0.1")).error(), SocketError::network_unreachable);
  const SocketId socket = host.udp("0.0.0.0:5000");
  DatagramTarget target;
  target.destination = at("10.2.0.9:7");
  target.source = ip("10.3.0.1");
  ASSERT_TRUE(host.send(socket, "x", target));
  EXPECT_EQ(ip_of(host.sent().at(0)).source(), ip("10.3.0.1"));
  for (const char* bad : {"10.1.0.9", "10.1.0.255", "255.255.255.255", "224.0.0.1", "8.8.8.8"}) {
    target.source = ip(bad);
    EXPECT_EQ(host.send(socket, "x", target).error(), SocketError::address_not_available) << bad;
  }
  const SocketId bound = host.udp("10.1.0.1:77");
  ASSERT_TRUE(host.send_to(bound, "x", "10.2.0.9:7"));
  EXPECT_EQ(ip_of(host.sent().at(0)).source(), ip("10.1.0.1"));
  EXPECT_EQ(
      host.stack
          .bind(host.stack.open(SocketKind::udp, Family::v4).value(), at("10.9.9.9:1"), host.now)
          .error(),
      SocketError::address_not_available);
}

// req: RFC1122-3.2.1.3-7
TEST(Source, LoopbackAddressesStayInside) {
  Host host;
  const InterfaceId lo = host.loopback();
  const InterfaceId eth = host.tun("10.0.0.1/24");
  host.gateway(eth, "10.0.0.254");
  const SocketId socket = host.udp("127.0.0.1:5000");
  ASSERT_TRUE(host.send_to(socket, "x", "127.3.4.5:7"));
  ASSERT_TRUE(host.send_to(socket, "x", "10.0.0.1:7"));
  (void)host.poll();
  EXPECT_EQ(host.out.interfaces, (std::vector<InterfaceId>{lo, lo}));
  host.out.clear();
  EXPECT_EQ(host.send_to(socket, "x", "10.0.0.2:7").error(), SocketError::invalid);
  EXPECT_TRUE(host.sent().empty());
}

class Paths : public ::testing::Test {
 protected:
  std::vector<Frame> send(std::size_t size, std::int64_t discover = 1) {
    EXPECT_TRUE(host.stack.set_option(socket, SocketOption::mtu_discover, discover, host.now));
    const auto result = host.send_to(socket, std::string(size, 'x'), "10.9.0.2:7");
    last_error = result ? SocketError::none : result.error();
    return host.sent();
  }
  /// A router says that `about`, which this host sent, was too big.
  void too_big(const Frame& about, std::uint16_t mtu) {
    const Bytes quote = Bytes{about}.first(28);
    host.receive(tun, ipv4(header("10.0.0.254", "10.0.0.1", wire::protocol::icmp),
                           icmp4(wire::Icmpv4Repr::unreachable(4, quote, mtu))));
  }
  std::uint32_t path_mtu() {
    const SocketId probe = host.stack.open(SocketKind::udp, Family::v4).value();
    EXPECT_TRUE(host.stack.connect(probe, at("10.9.0.2:7"), host.now));
    const auto mtu = host.stack.get_option(probe, SocketOption::mtu).value();
    host.stack.close(probe, host.now);
    return static_cast<std::uint32_t>(mtu);
  }
  Host host;
  InterfaceId tun = [this] {
    const InterfaceId id = host.tun("10.0.0.1/24");
    host.gateway(id, "10.0.0.254");
    return id;
  }();
  SocketId socket = host.udp("0.0.0.0:5000");
  SocketError last_error = SocketError::none;
};

// req: RFC791-2.3-2, RFC791-2.3-1, RFC1122-3.3.3-2, RFC1122-3.3.3-1
TEST_F(Paths, LargeDatagramsLeaveAsFragments) {
  EXPECT_EQ(path_mtu(), 1500U);
  auto out = send(1472);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(ip_of(out[0]).is_fragment());
  EXPECT_TRUE(ip_of(out[0]).dont_fragment());
  std::set<std::uint16_t> ids;
  for (const std::size_t size : {1473U, 3000U, 65'507U}) {
    out = send(size);
    ASSERT_GE(out.size(), 2U);
    std::size_t total = 0;
    Frame whole;
    for (const Frame& frame : out) {
      const auto view = ip_of(frame);
      EXPECT_EQ(view.fragment_offset(), total);
      EXPECT_EQ(view.more_fragments(), &frame != &out.back());
      EXPECT_FALSE(view.dont_fragment());
      EXPECT_EQ(view.id(), ip_of(out[0]).id());
      total += view.payload_len();
      whole.insert(whole.end(), view.payload().begin(), view.payload().end());
    }
    EXPECT_EQ(total, size + 8);
    const auto udp = wire::UdpView::parse(whole).value();
    EXPECT_TRUE(udp.verify(ip("10.0.0.1"), ip("10.9.0.2")));
    EXPECT_TRUE(ids.insert(ip_of(out[0]).id()).second);
  }
}

// Back-pressure in the middle of a fragmented datagram loses nothing.
TEST_F(Paths, FragmentsWaitForRoom) {
  host.out.room = 3;
  const std::string big(10'000, 'y');
  ASSERT_TRUE(host.send_to(socket, big, "10.9.0.2:7"));
  EXPECT_EQ(host.poll(), Transmit::blocked);
  EXPECT_EQ(host.out.frames.size(), 3U);
  host.out.room = SIZE_MAX;
  EXPECT_EQ(host.poll(), Transmit::blocked);
  host.stack.on_writable(tun, host.now);
  EXPECT_EQ(host.poll(), Transmit::idle);
  ASSERT_EQ(host.out.frames.size(), 7U);
  std::size_t total = 0;
  for (const Frame& frame : host.out.frames) {
    EXPECT_EQ(ip_of(frame).fragment_offset(), total);
    total += ip_of(frame).payload_len();
  }
  EXPECT_EQ(total, 10'008U);
}

// req: RFC1191-3-1, RFC1191-3-2, RFC1191-6.2-1
TEST_F(Paths, ATooBigMessageLowersTheEstimate) {
  const auto out = send(1472);
  too_big(out.at(0), 1400);
  EXPECT_EQ(path_mtu(), 1400U);
  EXPECT_EQ(send(1373).size(), 2U);
  ASSERT_EQ(send(1372).size(), 1U);
  // An application that fragments by itself hears of it.
  EXPECT_TRUE(send(1373, 2).empty());
  EXPECT_EQ(last_error, SocketError::message_too_long);
  EXPECT_EQ(send(1372, 2).size(), 1U);
  // Without discovery nothing carries DF.
  EXPECT_FALSE(ip_of(send(100, 0).at(0)).dont_fragment());
}

// req: RFC1191-3-3, RFC1191-3-4, RFC1191-5-1
// Robustness case 19.
TEST_F(Paths, NoMessageRaisesTheEstimateOrLowersItTooFar) {
  const auto out = send(1472);
  too_big(out.at(0), 1400);
  too_big(out.at(0), 1450);
  EXPECT_EQ(path_mtu(), 1400U);
  too_big(out.at(0), 9000);  // more than the packet: read as "I do not say"
  EXPECT_LE(path_mtu(), 1400U);
  for (const std::uint16_t tiny : std::array<std::uint16_t, 4>{1, 67, 68, 100}) {
    too_big(out.at(0), tiny);
    EXPECT_GE(path_mtu(), 68U);
    EXPECT_EQ(path_mtu() < 552, false);
  }
}

// A link narrower than what is believed of ICMP: routers may fragment, so nothing is lost.
TEST_F(Paths, BelowTheFloorDontFragmentIsGivenUp) {
  too_big(send(1472).at(0), 300);
  EXPECT_EQ(path_mtu(), 552U);
  const auto out = send(500);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(ip_of(out[0]).dont_fragment());
  EXPECT_NE(ip_of(send(500).at(0)).id(), ip_of(out[0]).id());
}

TEST_F(Paths, AnOldRouterGivesTheNextPlateau) {
  const auto out = send(1472);
  too_big(out.at(0), 0);
  EXPECT_EQ(path_mtu(), 1492U);
}

// A packet so short cannot have been too big: the quoted length says nothing, the MTU may.
TEST_F(Paths, AShortQuoteDoesNotBoundTheEstimate) {
  too_big(send(10).at(0), 800);
  EXPECT_EQ(path_mtu(), 800U);
}

// req: RFC1191-3-5, RFC1191-6.3-1
TEST_F(Paths, EstimatesAgeAfterTenMinutes) {
  const auto out = send(1472);
  too_big(out.at(0), 1400);
  host.advance(Duration::seconds(599));
  EXPECT_EQ(path_mtu(), 1400U);
  host.advance(Duration::seconds(2));
  EXPECT_EQ(path_mtu(), 1500U);
}

// Robustness case 19: ten thousand destinations.
TEST_F(Paths, TheTableIsBounded) {
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const IpAddress to = IpAddress::v4(0x0b00'0000U + i);
    DatagramTarget target;
    target.destination = Endpoint{to, 7, 0};
    ASSERT_TRUE(host.send(socket, "x", target));
    too_big(host.sent().at(0), 600);
  }
  EXPECT_LT(host.memory.in_use(), 8U << 20);
}

TEST_F(Paths, AMessageAboutSomethingNeverSentIsIgnored) {
  const Frame foreign = udp4("10.0.0.1:4999", "10.9.0.2:7", "x");  // no socket there
  too_big(foreign, 600);
  too_big(udp4("10.0.0.77:5000", "10.9.0.2:7", "x"), 600);
  EXPECT_EQ(path_mtu(), 1500U);
  EXPECT_EQ(host.dropped(DropReason::icmp_quote_mismatch), 2U);
}

// req: RFC1122-3.2.1.6-1, RFC1122-3.2.1.7-1, RFC1122-3.2.1.7-3, RFC1122-3.2.1.7-4, RFC1122-3.4-1
// req: RFC1122-4.1.4-1, RFC1122-2.4-2
TEST_F(Paths, TheApplicationSetsTosAndTtl) {
  EXPECT_EQ(ip_of(send(1).at(0)).ttl(), 64);
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::ttl, 3, host.now));
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::tos, 0x28, host.now));
  EXPECT_FALSE(host.stack.set_option(socket, SocketOption::ttl, 0, host.now));
  EXPECT_FALSE(host.stack.set_option(socket, SocketOption::ttl, 256, host.now));
  auto out = send(1);
  EXPECT_EQ(ip_of(out.at(0)).ttl(), 3);
  EXPECT_EQ(ip_of(out.at(0)).tos(), 0x28);
  DatagramTarget target;
  target.destination = at("10.9.0.2:7");
  target.ttl = 9;
  target.tos = 0x10;
  ASSERT_TRUE(host.send(socket, "x", target));
  out = host.sent();
  EXPECT_EQ(ip_of(out.at(0)).ttl(), 9);
  EXPECT_EQ(ip_of(out.at(0)).tos(), 0x10);
}

// req: RFC1122-3.2.1.8-1, RFC1122-4.1.3.2-2, RFC1122-4.1.3.2-3, RFC1122-3.2.1.8c-4
TEST_F(Paths, TheApplicationSendsOptions) {
  DatagramTarget target;
  target.destination = at("10.9.0.2:7");
  const std::string alert("\x94\x04\x00\x00", 4);
  target.ip_options = bytes_of(alert);
  ASSERT_TRUE(host.send(socket, "text", target));
  auto out = host.sent();
  EXPECT_EQ(text_of(ip_of(out.at(0)).options()), alert);
  EXPECT_EQ(udp_text(out[0]), "text");
  EXPECT_TRUE(ip_of(out[0]).checksum_ok());
  const std::string two("\x83\x07\x04\x0a\x00\x00\x07\x89\x07\x04\x0a\x00\x00\x08", 14);
  target.ip_options = bytes_of(two);
  EXPECT_EQ(host.send(socket, "x", target).error(), SocketError::invalid);
}

// req: RFC1122-3.2.1.8c-1
TEST_F(Paths, TheApplicationSendsASourceRoute) {
  DatagramTarget target;
  target.destination = at("10.9.0.2:7");
  const std::string route("\x83\x0b\x04\x0a\x00\x00\x07\x0a\x00\x00\x08\x00", 12);
  target.ip_options = bytes_of(route);
  ASSERT_TRUE(host.send(socket, "text", target));
  const auto out = host.sent();
  const auto view = ip_of(out.at(0));
  EXPECT_EQ(view.destination(), ip("10.0.0.7"));
  EXPECT_EQ(text_of(view.options()),
            (std::string{"\x83\x0b\x04\x0a\x00\x00\x08\x0a\x09\x00\x02\x00", 12}));
  // The checksum is over the final destination.
  EXPECT_TRUE(wire::UdpView::parse(view.payload())->verify(ip("10.0.0.1"), ip("10.9.0.2")));
}

// req: RFC1191-2-1, RFC1191-3.1-1
TEST_F(Paths, TcpDiscoversThePathAndOffersTheInterface) {
  too_big(send(1472).at(0), 600);
  ASSERT_EQ(path_mtu(), 600U);
  const SocketId tcp = host.stack.open(SocketKind::tcp, Family::v4).value();
  (void)host.stack.connect(tcp, at("10.9.0.2:7"), host.now);
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(ip_of(out[0]).dont_fragment());
  // The MSS option stands first in our SYN.
  EXPECT_EQ(wire::load_u32(ip_of(out[0]).payload().data() + 20), 0x0204'0000U + 1460);
}

// req: RFC1122-3.3.1.2-1, RFC1122-3.3.1.2-2, RFC1122-3.3.1.4-1, RFC1122-3.3.1.5-1
TEST(DeadGateway, AnotherOneTakesOver) {
  Host host;
  const InterfaceId eth = host.ethernet("10.0.0.1/24", 1);
  host.gateway(eth, "10.0.0.254");
  ASSERT_TRUE(host.stack.add_route({cidr("0.0.0.0/0"), ip("10.0.0.253"), eth, 1}));
  host.receive(eth, who_has(mac(4), "10.0.0.254", "10.0.0.1"));
  host.receive(eth, who_has(mac(3), "10.0.0.253", "10.0.0.1"));
  (void)host.sent();
  const SocketId socket = host.udp("0.0.0.0:5000");
  const auto gateway_used = [&]() -> MacAddress {
    EXPECT_TRUE(host.send_to(socket, "x", "8.8.8.8:53"));
    for (const Frame& frame : host.sent()) {
      if (!is_arp(frame)) return ethernet_of(frame).destination();
    }
    return {};
  };
  EXPECT_EQ(gateway_used(), mac(4));
  // It stops answering: stale, asked three times, then given up.
  host.advance(Duration::seconds(31));
  EXPECT_EQ(gateway_used(), mac(4));
  host.advance(Duration::seconds(9));
  (void)host.sent();
  EXPECT_EQ(gateway_used(), mac(3));
  // It comes back.
  host.receive(eth, who_has(mac(4), "10.0.0.254", "10.0.0.1"));
  (void)host.sent();
  host.stack.on_link(eth, LinkState::up, 1500, host.now);
  EXPECT_EQ(gateway_used(), mac(4));
}

// A direct way is remembered: not where it only stands in for a gateway that is silent.
TEST(DeadGateway, IsUsedAgainOnceItAnswers) {
  Host host;
  const InterfaceId eth = host.ethernet("10.0.0.1/24", 1);
  const InterfaceId tun = host.tun("10.2.0.1/24");
  host.gateway(eth, "10.0.0.254");
  ASSERT_TRUE(host.stack.add_route({cidr("0.0.0.0/0"), std::nullopt, tun, 1}));
  const auto source = [&] { return host.stack.source_for(ip("8.8.8.8")); };
  EXPECT_EQ(source(), ip("10.0.0.1"));
  const SocketId socket = host.udp("0.0.0.0:5000");
  ASSERT_TRUE(host.send_to(socket, "x", "8.8.8.8:53"));
  (void)host.sent();
  host.advance(Duration::seconds(9));
  (void)host.sent();
  EXPECT_EQ(source(), ip("10.2.0.1")) << "the gateway did not answer";
  EXPECT_EQ(source(), ip("10.2.0.1"));
  host.receive(eth, who_has(mac(4), "10.0.0.254", "10.0.0.1"));
  EXPECT_EQ(source(), ip("10.0.0.1"));
}

TEST(Routes, ADirectWayIsForgottenWhenRoutesChange) {
  Host host;
  const InterfaceId a = host.tun("10.1.0.1/16");
  const InterfaceId b = host.tun("10.2.0.1/16");
  const auto source = [&] { return host.stack.source_for(ip("10.1.7.9")); };
  EXPECT_EQ(source(), ip("10.1.0.1"));
  ASSERT_TRUE(host.stack.add_route({cidr("10.1.7.0/24"), std::nullopt, b, 0}));
  EXPECT_EQ(source(), ip("10.2.0.1"));
  ASSERT_TRUE(host.stack.remove_route(cidr("10.1.7.0/24")));
  EXPECT_EQ(source(), ip("10.1.0.1"));
  host.stack.on_link(a, LinkState::down, 1500, host.now);
  EXPECT_FALSE(source());
}

TEST(LinkDown, RoutesOfADeadLinkAreNotUsed) {
  Host host;
  const InterfaceId a = host.tun("10.1.0.1/24");
  const InterfaceId b = host.tun("10.2.0.1/24");
  host.gateway(a, "10.1.0.254");
  ASSERT_TRUE(host.stack.add_route({cidr("0.0.0.0/0"), ip("10.2.0.254"), b, 1}));
  const SocketId socket = host.udp("0.0.0.0:5000");
  host.stack.on_link(a, LinkState::down, 1500, host.now);
  ASSERT_TRUE(host.send_to(socket, "x", "8.8.8.8:53"));
  (void)host.poll();
  EXPECT_EQ(host.out.interfaces, std::vector<InterfaceId>{b});
}

}  // namespace
}  // namespace tidewire::testing
