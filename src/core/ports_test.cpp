// The port registry: Linux' rules for conflicts, RFC 6056 for ephemeral ports.
#include "core/ports.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/testing.hpp"

namespace tidewire::testing {
namespace {

class NoTuples final : public TupleLookup {
 public:
  bool in_use(Protocol, const Endpoint& local, const Endpoint& remote) const noexcept override {
    return taken.contains({local.port, remote.port});
  }
  std::set<std::pair<std::uint16_t, std::uint16_t>> taken;
};

struct Registry {
  explicit Registry(PortConfig range = {}, std::uint64_t seed = 1)
      : memory(64U << 20),
        events(memory),
        context{config, memory,  RandomSeed{seed, 0},   Rng{RandomSeed{seed, 1}}, events,
                {},     nullptr, Instant::from_nanos(0)},
        ports((config.ports = range, context)) {}
  BindRequest request(std::string_view local) {
    BindRequest r;
    r.local = at(local);
    return r;
  }
  StackConfig config;
  HeapMemory memory;
  EventQueue events;
  Context context;
  PortRegistry ports;
};

struct Side {
  const char* local;
  bool v6_only = false, reuse_address = false, reuse_port = false;
  InterfaceId interface = kNoInterface;
};
struct Case {
  Side first, second;
  bool allowed;
  const char* what;
};

BindRequest make(const Side& side) {
  BindRequest r;
  r.local = at(side.local);
  r.v6_only = side.v6_only;
  r.reuse_address = side.reuse_address;
  r.reuse_port = side.reuse_port;
  r.interface = side.interface;
  return r;
}

TEST(Ports, ConflictsAsOnLinux) {
  const std::vector<Case> cases{
      {{"0.0.0.0:80"}, {"0.0.0.0:80"}, false, "the same twice"},
      {{"0.0.0.0:80"}, {"0.0.0.0:81"}, true, "another port"},
      {{"0.0.0.0:80"}, {"10.0.0.1:80"}, false, "the wildcard covers all"},
      {{"10.0.0.1:80"}, {"10.0.0.2:80"}, true, "two addresses"},
      {{"10.0.0.1:80"}, {"[::]:80", true}, true, "v6 only does not touch IPv4"},
      {{"0.0.0.0:80"}, {"[::]:80", false}, false, "dual stack does"},
      {{"[::]:80", false}, {"10.0.0.1:80"}, false, "in either order"},
      {{"[::1]:80", false}, {"0.0.0.0:80"}, true, "one v6 address is no IPv4 address"},
      {{"[::ffff:10.0.0.1]:80"}, {"10.0.0.1:80"}, false, "mapped is IPv4"},
      {{"0.0.0.0:80", false, true}, {"0.0.0.0:80", false, true}, true, "both reuse_address"},
      {{"0.0.0.0:80", false, true}, {"0.0.0.0:80"}, false, "one reuse_address"},
      {{"0.0.0.0:80", false, false, true},
       {"0.0.0.0:80", false, false, true},
       true,
       "both reuse_port"},
      {{"0.0.0.0:80", false, true}, {"0.0.0.0:80", false, false, true}, false, "one of each"},
      {{"0.0.0.0:80", false, false, false, 1},
       {"0.0.0.0:80", false, false, false, 2},
       true,
       "bound to two interfaces"},
      {{"0.0.0.0:80", false, false, false, 1},
       {"0.0.0.0:80"},
       false,
       "bound to one interface, and to all"},
  };
  for (const Case& c : cases) {
    Registry r;
    ASSERT_TRUE(r.ports.bind(make(c.first))) << c.what;
    const auto second = r.ports.bind(make(c.second));
    EXPECT_EQ(second.has_value(), c.allowed) << c.what;
    if (!c.allowed) {
      EXPECT_EQ(second.error(), SocketError::address_in_use) << c.what;
    }
  }
}

TEST(Ports, ProtocolsAreSeparate) {
  Registry r;
  BindRequest request = r.request("0.0.0.0:53");
  ASSERT_TRUE(r.ports.bind(request));
  request.protocol = Protocol::udp;
  EXPECT_TRUE(r.ports.bind(request));
}

TEST(Ports, AListenerEndsTheReuseOfAddresses) {
  Registry r;
  BindRequest request = r.request("0.0.0.0:80");
  request.reuse_address = true;
  const BindId one = r.ports.bind(request).value();
  const BindId two = r.ports.bind(request).value();
  ASSERT_TRUE(r.ports.set_listening(one, true));
  EXPECT_EQ(r.ports.set_listening(two, true).error(), SocketError::address_in_use);
  EXPECT_EQ(r.ports.bind(request).error(), SocketError::address_in_use);
  ASSERT_TRUE(r.ports.set_listening(one, false));
  EXPECT_TRUE(r.ports.set_listening(two, true));
}

TEST(Ports, SharedListenersNeedReusePort) {
  Registry r;
  BindRequest request = r.request("0.0.0.0:80");
  request.reuse_port = true;
  const BindId one = r.ports.bind(request).value();
  const BindId two = r.ports.bind(request).value();
  EXPECT_TRUE(r.ports.set_listening(one, true));
  EXPECT_TRUE(r.ports.set_listening(two, true));
}

TEST(Ports, APortIsFreeWhenItsLastUserLetsGo) {
  Registry r;
  const BindId bind = r.ports.bind(r.request("0.0.0.0:80")).value();
  EXPECT_EQ(r.ports.share(bind), bind);
  r.ports.release(bind);
  EXPECT_FALSE(r.ports.bind(r.request("0.0.0.0:80")));
  r.ports.release(bind);
  EXPECT_TRUE(r.ports.bind(r.request("0.0.0.0:80")));
  r.ports.release(0);
  r.ports.release(12'345);
}

TEST(Ports, AServerThatRestartsFindsItsPortWhileConnectionsLinger) {
  Registry r;
  BindRequest request = r.request("0.0.0.0:80");
  request.reuse_address = true;
  const BindId listener = r.ports.bind(request).value();
  ASSERT_TRUE(r.ports.set_listening(listener, true));
  (void)r.ports.share(listener);  // an accepted connection
  ASSERT_TRUE(r.ports.set_listening(listener, false));
  r.ports.release(listener);
  const auto again = r.ports.bind(request);
  ASSERT_TRUE(again);
  EXPECT_TRUE(r.ports.set_listening(*again, true));
}

TEST(Ports, EphemeralPortsAreAllUsedAndThenNone) {
  Registry r{{40'000, 40'099}};
  std::set<std::uint16_t> seen;
  for (int i = 0; i < 100; ++i) {
    BindRequest request = r.request("0.0.0.0:0");
    ASSERT_TRUE(r.ports.bind_ephemeral(request)) << i;
    EXPECT_GE(request.local.port, 40'000);
    EXPECT_LE(request.local.port, 40'099);
    EXPECT_TRUE(seen.insert(request.local.port).second);
  }
  BindRequest request = r.request("0.0.0.0:0");
  EXPECT_EQ(r.ports.bind_ephemeral(request).error(), SocketError::address_in_use);
}

// req: RFC6056-3.3-1
TEST(Ports, EphemeralPortsDifferFromSeedToSeed) {
  std::set<std::uint16_t> first;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Registry r{{}, seed};
    BindRequest request = r.request("0.0.0.0:0");
    ASSERT_TRUE(r.ports.bind_ephemeral(request));
    first.insert(request.local.port);
  }
  EXPECT_GT(first.size(), 15U);
}

TEST(Ports, ConnectSharesPortsBetweenDifferentPeersOnly) {
  Registry r{{40'000, 40'003}};
  NoTuples tuples;
  std::map<std::uint16_t, int> used;
  for (std::uint16_t peer = 1; peer <= 10; ++peer) {
    for (int i = 0; i < 4; ++i) {
      BindRequest request = r.request("10.0.0.1:0");
      ASSERT_TRUE(r.ports.bind_for_connect(request, Endpoint{ip("10.0.0.2"), peer, 0}, tuples));
      EXPECT_TRUE(tuples.taken.insert({request.local.port, peer}).second);
      ++used[request.local.port];
    }
    BindRequest request = r.request("10.0.0.1:0");
    EXPECT_EQ(r.ports.bind_for_connect(request, Endpoint{ip("10.0.0.2"), peer, 0}, tuples).error(),
              SocketError::address_not_available);
  }
  EXPECT_EQ(used.size(), 4U);
}

TEST(Ports, ConnectAvoidsPortsThatSomebodyBound) {
  Registry r{{40'000, 40'001}};
  NoTuples tuples;
  ASSERT_TRUE(r.ports.bind(r.request("0.0.0.0:40000")));
  BindRequest request = r.request("10.0.0.1:0");
  ASSERT_TRUE(r.ports.bind_for_connect(request, at("10.0.0.2:1"), tuples));
  EXPECT_EQ(request.local.port, 40'001);
  // And a bind does not take the port of a connection.
  EXPECT_FALSE(r.ports.bind(r.request("0.0.0.0:40001")));
}

TEST(Ports, SuccessivePortsToOnePeerDoNotRepeatSoon) {
  Registry r;
  NoTuples tuples;
  std::set<std::uint16_t> seen;
  for (int i = 0; i < 1000; ++i) {
    BindRequest request = r.request("10.0.0.1:0");
    const auto bind = r.ports.bind_for_connect(request, at("10.0.0.2:80"), tuples);
    ASSERT_TRUE(bind);
    seen.insert(request.local.port);
    r.ports.release(*bind);
  }
  EXPECT_EQ(seen.size(), 1000U);
}

/// One of `count` shards; all of them have the same seed, so that only the map tells them apart.
struct Shard : Registry {
  Shard(std::uint32_t index, std::uint32_t count, PortConfig range = {}) : Registry(range) {
    config.shard = {index, {.count = count, .key = {21, 22}}};
    config.shard.map.ephemeral_first = range.ephemeral_first;
    config.shard.map.ephemeral_last = range.ephemeral_last;
  }
};

TEST(Ports, AnswersToEveryChosenPortComeToTheShardThatChoseIt) {
  const auto protocol = static_cast<std::uint8_t>(Protocol::tcp);
  for (const std::uint32_t count : {2U, 3U, 8U, 64U}) {
    for (std::uint32_t index = 0; index < count; index += 1 + count / 5) {
      Shard shard{index, count};
      NoTuples tuples;
      for (std::uint16_t peer = 1; peer <= 300; ++peer) {
        const Endpoint remote{ip("10.0.0.2"), peer, 0};
        BindRequest request = shard.request("10.0.0.1:0");
        ASSERT_TRUE(shard.ports.bind_for_connect(request, remote, tuples));
        EXPECT_EQ(shard.config.shard.map.owner(protocol, request.local, remote), index);
        EXPECT_TRUE(shard.ports.comes_here(Protocol::tcp, request.local, remote));
      }
    }
  }
}

TEST(Ports, TheShardsShareOutAllTuplesOfARange) {
  std::set<std::uint16_t> seen;
  for (std::uint32_t index = 0; index < 4; ++index) {
    Shard shard{index, 4, {40'000, 40'099}};
    NoTuples tuples;
    for (;;) {
      BindRequest request = shard.request("10.0.0.1:0");
      const auto bind = shard.ports.bind_for_connect(request, at("10.0.0.2:80"), tuples);
      if (!bind) {
        EXPECT_EQ(bind.error(), SocketError::address_not_available);
        break;
      }
      EXPECT_TRUE(tuples.taken.insert({request.local.port, 80}).second);
      EXPECT_TRUE(seen.insert(request.local.port).second) << request.local.port;
    }
    EXPECT_FALSE(tuples.taken.empty());
  }
  EXPECT_EQ(seen.size(), 100U);
}

TEST(Ports, EphemeralDatagramPortsAreSharedOutToo) {
  std::set<std::uint16_t> seen;
  for (std::uint32_t index = 0; index < 4; ++index) {
    Shard shard{index, 4, {40'000, 40'099}};
    for (;;) {
      BindRequest request = shard.request("0.0.0.0:0");
      request.protocol = Protocol::udp;
      const auto bind = shard.ports.bind_ephemeral(request);
      if (!bind) {
        EXPECT_EQ(bind.error(), SocketError::address_in_use);
        break;
      }
      EXPECT_TRUE(seen.insert(request.local.port).second);
    }
  }
  EXPECT_EQ(seen.size(), 100U);
}

TEST(Ports, AListenerMayStandOnAnyPortOfEveryShard) {
  for (std::uint32_t index = 0; index < 3; ++index) {
    Shard shard{index, 3};
    const auto bind = shard.ports.bind(shard.request("0.0.0.0:45000"));
    ASSERT_TRUE(bind);
    EXPECT_TRUE(shard.ports.set_listening(*bind, true));
  }
}

TEST(Ports, NoMemoryIsAnAnswer) {
  Registry r;
  r.memory.set_failing(true);
  EXPECT_EQ(r.ports.bind(r.request("0.0.0.0:80")).error(), SocketError::no_buffers);
}

}  // namespace
}  // namespace tidewire::testing
