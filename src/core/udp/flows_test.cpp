// Flows to foreign addresses, offered to an owner.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

class Flows : public ::testing::Test {
 protected:
  void SetUp() override {
    ForwardPolicy policy;
    policy.udp = policy.icmp_echo = true;
    host.stack.set_forwarding(tun, policy);
  }
  void give(const Frame& packet) { host.receive(tun, packet); }
  std::optional<Event> flow() {
    while (auto event = host.stack.poll_event()) {
      if (event->kind == Event::Kind::forward) return event;
    }
    return std::nullopt;
  }
  Host host;
  InterfaceId tun = host.tun("10.0.0.1/24");
};

TEST_F(Flows, TheFirstDatagramWaitsForTheOwner) {
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "query"));
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "again"));
  const auto event = flow();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->tuple.protocol, Protocol::udp);
  EXPECT_EQ(event->tuple.local, at("8.8.8.8:53"));
  EXPECT_EQ(event->tuple.remote, at("10.0.0.2:1000"));
  EXPECT_EQ(event->interface, tun);
  EXPECT_FALSE(flow());
  const SocketId socket = host.stack.forward_accept(event->flow, host.now).value();
  EXPECT_EQ(host.receive_text(socket), "query");
  EXPECT_EQ(host.receive_text(socket), "again");
  EXPECT_EQ(host.stack.forward_accept(event->flow, host.now).error(), SocketError::unknown_socket);
  ASSERT_TRUE(host.send(socket, "answer"));
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ip_of(out[0]).source(), ip("8.8.8.8"));
  EXPECT_EQ(ip_of(out[0]).destination(), ip("10.0.0.2"));
  const auto udp = wire::UdpView::parse(ip_of(out[0]).payload()).value();
  EXPECT_EQ(udp.source_port(), 53);
  EXPECT_EQ(udp.destination_port(), 1000);
  EXPECT_TRUE(udp.verify(ip("8.8.8.8"), ip("10.0.0.2")));
  // The flow is the socket's now.
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "more"));
  EXPECT_FALSE(flow());
  EXPECT_EQ(host.receive_text(socket), "more");
  host.stack.close(socket, host.now);
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "new"));
  EXPECT_TRUE(flow());
}

// req: RFC1122-3.1-4
TEST_F(Flows, WhoCarriesThemOnIsAHop) {
  Frame packet = udp4("10.0.0.2:1000", "8.8.8.8:53", "query");
  const auto with_ttl = [&](std::uint8_t ttl) {
    packet[8] = std::byte{ttl};
    wire::store_u16(packet.data() + 10, 0);
    wire::Checksum sum;
    sum.add(Bytes(packet).first(20));
    wire::store_u16(packet.data() + 10, sum.finish());
    return packet;
  };
  give(with_ttl(1));
  EXPECT_FALSE(flow());
  const auto answers = host.sent();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(ip_of(answers[0]).source(), ip("10.0.0.1"));
  EXPECT_EQ(ip_of(answers[0]).payload()[0], std::byte{11});
  give(with_ttl(2));
  EXPECT_TRUE(flow());
}

TEST_F(Flows, RejectIsAnIcmpError) {
  const std::vector<std::pair<ForwardReject, int>> cases{{ForwardReject::reset, 3},
                                                         {ForwardReject::port_unreachable, 3},
                                                         {ForwardReject::host_unreachable, 1},
                                                         {ForwardReject::network_unreachable, 0},
                                                         {ForwardReject::prohibited, 13}};
  for (const auto& [how, code] : cases) {
    give(udp4("10.0.0.2:1000", "8.8.8.8:53", "query"));
    host.stack.forward_reject(flow()->flow, how, host.now);
    const auto out = host.sent();
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(icmp_of(out[0]).code(), code);
    EXPECT_EQ(ip_of(out[0]).destination(), ip("10.0.0.2"));
    EXPECT_EQ(wire::Ipv4View::parse(icmp_of(out[0]).payload(), 65'535)->destination(),
              ip("8.8.8.8"));
  }
}

TEST_F(Flows, DropForgets) {
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "query"));
  host.stack.forward_drop(flow()->flow);
  EXPECT_TRUE(host.sent().empty());
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "query"));
  EXPECT_TRUE(flow());
}

TEST_F(Flows, PingsAreFlowsToo) {
  give(echo_request("10.0.0.2", "8.8.8.8", "data"));
  const auto event = flow();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->tuple.protocol, Protocol::icmp);
  EXPECT_EQ(event->tuple.local, (Endpoint{ip("8.8.8.8"), 7, 0}));
  const SocketId socket = host.stack.forward_accept(event->flow, host.now).value();
  std::string message = host.receive_text(socket);
  ASSERT_EQ(message.size(), 12U);
  EXPECT_EQ(message[0], 8);
  EXPECT_EQ(host.send(socket, message).error(), SocketError::invalid);
  message[0] = 0;
  ASSERT_TRUE(host.send(socket, message));
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ip_of(out[0]).source(), ip("8.8.8.8"));
  EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::echo_reply);
  EXPECT_EQ(icmp_of(out[0]).header().id(), 7);
  EXPECT_TRUE(icmp_of(out[0]).checksum_ok());
  give(echo_request("10.0.0.2", "8.8.8.8", "more"));
  EXPECT_FALSE(flow());
  EXPECT_EQ(host.receive_text(socket).substr(8), "more");
}

TEST_F(Flows, OurOwnAddressesAreNotOfferedUnlessAsked) {
  give(udp4("10.0.0.2:1000", "10.0.0.1:53", "query"));
  EXPECT_FALSE(flow());
  EXPECT_EQ(icmp_of(host.sent().at(0)).code(), 3);
  const SocketId own = host.udp("0.0.0.0:54");
  ForwardPolicy policy;
  policy.udp = policy.include_local = true;
  host.stack.set_forwarding(tun, policy);
  give(udp4("10.0.0.2:1000", "10.0.0.1:53", "query"));
  EXPECT_TRUE(flow());
  give(udp4("10.0.0.2:1000", "10.0.0.1:54", "mine"));
  EXPECT_EQ(host.receive_text(own), "mine");
  EXPECT_FALSE(flow());
  // A socket on a wildcard does not take what is for a foreign address.
  give(udp4("10.0.0.2:1000", "8.8.8.8:54", "theirs"));
  EXPECT_EQ(host.receive_text(own), "(none)");
  EXPECT_TRUE(flow());
}

TEST_F(Flows, ErrorsAboutAFlowReachItsSocket) {
  give(udp4("10.0.0.2:1000", "8.8.8.8:53", "query"));
  const SocketId socket = host.stack.forward_accept(flow()->flow, host.now).value();
  ASSERT_TRUE(host.send(socket, "answer"));
  const Frame sent = host.sent().at(0);
  give(ipv4(header("10.0.0.2", "8.8.8.8", wire::protocol::icmp),
            icmp4(wire::Icmpv4Repr::unreachable(3, Bytes{sent}.first(28)))));
  EXPECT_EQ(host.stack.take_error(socket), SocketError::connection_refused);
}

TEST_F(Flows, PendingOnesAreBounded) {
  StackConfig config;
  config.flows_pending_max = 100;
  Host small{1, config};
  const InterfaceId id = small.tun("10.0.0.1/24");
  ForwardPolicy policy;
  policy.udp = true;
  small.stack.set_forwarding(id, policy);
  for (int i = 0; i < 150; ++i) {
    small.receive(id, udp4("10.0.0.2:" + std::to_string(1000 + i), "8.8.8.8:53", "x"));
  }
  EXPECT_EQ(small.dropped(DropReason::flow_limit), 50U);
}

}  // namespace
}  // namespace tidewire::testing
