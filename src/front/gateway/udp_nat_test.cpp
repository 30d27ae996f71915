// Datagrams through the gateway, against real sockets on the host's loopback.
#include <gtest/gtest.h>

#include <array>

#include "front/gateway/testing.hpp"

namespace tidewire::gateway {
namespace {

using testing::HostSocket;
using testing::Net;

void send(Net& net, SocketId s, std::string_view text) {
  const Bytes data = as_bytes(text.data(), text.size());
  const auto sent = net.host.send_datagram(s, std::span(&data, 1), {}, runtime::Clock::now());
  EXPECT_TRUE(sent.has_value());
}

std::string receive(Net& net, SocketId s) {
  std::array<std::byte, 2048> room;
  const auto got = net.host.receive_datagram(s, room, false, runtime::Clock::now());
  if (!got) return {};
  return {reinterpret_cast<const char*>(room.data()), got->copied};
}

/// One datagram at the host; its sender goes to `from`.
bool receive_at(HostSocket& s, std::string& text, Endpoint& from) {
  std::array<char, 2048> room;
  runtime::SocketAddress address;
  const ssize_t n = recvfrom(s.fd(), room.data(), room.size(), 0, address.get(), &address.length);
  if (n < 0) return false;
  text.assign(room.data(), static_cast<std::size_t>(n));
  from = runtime::to_endpoint(address);
  return true;
}

void answer(HostSocket& s, const Endpoint& to, std::string_view text) {
  const auto address = runtime::to_socket_address(to);
  sendto(s.fd(), text.data(), text.size(), 0, address.get(), address.length);
}

TEST(UdpNat, CarriesDatagramsBothWays) {
  Net net;
  HostSocket server = HostSocket::datagrams();
  const SocketId s = net.connect(SocketKind::udp, server.port());
  send(net, s, "one");
  send(net, s, "two");
  std::string text;
  Endpoint from;
  ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); }));
  EXPECT_EQ(text, "one");
  ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); }));
  EXPECT_EQ(text, "two");
  answer(server, from, "back");
  std::string got;
  EXPECT_TRUE(net.until([&] { return (got = receive(net, s)) == "back"; }));
  EXPECT_EQ(net.gateway->counters().udp_opened, 1U);
}

TEST(UdpNat, OneInternalEndpointHasOneAddressOutside) {
  Net net;
  HostSocket one = HostSocket::datagrams();
  HostSocket two = HostSocket::datagrams();
  const auto s = net.host.open(SocketKind::udp, Family::v4);
  const Instant now = runtime::Clock::now();
  ASSERT_TRUE(net.host.bind(*s, {IpAddress::any(Family::v4), 4000, 0}, now));
  for (const HostSocket* server : {&one, &two}) {
    DatagramTarget target;
    target.destination = Endpoint{IpAddress::v4(10, 0, 2, 2), server->port(), 0};
    const Bytes data = as_bytes("x", 1);
    ASSERT_TRUE(net.host.send_datagram(*s, std::span(&data, 1), target, now));
  }
  std::string text;
  Endpoint first, second;
  ASSERT_TRUE(net.until([&] { return receive_at(one, text, first); }));
  ASSERT_TRUE(net.until([&] { return receive_at(two, text, second); }));
  EXPECT_EQ(first.port, second.port) << "RFC 4787 REQ-1";
  HostSocket stranger = HostSocket::datagrams();
  answer(stranger, first, "unwanted");
  answer(two, first, "wanted");
  std::string got;
  EXPECT_TRUE(net.until([&] { return !(got = receive(net, *s)).empty(); }));
  EXPECT_EQ(got, "wanted");
  EXPECT_EQ(net.gateway->counters().udp_dropped, 1U);
}

TEST(UdpNat, PortUnreachableReachesTheSender) {
  Net net;
  std::uint16_t port = 0;
  {
    HostSocket s = HostSocket::datagrams();
    port = s.port();
  }
  const SocketId s = net.connect(SocketKind::udp, port);
  send(net, s, "anyone?");
  ASSERT_TRUE(net.until([&] { return net.failed(s); }));
  EXPECT_EQ(net.host.take_error(s), SocketError::connection_refused);
  EXPECT_EQ(net.gateway->counters().udp_refused, 1U);
  EXPECT_TRUE(net.until([&] { return net.gateway->udp_flows() == 0; }));
}

TEST(UdpNat, IdleFlowsEndAndComeBack) {
  GatewayConfig config;
  config.udp_idle = Duration::millis(60);
  Net net(config);
  HostSocket server = HostSocket::datagrams();
  const SocketId s = net.connect(SocketKind::udp, server.port());
  send(net, s, "one");
  std::string text;
  Endpoint from;
  ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); }));
  EXPECT_EQ(net.gateway->udp_flows(), 1U);
  EXPECT_TRUE(net.until([&] { return net.gateway->udp_flows() == 0; }));
  EXPECT_EQ(net.gateway->counters().udp_timed_out, 1U);
  send(net, s, "two");
  EXPECT_TRUE(net.until([&] { return receive_at(server, text, from) && text == "two"; }));
}

TEST(UdpNat, TheNumberIsBounded) {
  GatewayConfig config;
  config.udp_max = 2;
  Net net(config);
  HostSocket server = HostSocket::datagrams();
  for (int i = 0; i < 3; ++i) send(net, net.connect(SocketKind::udp, server.port()), "x");
  EXPECT_TRUE(net.until([&] { return net.gateway->counters().udp_over_limit == 1; }));
  EXPECT_EQ(net.gateway->udp_flows(), 2U);
}

TEST(UdpNat, NoHostIsForbidden) {
  GatewayConfig config;
  config.allow_host = false;
  Net net(config);
  HostSocket server = HostSocket::datagrams();
  send(net, net.connect(SocketKind::udp, server.port()), "x");
  EXPECT_TRUE(net.until([&] { return net.gateway->counters().forbidden == 1; }));
  std::string text;
  Endpoint from;
  EXPECT_FALSE(receive_at(server, text, from));
}

TEST(UdpNat, TheHostsNameIsAnsweredWhateverServerIsAsked) {
  GatewayConfig config;
  HostSocket resolver = HostSocket::datagrams();
  config.host_resolver = Endpoint{IpAddress::loopback(Family::v4), resolver.port(), 0};
  Net net(config);
  const SocketId s = net.connect(SocketKind::udp, 53, config.resolver);
  const std::string_view head("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  const std::string_view tail("\x00\x00\x01\x00\x01", 5);
  std::string query(head);
  query += "\x04host\x08tidewire";
  query += tail;
  send(net, s, query);
  std::string got;
  ASSERT_TRUE(net.until([&] { return !(got = receive(net, s)).empty(); }));
  EXPECT_TRUE(got.ends_with(std::string_view("\x0a\x00\x02\x02", 4)));
  query[13] = 'H';
  query[14] = 'X';
  send(net, s, query);
  std::string text;
  Endpoint from;
  EXPECT_TRUE(net.until([&] { return receive_at(resolver, text, from); })) << "other names go on";
  EXPECT_EQ(text, query);
}

TEST(PublishUdp, LeadsIntoTheVirtualNetwork) {
  Net net;
  const auto server = net.host.open(SocketKind::udp, Family::v4);
  ASSERT_TRUE(net.host.bind(*server, {IpAddress::any(Family::v4), 53, 0}, runtime::Clock::now()));
  PublishSpec spec;
  spec.protocol = Protocol::udp;
  spec.target.port = 53;
  const auto opened = net.gateway->publish(spec);
  ASSERT_TRUE(opened) << opened.error();
  HostSocket client = HostSocket::datagrams();
  answer(client, opened->host, "query");
  std::array<std::byte, 100> room;
  std::optional<DatagramInfo> info;
  ASSERT_TRUE(net.until([&] {
    const auto got = net.host.receive_datagram(*server, room, false, runtime::Clock::now());
    if (got) info = *got;
    return got.has_value();
  }));
  EXPECT_EQ(info->copied, 5U);
  DatagramTarget back;
  back.destination = info->source;
  const Bytes data = as_bytes("reply", 5);
  ASSERT_TRUE(net.host.send_datagram(*server, std::span(&data, 1), back, runtime::Clock::now()));
  std::string text;
  Endpoint from;
  EXPECT_TRUE(net.until([&] { return receive_at(client, text, from); }));
  EXPECT_EQ(text, "reply");
  EXPECT_EQ(from, opened->host);
}

}  // namespace
}  // namespace tidewire::gateway
