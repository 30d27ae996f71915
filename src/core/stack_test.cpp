// Two hosts, loopback, and the seam as a whole.
#include "core/stack.hpp"

#include <gtest/gtest.h>

#include "core/testing.hpp"

namespace tidewire::testing {
namespace {

// req: RFC1122-3.1-1, RFC768---7, RFC1122-2.3.3-1, RFC1122-2.3.3-5, RFC826-Generation-1
TEST(TwoHosts, ExchangeDatagramsAfterArp) {
  Pair net;
  const SocketId server = net.b.udp("0.0.0.0:7");
  const SocketId client = net.a.udp("0.0.0.0:5000");
  ASSERT_TRUE(net.a.send_to(client, "hello", "10.0.0.2:7"));
  net.run();
  DatagramInfo info;
  EXPECT_EQ(net.b.receive_text(server, &info), "hello");
  EXPECT_EQ(info.source, at("10.0.0.1:5000"));
  EXPECT_EQ(info.destination, at("10.0.0.2:7"));
  EXPECT_EQ(info.interface, net.ib);
  DatagramTarget back;
  back.destination = info.source;
  ASSERT_TRUE(net.b.send(server, "world", back));
  net.run();
  EXPECT_EQ(net.a.receive_text(client), "world");
  EXPECT_EQ(net.a.stack.counters().dropped_total(), 0U);
  EXPECT_EQ(net.b.stack.counters().dropped_total(), 0U);
}

// req: RFC1122-3.2.2.6-1, RFC1122-3.2.2.6-2, RFC1122-3.2.2.6-5, RFC1122-3.2.2.6-6
TEST(TwoHosts, Ping) {
  Pair net;
  const SocketId ping = net.a.stack.open(SocketKind::icmp, Family::v4).value();
  ASSERT_TRUE(net.a.stack.connect(ping, at("10.0.0.2:0"), net.a.now));
  const std::string request{"\x08\0\0\0\0\0\0\x01 0123456789", 19};
  ASSERT_TRUE(net.a.send(ping, request));
  net.run();
  const std::string reply = net.a.receive_text(ping);
  ASSERT_EQ(reply.size(), request.size());
  EXPECT_EQ(reply[0], 0);
  EXPECT_EQ(reply.substr(8), request.substr(8));
  EXPECT_EQ(net.a.stack.counters().dropped_total(), 0U);
}

TEST(Loopback, CarriesBothFamilies) {
  Host host;
  const InterfaceId lo = host.loopback();
  const SocketId v4 = host.udp("127.0.0.1:1000");
  const SocketId v6 = host.udp("[::1]:1000");
  const SocketId client = host.stack.open(SocketKind::udp, Family::v6).value();
  ASSERT_TRUE(host.send_to(client, "six", "[::1]:1000"));
  ASSERT_TRUE(host.send_to(client, "four", "[::ffff:127.0.0.1]:1000"));
  host.run_loopback(lo);
  EXPECT_EQ(host.receive_text(v6), "six");
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(v4, &info), "four");
  EXPECT_EQ(info.source.address, ip("127.0.0.1"));
  DatagramTarget back;
  back.destination = info.source;
  ASSERT_TRUE(host.send(v4, "answer", back));
  host.run_loopback(lo);
  EXPECT_EQ(host.receive_text(client, &info), "answer");
  EXPECT_EQ(info.source.address, ip("::ffff:127.0.0.1"));
  EXPECT_EQ(host.stack.counters().dropped_total(), 0U);
}

TEST(Events, ReportEachSocketOnceUntilItsConditionChanges) {
  Pair net;
  const SocketId server = net.b.udp("0.0.0.0:7");
  const SocketId client = net.a.udp("0.0.0.0:5000");
  EXPECT_FALSE(net.b.stack.poll_event());
  ASSERT_TRUE(net.a.send_to(client, "one", "10.0.0.2:7"));
  ASSERT_TRUE(net.a.send_to(client, "two", "10.0.0.2:7"));
  net.run();
  const auto event = net.b.stack.poll_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->socket, server);
  EXPECT_EQ(event->bits, kReadable | kWritable);
  EXPECT_FALSE(net.b.stack.poll_event());
  EXPECT_EQ(net.b.receive_text(server), "one");
  EXPECT_FALSE(net.b.stack.poll_event());
  EXPECT_EQ(net.b.receive_text(server), "two");
  EXPECT_EQ(net.b.receive_text(server), "(none)");
  ASSERT_TRUE(net.a.send_to(client, "three", "10.0.0.2:7"));
  net.run();
  EXPECT_TRUE(net.b.stack.poll_event());
}

TEST(BackPressure, AFullInterfaceBlocksOnlyItself) {
  Host host;
  const InterfaceId one = host.tun("10.1.0.1/24");
  const InterfaceId two = host.tun("10.2.0.1/24");
  const SocketId a = host.udp("0.0.0.0:1");
  const SocketId b = host.udp("0.0.0.0:2");
  ASSERT_TRUE(host.send_to(a, "first", "10.1.0.9:9"));
  host.out.room = 0;
  EXPECT_EQ(host.poll(), Transmit::blocked);
  host.out.room = SIZE_MAX;
  ASSERT_TRUE(host.send_to(b, "second", "10.2.0.9:9"));
  EXPECT_EQ(host.poll(), Transmit::blocked);
  ASSERT_EQ(host.out.frames.size(), 1U);
  EXPECT_EQ(host.out.interfaces[0], two);
  host.stack.on_writable(one, host.now);
  EXPECT_EQ(host.poll(), Transmit::idle);
  ASSERT_EQ(host.out.frames.size(), 2U);
  EXPECT_EQ(host.out.interfaces[1], one);
}

TEST(Memory, AStackWithoutAnyAnswersNoBuffers) {
  HeapMemory memory{0};
  Stack stack{{}, memory, {}, Instant::from_nanos(0)};
  EXPECT_EQ(stack.open(SocketKind::udp, Family::v4).error(), SocketError::no_buffers);
  EXPECT_TRUE(stack.next_deadline().is_never());
  EXPECT_FALSE(stack.poll_event());
}

TEST(SteadyState, DatagramsAllocateNothing) {
  Pair net;
  const SocketId server = net.b.udp("0.0.0.0:7");
  const SocketId client = net.a.udp("0.0.0.0:5000");
  const auto exchange = [&] {
    ASSERT_TRUE(net.a.send_to(client, std::string(1000, 'x'), "10.0.0.2:7"));
    net.run();
    EXPECT_EQ(net.b.receive_text(server).size(), 1000U);
  };
  for (int i = 0; i < 20; ++i) exchange();
  const std::size_t before = net.a.memory.allocations() + net.b.memory.allocations();
  for (int i = 0; i < 1000; ++i) exchange();
  EXPECT_EQ(net.a.memory.allocations() + net.b.memory.allocations(), before);
}

}  // namespace
}  // namespace tidewire::testing
