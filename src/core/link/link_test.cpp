// Ethernet and ARP as a trace of frames.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

using wire::EtherType;

class Link : public ::testing::Test {
 protected:
  Frame to_us(const Frame& packet) { return ether(mac(1), mac(9), EtherType::ipv4, packet); }
  /// What was sent since the last look, ARP or IP only.
  std::vector<Frame> arps() {
    std::vector<Frame> all = host.sent();
    std::erase_if(all, [](const Frame& frame) { return !is_arp(frame); });
    return all;
  }
  void learn(std::string_view address, std::uint8_t last) {
    host.receive(eth, is_at(mac(last), address, mac(1), "10.0.0.1"));
  }
  Host host;
  InterfaceId eth = host.ethernet("10.0.0.1/24", 1);
  SocketId socket = host.udp("0.0.0.0:5000");
};

// req: RFC826-Generation-1, RFC826-Format-1, RFC1122-2.3.3-5, RFC1122-2.4-3
TEST_F(Link, AsksForTheAddressAndKeepsTheDatagram) {
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(ethernet_of(out[0]).destination().is_broadcast());
  const Bytes packet = ethernet_of(out[0]).payload();
  EXPECT_EQ(wire::load_u64(packet.data()), 0x0001'0800'0604'0001ULL);
  const auto request = arp_of(out[0]);
  EXPECT_EQ(request.sender_mac(), mac(1));
  EXPECT_EQ(request.sender_ip(), ip("10.0.0.1"));
  EXPECT_EQ(request.target_ip(), ip("10.0.0.2"));
  EXPECT_EQ(host.stack.take_error(socket), SocketError::none);
  learn("10.0.0.2", 2);
  const auto sent = host.sent();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(ethernet_of(sent[0]).destination(), mac(2));
  EXPECT_EQ(ethernet_of(sent[0]).source(), mac(1));
}

// req: RFC1122-2.3.2.2-1
TEST_F(Link, KeepsTheLatestOfTooManyDatagrams) {
  const std::string big(1000, 'x');
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(host.send_to(socket, big, "10.0.0.2:7"));
  ASSERT_TRUE(host.send_to(socket, "last", "10.0.0.2:7"));
  (void)host.sent();
  EXPECT_GT(host.dropped(DropReason::neighbor_queue_full), 20U);
  learn("10.0.0.2", 2);
  const auto out = host.sent();
  ASSERT_GT(out.size(), 50U);
  EXPECT_EQ(udp_text(ethernet_of(out.back()).payload()), "last");
}

// req: RFC1122-2.3.2.1-2
TEST_F(Link, AsksOnceASecondAndGivesUp) {
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  EXPECT_EQ(arps().size(), 1U);
  for (int i = 0; i < 9; ++i) {
    host.advance(Duration::millis(100));
    ASSERT_TRUE(host.send_to(socket, "more", "10.0.0.2:7"));
    EXPECT_EQ(arps().size(), 0U) << i;
  }
  host.advance(Duration::millis(101));
  EXPECT_EQ(arps().size(), 1U);
  host.advance(Duration::millis(1001));
  EXPECT_EQ(arps().size(), 1U);
  host.advance(Duration::millis(1001));
  EXPECT_EQ(arps().size(), 0U);
  EXPECT_EQ(host.dropped(DropReason::neighbor_failed), 10U);
  // A new packet starts anew, but not within a second of the last request.
  ASSERT_TRUE(host.send_to(socket, "again", "10.0.0.2:7"));
  EXPECT_EQ(arps().size(), 1U);
  ASSERT_TRUE(host.send_to(socket, "again", "10.0.0.2:7"));
  EXPECT_EQ(arps().size(), 0U);
}

// req: RFC1122-2.3.2.1-1, RFC1122-2.3.2.1-3
TEST_F(Link, ForgetsAnAddressThatNobodyUses) {
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
  (void)host.sent();
  host.advance(host.stack.config().ip.neighbor_reachable);
  host.advance(host.stack.config().ip.neighbor_stale + Duration::seconds(1));
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  EXPECT_EQ(arps().size(), 1U);
}

// req: RFC1122-3.3.1.4-3, RFC1122-3.3.1.4-4
TEST_F(Link, ProbesAStaleNeighborOnlyWhileItIsUsed) {
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
  (void)host.sent();
  host.advance(host.stack.config().ip.neighbor_reachable + Duration::seconds(1));
  EXPECT_EQ(arps().size(), 0U);
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(is_arp(out[0]));  // the old address is used meanwhile
  host.advance(Duration::millis(5001));
  const auto probe = arps();
  ASSERT_EQ(probe.size(), 1U);
  EXPECT_EQ(ethernet_of(probe[0]).destination(), mac(2));
  learn("10.0.0.2", 2);
  host.advance(Duration::seconds(10));
  EXPECT_EQ(arps().size(), 0U);
}

// req: RFC826-Reception-1
TEST_F(Link, IgnoresForeignHardwareProtocolsAndLengths) {
  const std::array<std::pair<std::size_t, int>, 5> changes{
      {{1, 6}, {2, 9}, {4, 8}, {5, 16}, {7, 3}}};
  for (const auto& [offset, value] : changes) {
    Frame packet = arp(wire::ArpOperation::request, mac(2), "10.0.0.2", {}, "10.0.0.1");
    packet[offset] = static_cast<std::byte>(value);
    host.receive(eth, ether(MacAddress::broadcast(), mac(2), EtherType::arp, packet));
  }
  Frame cut = arp(wire::ArpOperation::request, mac(2), "10.0.0.2", {}, "10.0.0.1");
  cut.resize(27);
  host.receive(eth, ether(MacAddress::broadcast(), mac(2), EtherType::arp, cut));
  EXPECT_EQ(host.dropped(DropReason::arp_malformed), 6U);
  EXPECT_TRUE(host.sent().empty());
}

// req: RFC826-Reception-2, RFC826-Reception-4
TEST_F(Link, MergesWhateverTheOperation) {
  learn("10.0.0.2", 2);  // nobody asked: no entry
  EXPECT_EQ(host.dropped(DropReason::arp_spoof), 1U);
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
  (void)host.sent();
  // A request for somebody else, from a new hardware address.
  host.receive(eth, who_has(mac(3), "10.0.0.2", "10.0.0.77"));
  EXPECT_TRUE(host.sent().empty());
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ethernet_of(out[0]).destination(), mac(3));
  // A gratuitous reply, broadcast.
  host.receive(eth, ether(MacAddress::broadcast(), mac(4), EtherType::arp,
                          arp(wire::ArpOperation::reply, mac(4), "10.0.0.2",
                              MacAddress::broadcast(), "10.0.0.2")));
  ASSERT_TRUE(host.send_to(socket, "two", "10.0.0.2:7"));
  out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ethernet_of(out[0]).destination(), mac(4));
}

// req: RFC826-Reception-3, RFC826-Reception-5
TEST_F(Link, AnswersAndRemembersWhoAsks) {
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
  auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(ethernet_of(out[0]).destination(), mac(2));
  const auto reply = arp_of(out[0]);
  EXPECT_EQ(reply.operation(), wire::ArpOperation::reply);
  EXPECT_EQ(reply.sender_mac(), mac(1));
  EXPECT_EQ(reply.sender_ip(), ip("10.0.0.1"));
  EXPECT_EQ(reply.target_mac(), mac(2));
  EXPECT_EQ(reply.target_ip(), ip("10.0.0.2"));
  ASSERT_TRUE(host.send_to(socket, "one", "10.0.0.2:7"));
  out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(is_arp(out[0]));
}

// req: RFC826-Reception-6
TEST_F(Link, DoesNotAnswerForOthers) {
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.3"));
  EXPECT_TRUE(host.sent().empty());
  EXPECT_EQ(host.dropped(DropReason::arp_not_for_us), 1U);
}

// Robustness case 22.
TEST_F(Link, DoesNotBelieveThatAnotherHostHasItsAddress) {
  host.receive(eth, who_has(mac(9), "10.0.0.1", "10.0.0.1"));
  host.receive(eth, who_has(mac(9), "10.0.0.1", "10.0.0.2"));
  host.receive(eth, who_has(MacAddress::broadcast(), "10.0.0.2", "10.0.0.1"));
  host.receive(eth, who_has(mac(9), "224.0.0.1", "10.0.0.1"));
  host.receive(eth, who_has(mac(9), "10.0.0.255", "10.0.0.1"));
  EXPECT_EQ(host.dropped(DropReason::arp_spoof), 5U);
  EXPECT_TRUE(host.sent().empty());
}

// Robustness case 21: the cache is bounded.
TEST_F(Link, AFloodOfRequestsDoesNotFillMemory) {
  const std::size_t before = host.memory.in_use();
  for (std::uint32_t i = 2; i < 20'000; ++i) {
    const std::string sender = to_string(IpAddress::v4(0x0a00'0000U + i % 250 + (i << 8 & 0xff00)));
    host.receive(eth, who_has(mac(2), sender, "10.0.0.1"));
    if (i % 64 == 0) (void)host.sent();
  }
  EXPECT_LT(host.memory.in_use() - before, 4U << 20);
}

TEST_F(Link, FiltersByDestinationAndType) {
  host.receive(eth, Frame(13));
  EXPECT_EQ(host.dropped(DropReason::frame_too_short), 1U);
  host.receive(eth,
               ether(mac(7), mac(2), EtherType::ipv4, udp4("10.0.0.2:1", "10.0.0.1:5000", "x")));
  EXPECT_EQ(host.dropped(DropReason::not_for_us_mac), 1U);
  host.receive(eth, ether(mac(1), mac(2), EtherType::vlan, Frame(40)));
  EXPECT_EQ(host.dropped(DropReason::unknown_ethertype), 1U);
  host.stack.on_link(eth, LinkState::down, 1500, host.now);
  host.receive(eth, to_us(udp4("10.0.0.2:1", "10.0.0.1:5000", "x")));
  EXPECT_EQ(host.dropped(DropReason::interface_down), 1U);
}

// req: RFC1122-2.3.3-1, RFC1122-2.3.3-2, RFC1122-2.3.3-4, RFC1122-2.3.1-1
TEST_F(Link, ReceivesSnapAndSendsEthernetTwoOnly) {
  const Frame packet = udp4("10.0.0.2:1", "10.0.0.1:5000", "snap");
  Frame snap(8 + packet.size());
  Writer writer{snap};
  writer.u32(0xaaaa'0300U);
  writer.u16(0);
  writer.u16(0x0800);
  writer.bytes(packet);
  host.receive(eth, ether(mac(1), mac(2), static_cast<EtherType>(snap.size()), snap));
  EXPECT_EQ(host.receive_text(socket), "snap");
  snap[0] = std::byte{6};  // K1=6 of RFC 894's experimental encapsulation
  host.receive(eth, ether(mac(1), mac(2), static_cast<EtherType>(snap.size()), snap));
  EXPECT_EQ(host.dropped(DropReason::unknown_ethertype), 1U);
  host.receive(eth, who_has(mac(2), "10.0.0.2", "10.0.0.1"));
  ASSERT_TRUE(host.send_to(socket, "answer", "10.0.0.2:1"));
  for (const Frame& frame : host.sent()) {
    EXPECT_TRUE(is_arp(frame) || ethernet_of(frame).ether_type() == EtherType::ipv4);
  }
}

// req: RFC1122-2.4-1, RFC1122-3.3.6-4, RFC1122-3.3.6-2
TEST_F(Link, AUnicastPacketInABroadcastFrameIsNotForUs) {
  const Frame packet = udp4("10.0.0.2:1", "10.0.0.1:5000", "x");
  host.receive(eth, ether(MacAddress::broadcast(), mac(2), EtherType::ipv4, packet));
  EXPECT_EQ(host.receive_text(socket), "(none)");
  EXPECT_EQ(host.dropped(DropReason::ip_not_for_us), 1U);
  for (const char* all : {"255.255.255.255:5000", "10.0.0.255:5000", "10.0.0.0:5000"}) {
    host.receive(eth, ether(MacAddress::broadcast(), mac(2), EtherType::ipv4,
                            udp4("10.0.0.2:1", all, "everybody")));
    EXPECT_EQ(host.receive_text(socket), "everybody") << all;
  }
}

// req: RFC1122-3.3.6-3, RFC1122-3.3.6-5
TEST_F(Link, ABroadcastFrameCarriesABroadcastAddress) {
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::broadcast, 1, host.now));
  for (const char* all : {"255.255.255.255:9", "10.0.0.255:9"}) {
    ASSERT_TRUE(host.send_to(socket, "x", all));
    const auto out = host.sent();
    ASSERT_EQ(out.size(), 1U);
    EXPECT_TRUE(ethernet_of(out[0]).destination().is_broadcast());
    EXPECT_EQ(ip_of(ethernet_of(out[0]).payload()).destination(), at(all).address);
  }
}

}  // namespace
}  // namespace tidewire::testing
