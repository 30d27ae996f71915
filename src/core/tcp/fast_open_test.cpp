// TCP Fast Open (RFC 7413), client and server.
#include "core/tcp/fast_open.hpp"
#include "core/tcp/testing/fast_open_client.hpp"
#include "core/tcp/testing/link.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

std::string hex_of(const wire::FastOpenCookie& cookie) {
  std::string out;
  for (const std::byte b : cookie.bytes()) {
    out += "0123456789abcdef"[std::to_integer<unsigned>(b) / 16];
    out += "0123456789abcdef"[std::to_integer<unsigned>(b) % 16];
  }
  return out;
}

// req: RFC7413-4.1.3-1, RFC7413-4.2.1-1, RFC7413-4.2.1-2
TEST(TcpFastOpenClient, AsksForACookieAndUsesItNextTime) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(2000).value(), 1360U);  // the cached MSS less 40
  t.out("S 0(1360) <mss 1460,fo 0102030405060708>");
  t.in("S. 0(0) ack 1361 win 5000 <mss 1400>");
  t.out(". 1361(0) ack 1");
  EXPECT_TRUE(t.host.engine.info(t.socket)->syn_data);
  EXPECT_EQ(t.counters().tcp_fast_open_active, 1U);
  t.write(640);
  t.out(". 1361(640) ack 1");
  t.in(". 1(0) ack 2001");
  EXPECT_EQ(t.host.engine.get_option(t.socket, SocketOption::unacked).value(), 0);
}

// req: RFC7413-4.2.1-3
TEST(TcpFastOpenClient, WhatTheSynAckDoesNotCoverIsSentAgain) {
  for (const int acked : {0, 400, 1000}) {
    Client t;
    t.learn();
    EXPECT_EQ(t.connect_send(1000).value(), 1000U);
    t.out("S 0(1000)");
    t.in("S. 0(0) ack " + std::to_string(1 + acked) + " win 5000 <mss 1400>");
    const std::string rest = std::to_string(1 + acked) + "(" + std::to_string(1000 - acked) + ")";
    t.out(". " + rest + " ack 1");
    t.in(". 1(0) ack 1001");
    t.quiet();
    const SocketInfo info = *t.host.engine.info(t.socket);
    EXPECT_EQ(info.bytes_acked, 1000U);
    EXPECT_EQ(info.syn_data, acked == 1000);
    EXPECT_EQ(info.fast_open_failure,
              acked == 1000 ? FastOpenFailure::none : FastOpenFailure::not_acknowledged);
  }
}

TEST(TcpFastOpenClient, ASynAckMayBringTextAtOnce) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(10).value(), 10U);
  t.out("S 0(10)");
  t.in("S. 0(20) ack 11 win 5000 <mss 1400>");
  t.out(". 11(0) ack 21");
  EXPECT_EQ(t.read(), 20U);
}

// req: RFC7413-4.1.3.1-1, RFC7413-4.2.1-4
TEST(TcpFastOpenClient, TheSynIsRepeatedPlainAndThePathLeftAloneAfterTwoLosses) {
  Client t;
  t.learn();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(t.connect_send(100).value(), 100U);
    t.out("S 0(100) <mss 1460,fo 0102030405060708>");
    t.pass(1000);
    t.out("S 0(0) <mss 1460>");
    t.in("S. 0(0) ack 1 <mss 1400>");
    t.out(". 1(100) ack 1");
    EXPECT_EQ(t.host.engine.info(t.socket)->fast_open_failure, FastOpenFailure::retransmitted);
    t.host.engine.abort(t.socket);
    t.skip();
    t.fresh();
  }
  EXPECT_EQ(t.connect_send(100).value(), 0U);
  t.out("S 0(0) <mss 1460>");
  t.host.engine.abort(t.socket);
  t.skip();
  t.fresh();
  t.pass(4 * 60'000);
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
}

TEST(TcpFastOpenClient, TriesTheOldFormOfTheOption) {
  Client t;
  t.fresh();
  EXPECT_EQ(t.connect_send(1).value(), 0U);
  t.out("S 0(0) <mss 1460,fo>");
  t.in("S. 0(0) ack 1 <mss 1460>");
  t.out(". 1(0) ack 1");
  t.host.engine.abort(t.socket);
  t.skip();
  t.learn("exp aabbccdd", "exp");
  EXPECT_EQ(t.connect_send(5).value(), 5U);
  t.out("S 0(5) <mss 1460,exp aabbccdd>");
}

TEST(TcpFastOpenClient, ConnectWaitsForTheFirstData) {
  Client t;
  t.learn();
  t.set(SocketOption::fast_open_connect, 1);
  ASSERT_TRUE(t.host.engine.connect(t.socket, Endpoint{t.peer, Trace::kPort, 0}));
  t.quiet();
  EXPECT_EQ(t.ready(), kWritable);
  EXPECT_EQ(t.host.engine.connect(t.socket, Endpoint{t.peer, Trace::kPort, 0}).error(),
            SocketError::is_connected);
  t.local_port = t.host.engine.info(t.socket)->local.port;
  EXPECT_EQ(t.write(300), 300U);
  t.out("S 0(300) <mss 1460,fo 0102030405060708>");
  EXPECT_EQ(t.ready(), 0);
  t.in("S. 0(0) ack 301 <mss 1400>");
  t.out(". 301(0) ack 1");
  EXPECT_NE(t.ready() & kConnected, 0);
}

TEST(TcpFastOpenClient, WithoutACookieConnectIsOrdinaryButAsks) {
  Client t;
  t.fresh();
  t.set(SocketOption::fast_open_connect, 1);
  ASSERT_TRUE(t.host.engine.connect(t.socket, Endpoint{t.peer, Trace::kPort, 0}));
  t.out("S 0(0) <mss 1460,fo>");
}

TEST(TcpFastOpenClient, SpaceInTheRingServesTheDeferredConnect) {
  Client t;
  t.learn();
  t.set(SocketOption::fast_open_connect, 1);
  ASSERT_TRUE(t.host.engine.connect(t.socket, Endpoint{t.peer, Trace::kPort, 0}));
  const MutBytes room = t.host.engine.send_space(t.socket, 50);
  ASSERT_GE(room.size(), 50U);
  std::ranges::copy(text(50), room.begin());
  ASSERT_TRUE(t.host.engine.sent(t.socket, 50, {}));
  t.out("S 0(50)");
}

TEST(TcpFastOpenClient, NoCookieNeeded) {
  Client t{kFastOpenClient | kFastOpenClientNoCookie};
  t.fresh();
  EXPECT_EQ(t.connect_send(70).value(), 70U);
  t.out("S 0(70) <mss 1460>");
  Client u;
  u.fresh();
  u.set(SocketOption::fast_open_no_cookie, 1);
  EXPECT_EQ(u.connect_send(70).value(), 70U);
  u.out("S 0(70) <mss 1460>");
}

TEST(TcpFastOpenClient, SwitchedOff) {
  Client t{0};
  t.fresh();
  EXPECT_EQ(t.connect_send(1).error(), SocketError::not_supported);
  EXPECT_EQ(t.host.engine.set_option(t.socket, SocketOption::fast_open_connect, 1).error(),
            SocketError::not_supported);
}

TEST(TcpFastOpenClient, ClosingBeforeTheAnswerFreesEverything) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
  t.close();
  EXPECT_TRUE(t.states().empty());
  t.in("S. 0(0) ack 101");
  t.out("R 101(0)");
}

TEST(TcpFastOpenClient, ARefusalIsARefusal) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
  t.in("R. 0(0) ack 101");
  EXPECT_EQ(t.error(), SocketError::connection_refused);
}

// The SYNs of both cross, and ours had text: it follows after the handshake.
TEST(TcpFastOpenClient, SimultaneousOpenKeepsTheText) {
  Client t;
  t.learn();
  EXPECT_EQ(t.connect_send(100).value(), 100U);
  t.out("S 0(100)");
  t.in("S 0(0) win 5000 <mss 1400>");
  t.out("S. 0(0) ack 1");
  t.in("S. 0(0) ack 1 win 5000 <mss 1400>");
  t.out(". 1(100) ack 1");
  t.in(". 1(0) ack 101");
  EXPECT_EQ(t.state(), established);
}

// req: RFC7413-4.1.3-2
TEST(TcpFastOpenClient, RemembersABoundedNumberOfServers) {
  StackConfig config = bare(kFastOpenClient);
  config.tcp.fast_open_entries = 4;
  Host host{config};
  FastOpen cache{host.context};
  for (std::uint32_t i = 0; i < 100; ++i) {
    FastOpen::Outcome outcome;
    outcome.cookie = make_fast_open_cookie({1, i}, Tuple{});
    cache.learn(Tuple::of(IpAddress::v4(1), 1, IpAddress::v4(100 + i), 2), outcome);
    EXPECT_LE(cache.size(), 4U);
  }
  EXPECT_EQ(cache.find(Tuple::of(IpAddress::v4(1), 7, IpAddress::v4(199), 9)).cookie.size, 8);
  EXPECT_EQ(cache.find(Tuple::of(IpAddress::v4(1), 1, IpAddress::v4(100), 2)).cookie.size, 0);
}

/// A listener under test.
struct Server : Trace {
  explicit Server(std::uint32_t use = kFastOpenServer, std::int64_t pending = 5)
      : Trace(bare(use)) {
    listen();
    EXPECT_TRUE(host.engine.set_option(listener, SocketOption::fast_open, pending));
  }
  wire::FastOpenCookie cookie_for(std::uint32_t host_octet) {
    peer = IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(host_octet));
    in("S 0(0) win 5000 <mss 1000,fo>");
    poll();
    const wire::FastOpenCookie cookie =
        wire::to_repr(host.out.sent.front().view()).options.fast_open.value();
    host.out.sent.clear();
    in("R 1(0)");
    return cookie;
  }
  const Counters& counters() const { return host.context.counters; }
};

// req: RFC7413-4.1.2-1, RFC7413-4.2.2-1
TEST(TcpFastOpenServer, DataOfASynWithAGoodCookieIsThereAtOnce) {
  Server t;
  const std::string cookie = "fo " + hex_of(t.cookie_for(2));
  t.in("S 0(500) win 5000 <mss 1000," + cookie + ">");
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
  t.out("S. 0(0) ack 501 <mss 1460>");
  t.socket = t.host.engine.accept(t.listener).value();
  EXPECT_EQ(t.state(), syn_received);
  EXPECT_EQ(t.ready(), kReadable | kWritable | kConnected);
  EXPECT_EQ(t.read(), 500U);
  // The answer does not wait for the handshake either.
  EXPECT_EQ(t.write(300), 300U);
  t.out(". 1(300) ack 501");
  t.in(". 501(0) ack 301");
  EXPECT_EQ(t.state(), established);
  EXPECT_TRUE(t.host.engine.info(t.socket)->syn_data);
  EXPECT_EQ(t.host.engine.accept(t.listener).error(), SocketError::would_block);
  t.in("F. 501(0) ack 301");
  t.out(". 301(0) ack 502");
  t.close();
  t.out("F. 301(0) ack 502");
  t.in(". 502(0) ack 302");
  EXPECT_EQ(t.states(), std::vector{listen});
}

TEST(TcpFastOpenServer, WhatWasAnsweredEarlyIsRetransmittedOnceTheHandshakeIsOver) {
  Server t;
  t.in("S 0(10) win 5000 <mss 1000,fo " + hex_of(t.cookie_for(2)) + ">");
  t.out("S. 0(0) ack 11");
  t.socket = t.host.engine.accept(t.listener).value();
  t.write(300);
  t.out(". 1(300) ack 11");
  t.pass(1000);
  t.out("S. 0(0) ack 11");
  t.in(". 11(0) ack 1");
  EXPECT_EQ(t.state(), established);
  t.pass(3000);
  t.out(". 1(300) ack 11");
  t.in(". 11(0) ack 301");
  t.quiet();
}

// req: RFC7413-4.2.2-2
TEST(TcpFastOpenServer, ABadCookieIsAnsweredWithAGoodOne) {
  Server t;
  const wire::FastOpenCookie good = t.cookie_for(2);
  t.in("S 0(500) win 5000 <mss 1000,fo 0102030405060708>");
  t.out("S. 0(0) ack 1 <mss 1460,fo " + hex_of(good) + ">");
  t.in(". 1(0) ack 1");
  EXPECT_TRUE(t.host.engine.accept(t.listener));
  EXPECT_EQ(t.counters().tcp_fast_open_passive_fails, 1U);
  EXPECT_EQ(t.counters().tcp_fast_open_passive, 0U);
}

TEST(TcpFastOpenServer, CookiesBelongToHosts) {
  Server t;
  const wire::FastOpenCookie two = t.cookie_for(2);
  const wire::FastOpenCookie three = t.cookie_for(3);
  EXPECT_NE(two, three);
  t.in("S 0(5) win 5000 <fo " + hex_of(two) + ">");
  t.out("S. 0(0) ack 1 <mss 1460,fo " + hex_of(three) + ">");
}

TEST(TcpFastOpenServer, TheOldFormIsAnsweredInTheOldForm) {
  Server t;
  t.in("S 0(0) win 5000 <mss 1000,exp>");
  t.poll();
  const auto option = wire::to_repr(t.host.out.sent.front().view()).options.fast_open;
  ASSERT_TRUE(option);
  EXPECT_TRUE(option->experimental);
  EXPECT_EQ(option->size, 8);
}

// req: RFC7413-4.1.2-2
TEST(TcpFastOpenServer, TheCookieOfAnOldKeyWorksAndIsReplaced) {
  Server t;
  const std::vector<std::byte> keys = text(32);
  ASSERT_TRUE(t.host.engine.set_fast_open_keys(t.listener, Bytes{keys}.subspan(16)));
  const wire::FastOpenCookie old = t.cookie_for(2);
  ASSERT_TRUE(t.host.engine.set_fast_open_keys(t.listener, keys));
  const wire::FastOpenCookie fresh = t.cookie_for(2);
  EXPECT_NE(old, fresh);
  t.in("S 0(5) win 5000 <mss 1000,fo " + hex_of(old) + ">");
  t.out("S. 0(0) ack 6 <mss 1460,fo " + hex_of(fresh) + ">");
  std::vector<std::byte> back(40);
  EXPECT_EQ(t.host.engine.fast_open_keys(t.listener, back).value(), 32U);
  back.resize(32);
  EXPECT_EQ(back, keys);
  EXPECT_EQ(t.host.engine.set_fast_open_keys(t.listener, Bytes{keys}.first(15)).error(),
            SocketError::invalid);
}

// req: RFC7413-4.2.2-3
TEST(TcpFastOpenServer, WithoutTheOptionOfTheListenerDataIsNotTaken) {
  for (const auto& [use, pending] :
       {std::pair{0U, 5}, std::pair{std::uint32_t{kFastOpenServer}, 0}}) {
    Server t{use, pending};
    t.in("S 0(500) win 5000 <mss 1000,fo>");
    t.out("S. 0(0) ack 1 <mss 1460>");
    t.in(". 1(500) ack 1");
    t.socket = t.host.engine.accept(t.listener).value();
    EXPECT_EQ(t.read(), 500U);
  }
  Server all{kFastOpenServer | kFastOpenAllListeners, 0};
  EXPECT_EQ(all.cookie_for(2).size, 8);
}

TEST(TcpFastOpenServer, NoCookieNeeded) {
  Server t{kFastOpenServer | kFastOpenServerNoCookie};
  t.in("S 0(500) win 5000 <mss 1000>");
  t.out("S. 0(0) ack 501 <mss 1460>");
}

/// A client of its own port.
void syn_from(Server& t, std::uint16_t port, std::string_view words) {
  WireSegment s = t.make(words);
  wire::store_u16(s.bytes.data(), port);
  store_checksum(s);
  t.host.receive(s);
  t.poll();
}

// req: RFC7413-5.1-1
TEST(TcpFastOpenServer, PendingOnesAreBoundedAndResetsCountForAMinute) {
  Server t{kFastOpenServer, 2};
  const std::string syn = "S 0(5) win 5000 <mss 1000,fo " + hex_of(t.cookie_for(2)) + ">";
  t.skip();
  for (std::uint16_t port = 1; port <= 3; ++port) syn_from(t, port, syn);
  EXPECT_EQ(t.counters().tcp_fast_open_passive, 2U);
  EXPECT_EQ(t.counters().tcp_fast_open_overflows, 1U);
  EXPECT_EQ(t.skip(), 3U);
  for (std::uint16_t port = 1; port <= 2; ++port) syn_from(t, port, "R 6(0)");
  syn_from(t, 4, syn);
  EXPECT_EQ(t.counters().tcp_fast_open_overflows, 2U);
  t.pass(60'000);
  syn_from(t, 5, syn);
  EXPECT_EQ(t.counters().tcp_fast_open_passive, 3U);
}

TEST(TcpFastOpenServer, AClosedListenerLeavesAcceptedOnesAlone) {
  Server t;
  t.in("S 0(5) win 5000 <mss 1000,fo " + hex_of(t.cookie_for(2)) + ">");
  t.out("S. 0(0) ack 6");
  t.socket = t.host.engine.accept(t.listener).value();
  t.host.engine.close(t.listener);
  t.in(". 6(0) ack 1");
  EXPECT_EQ(t.state(), established);
  EXPECT_EQ(t.read(), 5U);
}

TEST(TcpFastOpenServer, ADuplicateOfTheSynIsAnsweredAgain) {
  Server t;
  const std::string syn = "S 0(5) win 5000 <mss 1000,fo " + hex_of(t.cookie_for(2)) + ">";
  t.in(syn);
  t.out("S. 0(0) ack 6");
  t.in(syn);
  t.out("S. 0(0) ack 6");
  EXPECT_EQ(t.counters().tcp_fast_open_passive, 1U);
  EXPECT_EQ(t.host.engine.readiness(t.listener), kReadable);
}

// Two stacks: from the second connection on the answer is there after one round trip.
TEST(TcpFastOpen, SavesARoundTrip) {
  StackConfig client, server;
  server.tcp.fast_open = kFastOpenServer | kFastOpenAllListeners;
  Link link{client, server};
  link.listener = link.b.listen(80);
  Duration took[2];
  for (Duration& time : took) {
    const SocketId out = link.a.open();
    const Instant start = link.now();
    std::size_t sent =
        link.a.engine.connect_send(out, Endpoint{link.b.out.v4, 80, 0}, text(100)).value();
    SocketId in;
    bool answered = false;
    const auto talk = [&] {
      if (sent == 0) sent = link.a.engine.send(out, text(100), {}).value_or(0);
      if (!in) in = link.b.engine.accept(link.listener).value_or(SocketId{});
      std::vector<std::byte> buffer(200);
      if (in && link.b.engine.receive(in, buffer, {}).value_or(0) > 0) {
        EXPECT_TRUE(link.b.engine.send(in, text(50), {}));
      }
      answered = answered || link.a.engine.receive(out, buffer, {}).value_or(0) > 0;
    };
    link.app = talk;
    ASSERT_TRUE(link.run([&] { return answered; }));
    time = link.now() - start;
    link.app = nullptr;
    link.a.engine.close(out);
    link.b.engine.close(in);
    link.run_for(Duration::seconds(1));
  }
  EXPECT_EQ(took[0], Duration::millis(40));
  EXPECT_EQ(took[1], Duration::millis(20));
}

}  // namespace
}  // namespace tidewire::tcp
