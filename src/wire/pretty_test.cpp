#include "wire/pretty.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"
#include "wire/testing.hpp"
#include "wire/udp.hpp"

namespace tidewire::wire {
namespace {

using namespace testing;

Buffer ip(std::uint8_t protocol, Bytes payload, Ipv4Repr repr = {}) {
  repr.source = kHost;
  repr.destination = kPeer;
  repr.protocol = protocol;
  repr.payload_len = static_cast<std::uint16_t>(payload.size());
  return joined({emitted(repr, header_len(repr)), payload});
}

Buffer tcp(const TcpRepr& repr, Bytes payload = {}) {
  const std::array<Bytes, 1> regions{payload};
  return joined(
      {emitted(repr, header_len(repr), kHost, kPeer, std::span<const Bytes>{regions}), payload});
}

std::string line(Bytes packet) { return pretty(Medium::ip, packet); }

TcpRepr syn() {
  TcpRepr repr{.source_port = 40000, .destination_port = 80, .seq = Seq{1}};
  repr.flags = TcpFlag::syn;
  repr.window = 64240;
  repr.options.mss = 1460;
  repr.options.sack_permitted = true;
  repr.options.timestamps = TcpTimestamps{1, 0};
  repr.options.window_scale = 7;
  return repr;
}

TEST(Pretty, TcpSyn) {
  const Buffer packet = ip(protocol::tcp, tcp(syn()));
  const std::string expected =
      "IP 10.0.2.15.40000 > 10.0.2.2.80: Flags [S], seq 1, win 64240, options [mss 1460,sackOK,TS "
      "val 1 ecr 0,nop,wscale 7], length 0";
  EXPECT_EQ(line(packet), expected);
  const Buffer frame = joined({emitted(EthernetRepr{}, 14), packet, Buffer(6)});
  EXPECT_EQ(pretty(Medium::ethernet, frame), expected);
}

TEST(Pretty, TcpDataAndSack) {
  TcpRepr repr{.source_port = 1, .destination_port = 2, .seq = Seq{100}, .ack = Seq{200}};
  repr.flags = TcpFlag::psh | TcpFlag::ack;
  repr.window = 502;
  EXPECT_EQ(line(ip(protocol::tcp, tcp(repr, Buffer(10)))),
            "IP 10.0.2.15.1 > 10.0.2.2.2: Flags [P.], seq 100:110, ack 200, win 502, length 10");
  repr.flags = TcpFlag::ack | TcpFlag::urg;
  repr.urgent_pointer = 5;
  repr.options.sack.push_back({Seq{300}, Seq{400}});
  EXPECT_EQ(line(ip(protocol::tcp, tcp(repr))),
            "IP 10.0.2.15.1 > 10.0.2.2.2: Flags [.U], ack 200, win 502, urg 5, options "
            "[nop,nop,sack 1 {300:400}], length 0");
}

TEST(Pretty, ChecksumsAndMalformedTcp) {
  Buffer segment = tcp(syn());
  store_u16(segment.data() + 16, 0x1234);
  EXPECT_THAT(line(ip(protocol::tcp, segment)), ::testing::HasSubstr("], bad cksum, length 0"));
  store_u16(segment.data() + 16, pseudo_header_sum(kHost, kPeer, protocol::tcp, 40));
  EXPECT_THAT(line(ip(protocol::tcp, segment)), ::testing::HasSubstr("], cksum pending, length 0"));
  EXPECT_EQ(line(ip(protocol::tcp, Bytes{segment}.first(19))),
            "IP 10.0.2.15 > 10.0.2.2: tcp, truncated, length 19");
  store_u8(segment.data() + 12, 0x40);
  EXPECT_EQ(line(ip(protocol::tcp, segment)),
            "IP 10.0.2.15 > 10.0.2.2: tcp, bad header length, length 40");
  store_u8(segment.data() + 12, 0x60);
  store_u32(segment.data() + 20, 0x01080001);
  EXPECT_THAT(line(ip(protocol::tcp, segment)), ::testing::HasSubstr("options [nop,[bad opt]]"));
}

TEST(Pretty, UdpAndFragments) {
  const Buffer data = hex("0102030405");
  const std::array<Bytes, 1> regions{data};
  const Buffer datagram = joined(
      {emitted(UdpRepr{40000, 53, 5}, 8, kHost, kPeer, std::span<const Bytes>{regions}), data});
  EXPECT_EQ(line(ip(protocol::udp, datagram)), "IP 10.0.2.15.40000 > 10.0.2.2.53: UDP, length 5");
  const Buffer first = joined({emitted(UdpRepr{40000, 53, 2000}, 8, std::uint16_t{0}), Buffer(8)});
  EXPECT_EQ(line(ip(protocol::udp, first, {.id = 7, .more_fragments = true})),
            "IP 10.0.2.15.40000 > 10.0.2.2.53: UDP, length 2000 (frag id 7, offset 0, more)");
  EXPECT_EQ(line(ip(protocol::udp, data, {.id = 7, .fragment_offset = 1480})),
            "IP 10.0.2.15 > 10.0.2.2: udp (frag id 7, offset 1480), length 5");
  EXPECT_EQ(line(ip(protocol::udp, Bytes{datagram}.first(9))),
            "IP 10.0.2.15 > 10.0.2.2: UDP, bad total length, length 9");
}

TEST(Pretty, Icmp) {
  const auto icmp = [](const Icmpv4Repr& repr) {
    return line(ip(protocol::icmp, emitted(repr, 8 + repr.payload.size())));
  };
  EXPECT_EQ(icmp(Icmpv4Repr::echo(Icmpv4Type::echo_reply, 3, 4, {})),
            "IP 10.0.2.15 > 10.0.2.2: ICMP echo reply, id 3, seq 4, length 8");
  const Buffer quoted = ip(protocol::udp, hex("0001003500080000"));
  EXPECT_EQ(icmp(Icmpv4Repr::unreachable(icmpv4_unreachable::port, quoted)),
            "IP 10.0.2.15 > 10.0.2.2: ICMP 10.0.2.2 udp port 53 unreachable - port, length 36");
  EXPECT_EQ(icmp(Icmpv4Repr::unreachable(icmpv4_unreachable::fragmentation_needed, quoted, 1400)),
            "IP 10.0.2.15 > 10.0.2.2: ICMP 10.0.2.2 udp port 53 unreachable - need to frag (mtu "
            "1400), length 36");
  EXPECT_EQ(icmp(Icmpv4Repr::time_exceeded(0, Bytes{quoted}.first(10))),
            "IP 10.0.2.15 > 10.0.2.2: ICMP time exceeded in-transit for (quoted packet: "
            "truncated), length 18");
  EXPECT_EQ(line(ip(protocol::icmp, hex("08000000"))),
            "IP 10.0.2.15 > 10.0.2.2: ICMP truncated, length 4");
}

TEST(Pretty, Arp) {
  const auto arp = [](const ArpRepr& repr) {
    return pretty(Medium::ethernet, joined({emitted(EthernetRepr{.ether_type = EtherType::arp}, 14),
                                            emitted(repr, kArpLen)}));
  };
  const MacAddress mac{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
  EXPECT_EQ(arp({ArpOperation::request, mac, kHost, {}, kPeer}),
            "ARP, Request who-has 10.0.2.2 tell 10.0.2.15, length 28");
  EXPECT_EQ(arp({ArpOperation::reply, mac, kPeer, {}, kHost}),
            "ARP, Reply 10.0.2.2 is-at 52:54:00:12:34:56, length 28");
  EXPECT_EQ(arp({ArpOperation::request, mac, kHost, {}, kHost}),
            "ARP, Announcement 10.0.2.15, length 28");
}

TEST(Pretty, Ipv6) {
  const IpAddress host = IpAddress::loopback(Family::v6);
  Ipv6Repr repr{.source = host, .destination = host, .next_header = protocol::icmpv6};
  repr.payload_len = 8;
  const Icmpv6Repr echo = Icmpv6Repr::echo(Icmpv6Type::echo_request, 1, 2, {});
  EXPECT_EQ(line(joined({emitted(repr, 40), emitted(echo, 8, host, host)})),
            "IP6 ::1 > ::1: ICMP6, echo request, id 1, seq 2, length 8");
  repr.next_header = protocol::tcp;
  repr.payload_len = 20;
  TcpRepr rst{.source_port = 5, .destination_port = 6};
  rst.flags = TcpFlag::rst;
  EXPECT_EQ(line(joined({emitted(repr, 40), emitted(rst, 20, host, host)})),
            "IP6 ::1.5 > ::1.6: Flags [R], seq 0, win 0, length 0");
  repr.next_header = protocol::ipv6_fragment;
  EXPECT_EQ(line(joined({emitted(repr, 40), hex("1100001000000007"), Buffer(12)})),
            "IP6 ::1 > ::1: udp (frag id 7, offset 16), length 12");
}

TEST(Pretty, Igmp) {
  const IgmpRecord record{IgmpRecordType::change_to_exclude, IpAddress::v4(224, 0, 0, 251), {}};
  const IgmpV3ReportRepr report{std::span{&record, 1}};
  EXPECT_EQ(line(ip(protocol::igmp, emitted(report, 16))),
            "IP 10.0.2.15 > 10.0.2.2: igmp v3 report, 1 group record(s) [224.0.0.251 type 4, 0 "
            "source(s)], length 16");
}

TEST(Pretty, SaysWhatIsWrong) {
  EXPECT_EQ(line({}), "IP truncated, length 0");
  EXPECT_EQ(line(hex("45")), "IP truncated, length 1");
  EXPECT_EQ(line(hex("6000")), "IP6 truncated, length 2");
  EXPECT_EQ(line(Buffer(20)), "IP bad version, length 20");
  EXPECT_EQ(pretty(Medium::ethernet, hex("0102")), "ethernet truncated, length 2");
  Buffer packet = ip(99, Buffer(4));
  EXPECT_EQ(line(packet), "IP 10.0.2.15 > 10.0.2.2: ip-proto-99, length 4");
  EXPECT_EQ(line(Bytes{packet}.first(22)),
            "IP truncated-ip - 2 bytes missing! 10.0.2.15 > 10.0.2.2: ip-proto-99, length 4");
  packet[8] ^= std::byte{1};
  EXPECT_EQ(line(packet), "IP bad header cksum! 10.0.2.15 > 10.0.2.2: ip-proto-99, length 4");
  EXPECT_EQ(pretty(Medium::ethernet,
                   emitted(EthernetRepr{.ether_type = static_cast<EtherType>(0x88cc)}, 14)),
            "00:00:00:00:00:00 > 00:00:00:00:00:00, ethertype 0x88cc, length 14");
}

}  // namespace
}  // namespace tidewire::wire
