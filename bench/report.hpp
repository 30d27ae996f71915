// What the benchmark programs share: a clock, and a line with the median of
// five.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace tidewire::bench {

inline void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "bench: %s failed\n", what);
  std::exit(1);
}

inline double seconds_of(auto&& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// A line for tools/figures.py.
inline void print_row(const char* name, double value, const char* unit) {
  std::printf("%s %.6g %s\n", name, value, unit);
  std::fflush(stdout);
}

/// Runs `measure` five times and prints the median with the extremes.
inline void report(const char* what, const char* unit, auto&& measure) {
  std::array<double, 5> values{};
  for (double& value : values) value = measure();
  std::sort(values.begin(), values.end());
  std::printf("%-44s %10.2f %s (%.2f to %.2f)\n", what, values[2], unit, values[0], values[4]);
  std::fflush(stdout);
}

}  // namespace tidewire::bench
