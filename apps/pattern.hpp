// Bytes that both ends of a measurement know, so that every one of them is checked.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"

namespace tidewire::apps {

/// Byte n of a stream is (k * k + k / 8 + 7) mod 256 with k = n mod 65521.
class Pattern {
 public:
  Pattern();
  /// Fills `out` with the bytes of a stream from `offset` on.
  void fill(std::uint64_t offset, MutBytes out) const noexcept;
  /// How many bytes at the front of `data` are those from `offset` on.
  std::size_t matching(std::uint64_t offset, Bytes data) const noexcept;

 private:
  std::vector<std::byte> block_;
};

}  // namespace tidewire::apps
