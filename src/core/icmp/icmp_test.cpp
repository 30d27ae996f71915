// ICMP: the echo server, errors in and out, redirects, limits.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

using wire::Icmpv4Repr;
using wire::Icmpv4Type;
using wire::Ipv4Repr;

class Icmp : public ::testing::Test {
 protected:
  void give(const Frame& packet) { host.receive(tun, packet); }
  /// The ICMP error that closed port 9999 provokes for a datagram, if any.
  std::vector<Frame> answer_to(const Frame& packet) {
    give(packet);
    return host.sent();
  }
  /// An error from a router about a packet.
  void error_about(const Frame& packet, Icmpv4Type type, std::uint8_t code,
                   std::uint32_t rest = 0) {
    Icmpv4Repr repr;
    repr.header = {type, code, rest};
    repr.payload = Bytes{packet}.first(std::min<std::size_t>(packet.size(), 29));
    give(ipv4(header("10.0.0.254", "10.0.0.1", wire::protocol::icmp), icmp4(repr)));
  }
  Host host;
  InterfaceId tun = host.tun("10.0.0.1/24");
  SocketId socket = host.udp("0.0.0.0:5000");
};

// req: RFC1122-3.2.2.6-1, RFC1122-3.2.2.6-4, RFC1122-3.2.2.6-5
// Robustness case 20.
TEST_F(Icmp, EchoesWhateverTheSize) {
  for (const std::size_t size : {0U, 1U, 1400U, 40'000U, 65'507U}) {
    const std::string data(size, 'e');
    const Frame message = icmp4(Icmpv4Repr::echo(Icmpv4Type::echo_request, 7, 1, bytes_of(data)));
    Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", wire::protocol::icmp);
    for (std::size_t from = 0; from < message.size(); from += 1480) {
      const std::size_t part = std::min<std::size_t>(1480, message.size() - from);
      repr.fragment_offset = static_cast<std::uint16_t>(from);
      repr.more_fragments = from + part < message.size();
      repr.id = static_cast<std::uint16_t>(size);
      give(ipv4(repr, Bytes{message}.subspan(from, part)));
    }
    Frame whole;
    for (const Frame& frame : host.sent()) {
      EXPECT_EQ(ip_of(frame).source(), ip("10.0.0.1"));
      EXPECT_EQ(ip_of(frame).destination(), ip("10.0.0.2"));
      whole.insert(whole.end(), ip_of(frame).payload().begin(), ip_of(frame).payload().end());
    }
    const auto reply = wire::Icmpv4View::parse(whole).value();
    EXPECT_EQ(reply.type(), Icmpv4Type::echo_reply);
    EXPECT_TRUE(reply.checksum_ok());
    EXPECT_EQ(reply.header().id(), 7);
    EXPECT_EQ(reply.header().sequence(), 1);
    EXPECT_EQ(text_of(reply.payload()), data);
  }
}

// req: RFC1122-3.2.2.6-3
TEST_F(Icmp, IgnoresEchoToBroadcastUnlessTold) {
  EXPECT_TRUE(answer_to(echo_request("10.0.0.2", "10.0.0.255", "x")).empty());
  EXPECT_TRUE(answer_to(echo_request("10.0.0.2", "224.0.0.1", "x")).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_broadcast), 2U);
  StackConfig config;
  config.ip.echo_broadcast = true;
  Host loud{1, config};
  const InterfaceId id = loud.tun("10.0.0.1/24");
  loud.receive(id, echo_request("10.0.0.2", "10.0.0.255", "x"));
  EXPECT_EQ(ip_of(loud.sent().at(0)).source(), ip("10.0.0.1"));
}

// req: RFC1122-3.2.1.8c-3, RFC1122-3.2.2.6-8
TEST_F(Icmp, EchoGoesBackTheRouteItCame) {
  // Came by 10.0.0.8, then 10.0.0.9, then this host, which is recorded as the last.
  const std::string route("\x83\x0f\x10\x0a\x00\x00\x08\x0a\x00\x00\x09\x0a\x00\x00\x01\x00", 16);
  Ipv4Repr repr = header("10.9.0.2", "10.0.0.1", wire::protocol::icmp);
  repr.options = bytes_of(route);
  const auto out = answer_to(
      ipv4(repr, icmp4(Icmpv4Repr::echo(Icmpv4Type::echo_request, 7, 1, bytes_of("data")))));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ip_of(out[0]).destination(), ip("10.0.0.9"));
  EXPECT_EQ(text_of(ip_of(out[0]).options()),
            (std::string{"\x83\x0b\x04\x0a\x00\x00\x08\x0a\x09\x00\x02\x00", 12}));
}

// req: RFC1122-3.2.2.6-7
TEST_F(Icmp, EchoReflectsRecordedRouteAndTimestamp) {
  const std::string options("\x07\x0b\x08\x0a\x00\x00\x09\0\0\0\0\x44\x08\x05\x00\0\0\0\0\0", 20);
  Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", wire::protocol::icmp);
  repr.options = bytes_of(options);
  const auto out = answer_to(
      ipv4(repr, icmp4(Icmpv4Repr::echo(Icmpv4Type::echo_request, 7, 1, bytes_of("data")))));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(text_of(ip_of(out[0]).options()),
            (std::string{"\x07\x0b\x0c\x0a\x00\x00\x09\x0a\x00\x00\x01\x44\x08\x09\x00\x80\0\0\0\0",
                         20}));
}

// req: RFC1122-4.1.3.1-1, RFC1122-3.2.2.1-1, RFC1122-3.2.2-3, RFC1122-3.2.2-2, RFC1122-3.2.2-5
// req: RFC1122-3.4-4
TEST_F(Icmp, AClosedPortIsAnsweredWithWhatCame) {
  const Frame packet =
      udp4("10.0.0.2:9", "10.0.0.1:9999", std::string(1000, 'q'), [](Ipv4Repr& r) { r.tos = 8; });
  const auto out = answer_to(packet);
  ASSERT_EQ(out.size(), 1U);
  const auto view = icmp_of(out[0]);
  EXPECT_EQ(view.type(), Icmpv4Type::destination_unreachable);
  EXPECT_EQ(view.code(), wire::icmpv4_unreachable::port);
  EXPECT_EQ(ip_of(out[0]).tos(), 0);
  EXPECT_EQ(ip_of(out[0]).source(), ip("10.0.0.1"));
  EXPECT_EQ(out[0].size(), 576U);
  EXPECT_TRUE(std::ranges::equal(view.payload(), Bytes{packet}.first(view.payload().size())));
}

// req: RFC1122-3.2.2-6
// Robustness case 18.
TEST_F(Icmp, NoErrorAboutAnError) {
  Icmpv4Repr repr = Icmpv4Repr::unreachable(3, bytes_of("0123456789012345678901234567"));
  Ipv4Repr ip = header("10.0.0.2", "10.0.0.1", wire::protocol::icmp);
  const std::string bad("\x83\x07\x00\x0a\x00\x00\x02\x00", 8);
  ip.options = bytes_of(bad);
  EXPECT_TRUE(answer_to(ipv4(ip, icmp4(repr))).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_error_about_error), 1U);
  // An echo request is no error.
  EXPECT_EQ(answer_to(ipv4(ip, icmp4(Icmpv4Repr::echo(Icmpv4Type::echo_request, 1, 1, {})))).size(),
            1U);
}

// req: RFC1122-3.2.2-7, RFC1122-3.2.2-8
TEST_F(Icmp, NoErrorAboutBroadcasts) {
  for (const char* to : {"10.0.0.255:9999", "255.255.255.255:9999", "224.0.0.1:9999"}) {
    EXPECT_TRUE(answer_to(udp4("10.0.0.2:9", to, "x")).empty()) << to;
  }
  EXPECT_TRUE(answer_to(ipv4(header("10.0.0.2", "10.0.0.255", 99), Frame(8))).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_broadcast), 1U);
  Host wired;
  const InterfaceId eth = wired.ethernet("10.0.0.1/24", 1);
  wired.receive(eth, ether(MacAddress::broadcast(), mac(2), wire::EtherType::ipv4,
                           udp4("10.0.0.2:9", "10.0.0.1:9999", "x")));
  EXPECT_TRUE(wired.sent().empty());
}

// req: RFC1122-3.2.2-9
// Robustness case 12.
TEST_F(Icmp, NoErrorAboutLaterFragments) {
  Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", 99);
  const std::string bad("\x83\x07\x00\x0a\x00\x00\x02\x00", 8);
  repr.options = bytes_of(bad);
  repr.fragment_offset = 8;
  EXPECT_TRUE(answer_to(ipv4(repr, Frame(8))).empty());
  repr.fragment_offset = 0;
  EXPECT_EQ(answer_to(ipv4(repr, Frame(8))).size(), 1U);
}

// req: RFC1122-3.2.2-10
TEST_F(Icmp, NoErrorToWhatIsNoSingleHost) {
  for (const char* from : {"0.0.0.0:9", "127.0.0.1:9", "10.0.0.255:9", "255.255.255.255:9",
                           "224.0.0.9:9", "240.0.0.1:9"}) {
    EXPECT_TRUE(answer_to(udp4(from, "10.0.0.1:9999", "x")).empty()) << from;
  }
}

TEST_F(Icmp, ErrorsAreLimited) {
  std::size_t sent = 0;
  for (int i = 0; i < 500; ++i) sent += answer_to(udp4("10.0.0.2:9", "10.0.0.1:9999", "x")).size();
  EXPECT_GE(sent, 40U);
  EXPECT_LE(sent, 50U);
  EXPECT_EQ(host.dropped(DropReason::icmp_rate_limited), 500 - sent);
  host.advance(Duration::millis(20));
  sent = 0;
  for (int i = 0; i < 500; ++i) sent += answer_to(udp4("10.0.0.2:9", "10.0.0.1:9999", "x")).size();
  EXPECT_GE(sent, 15U);
  EXPECT_LE(sent, 21U);
}

// req: RFC1122-3.2.2-1, RFC1122-3.2.2.7-1, RFC1122-3.2.2.9-3
TEST_F(Icmp, UnknownTypesAreSilentlyDropped) {
  std::uint64_t count = 0;
  for (const int type : {1, 2, 6, 7, 9, 10, 13, 14, 15, 16, 17, 18, 19, 41, 255}) {
    Icmpv4Repr repr;
    repr.header.type = static_cast<Icmpv4Type>(type);
    repr.payload = bytes_of("0123456789012345678901234567");
    EXPECT_TRUE(
        answer_to(ipv4(header("10.0.0.2", "10.0.0.1", wire::protocol::icmp), icmp4(repr))).empty());
    EXPECT_EQ(host.dropped(DropReason::icmp_unknown_type), ++count);
  }
}

// Robustness case 18: an error cut off at every byte, with a quoted header that lies.
TEST_F(Icmp, CutOffErrorsAreHarmless) {
  ASSERT_TRUE(host.send_to(socket, "x", "10.0.0.9:7"));
  const Frame sent = host.sent().at(0);
  const Frame whole = icmp4(Icmpv4Repr::unreachable(3, Bytes{sent}.first(28)));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Frame cut = frame_of(Bytes{whole}.first(size));
    if (size >= 4) {
      wire::store_u16(cut.data() + 2, 0);
      wire::store_u16(cut.data() + 2, wire::internet_checksum(cut));
    }
    give(ipv4(header("10.0.0.9", "10.0.0.1", wire::protocol::icmp), cut));
  }
  EXPECT_EQ(host.dropped(DropReason::icmp_truncated), 8U);
  EXPECT_EQ(host.dropped(DropReason::icmp_quote_mismatch), 28U);
  for (const unsigned ihl : {0U, 4U, 6U, 15U}) {
    Frame lie = sent;
    lie[0] = static_cast<std::byte>(0x40U | ihl);
    error_about(lie, Icmpv4Type::destination_unreachable, 3);
  }
  EXPECT_EQ(host.stack.take_error(socket), SocketError::none);
  EXPECT_EQ(host.dropped(DropReason::icmp_quote_mismatch), 32U);
}

TEST_F(Icmp, ABadChecksumIsDropped) {
  Frame packet = echo_request("10.0.0.2", "10.0.0.1", "data");
  packet.back() ^= std::byte{1};
  EXPECT_TRUE(answer_to(packet).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_bad_checksum), 1U);
}

// req: RFC1122-3.2.2-4, RFC1122-3.2.2.1-2, RFC1122-3.2.2.1-3, RFC1122-3.2.2.1-4
// req: RFC1122-3.2.2.3-2, RFC1122-3.2.2.4-1, RFC1122-3.2.2.5-2, RFC1122-3.2.2.5-3, RFC1122-3.4-5
// req: RFC1122-4.1.3.3-1
TEST_F(Icmp, ErrorsReachTheSocketThatSent) {
  const SocketId connected = host.stack.open(SocketKind::udp, Family::v4).value();
  ASSERT_TRUE(host.stack.set_option(connected, SocketOption::receive_errors, 1, host.now));
  ASSERT_TRUE(host.stack.connect(connected, at("10.0.0.9:7"), host.now));
  ASSERT_TRUE(host.send(connected, "x"));
  const Frame sent = host.sent().at(0);
  struct Case {
    Icmpv4Type type;
    std::uint8_t code;
    SocketError error;
  };
  const std::vector<Case> cases{
      {Icmpv4Type::destination_unreachable, 0, SocketError::network_unreachable},
      {Icmpv4Type::destination_unreachable, 1, SocketError::host_unreachable},
      {Icmpv4Type::destination_unreachable, 2, SocketError::protocol_error},
      {Icmpv4Type::destination_unreachable, 3, SocketError::connection_refused},
      {Icmpv4Type::destination_unreachable, 5, SocketError::host_unreachable},
      {Icmpv4Type::destination_unreachable, 13, SocketError::host_unreachable},
      {Icmpv4Type::time_exceeded, 0, SocketError::host_unreachable},
      {Icmpv4Type::parameter_problem, 0, SocketError::protocol_error},
      {Icmpv4Type::source_quench, 0, SocketError::none},
  };
  for (const Case& c : cases) {
    error_about(sent, c.type, c.code);
    EXPECT_EQ(host.stack.take_error(connected), c.error);
    std::array<std::byte, 4> quote{};
    const auto info = host.stack.take_error_info(connected, quote);
    ASSERT_EQ(info.has_value(), c.error != SocketError::none);
    if (!info) continue;
    EXPECT_FALSE(info->local);
    EXPECT_EQ(info->quoted, 1U);
    EXPECT_EQ(quote[0], std::byte{'x'});
    EXPECT_EQ(info->error, c.error);
    EXPECT_EQ(info->icmp_type, static_cast<int>(c.type));
    EXPECT_EQ(info->icmp_code, c.code);
    EXPECT_EQ(info->offender, ip("10.0.0.254"));
    EXPECT_EQ(info->destination, at("10.0.0.9:7"));
  }
  // Without receive_errors only a sure sign that nobody is there counts.
  ASSERT_TRUE(host.stack.set_option(connected, SocketOption::receive_errors, 0, host.now));
  for (const std::uint8_t code : std::array<std::uint8_t, 3>{0, 1, 5}) {
    error_about(sent, Icmpv4Type::destination_unreachable, code);
    EXPECT_EQ(host.stack.take_error(connected), SocketError::none);
  }
  error_about(sent, Icmpv4Type::destination_unreachable, 3);
  EXPECT_EQ(host.stack.readiness(connected) & kError, kError);
  EXPECT_EQ(host.send(connected, "x").error(), SocketError::connection_refused);
  EXPECT_TRUE(host.send(connected, "x"));
}

// req: RFC1122-3.2.2.2-2, RFC1122-3.2.2.2-3, RFC1122-3.2.2.2-4, RFC1122-3.3.1.2-3
TEST_F(Icmp, RedirectsFromTheGatewayInUseAreFollowed) {
  host.gateway(tun, "10.0.0.254");
  const auto learn = [&](const char* from, const char* gateway, std::uint8_t code) {
    const Frame about = udp4("10.0.0.1:5000", "10.9.0.2:7", "x");
    give(ipv4(header(from, "10.0.0.1", wire::protocol::icmp),
              icmp4(Icmpv4Repr::redirect(code, ip(gateway), Bytes{about}.first(28)))));
  };
  for (const std::uint8_t code : std::array<std::uint8_t, 2>{0, 1}) {
    Host wired;
    const InterfaceId eth = wired.ethernet("10.0.0.1/24", 1);
    wired.gateway(eth, "10.0.0.254");
    wired.receive(eth, who_has(mac(4), "10.0.0.254", "10.0.0.1"));
    wired.receive(eth, who_has(mac(3), "10.0.0.253", "10.0.0.1"));
    (void)wired.sent();
    const SocketId s = wired.udp("0.0.0.0:5000");
    const auto next_hop = [&] {
      EXPECT_TRUE(wired.send_to(s, "x", "10.9.0.2:7"));
      return ethernet_of(wired.sent().at(0)).destination();
    };
    EXPECT_EQ(next_hop(), mac(4));
    const Frame about = udp4("10.0.0.1:5000", "10.9.0.2:7", "x");
    const Frame redirect =
        ipv4(header("10.0.0.254", "10.0.0.1", wire::protocol::icmp),
             icmp4(Icmpv4Repr::redirect(code, ip("10.0.0.253"), Bytes{about}.first(28))));
    wired.receive(eth, ether(mac(1), mac(4), wire::EtherType::ipv4, redirect));
    EXPECT_EQ(next_hop(), mac(3)) << int{code};
  }
  learn("10.0.0.77", "10.0.0.253", 1);   // not the gateway
  learn("10.0.0.254", "10.7.0.253", 1);  // not on this link
  learn("10.0.0.254", "10.0.0.1", 1);    // ourselves
  learn("10.0.0.254", "10.0.0.255", 1);
  EXPECT_EQ(host.dropped(DropReason::icmp_quote_mismatch), 4U);
}

// req: RFC1122-3.2.2.2-1
TEST_F(Icmp, AHostNeverSendsRedirects) {
  host.stack.set_ip_forwarding(true);
  host.gateway(tun, "10.0.0.254");
  const auto out = answer_to(udp4("10.0.0.2:9", "10.9.0.1:9", "x"));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(is_icmp(out[0]));
}

TEST(Ping, SocketsGetTheirOwnRepliesOnly) {
  Pair net;
  const SocketId one = net.a.stack.open(SocketKind::icmp, Family::v4).value();
  const SocketId two = net.a.stack.open(SocketKind::icmp, Family::v4).value();
  ASSERT_TRUE(net.a.stack.bind(one, at("0.0.0.0:100"), net.a.now));
  EXPECT_EQ(net.a.stack.bind(two, at("0.0.0.0:100"), net.a.now).error(),
            SocketError::address_in_use);
  ASSERT_TRUE(net.a.stack.bind(two, at("0.0.0.0:200"), net.a.now));
  const std::string request{"\x08\0\0\0\xff\xff\0\x05payload", 15};
  ASSERT_TRUE(net.a.send_to(one, request, "10.0.0.2:0"));
  net.run();
  EXPECT_EQ(net.a.receive_text(two), "(none)");
  const std::string reply = net.a.receive_text(one);
  ASSERT_EQ(reply.size(), 15U);
  EXPECT_EQ(reply.substr(4, 4), (std::string{"\0\x64\0\x05", 4}));
  EXPECT_EQ(net.a.send_to(one, "short", "10.0.0.2:0").error(), SocketError::invalid);
  EXPECT_EQ(net.a.send_to(one, std::string(8, '\0'), "10.0.0.2:0").error(), SocketError::invalid);
}

TEST(Ping, V6OnLoopback) {
  Host host;
  const InterfaceId lo = host.loopback();
  const SocketId ping = host.stack.open(SocketKind::icmp, Family::v6).value();
  ASSERT_TRUE(host.stack.connect(ping, at("[::1]:0"), host.now));
  ASSERT_TRUE(host.send(ping, std::string{"\x80\0\0\0\0\0\0\x01hello", 13}));
  host.run_loopback(lo);
  const std::string reply = host.receive_text(ping);
  ASSERT_EQ(reply.size(), 13U);
  EXPECT_EQ(static_cast<unsigned char>(reply[0]), 129);
  EXPECT_EQ(reply.substr(8), "hello");
  // A closed port.
  const SocketId udp = host.stack.open(SocketKind::udp, Family::v6).value();
  ASSERT_TRUE(host.stack.connect(udp, at("[::1]:9"), host.now));
  ASSERT_TRUE(host.send(udp, "x"));
  host.run_loopback(lo);
  EXPECT_EQ(host.stack.take_error(udp), SocketError::connection_refused);
}

}  // namespace
}  // namespace tidewire::testing
