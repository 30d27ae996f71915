// The Internet checksum and the fused copy: bytes per second by length, kernel by kernel.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "wire/checksum.hpp"

namespace {

using namespace tidewire;
using namespace tidewire::wire;

std::vector<std::byte> message(std::int64_t size) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + 7);
  return bytes;
}

void lengths(benchmark::internal::Benchmark* bench) {
  for (const int size : {20, 40, 64, 128, 256, 536, 1460, 9000, 65483}) bench->Arg(size);
}

void count(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void sum_with(benchmark::State& state,
              std::uint64_t (*kernel)(const std::byte*, std::size_t) noexcept) {
  const auto bytes = message(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(kernel(bytes.data(), bytes.size()));
  count(state);
}

void copy_sum_with(benchmark::State& state,
                   std::uint64_t (*kernel)(std::byte*, const std::byte*, std::size_t) noexcept) {
  const auto bytes = message(state.range(0));
  std::vector<std::byte> target(bytes.size());
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernel(target.data(), bytes.data(), bytes.size()));
    benchmark::ClobberMemory();
  }
  count(state);
}

/// What the fused copy replaces.
std::uint64_t copy_then_sum(std::byte* target, const std::byte* source, std::size_t size) noexcept {
  std::memcpy(target, source, size);
  return kernel::sum(target, size);
}

BENCHMARK_CAPTURE(sum_with, best, kernel::sum)->Apply(lengths);
BENCHMARK_CAPTURE(sum_with, portable, kernel::sum_portable)->Apply(lengths);
BENCHMARK_CAPTURE(copy_sum_with, best, kernel::copy_sum)->Apply(lengths);
BENCHMARK_CAPTURE(copy_sum_with, portable, kernel::copy_sum_portable)->Apply(lengths);
BENCHMARK_CAPTURE(copy_sum_with, two_passes, copy_then_sum)->Apply(lengths);

}  // namespace
