#include "wire/checksum.hpp"

#include <array>
#include <bit>

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

/// The last 0 to 7 bytes; an odd one is padded with zero (RFC 1071 §4.1).
std::uint64_t sum_tail(const std::byte* data, std::size_t size) noexcept {
  std::uint64_t sum = 0;
  if ((size & 4) != 0) {
    sum += load_native<std::uint32_t>(data);
    data += 4;
  }
  if ((size & 2) != 0) {
    sum += load_native<std::uint16_t>(data);
    data += 2;
  }
  if ((size & 1) != 0) {
    const std::array<std::byte, 2> padded{*data, std::byte{0}};
    sum += load_native<std::uint16_t>(padded.data());
  }
  return sum;
}

/// 8 to 63 bytes, by whole words with end-around carry: what headers are, where the set-up of
/// anything faster costs more than it saves.
std::uint64_t sum_short(const std::byte* data, std::size_t size) noexcept {
  std::uint64_t sum = 0;
  const auto add = [&sum](std::uint64_t word) noexcept {
    sum += word;
    sum += sum < word ? 1U : 0U;
  };
  const std::size_t rest = size % 8;
  const std::byte* const last = data + (size - rest);
  for (; data != last; data += 8) add(load_native<std::uint64_t>(data));
  if (rest != 0) {
    // The last 8 bytes without those that were counted.
    const auto word = load_native<std::uint64_t>(last + rest - 8);
    const auto shift = static_cast<int>(64 - 8 * rest);
    add(std::endian::native == std::endian::little ? word >> shift : word << shift);
  }
  return narrow(sum);
}

void copy_tail(std::byte* target, const std::byte* source, std::size_t size) noexcept {
  if ((size & 4) != 0) {
    std::memcpy(target, source, 4);
    target += 4;
    source += 4;
  }
  if ((size & 2) != 0) {
    std::memcpy(target, source, 2);
    target += 2;
    source += 2;
  }
  if ((size & 1) != 0) *target = *source;
}

}  // namespace

std::uint64_t sum_portable(const std::byte* data, std::size_t size) noexcept {
  if (size < 8) return sum_tail(data, size);
  if (size < 64) return sum_short(data, size);
  Accumulator a;
  Accumulator b;
  for (; size >= 32; data += 32, size -= 32) {
    a.add(load_native<std::uint64_t>(data));
    b.add(load_native<std::uint64_t>(data + 8));
    a.add(load_native<std::uint64_t>(data + 16));
    b.add(load_native<std::uint64_t>(data + 24));
  }
  for (; size >= 8; data += 8, size -= 8) a.add(load_native<std::uint64_t>(data));
  return narrow(narrow(a.low + a.high + b.low + b.high) + sum_tail(data, size));
}

std::uint64_t copy_sum_portable(std::byte* target, const std::byte* source,
                                std::size_t size) noexcept {
  if (size < 8) {
    copy_tail(target, source, size);
    return sum_tail(source, size);
  }
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
  copy_tail(target, source, size);
  return narrow(narrow(a.low + a.high + b.low + b.high) + sum_tail(source, size));
}

}  // namespace tidewire::wire::kernel
