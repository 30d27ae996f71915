// Time as a value: the stack never reads a clock, it is told what time it is.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace tidewire {

/// A span of time in nanoseconds. May be negative. Sums and differences that do not fit are the
/// nearest that does.
class Duration {
 public:
  constexpr Duration() noexcept = default;
  static constexpr Duration nanos(std::int64_t n) noexcept { return Duration{n}; }
  static constexpr Duration micros(std::int64_t n) noexcept { return Duration{n * 1'000}; }
  static constexpr Duration millis(std::int64_t n) noexcept { return Duration{n * 1'000'000}; }
  static constexpr Duration seconds(std::int64_t n) noexcept { return Duration{n * 1'000'000'000}; }
  static constexpr Duration max() noexcept {
    return Duration{std::numeric_limits<std::int64_t>::max()};
  }
  static constexpr Duration zero() noexcept { return Duration{}; }

  constexpr std::int64_t count_nanos() const noexcept { return ns_; }
  constexpr std::int64_t count_micros() const noexcept { return ns_ / 1'000; }
  constexpr std::int64_t count_millis() const noexcept { return ns_ / 1'000'000; }
  constexpr std::int64_t count_seconds() const noexcept { return ns_ / 1'000'000'000; }

  friend constexpr auto operator<=>(Duration, Duration) noexcept = default;
  friend constexpr Duration operator+(Duration a, Duration b) noexcept {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a.ns_, b.ns_, &sum)) return a.ns_ > 0 ? max() : Duration{-max().ns_};
    return Duration{sum};
  }
  friend constexpr Duration operator-(Duration a, Duration b) noexcept {
    std::int64_t rest = 0;
    if (__builtin_sub_overflow(a.ns_, b.ns_, &rest))
      return b.ns_ < 0 ? max() : Duration{-max().ns_};
    return Duration{rest};
  }
  friend constexpr Duration operator*(Duration a, std::int64_t k) noexcept {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(a.ns_, k, &product)) {
      return (a.ns_ > 0) == (k > 0) ? max() : Duration{-max().ns_};
    }
    return Duration{product};
  }
  /// Integer division; a divisor of 0 gives the greatest duration.
  friend constexpr Duration operator/(Duration a, std::int64_t k) noexcept {
    return k == 0 ? max() : Duration{a.ns_ / k};
  }
  constexpr Duration& operator+=(Duration d) noexcept { return *this = *this + d; }
  constexpr Duration& operator-=(Duration d) noexcept { return *this = *this - d; }

 private:
  explicit constexpr Duration(std::int64_t ns) noexcept : ns_(ns) {}
  std::int64_t ns_ = 0;
};

/// A point on the caller's monotonic time line, in nanoseconds since an origin the caller chose.
/// `never()` is later than every other instant and stays `never()` whatever is added to it.
class Instant {
 public:
  constexpr Instant() noexcept = default;
  static constexpr Instant from_nanos(std::int64_t ns) noexcept { return Instant{ns}; }
  static constexpr Instant never() noexcept {
    return Instant{std::numeric_limits<std::int64_t>::max()};
  }

  constexpr std::int64_t nanos() const noexcept { return ns_; }
  constexpr bool is_never() const noexcept { return *this == never(); }
  /// *this - before where both are known to be points of a run, neither never() nor centuries
  /// apart: what every packet asks several times. Wraps if they are not.
  constexpr Duration since(Instant before) const noexcept {
    return Duration::nanos(static_cast<std::int64_t>(static_cast<std::uint64_t>(ns_) -
                                                     static_cast<std::uint64_t>(before.ns_)));
  }

  friend constexpr auto operator<=>(Instant, Instant) noexcept = default;
  friend constexpr Instant operator+(Instant t, Duration d) noexcept {
    if (t.is_never()) return t;
    std::int64_t sum = 0;
    if (__builtin_add_overflow(t.ns_, d.count_nanos(), &sum)) {
      return d.count_nanos() > 0 ? never() : Instant{std::numeric_limits<std::int64_t>::min()};
    }
    return Instant{sum};
  }
  friend constexpr Instant operator-(Instant t, Duration d) noexcept {
    if (t.is_never()) return t;
    std::int64_t rest = 0;
    if (__builtin_sub_overflow(t.ns_, d.count_nanos(), &rest)) {
      return d.count_nanos() < 0 ? never() : Instant{std::numeric_limits<std::int64_t>::min()};
    }
    return Instant{rest};
  }
  friend constexpr Duration operator-(Instant a, Instant b) noexcept {
    if (a.is_never()) return Duration::max();
    return Duration::nanos(a.ns_) - Duration::nanos(b.ns_);
  }
  constexpr Instant& operator+=(Duration d) noexcept { return *this = *this + d; }

 private:
  explicit constexpr Instant(std::int64_t ns) noexcept : ns_(ns) {}
  std::int64_t ns_ = 0;
};

constexpr Instant earlier(Instant a, Instant b) noexcept { return a < b ? a : b; }
constexpr Instant later(Instant a, Instant b) noexcept { return a < b ? b : a; }

}  // namespace tidewire
