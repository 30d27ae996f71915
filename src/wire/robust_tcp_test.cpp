// Malformed and hostile TCP headers and options (robustness cases 24 to 27).
#include <gtest/gtest.h>

#include "wire/tcp.hpp"
#include "wire/testing.hpp"

namespace tidewire::wire {
namespace {

using namespace testing;

// Case 24.
TEST(RobustTcp, DataOffset) {
  const Buffer segment = emitted(TcpRepr{}, 20, kHost, kPeer);
  for (std::size_t size = 0; size < 20; ++size) {
    const auto view = TcpView::parse(Bytes{segment}.first(size));
    ASSERT_FALSE(view);
    EXPECT_EQ(view.error(), ParseError::truncated);
  }
  Buffer longer = segment;
  longer.resize(44);
  for (std::size_t words = 0; words < 16; ++words) {
    store_u8(longer.data() + 12, static_cast<std::uint8_t>(words << 4 | 0x0f));
    const auto view = TcpView::parse(longer);
    ASSERT_EQ(view.has_value(), words >= 5 && words <= 11) << words;
    if (view) {
      EXPECT_EQ(view->options().size() + view->payload().size(), 24U);
    } else {
      EXPECT_EQ(view.error(), ParseError::bad_header_length);
    }
  }
}

// Case 24. req: RFC9293-MUST-3
TEST(RobustTcp, EveryFlippedBitBreaksTheChecksum) {
  const Buffer payload = hex("0102030405");
  const std::array<Bytes, 1> regions{payload};
  const Buffer header = emitted(TcpRepr{}, 20, kHost, kPeer, std::span<const Bytes>{regions});
  const Buffer segment = joined({header, payload});
  for (std::size_t bit = 0; bit < segment.size() * 8; ++bit) {
    Buffer changed = segment;
    changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const auto view = TcpView::parse(changed);
    if (view) {
      EXPECT_FALSE(view->checksum_ok(kHost, kPeer)) << bit;
    }
  }
  EXPECT_TRUE(TcpView::parse(segment)->checksum_ok(kHost, kPeer));
  EXPECT_FALSE(TcpView::parse(segment)->checksum_ok(kHost, IpAddress::v4(10, 0, 2, 3)));
}

struct Parsed {
  bool ok;
  TcpOptions options;
};
Parsed parse(std::string_view text) {
  Parsed parsed{};
  parsed.options.mss = 9999;  // must be overwritten
  parsed.ok = parse_tcp_options(hex(text), parsed.options);
  return parsed;
}

// Case 25. req: RFC9293-MUST-7
TEST(RobustTcpOptions, IllegalLengthsEndTheListAndKeepWhatCameBefore) {
  for (const char* bad : {"020405b4 0800", "020405b4 0801", "020405b4 080a0000", "020405b4 08",
                          "020405b4 fe00", "020405b4 fe03", "020405b4 0529"}) {
    const Parsed parsed = parse(bad);
    EXPECT_FALSE(parsed.ok) << bad;
    TcpOptions expected;
    expected.mss = 1460;
    EXPECT_EQ(parsed.options, expected) << bad;
  }
}

// Case 25. req: RFC9293-MUST-4, RFC9293-MUST-6, RFC9293-MUST-64, RFC9293-MUST-68
TEST(RobustTcpOptions, PaddingUnknownAndUnalignedOptions) {
  const Buffer nops(40, std::byte{1});
  TcpOptions options;
  EXPECT_TRUE(parse_tcp_options(nops, options));
  EXPECT_EQ(options, TcpOptions{});
  const Parsed unaligned = parse("01 fe05aabbcc 080a0000000100000002 1302 0204021800");
  EXPECT_TRUE(unaligned.ok);
  EXPECT_EQ(unaligned.options.timestamps, (TcpTimestamps{1, 2}));
  EXPECT_EQ(unaligned.options.mss, 536);
}

// Case 25. req: RFC9293-MUST-69
TEST(RobustTcpOptions, NothingCountsAfterTheEndOfTheList) {
  const Parsed parsed = parse("00 0204ffff 080000");
  EXPECT_TRUE(parsed.ok);
  EXPECT_EQ(parsed.options, TcpOptions{});
}

// Case 25: of duplicates the last counts.
TEST(RobustTcpOptions, Duplicates) {
  const Parsed parsed =
      parse("020405b4 02040218 030301 030302 0402 0402 080a0000000100000002 080a0000000300000004");
  EXPECT_TRUE(parsed.ok);
  EXPECT_EQ(parsed.options.mss, 536);
  EXPECT_EQ(parsed.options.window_scale, 2);
  EXPECT_TRUE(parsed.options.sack_permitted);
  EXPECT_EQ(parsed.options.timestamps, (TcpTimestamps{3, 4}));
}

// Known options of a wrong length are skipped like unknown ones.
// req: RFC7413-4.1.1-2
TEST(RobustTcpOptions, WrongLengthsOfKnownOptions) {
  for (const char* text :
       {"0203aa", "020500000a", "0302", "03040102", "040300", "0802", "080b000000000000000000",
        "0502", "0506aabbccdd", "050baabbccddeeff001122",
        // RFC 7413 §4.1.1: cookies of 2, 5 and 18 octets; an experiment of someone else; RFC 5482
        "2204aabb", "2207aabbccddee", "2214aabbccddeeff00112233445566778899aabb", "fe06f989aabb",
        "fe06f988aabb", "fe02", "fe03f9", "1c03aa", "1c0501aabb"}) {
    const Parsed parsed = parse(text);
    EXPECT_TRUE(parsed.ok) << text;
    EXPECT_EQ(parsed.options, TcpOptions{}) << text;
  }
}

// Cases 26 and 27: absurd values are handed on as they are; clamping is the connection's business.
TEST(RobustTcpOptions, ExtremeValues) {
  EXPECT_EQ(parse("02040000").options.mss, 0);
  EXPECT_EQ(parse("02040001").options.mss, 1);
  EXPECT_EQ(parse("0204ffff").options.mss, 65535);
  EXPECT_EQ(parse("0303ff").options.window_scale, 255);
  EXPECT_EQ(parse("03030f").options.window_scale, 15);
}

TEST(RobustTcpOptions, SackBlocks) {
  const Parsed four = parse(
      "01 01 0522 00000001 00000002 00000003 00000004 00000005 00000006 "
      "00000008 00000007");
  ASSERT_TRUE(four.ok);
  ASSERT_EQ(four.options.sack.size(), 4U);
  EXPECT_EQ(four.options.sack[0], (SackBlock{Seq{1}, Seq{2}}));
  EXPECT_EQ(four.options.sack[3], (SackBlock{Seq{8}, Seq{7}})) << "reversed, not judged here";
  const Buffer five = joined({hex("052a"), Buffer(40)});
  TcpOptions options;
  EXPECT_TRUE(parse_tcp_options(five, options));
  EXPECT_EQ(options.sack.size(), 4U) << "no more than four are kept";
}

// The aligned layout takes a short cut; it must agree with the walk.
TEST(RobustTcpOptions, FastPathAgreesWithTheWalk) {
  const Buffer aligned = hex("0101080a 11223344 55667788");
  TcpOptions fast;
  TcpOptions slow;
  EXPECT_TRUE(parse_tcp_options(aligned, fast));
  EXPECT_TRUE(detail::parse_tcp_options_slow(aligned, slow));
  EXPECT_EQ(fast, slow);
  EXPECT_EQ(fast.timestamps, (TcpTimestamps{0x11223344, 0x55667788}));
}

// Every option list of up to 40 random bytes ends, within bounds.
TEST(RobustTcpOptions, RandomBytes) {
  Rng rng{RandomSeed{9, 9}};
  for (int i = 0; i < 100000; ++i) {
    Buffer bytes = random_bytes(rng, rng.below(41));
    for (std::byte& b : bytes) b &= std::byte{0x0f};
    TcpOptions options;
    (void)parse_tcp_options(bytes, options);
    ASSERT_LE(options.sack.size(), 4U);
    ASSERT_LE(options_len(options), 40U);
  }
}

}  // namespace
}  // namespace tidewire::wire
