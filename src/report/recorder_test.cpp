#include "report/recorder.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "base/memory.hpp"
#include "report/json_writer.hpp"
#include "report/run_report.hpp"
#include "report/units.hpp"
#include "wire/ipv4.hpp"
#include "wire/udp.hpp"

namespace tidewire::report {
namespace {

Instant at_ms(int ms) { return Instant::from_nanos(ms * 1'000'000LL); }

/// Two stacks joined by nothing but this: every frame is delivered at once.
class Pair {
 public:
  struct Wire final : TxSink {
    std::vector<std::vector<std::byte>> frames;
    PushResult push(const TxFrame& frame) noexcept override {
      std::vector<std::byte> bytes(frame.headers.begin(), frame.headers.end());
      for (const Bytes part : frame.payload) bytes.insert(bytes.end(), part.begin(), part.end());
      frames.push_back(std::move(bytes));
      return PushResult::taken;
    }
  };

  Pair() : a(config(), memory, {1, 1}, at_ms(0)), b(config(), memory, {2, 2}, at_ms(0)) {
    if_a = add(a, IpAddress::v4(10, 0, 2, 15));
    if_b = add(b, IpAddress::v4(10, 0, 2, 2));
    recorder.observe(Side::host, a);
    recorder.observe(Side::gateway, b);
  }

  static StackConfig config() {
    StackConfig c;
    c.tcp.delayed_ack = Duration::zero();
    return c;
  }
  static InterfaceId add(Stack& stack, IpAddress address) {
    const auto id = stack.add_interface(
        {.name = "link", .medium = Medium::ip, .mac = {}, .mtu = 1500, .trusted = true}, at_ms(0));
    EXPECT_TRUE(id);
    EXPECT_TRUE(stack.add_address(*id, {address, 24}, at_ms(0)));
    return *id;
  }

  /// Moves frames until both are silent.
  void settle(int ms) {
    for (int i = 0; i < 50; ++i) {
      const bool moved = step(a, if_a, b, if_b, Side::host, ms);
      if (!(step(b, if_b, a, if_a, Side::gateway, ms) || moved)) break;
    }
    recorder.after_turn(at_ms(ms));
  }

  bool step(Stack& from, InterfaceId, Stack& to, InterfaceId to_if, Side side, int ms) {
    Wire wire;
    from.on_timeout(at_ms(ms));
    while (from.poll_transmit(wire, at_ms(ms)) == Transmit::budget_spent) {
    }
    for (const auto& bytes : wire.frames) {
      recorder.on_packet(side, bytes, 1, at_ms(ms));
      RxFrame frame;
      frame.head = bytes;
      frame.checksum = ChecksumState::verified;
      frame.ingress = at_ms(ms);
      to.on_frames(to_if, std::span(&frame, 1), at_ms(ms));
    }
    return !wire.frames.empty();
  }

  HeapMemory memory{std::size_t{64} << 20};
  Stack a, b;
  InterfaceId if_a = kNoInterface, if_b = kNoInterface;
  Recorder recorder;
};

TEST(Recorder, OneConnectionIsOneFlow) {
  Pair pair;
  const Endpoint server{IpAddress::v4(10, 0, 2, 2), 80, 0};
  const auto listener = pair.b.open(SocketKind::tcp, Family::v4);
  ASSERT_TRUE(pair.b.bind(*listener, server, at_ms(0)));
  ASSERT_TRUE(pair.b.listen(*listener, 8, at_ms(0)));
  const auto client = pair.a.open(SocketKind::tcp, Family::v4);
  pair.recorder.set_program(*client, "curl");
  (void)pair.a.connect(*client, server, at_ms(1));
  pair.settle(1);
  const std::vector<std::byte> text(10'000);
  ASSERT_TRUE(pair.a.send(*client, text, {}, at_ms(2)));
  pair.settle(2);
  const auto served = pair.b.accept(*listener, at_ms(3));
  ASSERT_TRUE(served);
  std::vector<std::byte> got(20'000);
  const auto n = pair.b.receive(*served, got, {}, at_ms(3));
  ASSERT_EQ(n.value_or(0), text.size());
  pair.a.close(*client, at_ms(4));
  pair.settle(4);
  pair.b.close(*served, at_ms(5));
  pair.settle(5);

  ASSERT_EQ(pair.recorder.flows().size(), 1U);
  const FlowRecord& flow = pair.recorder.flows().front();
  EXPECT_EQ(flow.program, "curl");
  EXPECT_EQ(flow.remote, server);
  EXPECT_TRUE(flow.established);
  EXPECT_TRUE(flow.ended);
  EXPECT_FALSE(flow.aborted);
  EXPECT_FALSE(flow.inward);
  EXPECT_EQ(flow.up.bytes, text.size());
  EXPECT_EQ(flow.down.bytes, 0U);
  EXPECT_GE(flow.up.packets, 3U);
  EXPECT_GE(flow.down.packets, 3U);
  EXPECT_EQ(flow.up.retransmitted_packets, 0U);
}

TEST(Recorder, ARefusedConnectionIsAFailedFlow) {
  Pair pair;
  const auto client = pair.a.open(SocketKind::tcp, Family::v4);
  (void)pair.a.connect(*client, Endpoint{IpAddress::v4(10, 0, 2, 2), 81, 0}, at_ms(1));
  pair.settle(1);
  ASSERT_EQ(pair.recorder.flows().size(), 1U);
  EXPECT_TRUE(pair.recorder.flows().front().aborted);
  EXPECT_FALSE(pair.recorder.flows().front().established);
}

TEST(Recorder, DatagramsBothWaysAreOneFlow) {
  Pair pair;
  const Endpoint there{IpAddress::v4(10, 0, 2, 2), 53, 0};
  const auto server = pair.b.open(SocketKind::udp, Family::v4);
  ASSERT_TRUE(pair.b.bind(*server, there, at_ms(0)));
  const auto client = pair.a.open(SocketKind::udp, Family::v4);
  pair.recorder.set_program(*client, "dig");
  ASSERT_TRUE(pair.a.connect(*client, there, at_ms(0)));
  const std::vector<std::byte> query(40), answer(200);
  Bytes data = query;
  ASSERT_TRUE(pair.a.send_datagram(*client, std::span(&data, 1), {}, at_ms(1)));
  pair.settle(1);
  std::array<std::byte, 512> room;
  const auto got = pair.b.receive_datagram(*server, room, false, at_ms(1));
  ASSERT_TRUE(got);
  DatagramTarget back;
  back.destination = got->source;
  data = answer;
  ASSERT_TRUE(pair.b.send_datagram(*server, std::span(&data, 1), back, at_ms(2)));
  pair.settle(2);

  ASSERT_EQ(pair.recorder.flows().size(), 1U);
  const FlowRecord& flow = pair.recorder.flows().front();
  EXPECT_EQ(flow.protocol, Protocol::udp);
  EXPECT_EQ(flow.program, "dig");
  EXPECT_EQ(flow.up.bytes, query.size());
  EXPECT_EQ(flow.down.bytes, answer.size());
}

TEST(Recorder, TooManyFlowsAreCountedNotKept) {
  HeapMemory memory{std::size_t{1} << 20};
  Recorder recorder(2);
  for (std::uint16_t i = 1; i <= 15; ++i) {
    const auto port = static_cast<std::uint16_t>((i + 2) / 3);  // three packets of each
    std::array<std::byte, 28> packet{};
    Writer writer(packet);
    wire::emit(wire::Ipv4Repr{.source = IpAddress::v4(10, 0, 2, 15),
                              .destination = IpAddress::v4(10, 0, 2, 2),
                              .protocol = 17,
                              .payload_len = 8},
               writer);
    wire::emit(wire::UdpRepr{.source_port = port, .destination_port = 53, .payload_len = 0}, writer,
               std::uint16_t{0});
    recorder.on_packet(Side::host, packet, 1, at_ms(1));
  }
  EXPECT_EQ(recorder.flows().size(), 2U);
  EXPECT_EQ(recorder.flows_not_recorded(), 3U);
}

TEST(Recorder, SocketsThatAreGoneAreForgotten) {
  Pair pair;
  const Endpoint server{IpAddress::v4(10, 0, 2, 2), 80, 0};
  const auto listener = pair.b.open(SocketKind::tcp, Family::v4);
  ASSERT_TRUE(pair.b.bind(*listener, server, at_ms(0)));
  ASSERT_TRUE(pair.b.listen(*listener, 8, at_ms(0)));
  std::size_t most = 0;
  for (int i = 1; i <= 4000; ++i) {
    const auto client = pair.a.open(SocketKind::tcp, Family::v4);
    ASSERT_TRUE(client);
    pair.recorder.set_program(*client, "churn");
    (void)pair.a.connect(*client, server, at_ms(i));
    pair.settle(i);
    const auto served = pair.b.accept(*listener, at_ms(i));
    ASSERT_TRUE(served);
    ASSERT_TRUE(pair.a.set_option(*client, SocketOption::linger, 0, at_ms(i)));
    pair.a.close(*client, at_ms(i));
    pair.settle(i);
    pair.b.close(*served, at_ms(i));
    most = std::max(most, pair.recorder.sockets_known());
  }
  EXPECT_LE(most, 1100U);
  EXPECT_EQ(pair.recorder.flows().size(), 4000U);
}

TEST(Summary, CountsFlowsThatAreNotRecorded) {
  RunReport report;
  report.flows.resize(20);
  report.flows_not_recorded = 7;
  const std::string text = summary(report);
  EXPECT_NE(text.find("tidewire: 27 flows in"), std::string::npos) << text;
  EXPECT_NE(text.find("... and 8 smaller flows (--json lists these)"), std::string::npos) << text;
  EXPECT_NE(text.find("... and 7 later flows, only counted"), std::string::npos) << text;
}

TEST(Summary, NamesCausesAndDrops) {
  RunReport report;
  report.net = "loss=1%";
  report.seed = 7;
  report.duration = Duration::millis(1234);
  FlowRecord& flow = report.flows.emplace_back();
  flow.host = {IpAddress::v4(10, 0, 2, 15), 40'000, 0};
  flow.remote = {IpAddress::v4(10, 0, 2, 2), 80, 0};
  flow.program = "curl";
  flow.ended = flow.established = true;
  flow.down.bytes = 20'000'000;
  flow.down.packets = 13'700;
  flow.down.first_data = at_ms(0);
  flow.down.last_data = at_ms(4000);
  flow.down.retransmitted_packets = 4;
  flow.down.retransmissions[static_cast<std::size_t>(LossCause::rto)] = 1;
  flow.down.retransmissions[static_cast<std::size_t>(LossCause::sack)] = 3;
  flow.down.spurious_packets = 2;
  flow.down.undos[static_cast<std::size_t>(UndoCause::timestamps)] = 3;
  flow.down.undos[static_cast<std::size_t>(UndoCause::dsack)] = 1;
  flow.ecn = EcnMode::classic;
  flow.down.marked_packets = 7;
  report.down.packets = 13'700;
  report.down.impacts = {{"lost", true, 4}, {"queue full", true, 0}, {"marked", false, 9}};
  const std::string text = summary(report);
  for (const char* part :
       {"1 flow in 1.23 s, seed 7, net 'loss=1%'",
        "tcp 10.0.2.15:40000 > 10.0.2.2:80 (curl) closed, ECN classic",
        "20.0 MB in 13,700 packets, 40.0 Mbit/s", "4 retransmissions (3 by SACK, 1 by RTO)",
        "2 for nothing", "reductions undone: 3 by timestamps, 1 by D-SACK", "4 lost", "9 marked",
        "7 marked CE"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_EQ(text.find("queue full"), std::string::npos);
}

TEST(Json, EscapesWhateverAProgramIsCalled) {
  EXPECT_EQ(json_escape("a\"b\\c\n\t\x01"), "a\\\"b\\\\c\\n\\t\\u0001");
  EXPECT_EQ(json_escape("\xc3\xa4\xff\xed\xa0\x80"),
            "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  JsonWriter json;
  json.begin_object();
  json.member("n", 1);
  json.key("list");
  json.begin_array();
  json.value("x");
  json.null();
  json.end_array();
  json.key("empty");
  json.begin_object();
  json.end_object();
  json.end_object();
  EXPECT_EQ(json.text(),
            "{\n  \"n\": 1,\n  \"list\": [\n    \"x\",\n    null\n  ],\n  \"empty\": {}\n}\n");
}

TEST(Units, KeepThreeDigits) {
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(20'000'000), "20.0 MB");
  EXPECT_EQ(format_bytes(999'600), "1.00 MB");
  EXPECT_EQ(format_rate(1'000'000, Duration::seconds(1)), "8.00 Mbit/s");
  EXPECT_EQ(format_rate(1, Duration::zero()), "-");
  EXPECT_EQ(format_duration(Duration::micros(41'234)), "41.2 ms");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
}

}  // namespace
}  // namespace tidewire::report
