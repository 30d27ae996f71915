#include "apps/pattern.hpp"

#include <algorithm>
#include <cstring>

namespace tidewire::apps {

namespace {

constexpr std::size_t kPeriod = 65'521;

}  // namespace

Pattern::Pattern() : block_(kPeriod) {
  for (std::uint64_t k = 0; k < kPeriod; ++k) block_[k] = static_cast<std::byte>(k * k + k / 8 + 7);
}

void Pattern::fill(std::uint64_t offset, MutBytes out) const noexcept {
  while (!out.empty()) {
    const std::size_t at = offset % kPeriod;
    const std::size_t n = std::min(kPeriod - at, out.size());
    std::memcpy(out.data(), block_.data() + at, n);
    out = out.subspan(n);
    offset += n;
  }
}

std::size_t Pattern::matching(std::uint64_t offset, Bytes data) const noexcept {
  std::size_t good = 0;
  while (good < data.size()) {
    const std::size_t at = (offset + good) % kPeriod;
    const std::size_t n = std::min(kPeriod - at, data.size() - good);
    if (std::memcmp(data.data() + good, block_.data() + at, n) != 0) {
      const auto differs =
          std::mismatch(data.begin() + static_cast<std::ptrdiff_t>(good), data.end(),
                        block_.begin() + static_cast<std::ptrdiff_t>(at));
      return static_cast<std::size_t>(differs.first - data.begin());
    }
    good += n;
  }
  return good;
}

}  // namespace tidewire::apps
