#include "report/units.hpp"

#include <array>
#include <cstdio>

namespace tidewire::report {

namespace {

/// Three significant digits.
std::string short_number(double value) {
  std::array<char, 32> text{};
  const int digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string scaled(double value, const std::array<const char*, 5>& units) {
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return std::to_string(static_cast<std::uint64_t>(value)) + " " + units[0];
  return short_number(value) + " " + units[unit];
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  return scaled(static_cast<double>(bytes), {"B", "kB", "MB", "GB", "TB"});
}

std::string format_rate(std::uint64_t bytes, Duration duration) {
  if (duration <= Duration::zero()) return "-";
  const double bits = static_cast<double>(bytes) * 8 * 1e9;
  return scaled(bits / static_cast<double>(duration.count_nanos()),
                {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"});
}

std::string format_duration(Duration duration) {
  const auto ns = static_cast<double>(duration.count_nanos());
  if (ns < 999'500) return short_number(ns / 1e3) + " us";
  if (ns < 999'500'000) return short_number(ns / 1e6) + " ms";
  return short_number(ns / 1e9) + " s";
}

std::string format_count(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string plural(std::uint64_t n, const char* one, const char* many) {
  return format_count(n) + " " + (n == 1 ? one : many);
}

}  // namespace tidewire::report
