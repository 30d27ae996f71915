// Two engines and a link: whole conversations, clean and over bad networks.
#include <gtest/gtest.h>

#include "core/tcp/testing/link.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;

TEST(TcpTransfer, HandshakeConnectsBothSides) {
  Link link;
  const auto [client, server] = link.connect();
  EXPECT_EQ(link.a.engine.info(client)->state, TcpState::established);
  EXPECT_EQ(link.b.engine.info(server)->state, TcpState::established);
  EXPECT_EQ(link.a.engine.info(client)->mss, 1448U);
  EXPECT_EQ(link.a.engine.info(client)->srtt, Duration::millis(20));
}

TEST(TcpTransfer, OneMegabyteArrivesIntact) {
  Link link;
  const auto [client, server] = link.connect();
  Transfer t{link.a, client, link.b, server, 1'000'000};
  link.app = [&] { t.drive(); };
  EXPECT_TRUE(link.run([&] { return t.done(); }));
  EXPECT_TRUE(t.intact);
  EXPECT_EQ(t.read, t.size);
  EXPECT_EQ(link.a.engine.info(client)->retransmits, 0U);
  EXPECT_LT(link.now().nanos(), 3'000'000'000);
}

TEST(TcpTransfer, BothDirectionsAtOnce) {
  Link link;
  const auto [client, server] = link.connect();
  Transfer up{link.a, client, link.b, server, 300'000};
  Transfer down{link.b, server, link.a, client, 400'000};
  link.app = [&] {
    up.drive();
    down.drive();
  };
  EXPECT_TRUE(link.run([&] { return up.done() && down.done(); }));
  EXPECT_TRUE(up.intact && down.intact);
}

struct Bad {
  const char* name;
  std::uint32_t loss_per_mille;
  std::int64_t jitter_ms;
  bool sack, timestamps;
};

class TcpBadLink : public ::testing::TestWithParam<Bad> {};

TEST_P(TcpBadLink, EveryByteArrives) {
  const Bad bad = GetParam();
  StackConfig config;
  config.tcp.sack = bad.sack;
  config.tcp.timestamps = bad.timestamps;
  Link link{config, {}};
  const auto [client, server] = link.connect();
  Rng rng{RandomSeed{bad.loss_per_mille + 1, 3}};
  link.lose = [&](bool, std::uint32_t) { return rng.below(1000) < bad.loss_per_mille; };
  link.jitter = [&](std::uint32_t) {
    return Duration::micros(
        static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(bad.jitter_ms) * 1000 + 1)));
  };
  Transfer up{link.a, client, link.b, server, 400'000};
  Transfer down{link.b, server, link.a, client, 200'000};
  link.app = [&] {
    up.drive();
    down.drive();
  };
  EXPECT_TRUE(link.run([&] { return up.done() && down.done(); }, Duration::seconds(3000)));
  EXPECT_FALSE(up.failed);
  EXPECT_FALSE(down.failed);
  EXPECT_TRUE(up.intact && down.intact);
  EXPECT_EQ(up.read, up.size);
  EXPECT_EQ(down.read, down.size);
}

INSTANTIATE_TEST_SUITE_P(
    Links, TcpBadLink,
    ::testing::Values(Bad{"clean", 0, 0, true, true}, Bad{"loss1", 10, 0, true, true},
                      Bad{"loss5", 50, 0, true, true}, Bad{"loss20", 200, 0, true, true},
                      Bad{"loss5_no_sack", 50, 0, false, true},
                      Bad{"loss5_bare", 50, 0, false, false}, Bad{"reorder", 0, 15, true, true},
                      Bad{"reorder_no_sack", 0, 15, false, false}, Bad{"all", 50, 10, true, true}),
    [](const auto& param) { return std::string{param.param.name}; });

TEST(TcpTransfer, CloseGoesThroughTimeWaitAndFreesEverything) {
  Link link;
  const auto [client, server] = link.connect();
  link.a.engine.close(client);
  EXPECT_FALSE(link.a.engine.info(client));
  EXPECT_TRUE(link.run([&] { return (link.b.engine.readiness(server) & kPeerClosed) != 0; }));
  link.b.engine.close(server);
  link.run_for(Duration::seconds(1));
  const auto walk = [&](const Engine& engine) {
    std::vector<TcpState> states;
    for (auto s = engine.next_socket({}); s; s = engine.next_socket(s->id)) {
      states.push_back(s->state);
    }
    return states;
  };
  EXPECT_EQ(walk(link.a.engine), std::vector{TcpState::time_wait});
  EXPECT_EQ(walk(link.b.engine), std::vector{TcpState::listen});
  link.run_for(Duration::seconds(61));
  EXPECT_TRUE(walk(link.a.engine).empty());
}

}  // namespace
}  // namespace tidewire::tcp
