// Urgent data: the pointer, the mark, the octet out of band or in line.
#include "core/tcp/testing/trace.hpp"

namespace tidewire::tcp {
namespace {

using namespace testing;
using enum TcpState;

struct Urgent : Trace {
  Urgent() { accept("<mss 1000>"); }
  std::int64_t option(SocketOption o) { return host.engine.get_option(socket, o).value(); }
  /// Reads in band, without the check of the pattern (the urgent octet is missing from it).
  std::string in_band(std::size_t most = 100) {
    std::vector<std::byte> data(most);
    const auto n = host.engine.receive(socket, data, {});
    return n ? std::to_string(*n) + "@" + std::to_string(std::to_integer<int>(data[0]))
             : std::string{to_string(n.error())};
  }
  std::string out_of_band(bool peek = false) {
    std::byte b{};
    const auto n = host.engine.receive(socket, {&b, 1}, {.peek = peek, .urgent = true});
    return n ? std::to_string(std::to_integer<int>(b)) : std::string{to_string(n.error())};
  }
  static std::string first(std::uint32_t n, std::uint32_t seq) {
    return std::to_string(n) + "@" + std::to_string(std::to_integer<int>(pattern(seq)));
  }
  static std::string octet(std::uint32_t seq) {
    return std::to_string(std::to_integer<int>(pattern(seq)));
  }
};

// req: RFC9293-MUST-30 RFC9293-MUST-32 RFC9293-MUST-33
TEST(TcpUrgent, OctetIsTakenOutOfBand) {
  Urgent t;
  t.in("UP. 1(10) ack 1 urg 5");  // the fifth octet, sequence number 5
  EXPECT_EQ(t.ready() & kUrgent, kUrgent);
  EXPECT_EQ(t.option(SocketOption::urgent_mark), 0);
  EXPECT_EQ(t.option(SocketOption::unread), 4);
  EXPECT_EQ(t.out_of_band(true), Urgent::octet(5));
  EXPECT_EQ(t.out_of_band(), Urgent::octet(5));
  EXPECT_EQ(t.out_of_band(), "invalid argument or state");
  EXPECT_EQ(t.ready() & kUrgent, 0);
  EXPECT_EQ(t.in_band(), Urgent::first(4, 1));  // stops at the mark
  EXPECT_EQ(t.option(SocketOption::urgent_mark), 1);
  EXPECT_EQ(t.in_band(), Urgent::first(5, 6));
  EXPECT_EQ(t.option(SocketOption::urgent_mark), 0);
  EXPECT_EQ(t.in_band(), "would block");
}

TEST(TcpUrgent, OctetCanStillBeTakenAfterTheMarkWasPassed) {
  Urgent t;
  t.in("UP. 1(10) ack 1 urg 5");
  EXPECT_EQ(t.in_band(), Urgent::first(4, 1));
  EXPECT_EQ(t.in_band(), Urgent::first(5, 6));
  EXPECT_EQ(t.out_of_band(), Urgent::octet(5));
}

TEST(TcpUrgent, InLineItIsPartOfTheStream) {
  Urgent t;
  t.set(SocketOption::oob_inline, 1);
  t.in("UP. 1(10) ack 1 urg 5");
  EXPECT_EQ(t.ready() & kUrgent, kUrgent);
  EXPECT_EQ(t.out_of_band(), "invalid argument or state");
  EXPECT_EQ(t.in_band(), Urgent::first(4, 1));
  EXPECT_EQ(t.option(SocketOption::urgent_mark), 1);
  EXPECT_EQ(t.in_band(), Urgent::first(6, 5));
  EXPECT_EQ(t.ready() & kUrgent, 0);
}

// req: RFC9293-MUST-31 RFC9293-MUST-32
TEST(TcpUrgent, PointerMayRunAheadOfTheDataAndAdvance) {
  Urgent t;
  t.in("U. 1(0) ack 1 urg 500");
  EXPECT_EQ(t.ready() & kUrgent, kUrgent);
  EXPECT_EQ(t.out_of_band(), "would block");
  t.in("P. 1(100) ack 1");
  EXPECT_EQ(t.in_band(1000), Urgent::first(100, 1));
  t.in("U. 101(100) ack 1 urg 600");  // advances to 700
  t.in("P. 201(600) ack 1");
  EXPECT_EQ(t.out_of_band(), Urgent::octet(700));
  EXPECT_EQ(t.in_band(1000), Urgent::first(599, 101));
  EXPECT_EQ(t.in_band(1000), Urgent::first(100, 701));
}

TEST(TcpUrgent, PointerThatMovesBackOrNamesNothingIsIgnored) {
  Urgent t;
  t.in("UP. 1(10) ack 1 urg 8");
  t.in("UP. 11(10) ack 1 urg 0");
  WireSegment back = t.make("U. 1(10) ack 1 urg 2");
  t.host.receive(back);
  EXPECT_EQ(t.out_of_band(), Urgent::octet(8));
  t.in("P. 21(10) ack 1 urg 5");  // no URG bit
  EXPECT_EQ(t.ready() & kUrgent, 0);
}

TEST(TcpUrgent, ZeroCopyReadingLeavesTheOctetOut) {
  Urgent t;
  t.in("UP. 1(10) ack 1 urg 5");
  EXPECT_EQ(t.host.engine.received(t.socket).size(), 4U);
  EXPECT_TRUE(t.host.engine.consumed(t.socket, 4));
  const ReceivedBytes rest = t.host.engine.received(t.socket);
  EXPECT_EQ(rest.size(), 5U);
  EXPECT_EQ(rest.first[0], Trace::pattern(6));
  EXPECT_TRUE(t.host.engine.consumed(t.socket, 5));
  EXPECT_EQ(t.out_of_band(), Urgent::octet(5));
}

// req: RFC9293-MUST-62 RFC9293-MUST-30
TEST(TcpUrgent, SentPointerNamesTheOctetAfterTheLast) {
  Urgent t;
  t.write(10, {.urgent = true});
  t.out("UP. 1(10) ack 1 urg 10");
  t.write(10);
  t.write(1, {.urgent = true});  // urgent data is not held back
  t.out("UP. 11(11) ack 1 urg 11");
  t.in(". 1(0) ack 22");
  t.write(5);
  t.out("P. 22(5) ack 1 urg 0");
}

TEST(TcpUrgent, EverySegmentBeforeTheMarkTellsOfIt) {
  Urgent t;
  t.write(2500, {.urgent = true});
  t.out("U. 1(1000) ack 1 urg 2500");
  t.out("U. 1001(1000) ack 1 urg 1500");
  t.out("UP. 2001(500) ack 1 urg 500");
}

}  // namespace
}  // namespace tidewire::tcp
