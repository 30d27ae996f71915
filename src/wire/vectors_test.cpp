// Every format against bytes written out by hand from its RFC.
#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"
#include "wire/testing.hpp"
#include "wire/udp.hpp"

namespace tidewire::wire {
namespace {

using testing::Buffer;
using testing::emitted;
using testing::hex;
using testing::kHost;
using testing::kPeer;
using testing::to_hex;

const MacAddress kMac{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};

TEST(Vectors, Ethernet) {
  const Buffer bytes = hex("ffffffffffff 525400123456 0806");
  const EthernetRepr repr{MacAddress::broadcast(), kMac, EtherType::arp};
  EXPECT_EQ(to_hex(emitted(repr, 14)), to_hex(bytes));
  const auto view = EthernetView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_repr(*view), repr);
  EXPECT_TRUE(view->payload().empty());
}

// req: RFC826-Format-1
TEST(Vectors, Arp) {
  const Buffer bytes = hex("0001 0800 06 04 0001 525400123456 0a00020f 000000000000 0a000202");
  const ArpRepr repr{ArpOperation::request, kMac, kHost, MacAddress{}, kPeer};
  EXPECT_EQ(to_hex(emitted(repr, header_len(repr))), to_hex(bytes));
  const auto view = ArpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_repr(*view), repr);
}

TEST(Vectors, Ipv4) {
  const Buffer header = hex("45b8 0073 1234 4000 4011 0f7e 0a00020f 0a000202");
  Ipv4Repr repr{.source = kHost, .destination = kPeer, .protocol = protocol::udp};
  repr.tos = 0xb8;
  repr.id = 0x1234;
  repr.dont_fragment = true;
  repr.payload_len = 0x73 - 20;
  EXPECT_EQ(to_hex(emitted(repr, 20)), to_hex(header));
  Buffer packet = header;
  packet.resize(0x73);
  const auto view = Ipv4View::parse(packet);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(to_repr(*view), repr);
  EXPECT_EQ(view->payload().size(), 0x73U - 20);
}

TEST(Vectors, Ipv4FragmentWithOptions) {
  const Buffer options = hex("94040000 01");
  Ipv4Repr repr{.source = kHost, .destination = kPeer, .protocol = protocol::igmp, .ttl = 1};
  repr.more_fragments = true;
  repr.fragment_offset = 1480;
  repr.options = options;
  const Buffer bytes = emitted(repr, 28);
  EXPECT_EQ(to_hex(bytes),
            "47 00 00 1c 00 00 20 b9 01 02 ea 12 0a 00 02 0f 0a 00 02 02 94 04 00 00 "
            "01 00 00 00");
  const auto view = Ipv4View::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_TRUE(view->is_fragment());
  EXPECT_EQ(view->fragment_offset(), 1480);
  EXPECT_EQ(to_hex(view->options()), "94 04 00 00 01 00 00 00");
  const auto scan = scan_ipv4_options(view->options());
  ASSERT_TRUE(scan);
  EXPECT_TRUE(scan->router_alert);
}

// req: RFC768---1
TEST(Vectors, Udp) {
  const Buffer payload = hex("68690a");
  const Buffer bytes = hex("9c40 0035 000b d8e8");
  const UdpRepr repr{40000, 53, 3};
  const std::array<Bytes, 1> regions{payload};
  EXPECT_EQ(to_hex(emitted(repr, 8, kHost, kPeer, std::span<const Bytes>{regions})), to_hex(bytes));
  const Buffer datagram = testing::joined({bytes, payload});
  const auto view = UdpView::parse(datagram);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_repr(*view), repr);
  EXPECT_TRUE(view->verify(kHost, kPeer));
}

TEST(Vectors, UdpPendingHoldsThePseudoHeaderSum) {
  const UdpRepr repr{40000, 53, 3};
  Buffer bytes(8);
  Writer out{bytes};
  emit_pending(repr, out, kHost, kPeer);
  // 0a00 + 020f + 0a00 + 0202 + 0011 + 000b
  EXPECT_EQ(to_hex(bytes), "9c 40 00 35 00 0b 18 2d");
}

// req: RFC9293-MUST-2, RFC9293-MUST-3
TEST(Vectors, TcpSynAsLinuxSendsIt) {
  const Buffer bytes =
      hex("9c40 0050 00000001 00000000 a0 02 faf0 986c 0000"
          "020405b4 0402 080a 00000001 00000000 01 030307");
  TcpRepr repr{.source_port = 40000, .destination_port = 80, .seq = Seq{1}, .ack = Seq{}};
  repr.flags = TcpFlag::syn;
  repr.window = 64240;
  repr.options.mss = 1460;
  repr.options.sack_permitted = true;
  repr.options.timestamps = TcpTimestamps{1, 0};
  repr.options.window_scale = 7;
  ASSERT_EQ(header_len(repr), 40U);
  EXPECT_EQ(to_hex(emitted(repr, 40, kHost, kPeer)), to_hex(bytes));
  const auto view = TcpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_repr(*view), repr);
  EXPECT_TRUE(view->checksum_ok(kHost, kPeer));
  EXPECT_FALSE(view->checksum_ok(kHost, kHost));
}

TEST(Vectors, TcpOptionsInLinuxOrder) {
  const auto options_of = [](const TcpOptions& options) {
    return to_hex(emitted(options, options_len(options)));
  };
  TcpOptions options;
  options.timestamps = TcpTimestamps{0x01020304, 0x05060708};
  EXPECT_EQ(options_of(options), "01 01 08 0a 01 02 03 04 05 06 07 08");
  options.sack.push_back({Seq{1}, Seq{2}});
  options.sack.push_back({Seq{3}, Seq{4}});
  EXPECT_EQ(options_of(options),
            "01 01 08 0a 01 02 03 04 05 06 07 08 01 01 05 12 00 00 00 01 00 00 00 02 00 00 00 03 "
            "00 00 00 04");
  options = {};
  options.mss = 536;
  options.sack_permitted = true;
  options.window_scale = 14;
  EXPECT_EQ(options_of(options), "02 04 02 18 01 01 04 02 01 03 03 0e");
}

// req: RFC7413-4.1.1-1, RFC5482-3-1
TEST(Vectors, FastOpenAndUserTimeout) {
  const auto options_of = [](const TcpOptions& options) {
    return to_hex(emitted(options, options_len(options)));
  };
  TcpOptions options;
  options.fast_open.emplace();
  EXPECT_EQ(options_of(options), "22 02 01 01");
  options.fast_open->experimental = true;
  EXPECT_EQ(options_of(options), "fe 04 f9 89");
  for (std::size_t i = 0; i < 8; ++i) options.fast_open->octets[i] = static_cast<std::byte>(i);
  options.fast_open->size = 8;
  EXPECT_EQ(options_of(options), "fe 0c f9 89 00 01 02 03 04 05 06 07");
  options.fast_open->experimental = false;
  options.user_timeout = 0x8005;
  EXPECT_EQ(options_of(options), "22 0a 00 01 02 03 04 05 06 07 01 01 1c 04 80 05");
  // With all that a SYN can carry and the longest cookie nothing is left for it.
  options.fast_open->size = 16;
  options.fast_open->octets.fill(std::byte{7});
  options.mss = 1460;
  options.sack_permitted = true;
  options.timestamps = TcpTimestamps{1, 0};
  options.window_scale = 7;
  EXPECT_EQ(options_len(options), 40U);
  TcpOptions back;
  ASSERT_TRUE(parse_tcp_options(emitted(options, 40), back));
  EXPECT_EQ(back.fast_open, options.fast_open);
  EXPECT_FALSE(back.user_timeout);
}

// req: RFC9768-MUST-1
TEST(Vectors, AccurateEcn) {
  const auto options_of = [](const TcpOptions& options) {
    return to_hex(emitted(options, options_len(options)));
  };
  TcpOptions options;
  options.acc_ecn = AccEcnOption{false, 0, {0x010203, 0x040506, 0x070809}};
  EXPECT_EQ(options_of(options), "ac 02 01 01");
  options.acc_ecn->count = 1;
  EXPECT_EQ(options_of(options), "ac 05 01 02 03 01 01 01");
  options.acc_ecn->count = 2;
  EXPECT_EQ(options_of(options), "ac 08 01 02 03 04 05 06");
  options.acc_ecn->count = 3;
  EXPECT_EQ(options_of(options), "ac 0b 01 02 03 04 05 06 07 08 09 01");
  options.acc_ecn->order1 = true;
  EXPECT_EQ(options_of(options), "ae 0b 01 02 03 04 05 06 07 08 09 01");
  EXPECT_EQ(options.acc_ecn->ect1(), 0x010203U);
  EXPECT_EQ(options.acc_ecn->ect0(), 0x070809U);
  EXPECT_EQ(options.acc_ecn->ce(), 0x040506U);
  // SACK blocks come first; the last counters have to go.
  options.timestamps = TcpTimestamps{1, 2};
  for (std::uint32_t i = 0; i < 2; ++i) options.sack.push_back({Seq{i}, Seq{i + 1}});
  EXPECT_EQ(acc_ecn_fields_that_fit(options), 2);
  options.sack.push_back({Seq{7}, Seq{8}});
  EXPECT_EQ(acc_ecn_fields_that_fit(options), std::nullopt);
  EXPECT_EQ(options_len(options), 40U);
  TcpOptions back;
  for (const char* odd : {"ac030101", "ac0400000101", "ae0e0000000000000000000000000101"}) {
    EXPECT_TRUE(parse_tcp_options(hex(odd), back));
    EXPECT_FALSE(back.acc_ecn) << odd;
  }
}

// req: RFC9768-MUST-1
TEST(Vectors, TheNineFlags) {
  TcpRepr repr;
  repr.flags = TcpFlag::ae | TcpFlag::cwr | TcpFlag::ece | TcpFlag::syn;
  const Buffer bytes =
      emitted(repr, header_len(repr), IpAddress::v4(10, 0, 0, 1), IpAddress::v4(10, 0, 0, 2));
  EXPECT_EQ(to_hex(Bytes{bytes}.subspan(12, 2)), "51 c2");
  EXPECT_EQ(to_repr(*TcpView::parse(bytes)).flags, repr.flags);
}

TEST(Vectors, Icmpv4) {
  const Buffer data = hex("61626364");
  const Icmpv4Repr echo = Icmpv4Repr::echo(Icmpv4Type::echo_request, 0x1234, 7, data);
  EXPECT_EQ(to_hex(emitted(echo, 12)), "08 00 20 fe 12 34 00 07 61 62 63 64");
  const Icmpv4Repr too_big =
      Icmpv4Repr::unreachable(icmpv4_unreachable::fragmentation_needed, data, 1400);
  EXPECT_EQ(to_hex(emitted(too_big, 12)), "03 04 32 bd 00 00 05 78 61 62 63 64");
  EXPECT_TRUE(too_big.header.is_fragmentation_needed());
  EXPECT_EQ(too_big.header.mtu(), 1400);
  EXPECT_EQ(to_hex(emitted(Icmpv4Repr::parameter_problem(20, {}), 8)), "0c 00 df ff 14 00 00 00");
  EXPECT_EQ(to_hex(emitted(Icmpv4Repr::redirect(1, kPeer, {}), 8)), "05 01 ee fc 0a 00 02 02");
  EXPECT_EQ(Icmpv4Repr::redirect(1, kPeer, {}).header.gateway(), kPeer);
  EXPECT_EQ(to_hex(emitted(Icmpv4Repr::time_exceeded(1, {}), 8)), "0b 01 f4 fe 00 00 00 00");
}

TEST(Vectors, Ipv6AndIcmpv6) {
  const IpAddress loopback = IpAddress::loopback(Family::v6);
  Ipv6Repr repr{.source = loopback, .destination = loopback, .next_header = protocol::icmpv6};
  repr.traffic_class = 0x12;
  repr.flow_label = 0x34567;
  repr.payload_len = 10;
  EXPECT_EQ(to_hex(emitted(repr, 40)),
            "61 23 45 67 00 0a 3a 40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00 "
            "00 00 00 00 00 00 00 00 00 00 00 01");
  const Buffer data = hex("6869");
  // ~(0001 + 0001 + 000a + 003a + 8000 + 0001 + 0002 + 6869)
  const Icmpv6Repr echo = Icmpv6Repr::echo(Icmpv6Type::echo_request, 1, 2, data);
  EXPECT_EQ(to_hex(emitted(echo, 10, loopback, loopback)), "80 00 17 4d 00 01 00 02 68 69");
  const Buffer packet = testing::joined({emitted(repr, 40), emitted(echo, 10, loopback, loopback)});
  const auto view = Ipv6View::parse(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_repr(*view), repr);
  const auto message = Icmpv6View::parse(view->payload());
  ASSERT_TRUE(message);
  EXPECT_TRUE(message->checksum_ok(loopback, loopback));
  EXPECT_EQ(Icmpv6Repr::packet_too_big(1280, {}).header.mtu(), 1280U);
}

TEST(Vectors, Igmp) {
  const IpAddress group = IpAddress::v4(224, 0, 0, 251);
  const IgmpRecord record{IgmpRecordType::change_to_exclude, group, {}};
  const IgmpV3ReportRepr report{std::span{&record, 1}};
  const Buffer bytes = emitted(report, header_len(report));
  EXPECT_EQ(to_hex(bytes), "22 00 f9 02 00 00 00 01 04 00 00 00 e0 00 00 fb");
  const auto view = IgmpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->version(), 3);
  const Buffer v2_query = hex("1164ee9b00000000");
  const auto query = IgmpView::parse(v2_query);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->version(), 2);
  EXPECT_EQ(query->max_response_code(), 100);
  EXPECT_EQ(igmp_decode(127), 127U);
  EXPECT_EQ(igmp_decode(0x80), 128U);
  EXPECT_EQ(igmp_decode(0xff), 31744U);
}

}  // namespace
}  // namespace tidewire::wire
