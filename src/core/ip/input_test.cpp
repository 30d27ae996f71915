// IPv4 input: what is accepted, what is dropped and why, who hears of it.
#include <gtest/gtest.h>

#include "core/testing_packets.hpp"
#include "wire/tcp.hpp"

namespace tidewire::testing {
namespace {

using wire::Ipv4Repr;

class Input : public ::testing::Test {
 protected:
  void give(const Frame& packet) { host.receive(tun, packet); }
  /// Gives the packet and says by which counter it went, or that a datagram came through.
  std::string fate(const Frame& packet) {
    const Counters before = host.stack.counters();
    give(packet);
    for (std::size_t i = 0; i < before.drops.size(); ++i) {
      if (host.stack.counters().drops[i] != before.drops[i]) {
        return std::string{to_string(static_cast<DropReason>(i))};
      }
    }
    return host.receive_text(socket);
  }
  template <typename F>
  std::string fate_of(F&& shape, const char* from = "10.0.0.2:9",
                      const char* to = "10.0.0.1:5000") {
    return fate(udp4(from, to, "ok", shape));
  }
  static Frame with_checksum(Frame packet) {
    const std::size_t length = (std::to_integer<std::size_t>(packet[0]) & 15) * 4;
    wire::store_u16(packet.data() + 10, 0);
    wire::store_u16(packet.data() + 10, wire::internet_checksum(Bytes{packet}.first(length)));
    return packet;
  }
  Host host;
  InterfaceId tun = host.tun("10.0.0.1/24");
  SocketId socket = host.udp("0.0.0.0:5000");
};

Frame good() { return udp4("10.0.0.2:9", "10.0.0.1:5000", "ok"); }

// req: RFC791-3.1-1, RFC1122-3.2.1.1-1
// Robustness case 2.
TEST_F(Input, ChecksVersionAndHeaderLength) {
  EXPECT_EQ(fate(good()), "ok");
  for (std::size_t size = 1; size < 20; ++size) {
    EXPECT_EQ(fate(frame_of(Bytes{good()}.first(size))), "ip_truncated") << size;
  }
  EXPECT_EQ(fate({}), "ip_truncated");
  for (const unsigned first : {0x05U, 0x15U, 0x35U, 0x55U, 0xf5U}) {
    Frame packet = good();
    packet[0] = static_cast<std::byte>(first);
    EXPECT_EQ(fate(with_checksum(packet)), "ip_bad_version") << first;
  }
  for (const unsigned first : {0x40U, 0x41U, 0x44U, 0x4fU}) {
    Frame packet = good();
    packet[0] = static_cast<std::byte>(first);
    EXPECT_EQ(fate(packet), "ip_bad_header_length") << first;
  }
  EXPECT_TRUE(host.sent().empty());
}

// req: RFC791-3.1-2
// Robustness case 1.
TEST_F(Input, ChecksTotalLengthAndCutsPadding) {
  for (const int length : {0, 19, 31, 100, 65'535}) {
    Frame packet = good();
    wire::store_u16(packet.data() + 2, static_cast<std::uint16_t>(length));
    const std::string expected = length == 31 ? "udp_bad_length" : "ip_bad_total_length";
    if (length == 31) wire::store_u16(packet.data() + 2, 29);
    EXPECT_EQ(fate(with_checksum(packet)), expected) << length;
  }
  Frame padded = good();
  padded.resize(46, std::byte{0xee});
  EXPECT_EQ(fate(padded), "ok");
}

// req: RFC791-3.1-4, RFC791-1.4-1, RFC1122-3.2.1.2-1
// Robustness case 4.
TEST_F(Input, DropsEveryBitErrorInTheHeader) {
  for (std::size_t bit = 8; bit < 160; ++bit) {
    Frame packet = good();
    packet[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const std::string why = fate(packet);
    EXPECT_TRUE(why == "ip_bad_checksum" || why == "ip_bad_total_length") << bit << ' ' << why;
  }
  EXPECT_TRUE(host.sent().empty());
}

// req: RFC1122-3.2.1.3-4, RFC1122-4.1.3.6-1, RFC1122-3.2.1.3-3
// Robustness case 4: martians and LAND.
TEST_F(Input, DropsSourcesThatNobodyCanHave) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"224.0.0.1:9", "ip_bad_source"},       {"239.1.2.3:9", "ip_bad_source"},
      {"255.255.255.255:9", "ip_bad_source"}, {"10.0.0.255:9", "ip_bad_source"},
      {"240.0.0.1:9", "ip_bad_source"},       {"0.0.0.0:9", "ip_bad_source"},
      {"127.0.0.1:9", "ip_martian"},          {"127.255.0.3:9", "ip_martian"},
      {"10.0.0.1:5000", "ip_martian"},
  };
  for (const auto& [from, why] : cases) EXPECT_EQ(fate(udp4(from, "10.0.0.1:5000", "x")), why);
  for (const auto& [to, why] :
       std::vector<std::pair<const char*, const char*>>{{"127.0.0.1:5000", "ip_martian"},
                                                        {"240.0.0.1:5000", "ip_martian"},
                                                        {"10.0.0.3:5000", "ip_not_for_us"},
                                                        {"192.168.1.1:5000", "ip_not_for_us"},
                                                        {"224.0.0.9:5000", "ip_not_for_us"}}) {
    EXPECT_EQ(fate(udp4("10.0.0.2:9", to, "x")), why) << to;
  }
  EXPECT_TRUE(host.sent().empty());
}

// A host without an address may only speak to everybody (DHCP).
TEST_F(Input, AcceptsTheUnspecifiedSourceForBroadcastOnly) {
  EXPECT_EQ(fate(udp4("0.0.0.0:68", "255.255.255.255:5000", "discover")), "discover");
}

// req: RFC1122-3.2.1.7-2
// Robustness case 5.
TEST_F(Input, AcceptsAnyTimeToLiveForItself) {
  for (const std::uint8_t ttl : std::array<std::uint8_t, 4>{0, 1, 2, 255}) {
    EXPECT_EQ(fate_of([&](Ipv4Repr& r) { r.ttl = ttl; }), "ok");
  }
}

// Robustness case 5: the reserved bit means nothing.
TEST_F(Input, IgnoresTheReservedFlag) {
  Frame packet = good();
  packet[6] |= std::byte{0x80};
  EXPECT_EQ(fate(with_checksum(packet)), "ok");
}

// req: RFC791-3.1-10, RFC1122-3.2.2.1-1, RFC1122-3.3.8-1
// Robustness case 5: IP in IP is just another protocol nobody speaks here.
TEST_F(Input, AnswersUnknownProtocols) {
  for (const std::uint8_t protocol : std::array<std::uint8_t, 6>{4, 41, 47, 50, 132, 255}) {
    const Frame packet = ipv4(header("10.0.0.2", "10.0.0.1", protocol), good());
    EXPECT_EQ(fate(packet), "ip_unknown_protocol");
    const auto out = host.sent();
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::destination_unreachable);
    EXPECT_EQ(icmp_of(out[0]).code(), wire::icmpv4_unreachable::protocol);
  }
}

// req: RFC1122-3.2.1.8-3, RFC1122-3.2.1.8b-2, RFC1122-3.2.1.8-2, RFC1122-3.4-3
// req: RFC1122-4.1.3.2-1, RFC791-3.1-7
TEST_F(Input, IgnoresUnknownOptionsAndPassesAllUp) {
  // Stream identifier, security (obsolete), an unknown kind, NOP, end of list, padding.
  const std::array<std::byte, 20> options{
      std::byte{0x88}, std::byte{4}, std::byte{1}, std::byte{2}, std::byte{0x82},
      std::byte{6},    std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0},
      std::byte{0x5e}, std::byte{5}, std::byte{9}, std::byte{9}, std::byte{9},
      std::byte{1},    std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}};
  host.receive(
      tun, udp4("10.0.0.2:9", "10.0.0.1:5000", "ok", [&](Ipv4Repr& r) { r.options = options; }));
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info), "ok");
  ASSERT_EQ(info.ip_options_size, options.size());
  EXPECT_TRUE(std::ranges::equal(Bytes{info.ip_options}.first(options.size()), options));
  EXPECT_EQ(host.stack.counters().dropped_total(), 0U);
}

// req: RFC791-3.1-8
// Robustness case 3.
TEST_F(Input, DropsMalformedOptions) {
  const std::vector<std::pair<std::string, const char*>> cases{
      {std::string("\x5e\x00\x01\x01", 4), "length 0"},
      {std::string("\x5e\x01\x01\x01", 4), "length 1"},
      {std::string("\x5e\x09\x01\x01", 4), "length past the header"},
      {std::string("\x01\x01\x01\x5e", 4), "kind without length"},
      {std::string("\x83\x07\x03\x0a\x00\x00\x02\x00", 8), "LSRR pointer 3"},
      {std::string("\x83\x07\x00\x0a\x00\x00\x02\x00", 8), "LSRR pointer 0"},
      {std::string("\x07\x07\x03\x0a\x00\x00\x02\x00", 8), "record route pointer 3"},
      {std::string("\x44\x08\x04\x00\x00\x00\x00\x00", 8), "timestamp pointer 4"},
      {std::string("\x44\x03\x05\x00", 4), "timestamp too short"},
      {std::string("\x83\x03\x04\x89\x03\x04\x00\x00", 8), "two source routes"},
  };
  for (const auto& [options, what] : cases) {
    EXPECT_EQ(fate_of([&](Ipv4Repr& r) { r.options = bytes_of(options); }), "ip_bad_option")
        << what;
    const auto out = host.sent();
    ASSERT_EQ(out.size(), 1U) << what;
    EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::parameter_problem);
    EXPECT_EQ(icmp_of(out[0]).header().pointer(), 20);
  }
  // Junk after end-of-list is nobody's business.
  EXPECT_EQ(fate_of([&](Ipv4Repr& r) { r.options = bytes_of({"\x01\x00\x83\xff", 4}); }), "ok");
}

// req: RFC1122-3.3.5-2
// A source route that is not finished would make this host a router.
TEST_F(Input, RefusesToForwardSourceRoutes) {
  const std::string options("\x83\x07\x04\x0a\x00\x00\x09\x00", 8);
  EXPECT_EQ(fate_of([&](Ipv4Repr& r) { r.options = bytes_of(options); }), "ip_bad_option");
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(icmp_of(out[0]).code(), wire::icmpv4_unreachable::source_route_failed);
}

// req: RFC1122-3.2.1.8c-2, RFC1122-3.2.1.8c-1
TEST_F(Input, ASourceRouteMayEndHere) {
  const std::string options("\x83\x07\x08\x0a\x00\x00\x09\x00", 8);
  DatagramInfo info;
  host.receive(tun, udp4("10.0.0.2:9", "10.0.0.1:5000", "ok",
                         [&](Ipv4Repr& r) { r.options = bytes_of(options); }));
  EXPECT_EQ(host.receive_text(socket, &info), "ok");
  EXPECT_EQ(text_of(Bytes{info.ip_options}.first(info.ip_options_size)), options);
}

// req: RFC1122-3.4-2, RFC1122-3.2.1.6-2, RFC768---8
TEST_F(Input, PassesTheHeaderUp) {
  give(udp4("10.0.0.2:9", "10.0.0.1:5000", "ok", [](Ipv4Repr& r) {
    r.tos = 0x5a;
    r.ttl = 33;
  }));
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info), "ok");
  EXPECT_EQ(info.tos, 0x5a);
  EXPECT_EQ(info.ttl, 33);
  EXPECT_EQ(info.interface, tun);
  EXPECT_EQ(info.source, at("10.0.0.2:9"));
  EXPECT_EQ(info.destination, at("10.0.0.1:5000"));
}

// req: RFC1122-3.1-8
TEST_F(Input, TracesWhatItDrops) {
  std::array<TraceRecord, 4> slots;
  TraceRing ring{slots};
  host.stack.set_trace(&ring);
  (void)fate(udp4("127.0.0.1:9", "10.0.0.1:5000", "x"));
  ASSERT_EQ(ring.written, 1U);
  EXPECT_EQ(slots[0].kind, TraceKind::drop);
  EXPECT_EQ(slots[0].reason, DropReason::ip_martian);
  EXPECT_EQ(slots[0].interface, tun);
}

// The weak host model: an address belongs to the host, not to the interface.
TEST_F(Input, AcceptsItsAddressOnAnyInterface) {
  const InterfaceId other = host.tun("10.9.0.1/24");
  host.receive(other, good());
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info), "ok");
  EXPECT_EQ(info.interface, other);
}

/// A RST, which nobody answers.
Frame tcp_reset() {
  Frame segment(wire::kTcpMinHeaderLen);
  Writer writer{segment};
  wire::TcpRepr repr;
  repr.source_port = 9;
  repr.destination_port = 80;
  repr.flags = wire::TcpFlag::rst;
  wire::emit(repr, writer, ip("10.0.0.2"), ip("10.0.0.1"));
  return ipv4(header("10.0.0.2", "10.0.0.1", wire::protocol::tcp), segment);
}

/// What a host drops, counts as received and answers when it gets `packet`.
auto outcome(const Frame& packet, bool known) {
  Host host;
  const InterfaceId tun = host.tun("10.0.0.1/24");
  if (known) host.receive(tun, tcp_reset());
  const Counters before = host.stack.counters();
  host.receive(tun, packet);
  const Counters& after = host.stack.counters();
  std::vector<std::uint64_t> counts{after.ip_in - before.ip_in,
                                    after.tcp_segs_in - before.tcp_segs_in};
  for (std::size_t i = 0; i < before.drops.size(); ++i) {
    counts.push_back(after.drops[i] - before.drops[i]);
  }
  return std::pair{counts, host.sent()};
}

TEST(KnownAddresses, ExcuseNothing) {
  const Frame good = tcp_reset();
  EXPECT_EQ(outcome(good, true), outcome(good, false));
  for (std::size_t bit = 0; bit < std::size_t{8} * wire::kIpv4MinHeaderLen; ++bit) {
    Frame packet = good;
    packet[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(outcome(packet, true), outcome(packet, false)) << "bit " << bit;
    wire::store_u16(packet.data() + 10, 0);
    wire::store_u16(packet.data() + 10,
                    wire::internet_checksum(Bytes{packet}.first(wire::kIpv4MinHeaderLen)));
    EXPECT_EQ(outcome(packet, true), outcome(packet, false)) << "bit " << bit << ", checksum right";
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    const Frame cut = frame_of(Bytes{good}.first(size));
    EXPECT_EQ(outcome(cut, true), outcome(cut, false)) << size;
  }
  Frame padded = good;
  padded.resize(46);
  EXPECT_EQ(outcome(padded, true), outcome(padded, false));
}

// Metadata of a device is believed only as far as it makes sense.
TEST(Metadata, IsCheckedAgainstThePacket) {
  Host host;
  InterfaceConfig config;
  config.medium = Medium::ip;
  config.trusted = true;
  const InterfaceId id = host.stack.add_interface(config, host.now).value();
  ASSERT_TRUE(host.stack.add_address(id, cidr("10.0.0.1/24"), host.now));
  const SocketId socket = host.udp("0.0.0.0:5000");
  const Frame packet = udp4("10.0.0.2:9", "10.0.0.1:5000", "aaaabbbbcc");
  const auto give = [&](std::uint16_t seg_size, std::uint16_t segs) {
    RxFrame frame;
    frame.head = packet;
    frame.seg_size = seg_size;
    frame.segs = segs;
    frame.checksum = ChecksumState::verified;
    host.stack.on_frames(id, {&frame, 1}, host.now);
    std::string all;
    for (;;) {
      const std::string text = host.receive_text(socket);
      if (text == "(none)") return all;
      all += text + "|";
    }
  };
  EXPECT_EQ(give(4, 3), "aaaa|bbbb|cc|");
  EXPECT_EQ(host.dropped(DropReason::bad_frame_metadata), 0U);
  EXPECT_EQ(give(4, 77), "aaaa|bbbb|cc|");
  EXPECT_EQ(host.dropped(DropReason::bad_frame_metadata), 1U);
  EXPECT_EQ(give(0, 5), "aaaabbbbcc|");
  EXPECT_EQ(give(60'000, 1), "aaaabbbbcc|");
  EXPECT_EQ(give(11, 0), "aaaabbbbcc|");
  EXPECT_EQ(host.dropped(DropReason::bad_frame_metadata), 4U);
  EXPECT_EQ(give(10, 1), "aaaabbbbcc|");
}

TEST(Metadata, ChecksumStatesCountOnlyFromTrustedDevices) {
  for (const bool trusted : {false, true}) {
    Host host;
    InterfaceConfig config;
    config.medium = Medium::ip;
    config.trusted = trusted;
    const InterfaceId id = host.stack.add_interface(config, host.now).value();
    ASSERT_TRUE(host.stack.add_address(id, cidr("10.0.0.1/24"), host.now));
    const SocketId socket = host.udp("0.0.0.0:5000");
    Frame packet = udp4("10.0.0.2:9", "10.0.0.1:5000", "text");
    packet[packet.size() - 1] ^= std::byte{1};
    RxFrame frame;
    frame.head = packet;
    frame.checksum = ChecksumState::partial;
    host.stack.on_frames(id, {&frame, 1}, host.now);
    EXPECT_EQ(host.receive_text(socket), trusted ? "texu" : "(none)");
    EXPECT_EQ(host.dropped(DropReason::udp_bad_checksum), trusted ? 0U : 1U);
  }
}

TEST(Scattered, PayloadInFurtherSpansIsOneDatagram) {
  Host host;
  const InterfaceId id = host.tun("10.0.0.1/24");
  const SocketId socket = host.udp("0.0.0.0:5000");
  const Frame packet = udp4("10.0.0.2:9", "10.0.0.1:5000", "0123456789abcdef");
  Frame tail{packet.begin() + 33, packet.end()};
  tail.resize(tail.size() + 7);  // padding behind the packet
  RxFrame frame;
  frame.head = Bytes{packet}.first(30);
  frame.more = {Bytes{packet}.subspan(30, 3), Bytes{tail}.first(5), Bytes{tail}.subspan(5)};
  host.stack.on_frames(id, {&frame, 1}, host.now);
  EXPECT_EQ(host.receive_text(socket), "0123456789abcdef");
}

}  // namespace
}  // namespace tidewire::testing
