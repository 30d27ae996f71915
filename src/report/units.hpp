// Quantities as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.hpp"

namespace tidewire::report {

std::string format_bytes(std::uint64_t bytes);                    ///< "20.0 MB" (powers of 1000)
std::string format_rate(std::uint64_t bytes, Duration duration);  ///< "47.6 Mbit/s", "-" if unknown
std::string format_duration(Duration duration);                   ///< "41.2 ms", "3.42 s"
/// "1,234,567"
std::string format_count(std::uint64_t n);
/// "1 packet", "3 packets"
std::string plural(std::uint64_t n, const char* one, const char* many);

}  // namespace tidewire::report
