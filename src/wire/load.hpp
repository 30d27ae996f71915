// Big-endian loads and stores at fixed offsets: one move and one byte swap each.
// Callers have checked the bounds once (in View::parse, or by Writer::reserve).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tidewire::wire {

template <typename T>
constexpr T swap_to_network(T value) noexcept {
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) {
    return std::byteswap(value);
  } else {
    return value;
  }
}

template <typename T>
inline T load_native(const std::byte* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline std::uint8_t load_u8(const std::byte* at) noexcept {
  return std::to_integer<std::uint8_t>(*at);
}
inline std::uint16_t load_u16(const std::byte* at) noexcept {
  return swap_to_network(load_native<std::uint16_t>(at));
}
inline std::uint32_t load_u32(const std::byte* at) noexcept {
  return swap_to_network(load_native<std::uint32_t>(at));
}
inline std::uint64_t load_u64(const std::byte* at) noexcept {
  return swap_to_network(load_native<std::uint64_t>(at));
}

inline void store_u8(std::byte* at, std::uint8_t value) noexcept {
  *at = static_cast<std::byte>(value);
}
inline void store_u16(std::byte* at, std::uint16_t value) noexcept {
  value = swap_to_network(value);
  std::memcpy(at, &value, sizeof value);
}
inline void store_u32(std::byte* at, std::uint32_t value) noexcept {
  value = swap_to_network(value);
  std::memcpy(at, &value, sizeof value);
}
inline void store_u64(std::byte* at, std::uint64_t value) noexcept {
  value = swap_to_network(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace tidewire::wire
