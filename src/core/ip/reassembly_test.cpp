// Fragments: RFC 791, RFC 815, and what hostile ones must not do.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "core/ip/output.hpp"
#include "core/testing_packets.hpp"

namespace tidewire::testing {
namespace {

using wire::Ipv4Repr;

class Fragments : public ::testing::Test {
 protected:
  /// Bytes [from, from + size) of `whole` (an IP payload) as a fragment.
  static Frame fragment(const Frame& whole, std::size_t from, std::size_t size, bool more,
                        std::uint16_t id = 1, const char* source = "10.0.0.2") {
    Ipv4Repr repr = header(source, "10.0.0.1", wire::protocol::udp);
    repr.id = id;
    repr.fragment_offset = static_cast<std::uint16_t>(from);
    repr.more_fragments = more;
    return ipv4(repr, Bytes{whole}.subspan(from, size));
  }
  static Frame segment(std::size_t size) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
    return udp_segment(at("10.0.0.2:9"), at("10.0.0.1:5000"), text);
  }
  void give(const Frame& packet) { host.receive(tun, packet); }
  std::size_t received() {
    const std::string text = host.receive_text(socket);
    return text == "(none)" ? 0 : text.size();
  }
  Host host;
  InterfaceId tun = host.tun("10.0.0.1/24");
  SocketId socket = host.udp("0.0.0.0:5000");
};

// req: RFC791-3.1-3, RFC791-2.3-5, RFC815-3-1, RFC815-3-3, RFC815-3-4, RFC1122-3.2.1.4-1
// req: RFC1122-3.3.2-1, RFC1122-3.3.2-2
TEST_F(Fragments, CompleteInEveryOrder) {
  const Frame whole = segment(1000);  // 1008 bytes
  std::array<int, 4> order{0, 1, 2, 3};
  std::uint16_t id = 0;
  do {
    ++id;
    for (const int i : order) {
      const auto from = static_cast<std::size_t>(i) * 256;
      EXPECT_EQ(received(), 0U);
      give(fragment(whole, from, std::min<std::size_t>(256, whole.size() - from), i != 3, id));
    }
    EXPECT_EQ(received(), 1000U);
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(host.stack.counters().dropped_total(), 0U);
  EXPECT_EQ(host.stack.counters().ip_reassembled, 24U);
}

// req: RFC3168-MUST-12
TEST_F(Fragments, AMarkOnOneIsAMarkOnAll) {
  const struct {
    std::uint8_t first, second;
    int whole;  ///< -1: dropped
  } cases[] = {{2, 2, 2}, {2, 3, 3},  {3, 2, 3},  {1, 3, 3}, {3, 3, 3},
               {0, 0, 0}, {0, 3, -1}, {3, 0, -1}, {0, 2, 0}, {2, 0, 2}};
  const Frame whole = segment(1000);
  std::uint16_t id = 0;
  for (const auto& c : cases) {
    ++id;
    for (const bool first : {true, false}) {
      Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", wire::protocol::udp);
      repr.id = id;
      repr.tos = first ? c.first : c.second;
      repr.fragment_offset = first ? 0 : 504;
      repr.more_fragments = first;
      give(ipv4(repr, first ? Bytes{whole}.first(504) : Bytes{whole}.subspan(504)));
    }
    std::vector<std::byte> text(2000);
    const auto got = host.stack.receive_datagram(socket, text, false, host.now);
    EXPECT_EQ(got ? got->tos : -1, c.whole) << int{c.first} << ' ' << int{c.second};
  }
  EXPECT_EQ(host.dropped(DropReason::fragment_ecn), 2U);
}

// req: RFC1122-3.3.2-3
TEST_F(Fragments, TheLargestDatagram) {
  static_assert(ip::Output::kMaxReceive == 65'507 + wire::kUdpHeaderLen);
  const Frame whole = segment(65'507);
  for (std::size_t from = 0; from < whole.size(); from += 1480) {
    const std::size_t size = std::min<std::size_t>(1480, whole.size() - from);
    give(fragment(whole, from, size, from + size < whole.size()));
  }
  EXPECT_EQ(received(), 65'507U);
}

// req: RFC815-3-2
TEST_F(Fragments, ARepeatedFragmentChangesNothing) {
  const Frame whole = segment(504);
  give(fragment(whole, 0, 256, true));
  give(fragment(whole, 0, 256, true));
  give(fragment(whole, 256, 256, false));
  EXPECT_EQ(received(), 504U);
}

// req: RFC815-5-1
TEST_F(Fragments, TheHeaderIsThatOfTheFirst) {
  const Frame whole = segment(504);
  Ipv4Repr last = header("10.0.0.2", "10.0.0.1", wire::protocol::udp);
  last.fragment_offset = 256;
  last.tos = 1;
  last.ttl = 1;
  Ipv4Repr first = last;
  first.fragment_offset = 0;
  first.more_fragments = true;
  first.tos = 7;
  first.ttl = 9;
  give(ipv4(last, Bytes{whole}.subspan(256)));
  give(ipv4(first, Bytes{whole}.first(256)));
  DatagramInfo info;
  EXPECT_EQ(host.receive_text(socket, &info).size(), 504U);
  EXPECT_EQ(info.tos, 7);
  EXPECT_EQ(info.ttl, 9);
}

// req: RFC815---1
// Robustness case 7.
TEST_F(Fragments, OverlapsGiveTheDatagramUp) {
  const Frame whole = segment(1016);  // 1024 bytes
  const std::vector<std::array<std::size_t, 2>> second{
      {248, 256}, {128, 256}, {0, 512}, {64, 64 + 256}};
  std::uint16_t id = 0;
  for (const auto& [from, size] : second) {
    ++id;
    give(fragment(whole, 0, 256, true, id));
    give(fragment(whole, from, size, true, id));
    EXPECT_EQ(host.dropped(DropReason::fragment_overlap), id);
    give(fragment(whole, 512, 512, false, id));
    EXPECT_EQ(received(), 0U);
  }
}

// Robustness case 8.
TEST_F(Fragments, LengthsThatContradictEachOther) {
  const Frame whole = segment(1016);
  give(fragment(whole, 512, 512, false, 1));
  give(fragment(whole, 256, 64, false, 1));  // another end
  EXPECT_EQ(host.dropped(DropReason::fragment_overlap), 1U);
  give(fragment(whole, 256, 64, false, 2));
  give(fragment(whole, 512, 512, true, 2));  // beyond the end
  EXPECT_EQ(host.dropped(DropReason::fragment_overlap), 2U);
  give(fragment(whole, 512, 256, true, 3));
  give(fragment(whole, 256, 256, false, 3));  // the end before what is here
  EXPECT_EQ(host.dropped(DropReason::fragment_overlap), 3U);
  // Ping of death: offset and length beyond 65535.
  Ipv4Repr repr = header("10.0.0.2", "10.0.0.1", wire::protocol::udp);
  repr.fragment_offset = 65'528;
  repr.id = 4;
  give(ipv4(repr, Bytes{whole}.first(100)));
  EXPECT_EQ(host.dropped(DropReason::fragment_too_long), 1U);
  EXPECT_EQ(received(), 0U);
}

// Robustness case 9.
TEST_F(Fragments, OddAndEmptyLengths) {
  const Frame whole = segment(1016);
  for (const std::size_t size : {1U, 7U, 9U, 255U}) give(fragment(whole, 0, size, true));
  give(fragment(whole, 0, 0, true));
  give(fragment(whole, 256, 0, false));
  EXPECT_EQ(host.dropped(DropReason::fragment_bad_length), 6U);
  // A first fragment that splits the UDP header is allowed and harmless.
  give(fragment(whole, 8, 1016, false, 2));
  give(fragment(whole, 0, 8, true, 2));
  EXPECT_EQ(received(), 1016U);
}

// Robustness case 10: 10000 incomplete datagrams.
TEST_F(Fragments, ManyIncompleteDatagramsAreBounded) {
  const Frame whole = segment(2000);
  for (int i = 0; i < 10'000; ++i) {
    give(fragment(whole, 0, 1480, true, static_cast<std::uint16_t>(i)));
  }
  EXPECT_GT(host.dropped(DropReason::fragment_limit), 8000U);
  EXPECT_LT(host.memory.in_use(), 16U << 20);
  // The newest still gets through.
  give(fragment(whole, 1480, whole.size() - 1480, false, 9999));
  EXPECT_EQ(received(), 2000U);
}

// Robustness case 10: a datagram in as many pieces as can be, every other one first.
TEST_F(Fragments, TinyFragmentsTakeLinearTime) {
  const Frame whole = segment(65'000);
  const auto start = std::chrono::steady_clock::now();
  for (std::uint16_t round = 0; round < 4; ++round) {
    for (const std::size_t first : {0U, 8U}) {
      for (std::size_t from = first; from < whole.size(); from += 16) {
        const std::size_t size = std::min<std::size_t>(8, whole.size() - from);
        give(fragment(whole, from, size, from + size < whole.size(), round));
      }
    }
    EXPECT_EQ(received(), 65'000U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

// Robustness case 12.
TEST_F(Fragments, DifferentSourcesAndProtocolsDoNotMix) {
  const Frame whole = segment(504);
  give(fragment(whole, 0, 256, true, 1, "10.0.0.2"));
  give(fragment(whole, 256, 256, false, 1, "10.0.0.3"));
  EXPECT_EQ(received(), 0U);
  Ipv4Repr other = header("10.0.0.2", "10.0.0.1", wire::protocol::tcp);
  other.id = 1;
  other.fragment_offset = 256;
  give(ipv4(other, Bytes{whole}.subspan(256)));
  EXPECT_EQ(received(), 0U);
  give(fragment(whole, 256, 256, false, 1, "10.0.0.2"));
  EXPECT_EQ(received(), 504U);
}

// req: RFC1122-3.3.2-4, RFC1122-3.3.2-5, RFC791-3.2-4
TEST_F(Fragments, TimeOutWithAnErrorIfTheFirstHasCome) {
  const Frame whole = segment(504);
  give(fragment(whole, 0, 256, true, 1));
  give(fragment(whole, 256, 256, false, 2));
  host.advance(Duration::seconds(59));
  EXPECT_EQ(host.dropped(DropReason::fragment_timeout), 0U);
  host.advance(Duration::seconds(2));
  EXPECT_EQ(host.dropped(DropReason::fragment_timeout), 2U);
  const auto out = host.sent();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(icmp_of(out[0]).type(), wire::Icmpv4Type::time_exceeded);
  EXPECT_EQ(icmp_of(out[0]).code(), 1);
  EXPECT_EQ(wire::Ipv4View::parse(icmp_of(out[0]).payload(), 65'535)->id(), 1);
  give(fragment(whole, 256, 256, false, 1));
  EXPECT_EQ(received(), 0U);
}

TEST_F(Fragments, NoMemoryIsCountedNotFatal) {
  const Frame whole = segment(504);
  host.memory.set_failing(true);
  for (std::uint16_t id = 0; id < 50; ++id) give(fragment(whole, 0, 256, true, id));
  host.memory.set_failing(false);
  EXPECT_EQ(host.dropped(DropReason::no_memory), 50U);
  give(fragment(whole, 0, 256, true, 100));
  give(fragment(whole, 256, 256, false, 100));
  EXPECT_EQ(received(), 504U);
}

}  // namespace
}  // namespace tidewire::testing
