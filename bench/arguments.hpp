// The arguments that the programs of tools/figures.py share: CASE SECONDS CORES.
#pragma once

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace tidewire::bench {

/// Argument `index` as a number from `least` to `most`, `fallback` if it is not there. Ends the
/// program with status 2 if it is no such number.
template <typename Number>
Number argument(int argc, char** argv, int index, const char* name, Number fallback, Number least,
                Number most) {
  if (index >= argc) return fallback;
  const std::string_view text = argv[index];
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most)
    return value;
  std::fprintf(stderr, "bench: %s is no good: %s\n", name, argv[index]);
  std::exit(2);
}

/// Argument 2: how long a run takes.
inline double seconds_argument(int argc, char** argv) {
  return argument(argc, argv, 2, "SECONDS", 1.0, 0.001, 3600.0);
}
/// Argument 3: 1 for all processes on one core, 2 for one each, 0 for no pinning.
inline int cores_argument(int argc, char** argv, int fallback) {
  return argument(argc, argv, 3, "CORES", fallback, 0, 2);
}

}  // namespace tidewire::bench
