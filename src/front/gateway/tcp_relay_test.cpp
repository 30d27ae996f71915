// TCP through the gateway, against real sockets on the host's loopback.
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include "base/random.hpp"
#include "front/gateway/testing.hpp"

namespace tidewire::gateway {
namespace {

using testing::HostSocket;
using testing::Net;

std::string random_text(std::size_t size, std::uint64_t seed) {
  std::string text(size, '\0');
  Rng rng({seed, 1});
  for (char& c : text) c = static_cast<char>(rng.next());
  return text;
}

/// A connection from the virtual host to a listener of the host.
struct Joined {
  explicit Joined(Net& net) : listener(HostSocket::listening()) {
    inner = net.connect(SocketKind::tcp, listener.port());
    EXPECT_TRUE(net.until([&] {
      if (!outer) outer = listener.accept();
      return outer && net.connected(inner);
    }));
  }
  HostSocket listener;
  std::optional<HostSocket> outer;
  SocketId inner;
};

TEST(TcpRelay, CarriesBothDirectionsAtOnceIntact) {
  Net net;
  Joined joined(net);
  const std::string out = random_text(3'000'000, 1);
  const std::string back = random_text(2'000'000, 2);
  std::string at_host, at_client;
  std::size_t sent = 0, sent_back = 0;
  const bool done = net.until([&] {
    if (sent < out.size()) {
      const auto n = net.host.send(joined.inner, as_bytes(out.data() + sent, out.size() - sent), {},
                                   runtime::Clock::now());
      sent += n.value_or(0);
    }
    if (sent_back < back.size()) {
      const ssize_t n = joined.outer->send(std::string_view(back).substr(sent_back));
      if (n > 0) sent_back += static_cast<std::size_t>(n);
    }
    joined.outer->read_into(at_host);
    at_client += net.read(joined.inner);
    return at_host.size() >= out.size() && at_client.size() >= back.size();
  });
  EXPECT_TRUE(done) << at_host.size() << " " << at_client.size();
  EXPECT_TRUE(at_host == out);
  EXPECT_TRUE(at_client == back);
  EXPECT_EQ(net.gateway->counters().tcp_opened, 1U);
}

TEST(TcpRelay, HalfCloseGoesEachWayByItself) {
  Net net;
  Joined joined(net);
  net.send(joined.inner, "request");
  ASSERT_TRUE(net.host.shutdown(joined.inner, ShutdownHow::write, runtime::Clock::now()));
  std::string got;
  EXPECT_TRUE(net.until([&] { return !joined.outer->read_into(got); })) << "FIN reaches the host";
  EXPECT_EQ(got, "request");
  EXPECT_EQ(joined.outer->error, 0);
  joined.outer->send("answer");
  std::string answer;
  EXPECT_TRUE(net.until([&] { return (answer += net.read(joined.inner)) == "answer"; }));
  EXPECT_FALSE(net.at_end(joined.inner));
  joined.outer->close();
  EXPECT_TRUE(net.until([&] { return net.at_end(joined.inner); })) << "FIN reaches the client";
  EXPECT_TRUE(net.until([&] { return net.gateway->tcp_relays() == 0; }));
  EXPECT_FALSE(net.failed(joined.inner));
}

TEST(TcpRelay, AHostThatClosesFirstCanStillBeSentTo) {
  Net net;
  Joined joined(net);
  ::shutdown(joined.outer->fd(), SHUT_WR);
  EXPECT_TRUE(net.until([&] { return net.at_end(joined.inner); }));
  net.send(joined.inner, "late");
  net.host.close(joined.inner, runtime::Clock::now());
  std::string got;
  EXPECT_TRUE(net.until([&] { return !joined.outer->read_into(got); }));
  EXPECT_EQ(got, "late");
  EXPECT_TRUE(net.until([&] { return net.gateway->tcp_relays() == 0; }));
}

TEST(TcpRelay, OwesWhatHasNotReachedTheHostAndTheAnswerToAPeerThatFinished) {
  Net net;
  Joined joined(net);
  EXPECT_EQ(net.gateway->tcp_relays(), 1U);
  EXPECT_EQ(net.gateway->tcp_relays_owing(), 0U) << "an open connection at rest";
  const std::string text(8 << 20, 'x');
  std::size_t sent = 0;
  ASSERT_TRUE(net.until([&] {
    sent += net.host
                .send(joined.inner, as_bytes(text.data() + sent, text.size() - sent), {},
                      runtime::Clock::now())
                .value_or(0);
    return net.gateway->tcp_relays_owing() == 1;
  })) << "the host does not read";
  std::string got;
  ASSERT_TRUE(net.until([&] {
    joined.outer->read_into(got);
    return got.size() == sent && net.gateway->tcp_relays_owing() == 0;
  }));
  ASSERT_TRUE(net.host.shutdown(joined.inner, ShutdownHow::write, runtime::Clock::now()));
  ASSERT_TRUE(net.until([&] { return net.gateway->tcp_relays_owing() == 1; }));
  joined.outer->close();
  EXPECT_TRUE(net.until([&] { return net.gateway->tcp_relays() == 0; }));
}

TEST(TcpRelay, RefusalIsTheClientsRefusal) {
  Net net;
  std::uint16_t port = 0;
  {
    HostSocket s = HostSocket::listening();
    port = s.port();
  }
  const SocketId s = net.connect(SocketKind::tcp, port);
  ASSERT_TRUE(net.until([&] { return net.failed(s); }));
  EXPECT_EQ(net.host.take_error(s), SocketError::connection_refused);
  EXPECT_EQ(net.gateway->counters().tcp_refused, 1U);
  EXPECT_EQ(net.gateway->tcp_relays(), 0U);
}

TEST(TcpRelay, ResetsPassBothWays) {
  Net net;
  {
    Joined joined(net);
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(joined.outer->fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    joined.outer->close();
    ASSERT_TRUE(net.until([&] { return net.failed(joined.inner); }));
    EXPECT_EQ(net.host.take_error(joined.inner), SocketError::connection_reset);
  }
  Joined joined(net);
  net.host.abort(joined.inner, runtime::Clock::now());
  std::string got;
  ASSERT_TRUE(net.until([&] { return !joined.outer->read_into(got); }));
  EXPECT_EQ(joined.outer->error, ECONNRESET);
  EXPECT_TRUE(net.until([&] { return net.gateway->tcp_relays() == 0; }));
}

TEST(TcpRelay, AReaderThatStopsStopsTheSenderWithoutHoarding) {
  Net net;
  Joined joined(net);
  const std::string chunk = random_text(100'000, 3);
  std::size_t sent = 0;
  // The host's end reads nothing: kernel buffers fill, then the gateway's ring, then the client's.
  std::size_t before = 1;
  while (before != sent) {
    before = sent;
    for (int i = 0; i < 20; ++i) {
      sent +=
          net.host
              .send(joined.inner, as_bytes(chunk.data(), chunk.size()), {}, runtime::Clock::now())
              .value_or(0);
      net.run_for(Duration::millis(10));
    }
  }
  EXPECT_GT(sent, 1'000'000U);
  EXPECT_LT(net.gateway_memory.in_use(), std::size_t{24} << 20);
  std::string got;
  ASSERT_TRUE(net.until([&] {
    joined.outer->read_into(got);
    return got.size() >= sent;
  })) << got.size()
      << " of " << sent;
  std::string expected;
  EXPECT_EQ(got.size(), sent);
}

TEST(TcpRelay, AClientThatStopsReadingStopsTheHost) {
  Net net;
  Joined joined(net);
  const std::string chunk = random_text(100'000, 4);
  std::size_t sent = 0, before = 1;
  while (before != sent) {
    before = sent;
    for (int i = 0; i < 20; ++i) {
      const ssize_t n = joined.outer->send(chunk);
      if (n > 0) sent += static_cast<std::size_t>(n);
      net.run_for(Duration::millis(10));
    }
  }
  EXPECT_LT(net.gateway_memory.in_use(), std::size_t{24} << 20);
  std::size_t got = 0;
  EXPECT_TRUE(net.until([&] { return (got += net.read(joined.inner).size()) >= sent; }));
  EXPECT_EQ(got, sent);
}

TEST(TcpRelay, NoHostIsRefused) {
  GatewayConfig config;
  config.allow_host = false;
  Net net(config);
  HostSocket listener = HostSocket::listening();
  const SocketId s = net.connect(SocketKind::tcp, listener.port());
  ASSERT_TRUE(net.until([&] { return net.failed(s); }));
  EXPECT_EQ(net.host.take_error(s), SocketError::connection_refused);
  EXPECT_EQ(net.gateway->counters().forbidden, 1U);
  EXPECT_FALSE(listener.accept());
}

TEST(TcpRelay, TheNumberIsBounded) {
  GatewayConfig config;
  config.tcp_max = 2;
  Net net(config);
  HostSocket listener = HostSocket::listening();
  const SocketId a = net.connect(SocketKind::tcp, listener.port());
  const SocketId b = net.connect(SocketKind::tcp, listener.port());
  ASSERT_TRUE(net.until([&] { return net.connected(a) && net.connected(b); }));
  const SocketId c = net.connect(SocketKind::tcp, listener.port());
  ASSERT_TRUE(net.until([&] { return net.failed(c); }));
  EXPECT_EQ(net.gateway->counters().tcp_over_limit, 1U);
}

TEST(TcpRelay, IdleConnectionsEnd) {
  GatewayConfig config;
  config.tcp_established = Duration::millis(80);
  Net net(config);
  Joined joined(net);
  EXPECT_TRUE(net.until([&] { return net.failed(joined.inner); }));
  std::string got;
  EXPECT_TRUE(net.until([&] { return !joined.outer->read_into(got); }));
  EXPECT_EQ(net.gateway->counters().tcp_timed_out, 1U);
}

TEST(Publish, LeadsIntoTheVirtualNetwork) {
  Net net;
  const auto listener = net.host.open(SocketKind::tcp, Family::v4);
  const Instant now = runtime::Clock::now();
  ASSERT_TRUE(net.host.bind(*listener, {IpAddress::any(Family::v4), 80, 0}, now));
  ASSERT_TRUE(net.host.listen(*listener, 8, now));
  PublishSpec spec;
  spec.target.port = 80;
  const auto opened = net.gateway->publish(spec);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_NE(opened->host.port, 0);

  HostSocket client(SOCK_STREAM);
  client.connect(opened->host.port);
  SocketId served;
  ASSERT_TRUE(net.until([&] {
    const auto s = net.host.accept(*listener, runtime::Clock::now());
    if (s) served = *s;
    return s.has_value();
  }));
  EXPECT_EQ(net.host.remote_endpoint(served)->address, IpAddress::v4(10, 0, 2, 2));
  client.send("hello");
  std::string got, back;
  EXPECT_TRUE(net.until([&] { return (got += net.read(served)) == "hello"; }));
  net.send(served, "world");
  net.host.close(served, runtime::Clock::now());
  EXPECT_TRUE(net.until([&] { return !client.read_into(back); }));
  EXPECT_EQ(back, "world");
}

TEST(Publish, NobodyListeningResetsTheClient) {
  Net net;
  PublishSpec spec;
  spec.target.port = 81;
  const auto opened = net.gateway->publish(spec);
  ASSERT_TRUE(opened);
  HostSocket client(SOCK_STREAM);
  client.connect(opened->host.port);
  std::string got;
  EXPECT_TRUE(net.until([&] { return !client.read_into(got) && client.error != EAGAIN; }));
  EXPECT_EQ(client.error, ECONNRESET);
}

TEST(Publish, ATakenPortIsAClearError) {
  Net net;
  HostSocket taken = HostSocket::listening();
  PublishSpec spec;
  spec.host.port = taken.port();
  spec.target.port = 80;
  const auto opened = net.gateway->publish(spec);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().find("taken"), std::string::npos) << opened.error();
  EXPECT_NE(opened.error().find("--publish"), std::string::npos) << opened.error();
  spec.host.address = IpAddress::v4(192, 0, 2, 1);
  EXPECT_NE(net.gateway->publish(spec).error().find("not an address of this host"),
            std::string::npos);
}

}  // namespace
}  // namespace tidewire::gateway
