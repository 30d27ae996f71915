// A host that forwards packets between two links.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

using wire::Ipv4Repr;

class Forward : public ::testing::Test {
 protected:
  std::vector<Frame> through(const Frame& packet) {
    host.receive(left, packet);
    (void)host.poll();
    std::vector<Frame> out = std::move(host.out.frames);
    interfaces = std::move(host.out.interfaces);
    host.out.clear();
    return out;
  }
  Host host;
  InterfaceId left = host.tun("10.1.0.1/24");
  InterfaceId right = host.tun("10.2.0.1/24", 576);
  std::vector<InterfaceId> interfaces;
};

Frame packet(std::size_t size, bool dont_fragment = false, std::uint8_t ttl = 9) {
  return udp4("10.1.0.2:1000", "10.2.0.2:2000", std::string(size, 'x'), [&](Ipv4Repr& r) {
    r.ttl = ttl;
    r.id = 77;
    r.dont_fragment = dont_fragment;
  });
}

// req: RFC1122-3.1-5, RFC1122-3.1-6, RFC1122-3.1-7
TEST_F(Forward, IsOffUntilSwitchedOn) {
  EXPECT_TRUE(through(packet(10)).empty());
  EXPECT_EQ(host.dropped(DropReason::ip_not_for_us), 1U);
  host.stack.set_ip_forwarding(true);
  EXPECT_EQ(through(packet(10)).size(), 1U);
  host.stack.set_ip_forwarding(false);
  EXPECT_TRUE(through(packet(10)).empty());
}

// req: RFC791-3.2-2, RFC791-3.1-4, RFC1122-3.1-4
TEST_F(Forward, TakesOneFromTheTimeToLive) {
  host.stack.set_ip_forwarding(true);
  const auto out = through(packet(10));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(interfaces[0], right);
  EXPECT_EQ(ip_of(out[0]).ttl(), 8);
  EXPECT_TRUE(ip_of(out[0]).checksum_ok());
  EXPECT_EQ(ip_of(out[0]).id(), 77);
  EXPECT_EQ(udp_text(out[0]), std::string(10, 'x'));
  EXPECT_EQ(host.stack.counters().ip_forwarded, 1U);
}

// req: RFC791-3.1-5
TEST_F(Forward, DestroysWhatHasNoTimeLeft) {
  host.stack.set_ip_forwarding(true);
  for (const std::uint8_t ttl : std::array<std::uint8_t, 2>{0, 1}) {
    const auto out = through(packet(10, false, ttl));
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::time_exceeded);
    EXPECT_EQ(icmp_of(out[0]).code(), 0);
    EXPECT_EQ(ip_of(out[0]).source(), ip("10.1.0.1"));
    EXPECT_EQ(ip_of(out[0]).destination(), ip("10.1.0.2"));
  }
  EXPECT_EQ(host.dropped(DropReason::ip_ttl_exceeded), 2U);
}

// req: RFC791-2.3-3, RFC1191-4-1
TEST_F(Forward, SaysTheMtuInsteadOfFragmenting) {
  host.stack.set_ip_forwarding(true);
  const auto out = through(packet(549, true));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(icmp_of(out[0]).header().is_fragmentation_needed());
  EXPECT_EQ(icmp_of(out[0]).header().mtu(), 576);
  EXPECT_EQ(host.dropped(DropReason::ip_fragmentation_needed), 1U);
  EXPECT_EQ(through(packet(548, true)).size(), 1U);
}

// req: RFC791-3.2-3, RFC791-2.3-4, RFC791-2.3-2, RFC791-3.1-6
TEST_F(Forward, FragmentsOnEightOctetsAndRepeatsCopiedOptions) {
  host.stack.set_ip_forwarding(true);
  // Record route (not copied) and router alert (copied).
  const std::string options("\x07\x07\x04\x00\x00\x00\x00\x94\x04\x00\x00\x00", 12);
  const auto out =
      through(udp4("10.1.0.2:1000", "10.2.0.2:2000", std::string(1400, 'x'), [&](Ipv4Repr& r) {
        r.id = 77;
        r.options = bytes_of(options);
      }));
  ASSERT_EQ(out.size(), 3U);
  std::size_t expected = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto view = ip_of(out[i]);
    EXPECT_LE(view.total_len(), 576);
    EXPECT_EQ(view.fragment_offset(), expected);
    EXPECT_EQ(view.fragment_offset() % 8, 0);
    EXPECT_EQ(view.more_fragments(), i != 2);
    EXPECT_EQ(view.id(), 77);
    EXPECT_TRUE(view.checksum_ok());
    expected += view.payload_len();
    const auto found = wire::scan_ipv4_options(view.options()).value();
    EXPECT_TRUE(found.router_alert);
    EXPECT_EQ(found.record_route, i == 0);
  }
  EXPECT_EQ(expected, 1408U);
}

// req: RFC791-3.2-1
TEST_F(Forward, ASmallPacketIsNeverCut) {
  host.stack.set_ip_forwarding(true);
  const InterfaceId narrow = host.tun("10.3.0.1/24", 68);
  const Frame small = ipv4(header("10.1.0.2", "10.3.0.2", wire::protocol::udp), Frame(48));
  const auto out = through(small);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(interfaces[0], narrow);
  EXPECT_FALSE(ip_of(out[0]).is_fragment());
}

TEST_F(Forward, AFragmentMayBeFragmentedAgain) {
  host.stack.set_ip_forwarding(true);
  Ipv4Repr repr = header("10.1.0.2", "10.2.0.2", wire::protocol::udp);
  repr.fragment_offset = 800;
  repr.more_fragments = true;
  const auto out = through(ipv4(repr, Frame(800)));
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(ip_of(out[0]).fragment_offset(), 800);
  EXPECT_EQ(ip_of(out[1]).fragment_offset(), 800 + 552);
  EXPECT_TRUE(ip_of(out[1]).more_fragments());
}

// req: RFC791-3.1-7, RFC791-3.1-8, RFC791-3.1-9
TEST_F(Forward, RecordsRouteAndTime) {
  host.stack.set_ip_forwarding(true);
  host.advance(Duration::millis(1234));
  const auto options_after = [&](const std::string& options) {
    const auto out = through(udp4("10.1.0.2:1000", "10.2.0.2:2000", "x",
                                  [&](Ipv4Repr& r) { r.options = bytes_of(options); }));
    EXPECT_EQ(out.size(), 1U);
    EXPECT_TRUE(ip_of(out[0]).checksum_ok());
    return text_of(ip_of(out[0]).options());
  };
  const std::string time("\x80\x00\x04\xd2", 4);
  EXPECT_EQ(options_after({"\x07\x07\x04\0\0\0\0\0", 8}),
            (std::string{"\x07\x07\x08\x0a\x02\x00\x01\x00", 8}));
  // Full: left alone, forwarded all the same.
  EXPECT_EQ(options_after({"\x07\x07\x08\x0a\x02\x00\x07\x00", 8}),
            (std::string{"\x07\x07\x08\x0a\x02\x00\x07\x00", 8}));
  // A pointer beyond the option never makes it write there.
  EXPECT_EQ(options_after({"\x07\x07\xff\x0a\x02\x00\x07\x00", 8}),
            (std::string{"\x07\x07\xff\x0a\x02\x00\x07\x00", 8}));
  EXPECT_EQ(options_after({"\x44\x08\x05\x00\0\0\0\0", 8}),
            (std::string{"\x44\x08\x09\x00", 4} + time));
  EXPECT_EQ(options_after({"\x44\x0c\x05\x01\0\0\0\0\0\0\0\0", 12}),
            (std::string{"\x44\x0c\x0d\x01\x0a\x02\x00\x01", 8} + time));
  // Prespecified addresses: only the one that is named.
  EXPECT_EQ(options_after({"\x44\x0c\x05\x03\x0a\x02\x00\x01\0\0\0\0", 12}),
            (std::string{"\x44\x0c\x0d\x03\x0a\x02\x00\x01", 8} + time));
  EXPECT_EQ(options_after({"\x44\x0c\x05\x03\x0a\x02\x00\x09\0\0\0\0", 12}),
            (std::string{"\x44\x0c\x05\x03\x0a\x02\x00\x09\0\0\0\0", 12}));
  // Full: the overflow counter.
  EXPECT_EQ(options_after({"\x44\x08\x09\x20\0\0\0\0", 8}),
            (std::string{"\x44\x08\x09\x30\0\0\0\0", 8}));
}

TEST_F(Forward, SaysThatThereIsNoRoute) {
  host.stack.set_ip_forwarding(true);
  const auto out = through(udp4("10.1.0.2:1", "10.77.0.1:1", "x"));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::destination_unreachable);
  EXPECT_EQ(icmp_of(out[0]).code(), wire::icmpv4_unreachable::net);
}

TEST_F(Forward, NeverForwardsBroadcastsOrLinkLocal) {
  host.stack.set_ip_forwarding(true);
  for (const char* to : {"10.2.0.255:1", "169.254.1.1:1", "127.0.0.5:1", "224.0.0.5:1"}) {
    EXPECT_TRUE(through(udp4("10.1.0.2:1", to, "x")).empty()) << to;
  }
}

TEST(ForwardEthernet, AHostThatDoesNotAnswerIsReported) {
  Host host;
  const InterfaceId left = host.tun("10.1.0.1/24");
  (void)host.ethernet("10.2.0.1/24", 1);
  host.stack.set_ip_forwarding(true);
  host.receive(left, udp4("10.1.0.2:1", "10.2.0.2:1", "x"));
  (void)host.sent();
  host.advance(Duration::seconds(4));
  (void)host.poll();
  ASSERT_EQ(host.out.interfaces.at(0), left);
  EXPECT_EQ(icmp_of(host.out.frames[0]).code(), wire::icmpv4_unreachable::host);
}

// Merged frames stay merged, and are cut by the device they leave through.
TEST(ForwardMerged, SuperSegmentsPassWhole) {
  Host host;
  InterfaceConfig config;
  config.medium = Medium::ip;
  config.trusted = true;
  const InterfaceId left = host.stack.add_interface(config, host.now).value();
  ASSERT_TRUE(host.stack.add_address(left, cidr("10.1.0.1/24"), host.now));
  (void)host.tun("10.2.0.1/24");
  host.stack.set_ip_forwarding(true);
  const Frame packet = udp4("10.1.0.2:1", "10.2.0.2:1", std::string(4000, 'x'));
  RxFrame frame;
  frame.head = packet;
  frame.seg_size = 1000;
  frame.segs = 4;
  frame.checksum = ChecksumState::verified;
  host.stack.on_frames(left, {&frame, 1}, host.now);
  (void)host.poll();
  ASSERT_EQ(host.out.seg_sizes, std::vector<std::uint32_t>{1000});
  EXPECT_EQ(udp_text(host.out.frames[0]).size(), 4000U);
}

}  // namespace
}  // namespace tidewire::testing
