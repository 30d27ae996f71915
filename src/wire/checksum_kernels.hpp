// The inner loops of the Internet checksum. One of wire/arch/*/ is compiled in and chooses, at run
// time, the fastest that the processor has.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tidewire::wire::kernel {

// All return the sum of the 16-bit words of the input, read in native byte order, an odd last byte
// padded with zero (RFC 1071 §4.1), before folding: fold() gives the 16-bit ones' complement sum.
// The result stays below 2^34, so that many can be added without overflow.

std::uint64_t sum_portable(const std::byte* data, std::size_t size) noexcept;
std::uint64_t copy_sum_portable(std::byte* target, const std::byte* source,
                                std::size_t size) noexcept;

/// The best this processor can do. Source and target must not overlap.
std::uint64_t sum(const std::byte* data, std::size_t size) noexcept;
std::uint64_t copy_sum(std::byte* target, const std::byte* source, std::size_t size) noexcept;

/// Name of what `sum` uses, for benchmarks and reports.
const char* name() noexcept;

/// Folds to 16 bits with end-around carry.
constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  // Added to its own halves swapped, the upper half has the sum of both and the carry of the lower.
  sum += std::rotr(sum, 32);
  auto word = static_cast<std::uint32_t>(sum >> 32);
  word += std::rotr(word, 16);
  return static_cast<std::uint16_t>(word >> 16);
}
/// One folding step: below 2^33, the same sum modulo 2^16 - 1.
constexpr std::uint64_t narrow(std::uint64_t sum) noexcept {
  return (sum & 0xffffffffU) + (sum >> 32);
}

}  // namespace tidewire::wire::kernel
