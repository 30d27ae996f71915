// Broadcast and multicast scenes: three hosts on a switch.
#include <gtest/gtest.h>

#include <cstring>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr IpAddress kGroup = IpAddress::v4(239, 1, 2, 3);

struct Scene {
  Scene() {
    Switch& sw = world.add_switch();
    LinkOptions link;
    link.net = net("delay=1ms");
    for (std::uint8_t i = 0; i < 3; ++i) {
      Host& host = world.add_host(std::string(1, static_cast<char>('a' + i)));
      const auto at = world.connect(
          host, {IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(i + 1)), 24}, sw, link);
      world.add_loopback(host);
      hosts.push_back(&host);
      interfaces.push_back(at.a);
      servers.push_back(
          &host.add<DatagramServer>(Endpoint{IpAddress::any(Family::v4), kPort}, false));
    }
    sender = hosts[0]->stack().open(SocketKind::udp, Family::v4).value();
  }

  SocketResult<void> send(const IpAddress& to, std::string_view text) {
    const Bytes data = as_bytes(text.data(), text.size());
    DatagramTarget target;
    target.destination = Endpoint{to, kPort};
    const auto result = hosts[0]->stack().send_datagram(sender, {&data, 1}, target, world.now());
    settle();
    return result;
  }
  void settle() { world.run_for(Duration::seconds(3)); }
  std::vector<std::size_t> counts() const {
    std::vector<std::size_t> out;
    for (const DatagramServer* s : servers) out.push_back(s->received().size());
    return out;
  }
  SocketResult<void> join(std::size_t host) {
    const auto result = hosts[host]->stack().join_group(servers[host]->socket(), kGroup,
                                                        interfaces[host], world.now());
    settle();
    return result;
  }

  World world{{5, 5}};
  std::vector<Host*> hosts;
  std::vector<InterfaceId> interfaces;
  std::vector<DatagramServer*> servers;
  SocketId sender;
};

using Counts = std::vector<std::size_t>;

// req: RFC1122-3.3.6-2
TEST(SwitchScene, Broadcast) {
  Scene scene;
  const IpAddress directed = IpAddress::v4(10, 0, 0, 255);
  EXPECT_EQ(scene.send(directed, "no"), std::unexpected(SocketError::access_denied));
  EXPECT_EQ(scene.send(IpAddress::v4_broadcast(), "no"),
            std::unexpected(SocketError::access_denied));
  EXPECT_EQ(scene.counts(), (Counts{0, 0, 0}));
  ASSERT_TRUE(scene.hosts[0]->stack().set_option(scene.sender, SocketOption::broadcast, 1,
                                                 scene.world.now()));
  EXPECT_TRUE(scene.send(directed, "all"));
  const Counts after = scene.counts();
  EXPECT_EQ(after[1], 1U);
  EXPECT_EQ(after[2], 1U);
  EXPECT_TRUE(scene.send(IpAddress::v4_broadcast(), "again"));
  EXPECT_EQ(scene.counts()[1], 2U);
  EXPECT_EQ(scene.counts()[2], 2U);
  EXPECT_EQ(scene.servers[1]->infos()[0].destination.address, directed);
  EXPECT_EQ(scene.servers[1]->infos()[0].source.address, IpAddress::v4(10, 0, 0, 1));
}

TEST(SwitchScene, Multicast) {
  Scene scene;
  ASSERT_TRUE(scene.hosts[0]->stack().set_option(scene.sender, SocketOption::multicast_interface,
                                                 scene.interfaces[0], scene.world.now()));
  EXPECT_TRUE(scene.send(kGroup, "nobody"));
  EXPECT_EQ(scene.counts(), (Counts{0, 0, 0}));
  ASSERT_TRUE(scene.join(1));
  EXPECT_GT(scene.hosts[1]->stack().counters().igmp_out, 0U);
  EXPECT_TRUE(scene.send(kGroup, "one"));
  EXPECT_EQ(scene.counts(), (Counts{0, 1, 0}));
  ASSERT_TRUE(scene.join(2));
  ASSERT_TRUE(scene.join(0));
  EXPECT_TRUE(scene.send(kGroup, "two and myself"));
  EXPECT_EQ(scene.counts(), (Counts{1, 2, 1}));
  ASSERT_TRUE(scene.hosts[0]->stack().set_option(scene.sender, SocketOption::multicast_loop, 0,
                                                 scene.world.now()));
  EXPECT_TRUE(scene.send(kGroup, "not myself"));
  EXPECT_EQ(scene.counts(), (Counts{1, 3, 2}));
  ASSERT_TRUE(scene.hosts[1]->stack().leave_group(scene.servers[1]->socket(), kGroup,
                                                  scene.interfaces[1], scene.world.now()));
  scene.settle();
  EXPECT_TRUE(scene.send(kGroup, "one is gone"));
  EXPECT_EQ(scene.counts(), (Counts{1, 3, 3}));
}

TEST(SwitchScene, TwoTalkAndTheThirdHearsNothing) {
  Scene scene;
  StreamPlan plan;
  plan.send_total = 100'000;
  plan.expect_seed = plan.send_seed;
  scene.hosts[1]->add<StreamServer>(Endpoint{IpAddress::any(Family::v4), kPort}, plan);
  auto& client = scene.hosts[0]->add<StreamPeer>(plan);
  client.connect({IpAddress::v4(10, 0, 0, 2), kPort});
  EXPECT_EQ(scene.world.run_until([&] { return client.done(); },
                                  scene.world.now() + Duration::seconds(60)),
            Outcome::done);
  EXPECT_EQ(client.error(), SocketError::none);
  EXPECT_LT(scene.hosts[2]->stack().counters().frames_in, 10U);  // only the floods of learning
}

}  // namespace
}  // namespace tidewire::sim
