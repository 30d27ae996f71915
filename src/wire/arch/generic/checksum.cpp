// Processors without a kernel of their own.
#include "wire/checksum_kernels.hpp"

namespace tidewire::wire::kernel {

std::uint64_t sum(const std::byte* data, std::size_t size) noexcept {
  return sum_portable(data, size);
}

std::uint64_t copy_sum(std::byte* target, const std::byte* source, std::size_t size) noexcept {
  return copy_sum_portable(target, source, size);
}

const char* name() noexcept { return "portable"; }

}  // namespace tidewire::wire::kernel
