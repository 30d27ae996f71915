#include "runtime/clock.hpp"

#include <ctime>

namespace tidewire::runtime {

namespace {

std::int64_t read(clockid_t clock) noexcept {
  timespec t{};
  clock_gettime(clock, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

Instant Clock::now() noexcept { return Instant::from_nanos(read(CLOCK_MONOTONIC)); }

std::int64_t Clock::wall_nanos(Instant instant) noexcept {
  return read(CLOCK_REALTIME) - read(CLOCK_MONOTONIC) + instant.nanos();
}

}  // namespace tidewire::runtime
