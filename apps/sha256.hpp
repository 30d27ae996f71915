// SHA-256 (FIPS 180-4), to compare what arrived with what was sent.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.hpp"

namespace tidewire::apps {

class Sha256 {
 public:
  void update(Bytes data) noexcept;
  /// Hexadecimal digits. Ends the computation.
  std::string finish();

 private:
  void block(const std::byte* at) noexcept;

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> buffer_{};
  std::uint64_t size_ = 0;
};

}  // namespace tidewire::apps
