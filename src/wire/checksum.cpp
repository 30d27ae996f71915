#include "wire/checksum.hpp"

namespace tidewire::wire::kernel {
namespace {

// Adding 32-bit halves into 64-bit accumulators needs no carry handling for 2^32 words.
struct Accumulator {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  void add(std::uint64_t word) noexcept {
    low += word & 0xffffffffU;
    high += word >> 32;
  }
};

std::uint64_t tail_word(const std::byte* data, std::size_t size) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, data, size);
  return word;
}

}  // namespace

std::uint64_t sum_portable(const std::byte* data, std::size_t size) noexcept {
  Accumulator a;
  Accumulator b;
  for (; size >= 32; data += 32, size -= 32) {
    a.add(load_native<std::uint64_t>(data));
    b.add(load_native<std::uint64_t>(data + 8));
    a.add(load_native<std::uint64_t>(data + 16));
    b.add(load_native<std::uint64_t>(data + 24));
  }
  for (; size >= 8; data += 8, size -= 8) a.add(load_native<std::uint64_t>(data));
  if (size != 0) b.add(tail_word(data, size));
  return narrow(a.low + a.high + b.low + b.high);
}

std::uint64_t copy_sum_portable(std::byte* target, const std::byte* source,
                                std::size_t size) noexcept {
  Accumulator a;
  Accumulator b;
  for (; size >= 16; target += 16, source += 16, size -= 16) {
    const auto first = load_native<std::uint64_t>(source);
    const auto second = load_native<std::uint64_t>(source + 8);
    std::memcpy(target, &first, 8);
    std::memcpy(target + 8, &second, 8);
    a.add(first);
    b.add(second);
  }
  if (size >= 8) {
    const auto word = load_native<std::uint64_t>(source);
    std::memcpy(target, &word, 8);
    a.add(word);
    target += 8;
    source += 8;
    size -= 8;
  }
  if (size != 0) {
    b.add(tail_word(source, size));
    std::memcpy(target, source, size);
  }
  return narrow(a.low + a.high + b.low + b.high);
}

}  // namespace tidewire::wire::kernel
