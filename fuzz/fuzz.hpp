// Shared by the fuzz targets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <vector>

#include "base/bytes.hpp"

namespace tidewire::fuzz {

/// A finding if `holds` is false.
inline void check(bool holds, const std::source_location& where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%u: does not hold\n", where.file_name(),
               static_cast<unsigned>(where.line()));
  __builtin_trap();
}

/// True if the environment asks for a trace of what a run does (TIDEWIRE_FUZZ_TRACE=1).
inline bool tracing() {
  static const bool on = std::getenv("TIDEWIRE_FUZZ_TRACE") != nullptr;
  return on;
}

/// What `emit(repr, writer, more...)` writes; a finding if it does not write exactly `size` bytes.
template <typename Repr, typename... More>
std::vector<std::byte> emitted(const Repr& repr, std::size_t size, const More&... more) {
  std::vector<std::byte> bytes(size);
  Writer out{bytes};
  emit(repr, out, more...);
  check(out.ok() && out.written() == size);
  return bytes;
}

}  // namespace tidewire::fuzz
