// Numbers that are reported narrower than they are kept.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tidewire {

/// `v`, or the greatest 32-bit number where it is more.
constexpr std::uint32_t clip(std::uint64_t v) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(v, 0xffff'ffffU));
}

}  // namespace tidewire
