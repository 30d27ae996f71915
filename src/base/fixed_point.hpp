// Integer arithmetic that other programs do in floating point.
#pragma once

#include <cstdint>
#include <limits>

namespace tidewire {

__extension__ typedef unsigned __int128 Wide;

/// a · b / c, rounded down, without overflow in between; saturates, also for c = 0.
constexpr std::uint64_t mul_div(std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  if (c == 0) return kMax;
  const Wide quotient = Wide{a} * b / c;
  return quotient > kMax ? kMax : static_cast<std::uint64_t>(quotient);
}

/// The greatest r with r³ <= x.
constexpr std::uint32_t cube_root(std::uint64_t x) noexcept {
  std::uint64_t root = 0;
  for (int bit = 21; bit >= 0; --bit) {
    const std::uint64_t trial = root | std::uint64_t{1} << bit;
    if (Wide{trial} * trial * trial <= x) root = trial;
  }
  return static_cast<std::uint32_t>(root);
}

/// The greatest r with r² <= x.
constexpr std::uint32_t square_root(std::uint64_t x) noexcept {
  std::uint64_t root = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const std::uint64_t trial = root | std::uint64_t{1} << bit;
    if (trial * trial <= x) root = trial;
  }
  return static_cast<std::uint32_t>(root);
}

/// A ratio in 1/1024: gains and factors as whole numbers.
class Ratio {
 public:
  static constexpr Ratio of(std::uint32_t numerator, std::uint32_t denominator) noexcept {
    return Ratio{static_cast<std::uint32_t>(mul_div(numerator, 1024, denominator))};
  }
  constexpr std::uint64_t operator()(std::uint64_t value) const noexcept {
    return mul_div(value, per_1024_, 1024);
  }

 private:
  explicit constexpr Ratio(std::uint32_t per_1024) noexcept : per_1024_(per_1024) {}
  std::uint32_t per_1024_;
};

}  // namespace tidewire
