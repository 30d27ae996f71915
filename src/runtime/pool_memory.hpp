// Memory for stacks in real runs: pre-faulted, in huge pages where the kernel gives them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/memory.hpp"

namespace tidewire::runtime {

/// Blocks in size classes (four for each doubling) out of one mapping. Freed blocks are kept for
/// their class; the pages of big ones go back to the kernel. One thread uses it.
class PoolMemory final : public MemoryProvider {
 public:
  /// Throws std::system_error when the address space cannot be had. `cap_bytes` is the hard cap on
  /// what is handed out; the first `prefault_bytes` are touched at once.
  explicit PoolMemory(std::size_t cap_bytes, std::size_t prefault_bytes = std::size_t{4} << 20);
  ~PoolMemory() override;

  void* allocate(std::size_t bytes, std::size_t align) noexcept override;
  void deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept override;
  std::size_t in_use() const noexcept override { return in_use_; }
  std::size_t capacity() const noexcept override { return cap_; }

 private:
  struct FreeBlock {
    FreeBlock* next;
  };
  static constexpr std::size_t kClasses = 4 * 40;

  struct SizeClass {
    std::size_t index;
    std::size_t size;
  };
  static SizeClass size_class(std::size_t bytes, std::size_t align) noexcept;
  bool refill(SizeClass size_class) noexcept;
  bool commit(std::size_t bytes) noexcept;

  std::size_t cap_;
  std::size_t in_use_ = 0;
  std::byte* base_ = nullptr;
  std::size_t reserved_ = 0;
  std::size_t carved_ = 0;   ///< given to size classes
  std::size_t touched_ = 0;  ///< faulted in
  std::array<FreeBlock*, kClasses> free_{};
};

}  // namespace tidewire::runtime
