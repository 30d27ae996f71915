// AVX2 where the processor has it, portable otherwise. The choice is a load and a predictable
// branch; short inputs never get that far.
#include <immintrin.h>

#include "wire/checksum_kernels.hpp"

namespace tidewire::wire::kernel {
namespace {

// Below this the set-up and the final reduction cost more than they save.
constexpr std::size_t kVectorMinimum = 128;

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") != 0; }

[[gnu::target("avx2")]] inline __m256i load(const std::byte* at) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

[[gnu::target("avx2")]] inline void store(std::byte* at, __m256i value) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value);
}

// Even 32-bit words are masked, odd ones shifted down; both are added into 64-bit lanes.
struct Lanes {
  __m256i even;
  __m256i odd;
};

[[gnu::target("avx2")]] inline void add(Lanes& lanes, __m256i value, __m256i mask) noexcept {
  lanes.even = _mm256_add_epi64(lanes.even, _mm256_and_si256(value, mask));
  lanes.odd = _mm256_add_epi64(lanes.odd, _mm256_srli_epi64(value, 32));
}

[[gnu::target("avx2")]] inline std::uint64_t reduce(const Lanes& a, const Lanes& b) noexcept {
  const __m256i all =
      _mm256_add_epi64(_mm256_add_epi64(a.even, a.odd), _mm256_add_epi64(b.even, b.odd));
  const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(pair)) +
         static_cast<std::uint64_t>(_mm_extract_epi64(pair, 1));
}

[[gnu::target("avx2")]] std::uint64_t sum_avx2(const std::byte* data, std::size_t size) noexcept {
  const __m256i mask = _mm256_set1_epi64x(0xffffffff);
  Lanes a{_mm256_setzero_si256(), _mm256_setzero_si256()};
  Lanes b = a;
  for (; size >= 128; data += 128, size -= 128) {
    add(a, load(data), mask);
    add(b, load(data + 32), mask);
    add(a, load(data + 64), mask);
    add(b, load(data + 96), mask);
  }
  for (; size >= 32; data += 32, size -= 32) add(a, load(data), mask);
  return narrow(narrow(reduce(a, b)) + sum_portable(data, size));
}

[[gnu::target("avx2")]] std::uint64_t copy_sum_avx2(std::byte* target, const std::byte* source,
                                                    std::size_t size) noexcept {
  const __m256i mask = _mm256_set1_epi64x(0xffffffff);
  Lanes a{_mm256_setzero_si256(), _mm256_setzero_si256()};
  Lanes b = a;
  for (; size >= 64; target += 64, source += 64, size -= 64) {
    const __m256i first = load(source);
    const __m256i second = load(source + 32);
    store(target, first);
    store(target + 32, second);
    add(a, first, mask);
    add(b, second, mask);
  }
  if (size >= 32) {
    const __m256i value = load(source);
    store(target, value);
    add(a, value, mask);
    target += 32;
    source += 32;
    size -= 32;
  }
  return narrow(narrow(reduce(a, b)) + copy_sum_portable(target, source, size));
}

}  // namespace

std::uint64_t sum(const std::byte* data, std::size_t size) noexcept {
  if (size < kVectorMinimum || !has_avx2()) return sum_portable(data, size);
  return sum_avx2(data, size);
}

std::uint64_t copy_sum(std::byte* target, const std::byte* source, std::size_t size) noexcept {
  if (size < kVectorMinimum || !has_avx2()) return copy_sum_portable(target, source, size);
  return copy_sum_avx2(target, source, size);
}

const char* name() noexcept { return has_avx2() ? "avx2" : "portable"; }

}  // namespace tidewire::wire::kernel
