// The only place that reads the real clock.
#pragma once

#include "base/time.hpp"

namespace tidewire::runtime {

/// Any thread may call these.
class Clock {
 public:
  /// CLOCK_MONOTONIC; the origin is the machine's start.
  static Instant now() noexcept;
  /// Nanoseconds since 1970 that belong to an instant of now(), for captures and reports. Follows
  /// the wall clock of this moment.
  static std::int64_t wall_nanos(Instant instant) noexcept;
};

}  // namespace tidewire::runtime
