// Runs a fuzz target without libFuzzer: its seed files, then a fixed series of mutations of them.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<Input> read_seeds(const char* directory) {
  std::vector<Input> seeds{Input{}};
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    std::ifstream file(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::sort(seeds.begin(), seeds.end());
  return seeds;
}

void mutate(Input& input, tidewire::Rng& rng) {
  const std::uint64_t changes = 1 + rng.below(8);
  for (std::uint64_t i = 0; i < changes; ++i) {
    const std::size_t at = static_cast<std::size_t>(rng.below(input.size() + 1));
    const auto byte = static_cast<std::uint8_t>(rng.next());
    switch (rng.below(4)) {
      case 0:
        input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), byte);
        break;
      case 1:
        input.resize(at);
        break;
      case 2:
        input.resize(input.size() + rng.below(64), byte);
        break;
      default:
        if (at < input.size()) input[at] = byte;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Input> seeds = read_seeds(argc > 1 ? argv[1] : ".");
  for (const Input& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  tidewire::Rng rng({1, 2});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  int runs = 0;
  for (; runs < 5000 && std::chrono::steady_clock::now() < end; ++runs) {
    Input input = seeds[static_cast<std::size_t>(rng.below(seeds.size()))];
    mutate(input, rng);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu seeds, %d mutations\n", seeds.size(), runs);
}
