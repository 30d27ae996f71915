// IPv6 on loopback: hostile headers, extension headers, ICMPv6.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv6.hpp"

namespace tidewire::testing {
namespace {

class V6 : public ::testing::Test {
 protected:
  static Frame packet(std::uint8_t next, Bytes payload, std::string_view from = "::1",
                      std::string_view to = "::1") {
    wire::Ipv6Repr repr;
    repr.source = ip(from);
    repr.destination = ip(to);
    repr.next_header = next;
    repr.payload_len = static_cast<std::uint16_t>(payload.size());
    Frame out(40 + payload.size());
    Writer writer{out};
    wire::emit(repr, writer);
    writer.bytes(payload);
    return out;
  }
  static Frame datagram() { return udp_segment(at("[::1]:9"), at("[::1]:5000"), "six"); }
  std::vector<Frame> answer_to(const Frame& frame) {
    host.receive(lo, frame);
    return host.sent();
  }
  static wire::Icmpv6View icmp6_of(const Frame& frame) {
    return wire::Icmpv6View::parse(wire::Ipv6View::parse(frame).value().payload()).value();
  }
  Host host;
  InterfaceId lo = host.loopback();
  SocketId socket = host.udp("[::]:5000");
};

TEST_F(V6, DeliversAndChecksTheChecksum) {
  host.receive(lo, packet(17, datagram()));
  EXPECT_EQ(host.receive_text(socket), "six");
  Frame zero = datagram();
  wire::store_u16(zero.data() + 6, 0);
  host.receive(lo, packet(17, zero));
  EXPECT_EQ(host.dropped(DropReason::udp_bad_checksum), 1U);
}

// Robustness case 13.
TEST_F(V6, ChecksLengthsAndVersion) {
  const Frame whole = packet(17, datagram());
  for (std::size_t size = 1; size < whole.size(); ++size) {
    EXPECT_TRUE(answer_to(frame_of(Bytes{whole}.first(size))).empty());
  }
  EXPECT_EQ(host.dropped(DropReason::ip_truncated), 39U);
  EXPECT_EQ(host.dropped(DropReason::ip_bad_total_length), whole.size() - 40);
  EXPECT_EQ(host.receive_text(socket), "(none)");
}

// Robustness case 16.
TEST_F(V6, DropsBadSources) {
  for (const char* from : {"ff02::1", "::ffff:10.0.0.1"}) {
    EXPECT_TRUE(answer_to(packet(17, datagram(), from)).empty());
  }
  EXPECT_EQ(host.dropped(DropReason::ip_bad_source), 2U);
  EXPECT_TRUE(answer_to(packet(17, datagram(), "::1", "2001:db8::1")).empty());
  EXPECT_EQ(host.dropped(DropReason::ip_not_for_us), 1U);
}

// Robustness cases 14 and 15.
TEST_F(V6, ReportsHeadersItCannotFollow) {
  const auto unknown = answer_to(packet(99, Frame(8)));
  ASSERT_EQ(unknown.size(), 1U);
  EXPECT_EQ(icmp6_of(unknown[0]).type(), wire::Icmpv6Type::parameter_problem);
  EXPECT_EQ(icmp6_of(unknown[0]).code(), 1);
  EXPECT_EQ(icmp6_of(unknown[0]).header().pointer(), 6U);
  // A destination option past its end.
  Frame options(8);
  options[0] = std::byte{17};
  options[1] = std::byte{9};
  EXPECT_LE(answer_to(packet(60, options)).size(), 1U);
  // A hundred chained headers.
  Frame chain;
  for (int i = 0; i < 100; ++i) {
    Frame one(8);
    one[0] = std::byte{60};
    one[2] = std::byte{1};
    one[3] = std::byte{4};
    chain.insert(chain.end(), one.begin(), one.end());
  }
  (void)answer_to(packet(60, chain));
  EXPECT_EQ(host.dropped(DropReason::ip_unsupported_header), 2U);
}

// Robustness case 11: a fragment; no datagram on loopback needs one.
TEST_F(V6, FragmentsAreDropped) {
  Frame fragment(16);
  fragment[0] = std::byte{17};
  fragment[3] = std::byte{1};
  EXPECT_TRUE(answer_to(packet(44, fragment)).empty());
  EXPECT_EQ(host.dropped(DropReason::ip_unsupported_header), 1U);
}

TEST_F(V6, NeverComesFromALinkWithoutNeighborDiscovery) {
  const InterfaceId tun = host.tun("10.0.0.1/24");
  host.receive(tun, packet(17, datagram()));
  EXPECT_EQ(host.dropped(DropReason::ip_unsupported_header), 1U);
  EXPECT_EQ(host.stack.add_address(tun, cidr("2001:db8::1/64"), host.now).error(),
            SocketError::not_supported);
}

TEST_F(V6, AnswersEchoAndDropsBadChecksums) {
  const Frame request = [&] {
    const wire::Icmpv6Repr repr =
        wire::Icmpv6Repr::echo(wire::Icmpv6Type::echo_request, 3, 4, bytes_of("data"));
    Frame out(12);
    Writer writer{out};
    wire::emit(repr, writer, ip("::1"), ip("::1"));
    return out;
  }();
  const auto out = answer_to(packet(58, request));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(icmp6_of(out[0]).type(), wire::Icmpv6Type::echo_reply);
  EXPECT_TRUE(icmp6_of(out[0]).checksum_ok(ip("::1"), ip("::1")));
  Frame bad = request;
  bad[9] ^= std::byte{1};
  EXPECT_TRUE(answer_to(packet(58, bad)).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_bad_checksum), 1U);
  EXPECT_TRUE(answer_to(packet(58, Frame(7))).empty());
  EXPECT_EQ(host.dropped(DropReason::icmp_truncated), 1U);
}

TEST_F(V6, ErrorsReachTheSocket) {
  const SocketId client = host.stack.open(SocketKind::udp, Family::v6).value();
  ASSERT_TRUE(host.stack.connect(client, at("[::1]:9"), host.now));
  ASSERT_TRUE(host.send(client, "x"));
  host.run_loopback(lo);
  EXPECT_EQ(host.stack.take_error(client), SocketError::connection_refused);
  EXPECT_EQ(host.dropped(DropReason::udp_no_port), 1U);
}

}  // namespace
}  // namespace tidewire::testing
