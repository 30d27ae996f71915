// Two stacks transfer data over simulated links.
#include <gtest/gtest.h>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr Duration kHour = Duration::seconds(3600);

StreamPlan sends(std::uint64_t bytes) {
  StreamPlan plan;
  plan.send_total = bytes;
  return plan;
}

struct Case {
  const char* words;
  std::uint64_t up, down;
};

class Transfers : public ::testing::TestWithParam<Case> {};

// req: RFC9293-MUST-1
TEST_P(Transfers, ArriveWhole) {
  const Case& c = GetParam();
  TwoHosts two{net(c.words), {1, 1}};
  Transfer transfer{two, sends(c.up), sends(c.down)};
  const Outcome outcome = transfer.run(kHour);
  EXPECT_EQ(outcome, Outcome::done) << to_string(outcome) << "\n" << transfer.state();
  EXPECT_EQ(transfer.violation(), "") << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.state();
  // Nothing is left after TIME-WAIT.
  EXPECT_EQ(two.world.run_for(Duration::seconds(300)), Outcome::idle) << two.world.explain();
}

INSTANTIATE_TEST_SUITE_P(
    Links, Transfers,
    ::testing::Values(Case{"", 0, 0}, Case{"", 1, 0}, Case{"", 0, 1}, Case{"", 1'000'000, 0},
                      Case{"", 0, 1'000'000}, Case{"", 3'000'000, 3'000'000},
                      Case{"delay=20ms rate=50mbit", 2'000'000, 100},
                      Case{"delay=20ms rate=50mbit", 1'000'000, 1'000'000},
                      Case{"delay=20ms loss=1% rate=50mbit", 1'000'000, 0},
                      Case{"delay=5ms loss=5%", 300'000, 300'000},
                      Case{"delay=30ms loss=2% burst=3", 300'000, 1000},
                      Case{"delay=10ms jitter=5ms reorder=5%", 1'000'000, 0},
                      Case{"delay=10ms dup=10%", 500'000, 500'000},
                      Case{"delay=10ms corrupt=5%", 200'000, 200'000},
                      Case{"mtu=576 delay=1ms", 200'000, 200'000},
                      Case{"mtu=9000 delay=1ms", 2'000'000, 0},
                      Case{"delay=200ms rate=1mbit queue=10packets", 300'000, 0},
                      Case{"up.loss=10% delay=5ms", 200'000, 200'000},
                      Case{"down.loss=10% delay=5ms", 200'000, 200'000}));

TEST(Transfer, OffloadedFramesGiveTheSameStream) {
  LinkOptions options;
  options.offload = true;
  TwoHosts two{{}, {3, 3}, options};
  Transfer transfer{two, sends(5'000'000), sends(5'000'000)};
  EXPECT_EQ(transfer.run(kHour), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation() << transfer.state();
}

TEST(Transfer, OverIpMediumInPlace) {
  LinkOptions options;
  options.medium = Medium::ip;
  TwoHosts two{net("delay=3ms loss=1%"), {4, 4}, options};
  StreamPlan plan = sends(500'000);
  plan.in_place = true;
  Transfer transfer{two, plan, plan};
  EXPECT_EQ(transfer.run(kHour), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation() << transfer.state();
}

TEST(Transfer, ASlowReaderClosesTheWindow) {
  TwoHosts two{net("delay=10ms"), {5, 5}};
  StreamPlan reader;
  reader.read_chunk = 5000;
  reader.read_pause = Duration::millis(400);
  reader.receive_buffer = 8192;
  Transfer transfer{two, sends(200'000), reader};
  EXPECT_EQ(transfer.run(kHour), Outcome::done) << transfer.state();
  EXPECT_TRUE(transfer.complete()) << transfer.violation() << transfer.state();
}

TEST(Transfer, NobodyListens) {
  TwoHosts two{net("delay=10ms"), {6, 6}};
  auto& client = two.a.add<StreamPeer>(sends(10));
  client.connect({TwoHosts::kAddressB, 81});
  EXPECT_EQ(two.world.run_until([&] { return client.done(); }, two.world.now() + kHour),
            Outcome::done);
  EXPECT_EQ(client.error(), SocketError::connection_refused);
  EXPECT_LT(client.finished_at() - Instant::from_nanos(0), Duration::seconds(2));
}

// req: RFC9293-MUST-20
TEST(Transfer, NobodyAnswers) {
  TwoHosts two{net("loss=100%"), {7, 7}};
  auto& client = two.a.add<StreamPeer>(sends(10));
  client.connect({TwoHosts::kAddressB, kPort});
  EXPECT_EQ(two.world.run_until([&] { return client.done(); }, two.world.now() + kHour),
            Outcome::done)
      << two.world.explain();
  EXPECT_EQ(client.error(), SocketError::host_unreachable);  // nobody answers ARP
  EXPECT_LT(client.finished_at() - Instant::from_nanos(0), Duration::seconds(6));
}

TEST(Transfer, NobodyAnswersWithoutArp) {
  LinkOptions options;
  options.medium = Medium::ip;
  TwoHosts two{net("loss=100%"), {7, 7}, options};
  auto& client = two.a.add<StreamPeer>(sends(10));
  client.connect({TwoHosts::kAddressB, kPort});
  EXPECT_EQ(two.world.run_until([&] { return client.done(); }, two.world.now() + kHour),
            Outcome::done)
      << two.world.explain();
  EXPECT_EQ(client.error(), SocketError::timed_out);
  // 1 + 2 + 4 + ... + 64 s
  const Duration took = client.finished_at() - Instant::from_nanos(0);
  EXPECT_GE(took, Duration::seconds(127));
  EXPECT_LE(took, Duration::seconds(130));
}

TEST(Transfer, ADeadPathIsTold) {
  device::NetSpec spec = net("delay=10ms rate=10mbit");
  spec.up.blackouts = spec.down.blackouts = {{Duration::millis(300), Duration::seconds(100'000)}};
  TwoHosts two{spec, {8, 8}};
  StreamPlan plan;
  plan.keep_alive = true;
  Transfer transfer{two, sends(5'000'000), plan};
  EXPECT_EQ(transfer.run(kHour), Outcome::done) << transfer.state();
  // By then ARP has failed as well, and that says more.
  EXPECT_EQ(transfer.client->error(), SocketError::host_unreachable);
  ASSERT_NE(transfer.accepted(), nullptr);
  EXPECT_EQ(transfer.accepted()->error(), SocketError::host_unreachable);
}

TEST(Transfer, LoopbackOfOneHost) {
  World world{{9, 9}};
  Host& host = world.add_host("alone");
  world.add_loopback(host);
  StreamPlan echo = sends(300'000);
  echo.expect_seed = echo.send_seed;
  auto& server = host.add<StreamServer>(Endpoint{IpAddress::any(Family::v4), kPort}, echo);
  auto& client = host.add<StreamPeer>(echo);
  client.connect({IpAddress::loopback(Family::v4), kPort});
  EXPECT_EQ(world.run_until([&] { return client.done(); }, world.now() + kHour), Outcome::done)
      << world.explain();
  EXPECT_EQ(client.error(), SocketError::none);
  ASSERT_EQ(server.accepted().size(), 1U);
  EXPECT_TRUE(client.intact());
  EXPECT_EQ(client.bytes_received(), 300'000U);
}

TEST(Transfer, ThroughARouter) {
  World world{{10, 10}};
  Host& a = world.add_host("a");
  Host& router = world.add_host("router");
  Host& b = world.add_host("b");
  LinkOptions link;
  link.net = net("delay=5ms loss=1%");
  const auto left = world.connect(a, {IpAddress::v4(10, 1, 0, 1), 24}, router,
                                  {IpAddress::v4(10, 1, 0, 254), 24}, link);
  const auto right = world.connect(b, {IpAddress::v4(10, 2, 0, 1), 24}, router,
                                   {IpAddress::v4(10, 2, 0, 254), 24}, link);
  router.stack().set_ip_forwarding(true);
  const IpCidr anywhere{IpAddress::any(Family::v4), 0};
  ASSERT_TRUE(a.stack().add_route({anywhere, IpAddress::v4(10, 1, 0, 254), left.a}));
  ASSERT_TRUE(b.stack().add_route({anywhere, IpAddress::v4(10, 2, 0, 254), right.a}));
  StreamPlan plan = sends(200'000);
  plan.expect_seed = plan.send_seed;
  auto& server = b.add<StreamServer>(Endpoint{IpAddress::any(Family::v4), kPort}, plan);
  auto& client = a.add<StreamPeer>(plan);
  client.connect({IpAddress::v4(10, 2, 0, 1), kPort});
  EXPECT_EQ(world.run_until([&] { return client.done(); }, world.now() + kHour), Outcome::done)
      << world.explain();
  EXPECT_EQ(client.error(), SocketError::none);
  EXPECT_EQ(client.bytes_received(), 200'000U);
  ASSERT_EQ(server.accepted().size(), 1U);
  EXPECT_TRUE(client.intact() && server.accepted()[0]->intact());
  EXPECT_GT(router.stack().counters().ip_forwarded, 200U);
}

TEST(Datagrams, PingPongOverALossyLink) {
  TwoHosts two{net("delay=10ms loss=5% dup=2% reorder=2%"), {11, 11}};
  two.b.add<DatagramServer>(Endpoint{IpAddress::any(Family::v4), 53}, true);
  for (const std::size_t size : {0U, 1U, 1400U, 9000U}) {
    auto& client = two.a.add<DatagramClient>(Endpoint{TwoHosts::kAddressB, 53}, 100U, size);
    EXPECT_EQ(two.world.run_until([&] { return client.done(); }, two.world.now() + kHour),
              Outcome::done);
    EXPECT_TRUE(client.intact());
    EXPECT_GT(client.answered(), size > 1400 ? 30U : 70U);
    EXPECT_GT(client.lost(), 0U);
  }
}

}  // namespace
}  // namespace tidewire::sim
