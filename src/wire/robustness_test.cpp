// Malformed and hostile formats, by the number of the class of bug they once were elsewhere.
#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv6.hpp"
#include "wire/quoted.hpp"
#include "wire/tcp.hpp"
#include "wire/testing.hpp"
#include "wire/udp.hpp"

namespace tidewire::wire {
namespace {

using namespace testing;

template <typename T>
std::string outcome(const Result<T, ParseError>& result) {
  return result ? "ok" : std::string{to_string(result.error())};
}

Buffer ipv4_packet(std::size_t payload) {
  Ipv4Repr repr{.source = kHost, .destination = kPeer, .protocol = protocol::tcp};
  repr.payload_len = static_cast<std::uint16_t>(payload);
  Buffer packet = emitted(repr, 20);
  packet.resize(20 + payload);
  return packet;
}

// Case 1. req: RFC791-3.1-2
TEST(RobustIpv4, TotalLengthAgainstHeaderAndPacket) {
  Buffer packet = ipv4_packet(30);
  EXPECT_EQ(outcome(Ipv4View::parse(packet)), "ok");
  packet.resize(60, std::byte{0x55});
  const auto trimmed = Ipv4View::parse(packet);
  ASSERT_TRUE(trimmed);
  EXPECT_EQ(trimmed->payload().size(), 30U) << "link padding is no payload";
  EXPECT_EQ(trimmed->payload_len(), 30);
  packet.resize(49);
  EXPECT_EQ(outcome(Ipv4View::parse(packet)), "bad total length");
  EXPECT_EQ(outcome(Ipv4View::parse(packet, 50)), "ok") << "the rest is in further spans";
  store_u16(packet.data() + 2, 19);
  EXPECT_EQ(outcome(Ipv4View::parse(packet)), "bad total length");
  store_u16(packet.data() + 2, 0);
  EXPECT_EQ(outcome(Ipv4View::parse(packet)), "bad total length");
  store_u16(packet.data() + 2, 20);
  EXPECT_TRUE(Ipv4View::parse(packet)->payload().empty());
  packet[0] = std::byte{0x46};
  EXPECT_EQ(outcome(Ipv4View::parse(packet)), "bad total length");
}

// Case 2. req: RFC1122-3.2.1.1-1
TEST(RobustIpv4, VersionAndHeaderLength) {
  const Buffer packet = ipv4_packet(8);
  for (std::size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(outcome(Ipv4View::parse(Bytes{packet}.first(size), SIZE_MAX)), "truncated");
  }
  for (unsigned first = 0; first < 256; ++first) {
    Buffer changed = packet;
    changed[0] = static_cast<std::byte>(first);
    const std::size_t ihl = first & 15;
    const char* expected = "ok";
    if (first >> 4 != 4) {
      expected = "bad version";
    } else if (ihl < 5 || ihl * 4 > packet.size()) {
      expected = "bad header length";
    }
    EXPECT_EQ(outcome(Ipv4View::parse(changed)), expected) << first;
  }
}

// Case 3. req: RFC791-3.1-7, RFC791-3.1-8, RFC1122-3.2.1.8-3
TEST(RobustIpv4, Options) {
  const auto scan = [](std::string_view text) { return outcome(scan_ipv4_options(hex(text))); };
  EXPECT_EQ(scan(""), "ok");
  EXPECT_EQ(scan("01010101"), "ok") << "no end of list";
  EXPECT_EQ(scan("00ff0000"), "ok") << "nothing counts after the end of the list";
  EXPECT_EQ(scan("83000000"), "bad option length");
  EXPECT_EQ(scan("83010000"), "bad option length");
  EXPECT_EQ(scan("83050000"), "bad option length");
  EXPECT_EQ(scan("01010183"), "bad option length") << "no length byte";
  EXPECT_EQ(scan("83020000"), "bad option length") << "no pointer";
  EXPECT_EQ(scan("83030300"), "bad option length") << "pointer below 4";
  EXPECT_EQ(scan("83030400"), "ok");
  EXPECT_EQ(scan("8303ff00"), "ok") << "a pointer past the end means the route is used up";
  EXPECT_EQ(scan("83030489 030400"), "bad option length") << "two source routes";
  EXPECT_EQ(scan("0703040000"), "ok");
  EXPECT_EQ(scan("0703030000"), "bad option length");
  EXPECT_EQ(scan("44040500"), "ok");
  EXPECT_EQ(scan("44040400"), "bad option length");
  EXPECT_EQ(scan("44030500"), "bad option length");
  EXPECT_EQ(scan("94040000"), "ok");
  EXPECT_EQ(scan("94030000"), "bad option length");
  EXPECT_EQ(scan("c80401020a020000"), "ok") << "unknown options are skipped";
  const auto found = scan_ipv4_options(hex("89030407030444040500"));
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, (Ipv4Options{.source_route = true, .record_route = true, .timestamp = true}));
}

// Case 4. req: RFC791-3.1-4, RFC1122-3.2.1.2-1
TEST(RobustIpv4, EveryFlippedBitBreaksTheChecksum) {
  const Buffer options = hex("94040000");
  Ipv4Repr repr{.source = kHost, .destination = kPeer};
  for (const bool with_options : {false, true}) {
    if (with_options) repr.options = options;
    const Buffer header = emitted(repr, header_len(repr));
    for (std::size_t bit = 32; bit < header.size() * 8; ++bit) {
      Buffer changed = header;
      changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      const auto view = Ipv4View::parse(changed, SIZE_MAX);
      ASSERT_TRUE(view);
      EXPECT_FALSE(view->checksum_ok()) << bit;
    }
  }
}

Buffer ipv6_packet(std::uint8_t next_header, Bytes payload) {
  Ipv6Repr repr{.next_header = next_header};
  repr.payload_len = static_cast<std::uint16_t>(payload.size());
  return joined({emitted(repr, 40), payload});
}

std::string upper_of(std::uint8_t next_header, std::string_view text) {
  const Buffer packet = ipv6_packet(next_header, hex(text));
  const auto view = Ipv6View::parse(packet);
  if (!view) return std::string{to_string(view.error())};
  const auto upper = find_upper_layer(*view);
  if (upper) {
    return std::to_string(upper->protocol) + "@" + std::to_string(upper->offset) +
           (upper->is_fragment ? "f" + std::to_string(upper->fragment_offset) : "") +
           (upper->more_fragments ? "+" : "");
  }
  const Ipv6Problem& problem = upper.error();
  if (!problem.report) return "discard";
  return "code " + std::to_string(problem.code) + " at " + std::to_string(problem.pointer) +
         (problem.report_to_multicast ? " even multicast" : "");
}

// Case 13.
TEST(RobustIpv6, FixedHeader) {
  Buffer packet = ipv6_packet(protocol::tcp, hex("0011223344"));
  EXPECT_EQ(outcome(Ipv6View::parse(Bytes{packet}.first(39))), "truncated");
  EXPECT_EQ(outcome(Ipv6View::parse(Bytes{})), "truncated");
  EXPECT_EQ(outcome(Ipv6View::parse(Bytes{packet}.first(44))), "bad total length");
  EXPECT_EQ(outcome(Ipv6View::parse(Bytes{packet}.first(44), 45)), "ok");
  packet.resize(80);
  EXPECT_EQ(Ipv6View::parse(packet)->payload().size(), 5U);
  packet[0] = std::byte{0x45};
  EXPECT_EQ(outcome(Ipv6View::parse(packet)), "bad version");
}

// Cases 11, 14, 15, 16 and 17, as far as the format goes.
TEST(RobustIpv6, ExtensionHeaders) {
  EXPECT_EQ(upper_of(6, ""), "6@40");
  EXPECT_EQ(upper_of(59, "aabb"), "59@40") << "no next header, trailing bytes";
  EXPECT_EQ(upper_of(0, "0600010400000000"), "6@48");
  EXPECT_EQ(upper_of(0, "06000502000000 00"), "6@48") << "router alert and Pad1";
  EXPECT_EQ(upper_of(0, "0600050100000000"), "code 0 at 43") << "router alert of a wrong length";
  EXPECT_EQ(upper_of(0, "06ff010400000000"), "discard") << "past the end";
  EXPECT_EQ(upper_of(0, "06"), "discard");
  EXPECT_EQ(upper_of(0, "0600010500000000"), "code 0 at 43") << "PadN past the header";
  EXPECT_EQ(upper_of(0, "0600000000000001"), "code 0 at 47") << "option without length";
  EXPECT_EQ(upper_of(60, "0000010400000000 0600010400000000"), "code 1 at 40")
      << "hop-by-hop not first";
  EXPECT_EQ(upper_of(0, "06003e0400000000"), "6@48") << "unknown, skip";
  EXPECT_EQ(upper_of(0, "06007e0400000000"), "discard") << "unknown, discard";
  EXPECT_EQ(upper_of(0, "0600be0400000000"), "code 2 at 42 even multicast");
  EXPECT_EQ(upper_of(0, "0600fe0400000000"), "code 2 at 42");
  EXPECT_EQ(upper_of(43, "0600000000000000"), "6@48") << "routing header, segments left 0";
  EXPECT_EQ(upper_of(43, "0600000100000000"), "code 0 at 42");
  std::string chain;
  for (int i = 0; i < 8; ++i) chain += "3c00010400000000";
  EXPECT_EQ(upper_of(60, chain + "0600010400000000"), "discard") << "100 chained headers";
}

TEST(RobustIpv6, FragmentHeaders) {
  EXPECT_EQ(upper_of(44, "0600000000000007"), "6@48f0") << "atomic fragment (RFC 6946)";
  EXPECT_EQ(upper_of(44, "06000001 00000007"), "6@48f0+");
  EXPECT_EQ(upper_of(44, "3c000010 00000007 ffff"), "60@48f16") << "data, not a header, follows";
  EXPECT_EQ(upper_of(44, "2c000000 00000007 0600000000000007"), "code 0 at 40") << "twice";
  EXPECT_EQ(upper_of(44, "060000"), "discard");
}

// Case 18.
TEST(RobustIcmp, QuotedPacketTruncatedAnywhere) {
  TcpRepr tcp{.source_port = 1234, .destination_port = 80, .seq = Seq{0xdeadbeef}};
  const Buffer quoted =
      joined({Bytes{ipv4_packet(1000)}.first(20), emitted(tcp, 20, kHost, kPeer)});
  for (std::size_t size = 0; size <= quoted.size(); ++size) {
    const Buffer message = emitted(Icmpv4Repr::unreachable(3, Bytes{quoted}.first(size)), 8 + size);
    const auto view = Icmpv4View::parse(message);
    ASSERT_TRUE(view);
    const auto packet = parse_quoted_v4(view->payload());
    ASSERT_EQ(packet.has_value(), size >= 28) << size;
    if (!packet) continue;
    EXPECT_EQ(packet->destination, kPeer);
    EXPECT_EQ(packet->source_port, 1234);
    EXPECT_EQ(packet->seq, Seq{0xdeadbeef});
    EXPECT_EQ(packet->total_len, 1020);
  }
  for (std::size_t size = 0; size < 8; ++size) {
    EXPECT_EQ(outcome(Icmpv4View::parse(Bytes{quoted}.first(size))), "truncated");
  }
  Buffer bogus = quoted;
  bogus[0] = std::byte{0x4f};
  EXPECT_EQ(outcome(parse_quoted_v4(Bytes{bogus}.first(40))), "bad header length");
  bogus[0] = std::byte{0x44};
  EXPECT_EQ(outcome(parse_quoted_v4(bogus)), "bad header length");
  bogus = quoted;
  store_u16(bogus.data() + 2, 3);
  EXPECT_EQ(outcome(parse_quoted_v4(bogus)), "bad total length");
}

TEST(RobustIcmp, QuotedLaterFragmentHasNoPorts) {
  Ipv4Repr repr{.source = kHost, .destination = kPeer, .protocol = protocol::udp};
  repr.fragment_offset = 8;
  repr.payload_len = 4;
  const auto packet = parse_quoted_v4(joined({emitted(repr, 20), hex("00350035")}));
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->fragment_offset, 8);
  EXPECT_EQ(packet->destination_port, 0);
}

TEST(RobustIcmp, QuotedIpv6) {
  Buffer packet = ipv6_packet(protocol::udp, hex("9c40003500080000"));
  store_u16(packet.data() + 4, 1400);
  const auto quoted = parse_quoted_v6(packet);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->destination_port, 53);
  EXPECT_EQ(quoted->total_len, 1440);
  packet.pop_back();
  EXPECT_EQ(outcome(parse_quoted_v6(packet)), "truncated");
  packet.resize(39);
  EXPECT_EQ(outcome(parse_quoted_v6(packet)), "truncated");
}

TEST(RobustIcmp, TimestampMessagesNeedTheirTimes) {
  EXPECT_EQ(outcome(Icmpv4View::parse(hex("0d000000 00010002 00000000 00000000 000000"))),
            "truncated");
  EXPECT_EQ(outcome(Icmpv4View::parse(hex("0d000000 00010002 00000000 00000000 00000000"))), "ok");
}

// Case 22. req: RFC826-Reception-1
TEST(RobustArp, FieldsAndLength) {
  const Buffer good = emitted(ArpRepr{}, kArpLen);
  for (std::size_t size = 0; size < kArpLen; ++size) {
    EXPECT_EQ(outcome(ArpView::parse(Bytes{good}.first(size))), "truncated") << size;
  }
  const auto with = [&good](std::size_t at, std::uint8_t value) {
    Buffer changed = good;
    changed[at] = static_cast<std::byte>(value);
    return outcome(ArpView::parse(changed));
  };
  EXPECT_EQ(with(1, 6), "bad hardware type");
  EXPECT_EQ(with(2, 0x86), "bad protocol type");
  EXPECT_EQ(with(4, 0), "bad address length");
  EXPECT_EQ(with(4, 255), "bad address length");
  EXPECT_EQ(with(5, 16), "bad address length");
  EXPECT_EQ(with(7, 0), "bad operation");
  EXPECT_EQ(with(7, 3), "bad operation");
  EXPECT_EQ(with(7, 2), "ok");
  Buffer padded = good;
  padded.resize(46);
  EXPECT_EQ(outcome(ArpView::parse(padded)), "ok");
}

Buffer with_checksum(Buffer message) {
  store_u16(message.data() + 2, 0);
  store_u16(message.data() + 2, internet_checksum(message));
  return message;
}

// Case 22.
TEST(RobustIgmp, CountsAndLength) {
  const auto parse = [](std::string_view text) {
    return outcome(IgmpView::parse(with_checksum(hex(text))));
  };
  EXPECT_EQ(outcome(IgmpView::parse(hex("11000000000000"))), "truncated");
  EXPECT_EQ(outcome(IgmpView::parse(hex("1100000000000000"))), "bad checksum");
  EXPECT_EQ(parse("1164000000000000"), "ok");
  EXPECT_EQ(parse("116400000000000000"), "truncated") << "neither version 2 nor 3";
  EXPECT_EQ(parse("1164000000000000 02 7d 0001"), "bad count");
  EXPECT_EQ(parse("1164000000000000 02 7d ffff 0a000001"), "bad count");
  EXPECT_EQ(parse("1164000000000000 02 7d 0001 0a000001"), "ok");
  EXPECT_EQ(parse("2200000000000001"), "bad count");
  EXPECT_EQ(parse("22000000000000ff 04000000e00000fb"), "bad count");
  EXPECT_EQ(parse("2200000000000001 04000001e00000fb"), "bad count");
  EXPECT_EQ(parse("2200000000000001 04010000e00000fb"), "bad count") << "auxiliary data missing";
  EXPECT_EQ(parse("2200000000000001 04010000e00000fb 00000000"), "ok");
  EXPECT_EQ(parse("7700000000000000"), "bad operation");
}

// Case 43. req: RFC768---2, RFC1122-4.1.3.4-1
TEST(RobustUdp, Lengths) {
  const auto parse = [](std::string_view text) { return outcome(UdpView::parse(hex(text))); };
  EXPECT_EQ(parse(""), "truncated");
  EXPECT_EQ(parse("00010002 0008 00"), "truncated");
  EXPECT_EQ(parse("00010002 0007 0000"), "bad total length");
  EXPECT_EQ(parse("00010002 0000 0000"), "bad total length");
  EXPECT_EQ(parse("00010002 0009 0000"), "bad total length");
  EXPECT_EQ(parse("00010002 ffff 0000"), "bad total length");
  EXPECT_EQ(parse("00010002 0008 0000"), "ok");
  const Buffer trailing = hex("00010002 0009 0000 aabbcc");
  const auto trimmed = UdpView::parse(trailing);
  ASSERT_TRUE(trimmed);
  EXPECT_EQ(trimmed->payload().size(), 1U);
}

// Case 43. req: RFC768---4, RFC768---5, RFC768---6, RFC1122-4.1.3.4-2
TEST(RobustUdp, Checksums) {
  const IpAddress v6 = IpAddress::loopback(Family::v6);
  const Buffer without = hex("00010002 0008 0000");
  EXPECT_TRUE(UdpView::parse(without)->verify(kHost, kPeer));
  EXPECT_EQ(outcome(UdpView::parse(without)->verify(v6, v6)), "missing checksum");
  EXPECT_EQ(outcome(UdpView::parse(hex("00010002 0008 0001"))->verify(kHost, kPeer)),
            "bad checksum");
  // Ports chosen so that the sum is 0xffff: the field would be 0 and is sent as ones.
  UdpRepr repr{0, 0, 0};
  Checksum sum;
  sum.add_pseudo_header(kHost, kPeer, protocol::udp, 8);
  sum.add_u16(8);
  repr.source_port = sum.finish();
  const Buffer ones = emitted(repr, 8, kHost, kPeer, std::span<const Bytes>{});
  EXPECT_EQ(load_u16(ones.data() + 6), 0xffff);
  EXPECT_TRUE(UdpView::parse(ones)->verify(kHost, kPeer));
}

}  // namespace
}  // namespace tidewire::wire
