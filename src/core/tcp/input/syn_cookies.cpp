#include "core/tcp/input/syn_cookies.hpp"

#include <algorithm>
#include <array>

namespace tidewire::tcp {
namespace {

constexpr unsigned kHashBits = 24;
constexpr std::uint32_t kHashMask = (1U << kHashBits) - 1;
constexpr std::uint32_t kCountMask = 0xffffffffU >> kHashBits;

using MssTable = std::array<std::uint16_t, 4>;
/// What peers offer, the most common ones last (as Linux has them).
constexpr MssTable kMssV4{536, 1300, 1440, 1460};
constexpr MssTable kMssV6{1220, 1420, 1440, 8940};

const MssTable& table_for(const Tuple& tuple) noexcept { return tuple.is_v4() ? kMssV4 : kMssV6; }

std::uint32_t minutes(Instant now) noexcept {
  return static_cast<std::uint32_t>(now.nanos() / SynCookies::kPeriod.count_nanos());
}

std::uint32_t cover(const RandomSeed& key, const Tuple& tuple) noexcept {
  return static_cast<std::uint32_t>(hash(key, tuple));
}
std::uint32_t cover(const RandomSeed& key, const Tuple& tuple, std::uint32_t count) noexcept {
  return static_cast<std::uint32_t>(siphash13(key, hash(key, tuple), count, 5));
}

constexpr std::uint32_t kNoScale = 0x0f;
constexpr std::uint32_t kSack = 0x10;
constexpr std::uint32_t kEcn = 0x20;
constexpr std::uint32_t kOptionMask = 0x3f;

}  // namespace

//= RFC 4987 §3.6
Seq SynCookies::make(const Tuple& tuple, Seq irs, std::uint16_t mss, Instant now) const noexcept {
  const MssTable& table = table_for(tuple);
  auto index = static_cast<std::uint32_t>(table.size() - 1);
  while (index > 0 && mss < table[index]) --index;
  const std::uint32_t count = minutes(now);
  const std::uint32_t low = (cover(inner_, tuple, count) + index) & kHashMask;
  return Seq{cover(outer_, tuple) + irs.value() + (count << kHashBits) + low};
}

std::optional<std::uint16_t> SynCookies::check(const Tuple& tuple, Seq irs, Seq iss,
                                               Instant now) const noexcept {
  const std::uint32_t cookie = iss.value() - cover(outer_, tuple) - irs.value();
  const std::uint32_t count = minutes(now);
  const std::uint32_t age = (count - (cookie >> kHashBits)) & kCountMask;
  if (age >= kPeriods) return std::nullopt;
  const std::uint32_t index = (cookie - cover(inner_, tuple, count - age)) & kHashMask;
  const MssTable& table = table_for(tuple);
  if (index >= table.size()) return std::nullopt;
  return table[index];
}

std::uint32_t hide_options(std::uint32_t clock, const CookieOptions& options) noexcept {
  std::uint32_t bits =
      options.window_shift ? std::min<std::uint32_t>(*options.window_shift, 14) : kNoScale;
  if (options.sack) bits |= kSack;
  if (options.ecn) bits |= kEcn;
  std::uint32_t stamp = (clock & ~kOptionMask) | bits;
  if (stamp > clock) stamp -= kOptionMask + 1;  // an echo from the future would look forged
  return stamp;
}

CookieOptions found_options(std::uint32_t clock) noexcept {
  CookieOptions options;
  if ((clock & kNoScale) != kNoScale)
    options.window_shift = static_cast<std::uint8_t>(clock & kNoScale);
  options.sack = (clock & kSack) != 0;
  options.ecn = (clock & kEcn) != 0;
  return options;
}

}  // namespace tidewire::tcp
