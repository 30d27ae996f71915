// A stack that is one of several shards: connects from ports that were chosen by number.
#include <gtest/gtest.h>

#include <set>

#include "core/stack.hpp"
#include "core/testing.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::testing {
namespace {

StackConfig shard_of(std::uint32_t index, std::uint32_t count) {
  StackConfig config;
  config.shard = {index, {.count = count, .key = {31, 32}}};
  return config;
}

SocketError connect_from(Host& host, SocketKind kind, std::uint16_t port, const char* remote) {
  const SocketId socket = host.stack.open(kind, Family::v4).value();
  if (port != 0)
    (void)host.stack.bind(socket, {IpAddress::any(Family::v4), port, 0}, host.now).value();
  const auto done = host.stack.connect(socket, at(remote), host.now);
  const SocketError error = done ? SocketError::none : done.error();
  host.stack.close(socket, host.now);
  return error;
}

TEST(Shards, OneOfThemTakesAConnectFromABoundPortTheOthersRefuse) {
  for (const SocketKind kind : {SocketKind::tcp, SocketKind::udp}) {
    for (std::uint16_t port = 1000; port < 1050; ++port) {
      int taken = 0;
      for (std::uint32_t index = 0; index < 4; ++index) {
        Host host(1, shard_of(index, 4));
        host.tun("10.0.0.1/24");
        const SocketError answer = connect_from(host, kind, port, "10.0.0.2:80");
        if (answer == SocketError::none) {
          ++taken;
        } else {
          EXPECT_EQ(answer, SocketError::address_not_available);
        }
      }
      EXPECT_EQ(taken, 1);
    }
  }
}

TEST(Shards, EachOneConnectsFromPortsOfItsOwn) {
  for (std::uint32_t index = 0; index < 4; ++index) {
    Host host(1, shard_of(index, 4));
    host.tun("10.0.0.1/24");
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(connect_from(host, SocketKind::tcp, 0, "10.0.0.2:80"), SocketError::none);
      EXPECT_EQ(connect_from(host, SocketKind::udp, 0, "10.0.0.2:80"), SocketError::none);
    }
  }
}

TEST(Shards, WhatStaysInThisHostNeedsNoOwner) {
  Host host(1, shard_of(3, 4));
  host.loopback();
  host.tun("10.0.0.1/24");
  for (std::uint16_t port = 1000; port < 1030; ++port) {
    for (const char* remote : {"127.0.0.1:80", "10.0.0.1:80"}) {
      EXPECT_EQ(connect_from(host, SocketKind::tcp, port, remote), SocketError::none);
      EXPECT_EQ(connect_from(host, SocketKind::udp, port, remote), SocketError::none);
    }
  }
}

TEST(Shards, TheirPacketsHaveIdentificationsOfTheirOwn) {
  for (std::uint32_t index = 0; index < 4; ++index) {
    Host host(1, shard_of(index, 4));
    host.tun("10.0.0.1/24");
    const SocketId socket = host.udp("10.0.0.1:5000");
    ASSERT_TRUE(host.stack.set_option(socket, SocketOption::mtu_discover, 0, host.now));
    std::set<std::uint16_t> seen;
    for (int i = 0; i < 20'000; ++i) {
      ASSERT_TRUE(host.send_to(socket, "x", "10.0.0.2:53"));
      for (const Frame& frame : host.sent()) {
        const auto view = wire::Ipv4View::parse(frame);
        ASSERT_TRUE(view && !view->dont_fragment());
        EXPECT_EQ(view->id() >> 14, index);
        seen.insert(view->id());
      }
    }
    EXPECT_EQ(seen.size(), 16'384U) << "all of them, and none twice before";
  }
}

}  // namespace
}  // namespace tidewire::testing
