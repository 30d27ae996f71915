#include "core/tcp/recover/delivery_rate.hpp"

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

std::uint64_t RateSample::bytes_per_second() const noexcept {
  if (!valid()) return 0;
  return mul_div(delivered, 1'000'000'000, static_cast<std::uint64_t>(interval.count_nanos()));
}

}  // namespace tidewire::tcp
