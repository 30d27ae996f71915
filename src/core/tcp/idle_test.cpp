// Quiet connections take little memory and go on as if nothing had happened.
#include "core/tcp/testing/link.hpp"
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

struct Resting : Trace {
  explicit Resting(std::string_view options = "<mss 1000,sackOK,ws 3,ts 100>") {
    accept(options);
    awake = host.memory.in_use();
    pass(6000);
    quiet();
  }
  std::size_t awake = 0;
};

TEST(TcpIdle, NoTimerIsLeftAndQuestionsWakeNobody) {
  Resting t;
  EXPECT_TRUE(t.host.engine.next_deadline().is_never());
  EXPECT_EQ(t.ready(), kConnected | kWritable);
  const SocketInfo info = *t.host.engine.info(t.socket);
  EXPECT_EQ(info.state, established);
  EXPECT_EQ(info.cwnd, 9880U);
  EXPECT_TRUE(info.timestamps && info.sack && info.window_scaling);
  EXPECT_EQ(info.remote.port, 5000);
  EXPECT_EQ(t.states(), (std::vector{listen, established}));
  EXPECT_EQ(t.host.engine.received(t.socket).size(), 0U);
  EXPECT_FALSE(t.host.engine.received(t.socket).end_of_stream);
  EXPECT_EQ(t.host.engine.remote_endpoint(t.socket)->port, 5000);
  EXPECT_TRUE(t.host.engine.next_deadline().is_never());
}

TEST(TcpIdle, TextWakesItAndItRestsAgain) {
  Resting t;
  for (int round = 0; round < 3; ++round) {
    const std::uint32_t seq = 1 + static_cast<std::uint32_t>(round) * 10;
    t.in("P. " + std::to_string(seq) + "(10) ack 1 <ts " + std::to_string(200 + round) + ">");
    EXPECT_EQ(t.read(), 10U);
    t.pass(40);
    t.out(". 1(0) ack " + std::to_string(seq + 10) + " <ts " + std::to_string(200 + round) + ">");
    t.pass(10'000);
    EXPECT_TRUE(t.host.engine.next_deadline().is_never());
  }
  EXPECT_EQ(t.host.engine.info(t.socket)->bytes_received, 30U);
}

TEST(TcpIdle, WritingWakesIt) {
  Resting t;
  t.write(1500);
  t.out(". 1(988) ack 1 <ts 101>");
  t.out("P. 989(512) ack 1 <ts 101>");
  t.in(". 1(0) ack 1501 <ts 300>");
  t.pass(10'000);
  t.write(5);
  t.out("P. 1501(5) ack 1 <ts 300>");
  EXPECT_EQ(t.host.engine.info(t.socket)->bytes_sent, 1505U);
}

TEST(TcpIdle, KeepsWhatAttackersMustNotDo) {
  Resting t;
  t.in("R 100(0)");
  t.out(". 1(0) ack 1");
  t.in("P. 1(10) ack 1 <ts 5>");  // PAWS
  t.out(". 1(0) ack 1");
  t.in(". 1(0) ack 5 <ts 300>");  // never sent
  t.out(". 1(0) ack 1");
  t.pass(10'000);
  t.in("R 1(0)");
  EXPECT_EQ(t.error(), SocketError::connection_reset);
}

TEST(TcpIdle, KeepaliveGoesOn) {
  Trace t;
  t.accept("<mss 1000>");
  t.set(SocketOption::keep_alive, 1);
  t.set(SocketOption::keep_idle, Duration::seconds(100).count_nanos());
  t.pass(99'999);
  t.quiet();
  t.pass(1);
  t.out(". 0(0) ack 1");
  t.in(". 1(0) ack 1");
  t.pass(99'999);
  t.quiet();
  t.pass(1);
  t.out(". 0(0) ack 1");
  t.pass(1'000'000);
  EXPECT_EQ(t.error(), SocketError::timed_out);
}

TEST(TcpIdle, CloseFromRest) {
  Resting t;
  t.close();
  t.out("F. 1(0) ack 1");
  Resting other;
  other.in("F. 1(0) ack 1 <ts 300>");
  other.out(". 1(0) ack 2");
  EXPECT_EQ(other.state(), close_wait);
}

TEST(TcpIdle, OptionsSurvive) {
  Resting t;
  t.set(SocketOption::no_delay, 1);
  t.set(SocketOption::keep_count, 4);
  EXPECT_TRUE(t.host.engine.set_congestion_control(t.socket, "reno"));
  t.pass(10'000);
  EXPECT_TRUE(t.host.engine.next_deadline().is_never());
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::no_delay).value(), 1);
  t.write(1);
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::keep_count).value(), 4);
  EXPECT_EQ(t.host.engine.info(t.socket)->congestion_control, "reno");
}

/// What may not change while a connection rests.
std::vector<std::int64_t> history(const SocketInfo& info) {
  std::vector<std::int64_t> all;
  for (const std::uint64_t n :
       {info.bytes_sent, info.bytes_acked, info.bytes_received, info.bytes_retransmitted,
        info.segs_out, info.segs_in, info.data_segs_out, info.data_segs_in,
        std::uint64_t{info.retransmits}, std::uint64_t{info.timeouts}, info.delivery_rate}) {
    all.push_back(static_cast<std::int64_t>(n));
  }
  for (const Duration d : {info.srtt, info.rttvar, info.rto, info.min_rtt, info.busy,
                           info.window_limited, info.buffer_limited}) {
    all.push_back(d.count_nanos());
  }
  for (const Instant t : {info.last_sent, info.last_received, info.last_ack_received}) {
    all.push_back((t - Instant{}).count_nanos());
  }
  return all;
}

// Quiet histories are kept in few words, others whole.
TEST(TcpIdle, HistorySurvives) {
  for (const bool lossy : {false, true}) {
    Resting t;
    t.write(2000);
    t.pass(lossy ? 300 : 2);
    t.skip();
    t.in("P. 1(500) ack 2001 <ts 300>");
    t.pass(50);
    t.skip();
    EXPECT_EQ(t.read(), 500U);
    const auto before = history(*t.host.engine.info(t.socket));
    t.pass(10'000);
    EXPECT_TRUE(t.host.engine.next_deadline().is_never());
    EXPECT_EQ(history(*t.host.engine.info(t.socket)), before) << (lossy ? "lossy" : "clean");
    t.write(1);
    auto after = history(*t.host.engine.info(t.socket));
    EXPECT_EQ(after[2], before[2]);
    EXPECT_EQ(after[0], before[0] + 1);
    EXPECT_EQ(t.host.engine.info(t.socket)->retransmits != 0, lossy);
  }
}

// Each has its own options, however many rest with the same ones.
TEST(TcpIdle, SharedOptionsStayApart) {
  Link link;
  link.listener = link.b.listen(80, 100);
  std::vector<SocketId> clients;
  for (std::int64_t i = 0; i < 30; ++i) {
    clients.push_back(link.a.open());
    ASSERT_TRUE(link.a.engine.connect(clients.back(), Endpoint{link.b.out.v4, 80, 0}));
    EXPECT_TRUE(link.a.engine.set_option(clients.back(), SocketOption::keep_count, 3 + i / 10));
  }
  link.run_for(Duration::seconds(10));
  EXPECT_TRUE(link.a.engine.next_deadline().is_never());
  EXPECT_TRUE(link.a.engine.set_option(clients[5], SocketOption::keep_count, 77));
  link.run_for(Duration::seconds(10));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    EXPECT_EQ(link.a.engine.get_option(clients[i], SocketOption::keep_count).value(),
              i == 5 ? 77 : static_cast<std::int64_t>(3 + i / 10));
  }
}

TEST(TcpIdle, WithoutMemoryItSleepsOn) {
  Resting t;
  Resting crowd;
  t.host.memory.set_failing(true);
  t.in("P. 1(10) ack 1 <ts 300>");
  t.host.memory.set_failing(false);
  t.skip();
  t.in("P. 1(10) ack 1 <ts 300>");
  EXPECT_EQ(t.read(), 10U);
}

TEST(TcpIdle, AThousandTakeLittleMemory) {
  Link link;
  link.listener = link.b.listen(80, 4000);
  std::vector<SocketId> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(link.a.open());
    ASSERT_TRUE(link.a.engine.connect(clients.back(), Endpoint{link.b.out.v4, 80, 0}));
  }
  link.run_for(Duration::millis(100));
  std::size_t accepted = 0;
  while (link.b.engine.accept(link.listener)) ++accepted;
  EXPECT_EQ(accepted, 1000U);
  link.run_for(Duration::seconds(10));
  EXPECT_TRUE(link.b.engine.next_deadline().is_never());
  // What the second thousand adds.
  const std::size_t before = link.b.memory.in_use();
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(link.a.open());
    ASSERT_TRUE(link.a.engine.connect(clients.back(), Endpoint{link.b.out.v4, 80, 0}));
  }
  link.run_for(Duration::millis(100));
  while (link.b.engine.accept(link.listener)) ++accepted;
  EXPECT_EQ(accepted, 2000U);
  link.run_for(Duration::seconds(10));
  EXPECT_LE((link.b.memory.in_use() - before) / 1000, 400U) << "tables and spare chunks included";
  for (const SocketId id : clients) {
    EXPECT_TRUE(link.a.engine.send(id, bytes_of("x"), {}));
  }
  link.run_for(Duration::seconds(1));
  EXPECT_EQ(link.a.engine.info(clients[77])->bytes_acked, 1U);
}

}  // namespace
}  // namespace tidewire::tcp
