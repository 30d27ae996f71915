// A memory budget for stacks on several threads of a process.
#pragma once

#include <atomic>

#include "base/memory.hpp"

namespace tidewire::runtime {

/// Counts exactly: what one thread was granted another cannot have. Nothing else is ordered by it.
class SharedBudget final : public MemoryBudget {
 public:
  using MemoryBudget::MemoryBudget;

  [[nodiscard]] bool take(std::size_t bytes) noexcept override {
    std::size_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit() - used) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void give(std::size_t bytes) noexcept override {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  std::size_t used() const noexcept override { return used_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t> used_ = 0;
};

}  // namespace tidewire::runtime
