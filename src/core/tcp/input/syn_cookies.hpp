// SYN cookies: a half-open connection that lives in the sequence number of its SYN-ACK (RFC 4987
// §3.6). Nothing is kept for a SYN; the ACK that comes back proves it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/random.hpp"
#include "base/seq.hpp"
#include "base/time.hpp"
#include "core/tcp/tuple.hpp"

namespace tidewire::tcp {

/// Makes and checks cookies. Of the 32 bits, 8 count the minutes and 24 are a keyed hash of tuple
/// and minute to which the index of the peer's MSS is added; a second keyed hash and the peer's own
/// number cover the whole. The layout is Linux's; the keys come from the stack's seed.
class SynCookies {
 public:
  /// How long one value of the counter lasts.
  static constexpr Duration kPeriod = Duration::seconds(60);
  /// A cookie is good in the period it was made in and in the next one: 2 minutes at most.
  static constexpr std::uint32_t kPeriods = 2;
  /// A listener that has made no cookie for so long believes none.
  static constexpr Duration kValid = kPeriod * kPeriods;

  explicit SynCookies(const RandomSeed& seed) noexcept
      : outer_(derive(seed, 1)), inner_(derive(seed, 2)) {}

  /// The initial sequence number for the answer to a SYN with `irs`. `mss`: what the SYN offered;
  /// the cookie carries the next smaller one of four.
  Seq make(const Tuple& tuple, Seq irs, std::uint16_t mss, Instant now) const noexcept;
  /// The MSS in a cookie, or nothing if it was not made here in the last two minutes.
  std::optional<std::uint16_t> check(const Tuple& tuple, Seq irs, Seq iss,
                                     Instant now) const noexcept;

 private:
  RandomSeed outer_, inner_;
};

/// What else a SYN offered. It comes back in the timestamp echo, so only with timestamps.
struct CookieOptions {
  std::optional<std::uint8_t> window_shift;
  bool sack = false;
  bool ecn = false;
  friend constexpr bool operator==(const CookieOptions&, const CookieOptions&) noexcept = default;
};

/// `clock` (ticks, without the offset of the connection) with its lowest six bits replaced; never
/// ahead of `clock`.
std::uint32_t hide_options(std::uint32_t clock, const CookieOptions& options) noexcept;
CookieOptions found_options(std::uint32_t clock) noexcept;

}  // namespace tidewire::tcp
