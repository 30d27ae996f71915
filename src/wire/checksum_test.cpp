#include "wire/checksum.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/random.hpp"

namespace tidewire::wire {
namespace {

// RFC 1071 §1 word by word, with nothing clever.
std::uint16_t naive_sum(Bytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto octet = std::to_integer<std::uint32_t>(bytes[i]);
    sum += i % 2 == 0 ? octet << 8 : octet;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
  Rng rng{RandomSeed{seed, 1}};
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
  return bytes;
}

std::uint16_t host(std::uint64_t native) { return swap_to_network(kernel::fold(native)); }

TEST(ChecksumKernels, AgreeWithTheDefinitionAtAllLengthsAndAlignments) {
  const auto bytes = random_bytes(700, 1);
  std::vector<std::byte> copy(700);
  for (std::size_t offset = 0; offset < 33; ++offset) {
    for (std::size_t size = 0; size < 600; ++size) {
      const Bytes part{bytes.data() + offset, size};
      const std::uint16_t expected = naive_sum(part);
      ASSERT_EQ(host(kernel::sum(part.data(), size)), expected) << offset << '+' << size;
      ASSERT_EQ(host(kernel::sum_portable(part.data(), size)), expected) << offset << '+' << size;
      std::memset(copy.data(), 0xa5, copy.size());
      ASSERT_EQ(host(kernel::copy_sum(copy.data() + 1, part.data(), size)), expected);
      ASSERT_EQ(std::memcmp(copy.data() + 1, part.data(), size), 0);
      ASSERT_EQ(copy[0], std::byte{0xa5});
      ASSERT_EQ(copy[1 + size], std::byte{0xa5}) << "wrote past the end at size " << size;
      ASSERT_EQ(host(kernel::copy_sum_portable(copy.data() + 3, part.data(), size)), expected);
      ASSERT_EQ(std::memcmp(copy.data() + 3, part.data(), size), 0);
    }
  }
}

TEST(ChecksumKernels, NoCarryIsLostInLongRunsOfOnes) {
  const std::vector<std::byte> ones(std::size_t{1} << 20, std::byte{0xff});
  EXPECT_EQ(host(kernel::sum(ones.data(), ones.size())), 0xffff);
  EXPECT_EQ(host(kernel::sum_portable(ones.data(), ones.size())), 0xffff);
  EXPECT_LT(kernel::sum(ones.data(), ones.size()), std::uint64_t{1} << 34);
  const std::vector<std::byte> zeros(4096);
  EXPECT_EQ(host(kernel::sum(zeros.data(), zeros.size())), 0);
}

TEST(Checksum, SpansOfAnyLengthActAsOneMessage) {
  const auto bytes = random_bytes(4000, 2);
  Rng rng{RandomSeed{3, 3}};
  for (int round = 0; round < 500; ++round) {
    const Bytes message = Bytes{bytes}.first(rng.below(4000));
    Checksum added;
    Checksum copied;
    std::vector<std::byte> copy(message.size());
    for (std::size_t at = 0; at < message.size();) {
      const std::size_t size = std::min<std::size_t>(rng.below(300), message.size() - at);
      added.add(message.subspan(at, size));
      copied.add_and_copy(MutBytes{copy}.subspan(at), message.subspan(at, size));
      at += size;
    }
    ASSERT_EQ(added.fold(), naive_sum(message));
    ASSERT_EQ(copied.fold(), naive_sum(message));
    ASSERT_TRUE(std::equal(copy.begin(), copy.end(), message.begin()));
  }
}

TEST(Checksum, KnownIpv4Header) {
  const std::array<std::uint8_t, 20> header{0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40,
                                            0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
                                            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  EXPECT_EQ(internet_checksum(as_bytes(header.data(), header.size())), 0xb861);
}

TEST(Checksum, PseudoHeadersMatchTheirBytes) {
  const IpAddress a = IpAddress::v4(10, 0, 2, 15);
  const IpAddress b = IpAddress::v4(192, 168, 255, 1);
  const std::array<std::uint8_t, 12> v4{10, 0, 2, 15, 192, 168, 255, 1, 0, 6, 0x05, 0xdc};
  EXPECT_EQ(pseudo_header_sum(a, b, 6, 1500), naive_sum(as_bytes(v4.data(), v4.size())));
  Checksum direct;
  direct.add_pseudo_header_v4(a.v4_value(), b.v4_value(), 6, 1500);
  EXPECT_EQ(direct.fold(), pseudo_header_sum(a, b, 6, 1500));
  std::array<std::uint8_t, 40> v6{};
  v6[15] = 1;
  v6[16] = 0xfe;
  v6[17] = 0x80;
  v6[31] = 9;
  v6[33] = 1;
  v6[35] = 2;
  v6[39] = 17;
  std::array<std::uint8_t, 16> link{0xfe, 0x80};
  link[15] = 9;
  EXPECT_EQ(pseudo_header_sum(IpAddress::loopback(Family::v6), IpAddress::v6(link), 17, 0x10002),
            naive_sum(as_bytes(v6.data(), v6.size())));
}

TEST(Checksum, PendingCompletesToWhatTheWholeMessageGives) {
  auto message = random_bytes(1021, 4);
  const IpAddress a = IpAddress::v4(1, 2, 3, 4);
  const IpAddress b = IpAddress::v4(5, 6, 7, 8);
  const std::uint16_t pseudo = pseudo_header_sum(a, b, 6, 1021);
  store_u16(message.data() + 16, pseudo);
  const std::array<Bytes, 2> payload{Bytes{message}.subspan(20, 333), Bytes{message}.subspan(353)};
  store_u16(message.data() + 16,
            complete_pending_checksum(Bytes{message}.first(20), payload, false));
  Checksum whole;
  whole.add_pseudo_header(a, b, 6, 1021);
  whole.add(message);
  EXPECT_TRUE(whole.verifies());
}

TEST(Checksum, UdpNeverSendsZero) {
  const std::array<std::uint8_t, 2> ones{0xff, 0xff};
  Checksum sum;
  sum.add(as_bytes(ones.data(), 2));
  EXPECT_EQ(sum.finish(), 0);
  EXPECT_EQ(sum.finish_udp(), 0xffff);
}

// RFC 1624 §4: the case in which RFC 1141's equation gives the wrong zero.
TEST(Checksum, IncrementalUpdate) {
  EXPECT_EQ(update_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
  Rng rng{RandomSeed{5, 5}};
  auto message = random_bytes(64, 6);
  for (int round = 0; round < 2000; ++round) {
    const std::uint16_t before = internet_checksum(message);
    const std::size_t at = rng.below(15) * 4;
    const std::uint32_t old_word = load_u32(message.data() + at);
    const auto new_word = static_cast<std::uint32_t>(rng.next());
    store_u32(message.data() + at, new_word);
    ASSERT_EQ(update_checksum_u32(before, old_word, new_word), internet_checksum(message));
  }
}

TEST(Checksum, CopyNeedsRoom) {
  const auto source = random_bytes(10, 7);
  std::array<std::byte, 9> target{};
  EXPECT_EQ(copy_and_checksum(target, source), 0);
  EXPECT_EQ(target, (std::array<std::byte, 9>{}));
}

}  // namespace
}  // namespace tidewire::wire
