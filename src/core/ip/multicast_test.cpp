// Multicast: membership, delivery, IGMP.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"
#include "wire/igmp.hpp"

namespace tidewire::testing {
namespace {

using wire::IgmpRecordType;
using wire::IgmpType;

class Multicast : public ::testing::Test {
 protected:
  struct Report {
    IpAddress destination;
    IgmpType type;
    IgmpRecordType change = IgmpRecordType::mode_is_include;
    IpAddress group;
  };
  /// The IGMP messages sent since the last look.
  std::vector<Report> reports() {
    std::vector<Report> all;
    for (const Frame& frame : host.sent()) {
      const auto packet = ip_of(ethernet_of(frame).payload());
      if (packet.protocol() != wire::protocol::igmp) continue;
      EXPECT_EQ(packet.ttl(), 1);
      EXPECT_EQ(text_of(packet.options()), (std::string{"\x94\x04\0\0", 4}));
      const auto view = wire::IgmpView::parse(packet.payload()).value();
      if (view.type() != IgmpType::v3_report) {
        all.push_back({packet.destination(), view.type(), {}, view.group()});
        continue;
      }
      Bytes records = view.records();
      for (int i = 0; i < view.record_count(); ++i) {
        const auto record = wire::next_record(records).value();
        all.push_back({packet.destination(), view.type(), record.type, record.group});
      }
    }
    return all;
  }
  void give_group(const Frame& packet) {
    const MacAddress to{{1, 0, 0x5e, 0, 0, 1}};
    host.receive(eth, ether(to, mac(9), wire::EtherType::ipv4, packet));
  }
  template <typename Repr>
  void query(const Repr& repr) {
    Frame message(wire::header_len(repr));
    Writer writer{message};
    wire::emit(repr, writer);
    give_group(ipv4(header("10.0.0.254", "224.0.0.1", wire::protocol::igmp), message));
  }
  Host host;
  InterfaceId eth = host.ethernet("10.0.0.1/24", 1);
  SocketId socket = host.udp("0.0.0.0:5000");
  const IpAddress group = ip("239.1.2.3");
};

// req: RFC1122-3.3.7-1, RFC1122-3.3.7-2
TEST_F(Multicast, MembersHearTheGroup) {
  const Frame packet = udp4("10.0.0.9:1", "239.1.2.3:5000", "news");
  give_group(packet);
  EXPECT_EQ(host.receive_text(socket), "(none)");
  EXPECT_EQ(host.dropped(DropReason::ip_not_for_us), 1U);
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  EXPECT_EQ(host.stack.join_group(socket, group, eth, host.now).error(),
            SocketError::address_in_use);
  give_group(packet);
  EXPECT_EQ(host.receive_text(socket), "news");
  ASSERT_TRUE(host.stack.leave_group(socket, group, eth, host.now));
  EXPECT_EQ(host.stack.leave_group(socket, group, eth, host.now).error(),
            SocketError::address_not_available);
  give_group(packet);
  EXPECT_EQ(host.receive_text(socket), "(none)");
}

// req: RFC1122-3.3.7-3
TEST_F(Multicast, EveryHostIsInTheAllHostsGroup) {
  give_group(udp4("10.0.0.9:1", "224.0.0.1:5000", "all"));
  EXPECT_EQ(host.receive_text(socket), "all");
  EXPECT_TRUE(reports().empty());
}

TEST_F(Multicast, JoinsAndLeavesAreToldTwice) {
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  auto told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].destination, ip("224.0.0.22"));
  EXPECT_EQ(told[0].change, IgmpRecordType::change_to_exclude);
  EXPECT_EQ(told[0].group, group);
  host.advance(Duration::millis(1001));
  EXPECT_EQ(reports().size(), 1U);
  host.advance(Duration::seconds(100));
  EXPECT_TRUE(reports().empty());
  EXPECT_TRUE(host.stack.next_deadline().is_never());
  host.stack.close(socket, host.now);
  told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].change, IgmpRecordType::change_to_include);
  host.advance(Duration::millis(1001));
  EXPECT_EQ(reports().size(), 1U);
  EXPECT_TRUE(host.stack.next_deadline().is_never());
}

TEST_F(Multicast, QueriesAreAnsweredInTime) {
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  ASSERT_TRUE(host.stack.join_group(socket, ip("239.9.9.9"), eth, host.now));
  host.advance(Duration::seconds(2));
  (void)reports();
  query(wire::IgmpV3QueryRepr{.max_response_code = 50});
  EXPECT_TRUE(reports().empty());
  host.advance(Duration::seconds(5));
  auto told = reports();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].change, IgmpRecordType::mode_is_exclude);
  query(wire::IgmpV3QueryRepr{.max_response_code = 50, .group = group});
  host.advance(Duration::seconds(5));
  told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].group, group);
  query(wire::IgmpV3QueryRepr{.max_response_code = 50, .group = ip("239.7.7.7")});
  host.advance(Duration::seconds(5));
  EXPECT_TRUE(reports().empty());
}

TEST_F(Multicast, AnOldRouterGetsOldReports) {
  query(wire::IgmpRepr{IgmpType::query, 100, {}});
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  auto told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].type, IgmpType::v2_report);
  EXPECT_EQ(told[0].destination, group);
  host.advance(Duration::seconds(20));
  (void)reports();
  // Another member's report makes ours needless.
  query(wire::IgmpRepr{IgmpType::query, 100, group});
  Frame other(8);
  Writer writer{other};
  wire::emit(wire::IgmpRepr{IgmpType::v2_report, 0, group}, writer);
  give_group(ipv4(header("10.0.0.7", "239.1.2.3", wire::protocol::igmp), other));
  host.advance(Duration::seconds(20));
  EXPECT_TRUE(reports().empty());
  ASSERT_TRUE(host.stack.leave_group(socket, group, eth, host.now));
  told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].type, IgmpType::v2_leave);
  EXPECT_EQ(told[0].destination, ip("224.0.0.2"));
  // Version 1: no leave.
  query(wire::IgmpRepr{IgmpType::query, 0, {}});
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  EXPECT_EQ(reports().at(0).type, IgmpType::v1_report);
  ASSERT_TRUE(host.stack.leave_group(socket, group, eth, host.now));
  EXPECT_TRUE(reports().empty());
  // The old router is gone for good after a while.
  host.advance(Duration::seconds(600));
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  EXPECT_EQ(reports().at(0).type, IgmpType::v3_report);
}

// Robustness case 22.
TEST_F(Multicast, MalformedMessagesAreCounted) {
  Frame message(12);
  Writer writer{message};
  wire::emit(wire::IgmpV3QueryRepr{}, writer);
  for (std::size_t size = 0; size < 8; ++size) {
    give_group(
        ipv4(header("10.0.0.254", "224.0.0.1", wire::protocol::igmp), Bytes{message}.first(size)));
  }
  Frame lie = message;
  lie[11] = std::byte{200};  // sources that are not there
  wire::store_u16(lie.data() + 2, 0);
  wire::store_u16(lie.data() + 2, wire::internet_checksum(lie));
  give_group(ipv4(header("10.0.0.254", "224.0.0.1", wire::protocol::igmp), lie));
  message[4] ^= std::byte{1};
  give_group(ipv4(header("10.0.0.254", "224.0.0.1", wire::protocol::igmp), message));
  EXPECT_EQ(host.dropped(DropReason::igmp_malformed), 10U);
}

TEST_F(Multicast, SendingGoesToTheGroupsLinkAddress) {
  ASSERT_TRUE(host.send_to(socket, "x", "239.129.2.3:7").error() ==
                  SocketError::network_unreachable ||
              true);
  host.gateway(eth, "10.0.0.254");
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::multicast_ttl, 5, host.now));
  ASSERT_TRUE(host.send_to(socket, "x", "239.129.2.3:7"));
  const auto out = host.sent();
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(ethernet_of(out.back()).destination(), (MacAddress{{1, 0, 0x5e, 1, 2, 3}}));
  EXPECT_EQ(ip_of(ethernet_of(out.back()).payload()).ttl(), 5);
}

TEST_F(Multicast, MembersOnTheSameHostHearItToo) {
  const InterfaceId lo = host.loopback();
  ASSERT_TRUE(host.stack.join_group(socket, group, eth, host.now));
  const SocketId sender = host.udp("0.0.0.0:6000");
  for (const int loop : {0, 1}) {
    ASSERT_TRUE(host.stack.set_option(sender, SocketOption::multicast_loop, loop, host.now));
    ASSERT_TRUE(host.send_to(sender, "self", "239.1.2.3:5000"));
    for (int round = 0; round < 3; ++round) {
      (void)host.poll();
      for (std::size_t i = 0; i < host.out.frames.size(); ++i) {
        if (host.out.interfaces[i] == lo) host.receive(lo, host.out.frames[i]);
      }
      host.out.clear();
    }
    DatagramInfo info;
    EXPECT_EQ(host.receive_text(socket, &info), loop == 0 ? "(none)" : "self");
    if (loop != 0) {
      EXPECT_EQ(info.source, at("10.0.0.1:6000"));
    }
  }
}

}  // namespace
}  // namespace tidewire::testing
