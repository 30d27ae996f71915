// UDP: validation, demultiplexing, limits, options.
#include <gtest/gtest.h>

#include <map>

#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

class Udp : public ::testing::Test {
 protected:
  void give(const Frame& packet) { host.receive(tun, packet); }
  void give_segment(const Frame& segment, const char* from = "10.0.0.2",
                    const char* to = "10.0.0.1") {
    give(ipv4(header(from, to, wire::protocol::udp), segment));
  }
  static Frame good() { return udp_segment(at("10.0.0.2:9"), at("10.0.0.1:5000"), "text"); }
  void set(SocketId s, SocketOption option, std::int64_t value) {
    ASSERT_TRUE(host.stack.set_option(s, option, value, host.now));
  }
  SocketResult<SocketId> try_bind(const char* local, std::vector<SocketOption> options = {}) {
    const SocketId s = host.stack.open(SocketKind::udp, at(local).address.family()).value();
    for (const SocketOption option : options) set(s, option, 1);
    if (auto r = host.stack.bind(s, at(local), host.now); !r) return fail(r.error());
    return s;
  }
  Host host;
  InterfaceId tun = host.tun("10.0.0.1/24");
  SocketId socket = host.udp("0.0.0.0:5000");
};

// req: RFC768---1, RFC768---2
// Robustness case 43.
TEST_F(Udp, ChecksLengths) {
  for (std::size_t size = 0; size < 8; ++size) give_segment(frame_of(Bytes{good()}.first(size)));
  EXPECT_EQ(host.dropped(DropReason::udp_truncated), 8U);
  std::uint64_t bad = 0;
  for (const std::uint16_t length : std::array<std::uint16_t, 5>{0, 1, 7, 13, 65'535}) {
    Frame segment = good();
    wire::store_u16(segment.data() + 4, length);
    give_segment(segment);
    EXPECT_EQ(host.dropped(DropReason::udp_bad_length), ++bad) << length;
  }
  EXPECT_EQ(host.receive_text(socket), "(none)");
  Frame trailing = good();
  trailing.resize(20, std::byte{0xee});
  give_segment(trailing);
  EXPECT_EQ(host.receive_text(socket), "text");
  give_segment(udp_segment(at("10.0.0.2:9"), at("10.0.0.1:5000"), ""));
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info), "");
  EXPECT_EQ(info.source, at("10.0.0.2:9"));
}

// req: RFC768---4, RFC1122-4.1.3.4-1, RFC1122-4.1.3.4-2
TEST_F(Udp, DropsEveryBitError) {
  std::uint64_t count = 0;
  for (std::size_t bit = 0; bit < good().size() * 8; ++bit) {
    if (bit >= 32 && bit < 48) continue;  // the length has its own counter
    Frame segment = good();
    segment[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    give_segment(segment);
    EXPECT_EQ(host.dropped(DropReason::udp_bad_checksum), ++count) << bit;
  }
  give_segment(good(), "10.0.0.3");
  EXPECT_EQ(host.dropped(DropReason::udp_bad_checksum), ++count);
  EXPECT_EQ(host.receive_text(socket), "(none)");
  EXPECT_TRUE(host.sent().empty());
}

// req: RFC768---6
TEST_F(Udp, ChecksumZeroMeansNone) {
  Frame segment = good();
  wire::store_u16(segment.data() + 6, 0);
  give_segment(segment);
  EXPECT_EQ(host.receive_text(socket), "text");
}

// req: RFC768---5, RFC768---4
TEST_F(Udp, AComputedZeroIsSentAsAllOnes) {
  bool seen = false;
  for (unsigned i = 0; i < 65'536 && !seen; ++i) {
    const char word[2] = {static_cast<char>(i >> 8), static_cast<char>(i & 0xff)};
    ASSERT_TRUE(host.send_to(socket, {word, 2}, "10.0.0.2:9"));
    const auto out = host.sent();
    const auto view = wire::UdpView::parse(ip_of(out.at(0)).payload()).value();
    ASSERT_NE(view.checksum(), 0);
    ASSERT_TRUE(view.verify(ip("10.0.0.1"), ip("10.0.0.2")));
    seen = view.checksum() == 0xffff;
  }
  EXPECT_TRUE(seen);
}

// req: RFC768---3
// Robustness case 43.
TEST_F(Udp, PortZeroIsNobody) {
  give(udp4("10.0.0.2:9", "10.0.0.1:0", "x"));
  EXPECT_EQ(host.dropped(DropReason::udp_port_zero), 1U);
  give(udp4("10.0.0.2:0", "10.0.0.1:5000", "no reply wanted"));
  EXPECT_EQ(host.receive_text(socket), "no reply wanted");
  EXPECT_EQ(host.send_to(socket, "x", "10.0.0.2:0").error(), SocketError::invalid);
}

// Robustness case 43: two services that answer everything cannot be made to loop by broadcast.
TEST_F(Udp, NothingAnswersABroadcastToAClosedPort) {
  give(udp4("10.0.0.2:7", "10.0.0.255:19", "x"));
  EXPECT_TRUE(host.sent().empty());
  EXPECT_EQ(host.dropped(DropReason::udp_no_port), 1U);
}

// req: RFC1122-4.1.3.5-1, RFC1122-4.1.3.5-3
TEST_F(Udp, TheMostSpecificSocketWins) {
  ASSERT_TRUE(host.stack.add_address(tun, cidr("10.0.0.7/24"), host.now));
  const SocketId specific = host.udp("10.0.0.7:6000");
  const SocketId any = host.udp("0.0.0.0:6001");
  const SocketId both = try_bind("[::]:6002").value();
  const SocketId connected =
      try_bind("0.0.0.0:5000", {SocketOption::reuse_port}).value_or(SocketId{});
  EXPECT_FALSE(connected);  // the first holder did not set it
  give(udp4("10.0.0.2:9", "10.0.0.7:6000", "a"));
  give(udp4("10.0.0.2:9", "10.0.0.1:6000", "nobody"));
  give(udp4("10.0.0.2:9", "10.0.0.7:6001", "b"));
  give(udp4("10.0.0.2:9", "10.0.0.1:6002", "c"));
  EXPECT_EQ(host.receive_text(specific), "a");
  EXPECT_EQ(host.receive_text(specific), "(none)");
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(any, &info), "b");
  EXPECT_EQ(info.destination, at("10.0.0.7:6001"));
  EXPECT_EQ(host.receive_text(both, &info), "c");
  EXPECT_EQ(info.source, at("[::ffff:10.0.0.2]:9"));
  EXPECT_EQ(info.destination, at("[::ffff:10.0.0.1]:6002"));
  EXPECT_EQ(host.dropped(DropReason::udp_no_port), 1U);
}

TEST_F(Udp, AConnectedSocketHearsItsPeerOnly) {
  const SocketId peer = try_bind("0.0.0.0:6000", {SocketOption::reuse_address}).value();
  const SocketId rest = try_bind("0.0.0.0:6000", {SocketOption::reuse_address}).value();
  ASSERT_TRUE(host.stack.connect(peer, at("10.0.0.2:9"), host.now));
  EXPECT_EQ(host.stack.local_endpoint(peer), at("10.0.0.1:6000"));
  EXPECT_EQ(host.stack.remote_endpoint(peer), at("10.0.0.2:9"));
  give(udp4("10.0.0.2:9", "10.0.0.1:6000", "friend"));
  give(udp4("10.0.0.2:8", "10.0.0.1:6000", "stranger"));
  EXPECT_EQ(host.receive_text(peer), "friend");
  EXPECT_EQ(host.receive_text(peer), "(none)");
  EXPECT_EQ(host.receive_text(rest), "stranger");
  ASSERT_TRUE(host.stack.connect(peer, std::nullopt, host.now));
  EXPECT_EQ(host.stack.local_endpoint(peer), at("0.0.0.0:6000"));
  EXPECT_EQ(host.stack.remote_endpoint(peer).error(), SocketError::not_connected);
  EXPECT_EQ(host.send(peer, "x").error(), SocketError::destination_required);
  give(udp4("10.0.0.2:8", "10.0.0.1:6000", "again"));
  EXPECT_EQ(host.receive_text(peer), "again");
}

TEST_F(Udp, ReusePortSpreadsFlowsAndKeepsThemTogether) {
  std::array<SocketId, 4> sockets;
  for (SocketId& s : sockets) s = try_bind("0.0.0.0:6000", {SocketOption::reuse_port}).value();
  std::map<int, int> load;
  for (int port = 1000; port < 1400; ++port) {
    const std::string from = "10.0.0.2:" + std::to_string(port);
    for (int repeat = 0; repeat < 2; ++repeat) give(udp4(from, "10.0.0.1:6000", "x"));
    for (int i = 0; i < 4; ++i) {
      const SocketId s = sockets[static_cast<std::size_t>(i)];
      if (host.receive_text(s) == "(none)") continue;
      EXPECT_EQ(host.receive_text(s), "x");  // the second of the flow came here too
      ++load[i];
    }
  }
  for (int i = 0; i < 4; ++i) EXPECT_GT(load[i], 50) << i;
}

TEST_F(Udp, BoundInterfaceAndV6OnlyFilter) {
  const InterfaceId other = host.tun("10.5.0.1/24");
  const SocketId here = try_bind("0.0.0.0:6000", {SocketOption::reuse_address}).value();
  set(here, SocketOption::bound_interface, other);
  give(udp4("10.0.0.2:9", "10.0.0.1:6000", "x"));
  EXPECT_EQ(host.receive_text(here), "(none)");
  host.receive(other, udp4("10.5.0.2:9", "10.0.0.1:6000", "y"));
  EXPECT_EQ(host.receive_text(here), "y");
  const SocketId six = try_bind("[::]:6001", {SocketOption::v6_only}).value();
  give(udp4("10.0.0.2:9", "10.0.0.1:6001", "x"));
  EXPECT_EQ(host.receive_text(six), "(none)");
  EXPECT_EQ(host.send_to(six, "x", "[::ffff:10.0.0.2]:1").error(),
            SocketError::network_unreachable);
  EXPECT_EQ(host.send_to(socket, "x", "[::1]:1").error(), SocketError::address_family);
}

TEST_F(Udp, BroadcastsNeedPermissionAndReachEverybody) {
  for (const char* to : {"255.255.255.255:7", "10.0.0.255:7"}) {
    EXPECT_EQ(host.send_to(socket, "x", to).error(), SocketError::access_denied);
    EXPECT_EQ(host.stack.connect(socket, at(to), host.now).error(), SocketError::access_denied);
  }
  set(socket, SocketOption::broadcast, 1);
  EXPECT_TRUE(host.send_to(socket, "x", "255.255.255.255:7"));
  const SocketId one = try_bind("0.0.0.0:6000", {SocketOption::reuse_address}).value();
  const SocketId two = try_bind("0.0.0.0:6000", {SocketOption::reuse_address}).value();
  const SocketId exact = try_bind("10.0.0.1:6000", {SocketOption::reuse_address}).value();
  give(udp4("10.0.0.2:9", "10.0.0.255:6000", "all"));
  EXPECT_EQ(host.receive_text(one), "all");
  EXPECT_EQ(host.receive_text(two), "all");
  EXPECT_EQ(host.receive_text(exact), "(none)");
}

TEST_F(Udp, TheReceiveQueueIsBounded) {
  set(socket, SocketOption::receive_buffer, 4096);
  const std::string text(1000, 'x');
  for (int i = 0; i < 10; ++i) give(udp4("10.0.0.2:9", "10.0.0.1:5000", text));
  EXPECT_EQ(host.dropped(DropReason::udp_buffer_full), 7U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(host.receive_text(socket), text);
  EXPECT_EQ(host.receive_text(socket), "(none)");
  // One datagram always fits.
  const SocketId small = host.udp("0.0.0.0:5001");
  set(small, SocketOption::receive_buffer, 2048);
  give(udp4("10.0.0.2:9", "10.0.0.1:5001", std::string(9000, 'y')));
  EXPECT_EQ(host.receive_text(small).size(), 9000U);
}

TEST_F(Udp, TheSenderWaitsInsteadOfLosing) {
  set(socket, SocketOption::send_buffer, 4096);
  const std::string text(1000, 'x');
  int queued = 0;
  while (host.send_to(socket, text, "10.0.0.2:9")) ++queued;
  EXPECT_EQ(queued, 3);
  EXPECT_EQ(host.send_to(socket, text, "10.0.0.2:9").error(), SocketError::would_block);
  EXPECT_EQ(host.stack.readiness(socket) & kWritable, 0);
  EXPECT_FALSE(host.stack.poll_event());
  EXPECT_EQ(host.sent().size(), 3U);
  const auto event = host.stack.poll_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->bits, kWritable);
  EXPECT_TRUE(host.send_to(socket, text, "10.0.0.2:9"));
}

TEST_F(Udp, SizesThatCannotBe) {
  EXPECT_TRUE(host.send_to(socket, std::string(65'507, 'x'), "10.0.0.2:9"));
  EXPECT_EQ(host.send_to(socket, std::string(65'508, 'x'), "10.0.0.2:9").error(),
            SocketError::message_too_long);
  EXPECT_EQ(host.send_to(socket, std::string(100'000, 'x'), "10.0.0.2:9").error(),
            SocketError::message_too_long);
}

TEST_F(Udp, WhatIsTooLongIsInTheErrorQueue) {
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::receive_errors, 1, host.now));
  ASSERT_TRUE(host.stack.set_option(socket, SocketOption::mtu_discover, 2, host.now));
  const std::string text(20'000, 'x');
  EXPECT_EQ(host.send_to(socket, text, "10.0.0.2:9").error(), SocketError::message_too_long);
  const auto info = host.stack.take_error_info(socket);
  ASSERT_TRUE(info);
  EXPECT_TRUE(info->local);
  EXPECT_EQ(info->error, SocketError::message_too_long);
  EXPECT_GE(info->info, 576U);
  EXPECT_LT(info->info, 20'000U);
  EXPECT_EQ(info->destination, at("10.0.0.2:9"));
  EXPECT_EQ(info->quoted, 0U);
  // The call has told it already.
  EXPECT_TRUE(host.send_to(socket, "short", "10.0.0.2:9"));
}

TEST_F(Udp, SegmentsLeaveAsOneFrame) {
  DatagramTarget target;
  target.destination = at("10.0.0.2:9");
  target.segment_size = 1000;
  ASSERT_TRUE(host.send(socket, std::string(4500, 'x'), target));
  (void)host.poll();
  EXPECT_EQ(host.out.seg_sizes, std::vector<std::uint32_t>{1000});
  EXPECT_EQ(host.stack.counters().udp_out, 5U);
  target.segment_size = 1473;
  EXPECT_EQ(host.send(socket, std::string(4500, 'x'), target).error(),
            SocketError::message_too_long);
  target.segment_size = 1;
  EXPECT_EQ(host.send(socket, std::string(200, 'x'), target).error(), SocketError::invalid);
}

TEST_F(Udp, PeekLeavesTheDatagramAndTruncationIsTold) {
  give(udp4("10.0.0.2:9", "10.0.0.1:5000", "0123456789"));
  std::array<std::byte, 4> buffer;
  EXPECT_EQ(host.stack.get_option(socket, SocketOption::unread), 10);
  for (const bool peek : {true, false}) {
    const auto info = host.stack.receive_datagram(socket, buffer, peek, host.now);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->size, 10U);
    EXPECT_EQ(info->copied, 4U);
    EXPECT_EQ(text_of(buffer), "0123");
  }
  EXPECT_EQ(host.receive_text(socket), "(none)");
}

TEST_F(Udp, ClosingLetsWhatWasAcceptedLeave) {
  ASSERT_TRUE(host.send_to(socket, "last words", "10.0.0.2:9"));
  host.stack.close(socket, host.now);
  EXPECT_EQ(host.send_to(socket, "x", "10.0.0.2:9").error(), SocketError::unknown_socket);
  EXPECT_EQ(udp_text(host.sent().at(0)), "last words");
  EXPECT_TRUE(try_bind("0.0.0.0:5000"));
  EXPECT_FALSE(host.stack.info(socket));
}

TEST_F(Udp, ShutdownIsTheOwnersEnd) {
  EXPECT_EQ(host.stack.shutdown(socket, ShutdownHow::both, host.now).error(),
            SocketError::not_connected);
  ASSERT_TRUE(host.stack.connect(socket, at("10.0.0.2:9"), host.now));
  ASSERT_TRUE(host.stack.shutdown(socket, ShutdownHow::write, host.now));
  EXPECT_EQ(host.send(socket, "x").error(), SocketError::broken_pipe);
  EXPECT_EQ(host.receive_text(socket), "(none)");
  ASSERT_TRUE(host.stack.shutdown(socket, ShutdownHow::read, host.now));
  EXPECT_EQ(host.receive_text(socket), "");
}

TEST_F(Udp, OptionsKeepTheirValues) {
  const std::vector<std::pair<SocketOption, std::int64_t>> values{
      {SocketOption::reuse_address, 1},
      {SocketOption::reuse_port, 1},
      {SocketOption::broadcast, 1},
      {SocketOption::multicast_loop, 0},
      {SocketOption::receive_errors, 1},
      {SocketOption::ttl, 7},
      {SocketOption::tos, 0x10},
      {SocketOption::multicast_ttl, 9},
      {SocketOption::mtu_discover, 2},
      {SocketOption::send_buffer, 100'000},
      {SocketOption::receive_buffer, 50'000},
      {SocketOption::bound_interface, 0},
      {SocketOption::multicast_interface, 0}};
  for (const auto& [option, value] : values) {
    set(socket, option, value);
    EXPECT_EQ(host.stack.get_option(socket, option), value) << static_cast<int>(option);
  }
  EXPECT_EQ(host.stack.set_option(socket, SocketOption::bound_interface, 99, host.now).error(),
            SocketError::invalid);
  EXPECT_EQ(host.stack.set_option(socket, SocketOption::no_delay, 1, host.now).error(),
            SocketError::not_supported);
  EXPECT_EQ(host.stack.get_option(socket, SocketOption::mtu).error(), SocketError::not_connected);
}

TEST_F(Udp, EverySocketIsListedOnce) {
  const SocketId more = host.udp("0.0.0.0:5001");
  std::vector<SocketId> seen;
  SocketId at_socket;
  while (const auto info = host.stack.next_socket(at_socket)) {
    at_socket = info->id;
    seen.push_back(info->id);
    ASSERT_LE(seen.size(), 2U);
  }
  EXPECT_EQ(seen, (std::vector<SocketId>{socket, more}));
}

TEST_F(Udp, RunningOutOfMemoryIsAnAnswer) {
  host.memory.set_failing(true);
  EXPECT_EQ(host.send_to(socket, "x", "10.0.0.2:9").error(), SocketError::no_buffers);
  give(udp4("10.0.0.2:9", "10.0.0.1:5000", "x"));
  EXPECT_EQ(host.dropped(DropReason::no_memory), 1U);
  host.memory.set_failing(false);
  EXPECT_TRUE(host.send_to(socket, "x", "10.0.0.2:9"));
}

}  // namespace
}  // namespace tidewire::testing
