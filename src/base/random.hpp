// Everything random in the core comes from one seed, so that a run can be repeated.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"

namespace tidewire {

/// 128 bits from which all randomness of a Stack or a simulated world is derived.
struct RandomSeed {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend constexpr bool operator==(const RandomSeed&, const RandomSeed&) noexcept = default;
};

/// SipHash-1-3 with a 128-bit key: flow tables, ISNs, impairment decisions.
std::uint64_t siphash13(const RandomSeed& key, Bytes message) noexcept;
/// The same over a few words, without going through memory.
std::uint64_t siphash13(const RandomSeed& key, std::uint64_t a, std::uint64_t b = 0,
                        std::uint64_t c = 0, std::uint64_t d = 0) noexcept;

/// SipHash-2-4, the form with a margin: for what strangers are given and may forge.
std::uint64_t siphash24(const RandomSeed& key, Bytes message) noexcept;

/// A key for one purpose, derived from the seed: streams of different purposes never correlate.
RandomSeed derive(const RandomSeed& seed, std::uint64_t purpose) noexcept;

/// xoshiro256** seeded by SplitMix64: a stream of draws. Not for secrets the wire can observe.
class Rng {
 public:
  explicit Rng(const RandomSeed& seed) noexcept;
  std::uint64_t next() noexcept;
  /// Uniform in [0, bound); 0 if bound is 0. Unbiased.
  std::uint64_t below(std::uint64_t bound) noexcept;
  /// True with probability numerator / 2^32.
  bool chance(std::uint64_t per_2_32) noexcept { return (next() >> 32) < per_2_32; }

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace tidewire
