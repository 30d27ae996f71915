#include "core/tcp/recover/delivery_rate.hpp"

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

std::uint64_t RateSample::bytes_per_second() const noexcept {
  if (!valid()) return 0;
  constexpr std::uint64_t kNanos = 1'000'000'000;
  const auto nanos = static_cast<std::uint64_t>(interval.count_nanos());
  // Nearly always: the product fits.
  if (delivered <= UINT64_MAX / kNanos) [[likely]]
    return delivered * kNanos / nanos;
  return mul_div(delivered, kNanos, nanos);
}

}  // namespace tidewire::tcp
