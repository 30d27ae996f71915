#include "core/tcp/recover/pacer.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

std::uint32_t Pacer::burst(std::uint64_t rate, Duration accuracy, std::uint32_t mss) noexcept {
  constexpr std::uint64_t kMost = 65'536;
  const std::uint64_t least = std::min<std::uint64_t>(2 * std::uint64_t{mss}, kMost);
  if (rate == kUnpaced) return kMost;
  const auto nanos = static_cast<std::uint64_t>(std::max(accuracy, Duration::zero()).count_nanos());
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(mul_div(rate, nanos, 1'000'000'000), least, kMost));
}

void Pacer::on_sent(std::uint64_t bytes, Instant now) noexcept {
  if (rate_ == kUnpaced || rate_ == 0) return;
  constexpr std::uint64_t kMostNanos = 60'000'000'000;  // a mistaken rate must not block for ever
  const std::uint64_t nanos = std::min(mul_div(bytes, 1'000'000'000, rate_), kMostNanos);
  Duration drain = Duration::nanos(static_cast<std::int64_t>(nanos));
  if (next_ < now) {
    // A late timer earns back the time lost, up to half of this burst.
    drain -= std::min(now - next_, drain / 2);
    next_ = now;
  }
  next_ += drain;
}

}  // namespace tidewire::tcp
