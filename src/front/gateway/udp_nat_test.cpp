// Datagrams through the gateway, against real sockets on the host's loopback.
#include <gtest/gtest.h>
#include <netinet/udp.h>

#include <array>

#include "front/gateway/datagram_run.hpp"
#include "front/gateway/host_datagrams.hpp"
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

/// Datagram number `i` of a series: `size` bytes that tell it from the others.
std::string numbered(std::size_t i, std::size_t size) {
  std::string text = std::to_string(i) + ":" + std::string(size, static_cast<char>('a' + i % 26));
  text.resize(size);
  return text;
}

/// The sizes of a series in which a run ends in every way but by its bytes: by count, by a shorter
/// one, by a longer one, by an empty one. All of it fits the receiver's buffer.
std::vector<std::size_t> awkward_sizes() {
  std::vector<std::size_t> sizes(70, 100);
  for (const std::size_t size : {30U, 120U, 120U, 0U, 0U, 7U, 8U, 1000U}) sizes.push_back(size);
  sizes.insert(sizes.end(), 5, 1472);
  return sizes;
}

/// Sends the series and checks that it arrives at the host as it was.
void expect_series(Net& net, SocketId s, HostSocket& server) {
  const std::vector<std::size_t> sizes = awkward_sizes();
  for (std::size_t i = 0; i < sizes.size(); ++i) send(net, s, numbered(i, sizes[i]));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::string text;
    Endpoint from;
    ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); })) << i;
    EXPECT_EQ(text, numbered(i, sizes[i])) << i;
  }
  EXPECT_EQ(net.gateway->counters().udp_dropped, 0U);
}

TEST(UdpNat, RunsOfDatagramsKeepTheirBoundariesAndOrder) {
  Net net;
  HostSocket server = HostSocket::datagrams();
  expect_series(net, net.connect(SocketKind::udp, server.port()), server);
}

// A receiver that asks for it is shown that they left with one call.
TEST(UdpNat, RunsOfDatagramsLeaveTogether) {
  Net net;
  HostSocket server = HostSocket::datagrams();
  const int on = 1;
  if (setsockopt(server.fd(), IPPROTO_UDP, UDP_GRO, &on, sizeof on) != 0) GTEST_SKIP();
  const SocketId s = net.connect(SocketKind::udp, server.port());
  for (std::size_t i = 0; i < DatagramRun::kDatagrams; ++i) send(net, s, numbered(i, 1000));
  std::vector<std::byte> room(65'536);
  HostDatagrams got;
  ASSERT_TRUE(net.until([&] { return (got = receive_datagrams(server.fd(), room)).size >= 0; }));
  EXPECT_EQ(got.size, 1000 * static_cast<ssize_t>(DatagramRun::kDatagrams));
  EXPECT_EQ(got.segment, 1000U);
}

/// The gateway's socket of this process that has `port`.
int socket_with_port(std::uint16_t port) {
  for (int fd = 3; fd < 1000; ++fd) {
    runtime::SocketAddress address;
    if (getsockname(fd, address.get(), &address.length) != 0) continue;
    if (runtime::to_endpoint(address).port == port) return fd;
  }
  return -1;
}

TEST(UdpNat, WhatTheHostRefusesToCutGoesOneByOne) {
  Net net;
  HostSocket server = HostSocket::datagrams();
  const SocketId s = net.connect(SocketKind::udp, server.port());
  send(net, s, "first");
  std::string text;
  Endpoint from;
  ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); }));
  // Nothing can be cut whose checksums nobody computes.
  const int on = 1;
  const int fd = socket_with_port(from.port);
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
  const std::string two(2000, 'x');
  ASSERT_FALSE(send_datagrams(
      fd, as_bytes(two.data(), two.size()), 1000,
      runtime::to_socket_address({IpAddress::loopback(Family::v4), server.port(), 0})));
  EXPECT_TRUE(refuses_segments(errno)) << errno;
  expect_series(net, s, server);
}

TEST(UdpNat, WhatComesTogetherFromTheHostKeepsItsBoundaries) {
  Net net;
  HostSocket server = HostSocket::datagrams();
  if (!can_segment(server.fd())) GTEST_SKIP() << "no UDP_SEGMENT here";
  const SocketId s = net.connect(SocketKind::udp, server.port());
  send(net, s, "first");
  std::string text;
  Endpoint from;
  ASSERT_TRUE(net.until([&] { return receive_at(server, text, from); }));
  std::size_t sent = 0;
  // The second is too large for a packet of the link: it goes in fragments, one by one.
  for (const std::size_t size : {1000U, 2000U, 1400U}) {
    std::string all;
    for (std::size_t i = 0; i < 20; ++i) all += numbered(sent++, size);
    all.resize(all.size() - 500);
    ASSERT_TRUE(send_datagrams(server.fd(), as_bytes(all.data(), all.size()), size,
                               runtime::to_socket_address(from)));
    for (std::size_t i = sent - 20; i < sent; ++i) {
      const std::size_t expected = i + 1 == sent ? size - 500 : size;
      std::string got;
      ASSERT_TRUE(net.until([&] { return !(got = receive(net, s)).empty(); })) << i;
      EXPECT_EQ(got, numbered(i, size).substr(0, expected)) << i;
    }
  }
  EXPECT_EQ(net.gateway->counters().udp_dropped, 0U);
  EXPECT_EQ(net.gateway->counters().bytes_from_host, 20U * 4400 - 1500);
}

TEST(DatagramRun, EndsWhereTheKernelsWouldNotTakeMore) {
  DatagramRun run;
  EXPECT_TRUE(run.continues(65'507));
  run.add(65'507);
  EXPECT_FALSE(run.continues(1)) << "too many bytes";
  run.restart(100);
  EXPECT_EQ(run.count(), 1U);
  EXPECT_FALSE(run.continues(101)) << "larger than those before";
  EXPECT_FALSE(run.continues(0));
  for (std::size_t i = 1; i < DatagramRun::kDatagrams; ++i) run.add(100);
  EXPECT_TRUE(run.closed());
  EXPECT_FALSE(run.continues(100)) << "too many datagrams";
  run.restart(0);
  EXPECT_TRUE(run.closed()) << "an empty one is alone";
  run.clear();
  run.add(100);
  run.add(99);
  EXPECT_TRUE(run.closed()) << "only the last may be shorter";
  EXPECT_EQ(run.data().size(), 199U);
  EXPECT_EQ(run.segment(), 100U);
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
