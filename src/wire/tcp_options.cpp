#include "wire/tcp_options.hpp"

#include <algorithm>

namespace tidewire::wire {
namespace {

constexpr std::uint8_t kEnd = 0;
constexpr std::uint8_t kNop = 1;
constexpr std::uint8_t kMss = 2;
constexpr std::uint8_t kWindowScale = 3;
constexpr std::uint8_t kSackPermitted = 4;
constexpr std::uint8_t kSack = 5;
constexpr std::uint8_t kTimestamps = 8;
constexpr std::uint8_t kUserTimeout = 28;
constexpr std::uint8_t kFastOpen = 34;
constexpr std::uint8_t kAccEcn0 = 172;
constexpr std::uint8_t kAccEcn1 = 174;
constexpr std::uint8_t kExperiment = 254;
constexpr std::uint16_t kFastOpenMagic = 0xf989;

void take_sack(const std::byte* at, std::size_t length, SackBlocks& blocks) noexcept {
  if (length < 10 || (length - 2) % 8 != 0) return;
  blocks.clear();
  for (std::size_t i = 2; i < length; i += 8) {
    blocks.push_back({Seq{load_u32(at + i)}, Seq{load_u32(at + i + 4)}});
  }
}

//= RFC 7413 §4.1.1
void take_fast_open(Bytes cookie, bool experimental, TcpOptions& options) noexcept {
  if (!FastOpenCookie::fits(cookie.size())) return;
  FastOpenCookie& taken = options.fast_open.emplace();
  taken.octets.fill(std::byte{});
  std::ranges::copy(cookie, taken.octets.begin());
  taken.size = static_cast<std::uint8_t>(cookie.size());
  taken.experimental = experimental;
}

//= RFC 9768 §3.2.3
void take_acc_ecn(const std::byte* at, std::size_t length, TcpOptions& options) noexcept {
  if (length > 11 || (length - 2) % 3 != 0) return;
  AccEcnOption& taken = options.acc_ecn.emplace();
  taken.order1 = load_u8(at) == kAccEcn1;
  taken.count = static_cast<std::uint8_t>((length - 2) / 3);
  for (std::size_t i = 0; i < taken.fields.size(); ++i) {
    const std::byte* field = at + 2 + 3 * i;
    taken.fields[i] =
        i < taken.count ? std::uint32_t{load_u16(field)} << 8 | load_u8(field + 2) : 0U;
  }
}

std::byte* put_acc_ecn(std::byte* at, const AccEcnOption& option, std::uint8_t fields) noexcept {
  at[0] = std::byte{option.order1 ? kAccEcn1 : kAccEcn0};
  at[1] = static_cast<std::byte>(2 + 3 * fields);
  at += 2;
  for (std::size_t i = 0; i < fields; ++i, at += 3) {
    store_u16(at, static_cast<std::uint16_t>(option.fields[i] >> 8));
    at[2] = static_cast<std::byte>(option.fields[i]);
  }
  return at;
}

void take_option(const std::byte* at, std::size_t length, TcpOptions& options) noexcept {
  switch (load_u8(at)) {
    case kMss:
      if (length == 4) options.mss = load_u16(at + 2);
      break;
    case kWindowScale:
      if (length == 3) options.window_scale = load_u8(at + 2);
      break;
    case kSackPermitted:
      if (length == 2) options.sack_permitted = true;
      break;
    case kSack:
      take_sack(at, length, options.sack);
      break;
    case kTimestamps:
      if (length == 10) options.timestamps = TcpTimestamps{load_u32(at + 2), load_u32(at + 6)};
      break;
    case kUserTimeout:
      if (length == 4) options.user_timeout = load_u16(at + 2);
      break;
    case kFastOpen:
      take_fast_open(Bytes{at + 2, length - 2}, false, options);
      break;
    case kExperiment:
      if (length >= 4 && load_u16(at + 2) == kFastOpenMagic) {
        take_fast_open(Bytes{at + 4, length - 4}, true, options);
      }
      break;
    case kAccEcn0:
    case kAccEcn1:
      take_acc_ecn(at, length, options);
      break;
    default:
      break;
  }
}

std::byte* put_fast_open(std::byte* at, const FastOpenCookie& cookie) noexcept {
  std::byte* const end = at + detail::fast_open_len(cookie);
  const std::size_t head = cookie.experimental ? 4 : 2;
  *at = std::byte{cookie.experimental ? kExperiment : kFastOpen};
  at[1] = static_cast<std::byte>(head + cookie.size);
  if (cookie.experimental) store_u16(at + 2, kFastOpenMagic);
  std::byte* const rest = std::ranges::copy(cookie.bytes(), at + head).out;
  std::fill(rest, end, std::byte{kNop});
  return end;
}

}  // namespace

bool detail::parse_tcp_options_slow(Bytes bytes, TcpOptions& options) noexcept {
  while (!bytes.empty()) {
    const std::uint8_t kind = load_u8(bytes.data());
    if (kind == kEnd) return true;
    if (kind == kNop) {
      bytes = bytes.subspan(1);
      continue;
    }
    if (bytes.size() < 2) return false;
    const std::size_t length = load_u8(bytes.data() + 1);
    if (length < 2 || length > bytes.size()) return false;
    take_option(bytes.data(), length, options);
    bytes = bytes.subspan(length);
  }
  return true;
}

void emit(const TcpOptions& options, Writer& out) noexcept {
  const MutBytes target = out.reserve(options_len(options));
  if (target.empty()) return;
  std::byte* at = target.data();
  const auto put = [&at](std::uint32_t word) noexcept {
    store_u32(at, word);
    at += 4;
  };
  if (options.mss) put(0x02040000U | *options.mss);
  if (options.timestamps) {
    put(options.sack_permitted ? 0x0402080aU : kAlignedTimestamps);
    put(options.timestamps->value);
    put(options.timestamps->echo);
  } else if (options.sack_permitted) {
    put(0x01010402U);
  }
  if (options.window_scale) put(0x01030300U | *options.window_scale);
  if (options.fast_open) at = put_fast_open(at, *options.fast_open);
  if (options.user_timeout && at + 4 <= target.data() + target.size()) {
    put(0x1c040000U | *options.user_timeout);
  }
  const std::size_t blocks = sack_blocks_that_fit(options);
  if (blocks != 0) put(0x01010500U | static_cast<std::uint32_t>(2 + 8 * blocks));
  for (std::size_t i = 0; i < blocks; ++i) {
    put(options.sack[i].start.value());
    put(options.sack[i].end.value());
  }
  if (!options.acc_ecn) return;
  if (const auto fields = acc_ecn_fields_that_fit(options)) {
    at = put_acc_ecn(at, *options.acc_ecn, *fields);
    std::fill(at, target.data() + target.size(), std::byte{kNop});
  }
}

}  // namespace tidewire::wire
