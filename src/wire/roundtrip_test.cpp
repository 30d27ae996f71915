// parse after emit is the identity, on random values of every Repr.
#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv6.hpp"
#include "wire/quoted.hpp"
#include "wire/tcp.hpp"
#include "wire/testing.hpp"
#include "wire/udp.hpp"

namespace tidewire::wire {
namespace {

using namespace testing;

constexpr int kRounds = 3000;

TEST(RoundTrip, EthernetAndArp) {
  Rng rng{RandomSeed{1, 0}};
  for (int i = 0; i < kRounds; ++i) {
    const EthernetRepr ethernet{random_mac(rng), random_mac(rng),
                                static_cast<EtherType>(random_u16(rng))};
    ASSERT_EQ(to_repr(*EthernetView::parse(emitted(ethernet, 14))), ethernet);
    const ArpRepr arp{random_bool(rng) ? ArpOperation::request : ArpOperation::reply,
                      random_mac(rng), random_v4(rng), random_mac(rng), random_v4(rng)};
    const Buffer bytes = emitted(arp, kArpLen);
    ASSERT_EQ(to_repr(*ArpView::parse(bytes)), arp);
  }
}

TEST(RoundTrip, Ipv4) {
  Rng rng{RandomSeed{2, 0}};
  for (int i = 0; i < kRounds; ++i) {
    const Buffer options = random_bytes(rng, rng.below(11) * 4);
    const Ipv4Repr repr{.source = random_v4(rng),
                        .destination = random_v4(rng),
                        .protocol = random_u8(rng),
                        .ttl = random_u8(rng),
                        .tos = random_u8(rng),
                        .id = random_u16(rng),
                        .dont_fragment = random_bool(rng),
                        .more_fragments = random_bool(rng),
                        .fragment_offset = static_cast<std::uint16_t>(rng.below(8192) * 8),
                        .payload_len = static_cast<std::uint16_t>(rng.below(65476)),
                        .options = options};
    const Buffer bytes = emitted(repr, header_len(repr));
    const auto view = Ipv4View::parse(bytes, SIZE_MAX);
    ASSERT_TRUE(view);
    ASSERT_TRUE(view->checksum_ok());
    ASSERT_EQ(to_repr(*view), repr);
  }
}

TEST(RoundTrip, Ipv4RefusesWhatCannotBeALength) {
  Ipv4Repr repr{.source = kHost, .destination = kPeer};
  repr.payload_len = 65516;
  Buffer bytes(64);
  Writer out{bytes};
  emit(repr, out);
  EXPECT_FALSE(out.ok());
  EXPECT_EQ(out.written(), 0U);
}

TEST(RoundTrip, Udp) {
  Rng rng{RandomSeed{3, 0}};
  for (int i = 0; i < kRounds; ++i) {
    const Buffer payload = random_bytes(rng, rng.below(200));
    const std::array<Bytes, 2> regions{Bytes{payload}.first(payload.size() / 3),
                                       Bytes{payload}.subspan(payload.size() / 3)};
    const bool v6 = random_bool(rng);
    const IpAddress a = v6 ? random_v6(rng) : random_v4(rng);
    const IpAddress b = v6 ? random_v6(rng) : random_v4(rng);
    const UdpRepr repr{random_u16(rng), random_u16(rng),
                       static_cast<std::uint16_t>(payload.size())};
    const Buffer header = emitted(repr, 8, a, b, std::span<const Bytes>{regions});
    const Buffer whole = joined({header, payload});
    const auto view = UdpView::parse(whole);
    ASSERT_TRUE(view);
    ASSERT_EQ(to_repr(*view), repr);
    ASSERT_TRUE(view->verify(a, b));
    const auto split = UdpView::parse(header, whole.size());
    ASSERT_TRUE(split);
    ASSERT_TRUE(split->verify(a, b, regions));
    ASSERT_EQ(split->verify(a, b).has_value(), payload.empty());
  }
}

TcpOptions random_options(Rng& rng) {
  TcpOptions options;
  if (random_bool(rng)) options.mss = random_u16(rng);
  if (random_bool(rng)) options.window_scale = random_u8(rng);
  if (random_bool(rng)) options.timestamps = TcpTimestamps{random_u32(rng), random_u32(rng)};
  options.sack_permitted = random_bool(rng);
  if (rng.below(4) == 0) {
    FastOpenCookie& cookie = options.fast_open.emplace();
    cookie.octets.fill(std::byte{});
    cookie.size = static_cast<std::uint8_t>(2 * rng.below(FastOpenCookie::kMax / 2 + 1));
    if (!FastOpenCookie::fits(cookie.size)) cookie.size = 8;
    for (std::size_t i = 0; i < cookie.size; ++i) cookie.octets[i] = std::byte{random_u8(rng)};
    cookie.experimental = random_bool(rng);
  }
  if (rng.below(4) == 0 && options_len(options) < kTcpMaxOptionsLen) {
    options.user_timeout = random_u16(rng);
  }
  SackBlocks all;
  for (std::uint64_t left = rng.below(5); left > 0; --left) {
    all.push_back({Seq{random_u32(rng)}, Seq{random_u32(rng)}});
  }
  options.sack = all;
  options.sack.clear();
  TcpOptions full = options;
  full.sack = all;
  const std::size_t fit = sack_blocks_that_fit(full);
  for (std::size_t i = 0; i < fit; ++i) options.sack.push_back(all[i]);
  if (rng.below(3) == 0) {
    AccEcnOption& counts = options.acc_ecn.emplace();
    counts.order1 = random_bool(rng);
    counts.count = static_cast<std::uint8_t>(rng.below(4));
    for (std::uint32_t& field : counts.fields) field = random_u32(rng) & 0xffffff;
    const auto fields = acc_ecn_fields_that_fit(options);
    if (fields) counts.count = *fields;
    if (!fields) options.acc_ecn.reset();
  }
  return options;
}

TEST(RoundTrip, Tcp) {
  Rng rng{RandomSeed{4, 0}};
  for (int i = 0; i < kRounds; ++i) {
    TcpRepr repr{.source_port = random_u16(rng),
                 .destination_port = random_u16(rng),
                 .seq = Seq{random_u32(rng)},
                 .ack = Seq{random_u32(rng)},
                 .flags = TcpFlags::from_bits(random_u16(rng)),
                 .window = random_u16(rng),
                 .urgent_pointer = random_u16(rng),
                 .options = random_options(rng)};
    const bool v6 = random_bool(rng);
    const IpAddress a = v6 ? random_v6(rng) : random_v4(rng);
    const IpAddress b = v6 ? random_v6(rng) : random_v4(rng);
    const Buffer payload = random_bytes(rng, rng.below(100));
    const std::array<Bytes, 1> regions{payload};
    const Buffer header = emitted(repr, header_len(repr), a, b, std::span<const Bytes>{regions});
    ASSERT_EQ(header.size() % 4, 0U);
    const Buffer whole = joined({header, payload});
    const auto view = TcpView::parse(whole);
    ASSERT_TRUE(view);
    ASSERT_EQ(to_repr(*view), repr);
    ASSERT_TRUE(view->checksum_ok(a, b));
    ASSERT_TRUE(TcpView::parse(header)->checksum_ok(a, b, regions));
  }
}

TEST(RoundTrip, PlainTcpHeaderIsWhatEmitMakesOfTheSame) {
  Rng rng{RandomSeed{14, 0}};
  for (int i = 0; i < kRounds; ++i) {
    TcpRepr repr{.source_port = random_u16(rng),
                 .destination_port = random_u16(rng),
                 .seq = Seq{random_u32(rng)},
                 .ack = Seq{random_u32(rng)},
                 .flags = TcpFlags::from_bits(random_u16(rng)),
                 .window = random_u16(rng),
                 .urgent_pointer = 0,
                 .options = {}};
    repr.options.timestamps = TcpTimestamps{random_u32(rng), random_u32(rng)};
    Buffer expected(kTcpPlainHeaderLen), plain(kTcpPlainHeaderLen, std::byte{0xa5});
    Writer writer{expected};
    emit(repr, writer, 0);
    emit_plain({.ports = {repr.source_port, repr.destination_port},
                .seq = repr.seq,
                .ack = repr.ack,
                .flags = repr.flags,
                .window = repr.window,
                .timestamps = *repr.options.timestamps},
               plain);
    ASSERT_EQ(plain, expected);
  }
  Buffer none(kTcpPlainHeaderLen - 1, std::byte{1});
  emit_plain({}, none);
  EXPECT_EQ(none, Buffer(kTcpPlainHeaderLen - 1, std::byte{1}));
}

// More blocks than fit: the first ones are sent, the length never exceeds 40.
TEST(RoundTrip, SackBlocksThatDoNotFitAreLeftOut) {
  TcpOptions options;
  options.timestamps = TcpTimestamps{1, 2};
  for (std::uint32_t i = 0; i < 6; ++i) options.sack.push_back({Seq{i}, Seq{i + 1}});
  EXPECT_EQ(options.sack.size(), 4U);
  EXPECT_EQ(sack_blocks_that_fit(options), 3U);
  EXPECT_EQ(options_len(options), 40U);
  TcpOptions back;
  ASSERT_TRUE(parse_tcp_options(emitted(options, 40), back));
  ASSERT_EQ(back.sack.size(), 3U);
  EXPECT_EQ(back.sack[2], options.sack[2]);
  options.mss = 1460;
  options.window_scale = 3;
  options.sack_permitted = true;
  EXPECT_EQ(sack_blocks_that_fit(options), 2U);
  EXPECT_EQ(options_len(options), 40U);
}

TEST(RoundTrip, Icmp) {
  Rng rng{RandomSeed{5, 0}};
  for (int i = 0; i < kRounds; ++i) {
    const Buffer payload = random_bytes(rng, 12 + rng.below(100));
    const Icmpv4Repr v4{{static_cast<Icmpv4Type>(random_u8(rng)), random_u8(rng), random_u32(rng)},
                        payload};
    const Buffer bytes = emitted(v4, 8 + payload.size());
    const auto view = Icmpv4View::parse(bytes);
    ASSERT_TRUE(view);
    ASSERT_TRUE(view->checksum_ok());
    ASSERT_EQ(to_repr(*view), v4);
    const IpAddress a = random_v6(rng);
    const IpAddress b = random_v6(rng);
    const Icmpv6Repr v6{{static_cast<Icmpv6Type>(random_u8(rng)), random_u8(rng), random_u32(rng)},
                        payload};
    const Buffer bytes6 = emitted(v6, 8 + payload.size(), a, b);
    const auto view6 = Icmpv6View::parse(bytes6);
    ASSERT_TRUE(view6);
    ASSERT_TRUE(view6->checksum_ok(a, b));
    ASSERT_EQ(to_repr(*view6), v6);
  }
}

TEST(RoundTrip, Ipv6) {
  Rng rng{RandomSeed{6, 0}};
  for (int i = 0; i < kRounds; ++i) {
    const Ipv6Repr repr{.source = random_v6(rng),
                        .destination = random_v6(rng),
                        .next_header = random_u8(rng),
                        .hop_limit = random_u8(rng),
                        .traffic_class = random_u8(rng),
                        .flow_label = random_u32(rng) & 0xfffff,
                        .payload_len = random_u16(rng)};
    const Buffer bytes = emitted(repr, kIpv6HeaderLen);
    const auto view = Ipv6View::parse(bytes, SIZE_MAX);
    ASSERT_TRUE(view);
    ASSERT_EQ(to_repr(*view), repr);
  }
}

TEST(RoundTrip, Igmp) {
  Rng rng{RandomSeed{7, 0}};
  for (int i = 0; i < 500; ++i) {
    const Buffer sources = random_bytes(rng, rng.below(20) * 4);
    const IgmpV3QueryRepr query{.max_response_code = random_u8(rng),
                                .group = random_v4(rng),
                                .suppress_router = random_bool(rng),
                                .robustness = static_cast<std::uint8_t>(rng.below(8)),
                                .interval_code = random_u8(rng),
                                .sources = sources};
    const Buffer query_bytes = emitted(query, header_len(query));
    const auto query_view = IgmpView::parse(query_bytes);
    ASSERT_TRUE(query_view);
    ASSERT_EQ(query_view->version(), 3);
    ASSERT_EQ(to_v3_query(*query_view), query);

    std::array<IgmpRecord, 4> records;
    for (IgmpRecord& record : records) {
      record = {static_cast<IgmpRecordType>(1 + rng.below(6)), random_v4(rng),
                Bytes{sources}.first(rng.below(sources.size() / 4 + 1) * 4)};
    }
    const IgmpV3ReportRepr report{std::span{records}.first(rng.below(5))};
    const Buffer report_bytes = emitted(report, header_len(report));
    const auto report_view = IgmpView::parse(report_bytes);
    ASSERT_TRUE(report_view);
    std::array<IgmpRecord, 4> storage;
    const auto back = to_v3_report(*report_view, storage);
    ASSERT_TRUE(back);
    ASSERT_EQ(*back, report);

    const IgmpRepr old{random_bool(rng) ? IgmpType::v2_report : IgmpType::v2_leave, random_u8(rng),
                       random_v4(rng)};
    const Buffer old_bytes = emitted(old, kIgmpLen);
    ASSERT_EQ(to_repr(*IgmpView::parse(old_bytes)), old);
  }
}

// Every emit refuses a buffer one byte too small and writes nothing into it.
TEST(RoundTrip, NothingIsWrittenWithoutRoom) {
  const auto refused = [](std::size_t size, const auto& write) {
    Buffer bytes(size - 1, std::byte{0x77});
    Writer out{bytes};
    write(out);
    const bool untouched =
        std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0x77}; });
    return !out.ok() && out.written() == 0 && untouched;
  };
  TcpRepr tcp;
  tcp.options.mss = 1;
  EXPECT_TRUE(refused(14, [](Writer& out) { emit(EthernetRepr{}, out); }));
  EXPECT_TRUE(refused(28, [](Writer& out) { emit(ArpRepr{}, out); }));
  EXPECT_TRUE(refused(20, [](Writer& out) { emit(Ipv4Repr{}, out); }));
  EXPECT_TRUE(refused(40, [](Writer& out) { emit(Ipv6Repr{}, out); }));
  EXPECT_TRUE(refused(8, [](Writer& out) { emit(UdpRepr{}, out, 0); }));
  EXPECT_TRUE(refused(24, [&](Writer& out) { emit(tcp, out, 0); }));
  EXPECT_TRUE(refused(24, [&](Writer& out) { emit(tcp, out, kHost, kPeer); }));
  EXPECT_TRUE(refused(8, [](Writer& out) { emit(Icmpv4Repr{}, out); }));
  EXPECT_TRUE(refused(8, [](Writer& out) { emit(Icmpv6Repr{}, out, kHost, kPeer); }));
  EXPECT_TRUE(refused(8, [](Writer& out) { emit(IgmpRepr{}, out); }));
  EXPECT_TRUE(refused(12, [](Writer& out) { emit(IgmpV3QueryRepr{}, out); }));
  EXPECT_TRUE(refused(8, [](Writer& out) { emit(IgmpV3ReportRepr{}, out); }));
}

}  // namespace
}  // namespace tidewire::wire
