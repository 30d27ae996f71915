// What the benchmark programs share: a clock, and a line with the median of
// five.
#pragma once

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
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

/// CPU time of this thread: what else the machine does is not in it.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Ends the program unless the machine has that much memory to give.
inline void must_have_memory(std::size_t bytes) {
  std::FILE* const file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return;
  std::array<char, 128> line{};
  unsigned long long kib = ~0ULL >> 10;
  while (std::fgets(line.data(), line.size(), file) != nullptr &&
         std::sscanf(line.data(), "MemAvailable: %llu kB", &kib) != 1) {
  }
  std::fclose(file);
  if (kib << 10 >= bytes) return;
  std::fprintf(stderr, "bench: needs %zu MiB of memory, %llu are there\n", bytes >> 20, kib >> 10);
  std::exit(1);
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
