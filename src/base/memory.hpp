// Where all memory of the core comes from.
#pragma once

#include <cstddef>

namespace tidewire {

/// Source of memory for a Stack. Never throws: a null means "no memory" and becomes
/// DropReason::no_memory or SocketError::no_buffers. Implementations enforce their own hard cap.
/// Used from the thread that drives the Stack only; must outlive every user.
class MemoryProvider {
 public:
  MemoryProvider() = default;
  MemoryProvider(const MemoryProvider&) = delete;
  MemoryProvider& operator=(const MemoryProvider&) = delete;
  virtual ~MemoryProvider() = default;

  /// `align` is a power of two, at most 4096.
  virtual void* allocate(std::size_t bytes, std::size_t align) noexcept = 0;
  virtual void deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept = 0;
  /// Bytes handed out and not yet returned.
  virtual std::size_t in_use() const noexcept = 0;
  /// The hard cap in bytes.
  virtual std::size_t capacity() const noexcept = 0;
};

/// Memory from the C++ heap with a hard cap. Can be told to fail, for fault injection.
class HeapMemory final : public MemoryProvider {
 public:
  explicit HeapMemory(std::size_t cap_bytes) noexcept : cap_(cap_bytes) {}

  void* allocate(std::size_t bytes, std::size_t align) noexcept override;
  void deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept override;
  std::size_t in_use() const noexcept override { return in_use_; }
  std::size_t capacity() const noexcept override { return cap_; }

  /// While true every allocation fails: an impairment like any other.
  void set_failing(bool failing) noexcept { failing_ = failing; }
  /// Number of successful allocations so far (a benchmark asserts that it stands still).
  std::size_t allocations() const noexcept { return allocations_; }

 private:
  std::size_t cap_;
  std::size_t in_use_ = 0;
  std::size_t allocations_ = 0;
  bool failing_ = false;
};

/// A number of bytes that several users may take from together. The default is for one thread; a
/// process whose stacks run on several gives them one that may be shared (runtime/shared_budget).
class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t limit) noexcept : limit_(limit) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  virtual ~MemoryBudget() = default;

  /// False: that would be more than the limit, and nothing was taken.
  [[nodiscard]] virtual bool take(std::size_t bytes) noexcept {
    if (bytes > limit_ - used_) return false;
    used_ += bytes;
    return true;
  }
  virtual void give(std::size_t bytes) noexcept { used_ -= bytes; }
  virtual std::size_t used() const noexcept { return used_; }
  std::size_t limit() const noexcept { return limit_; }

 private:
  std::size_t limit_;
  std::size_t used_ = 0;
};

/// A provider whose memory also counts against a budget: the cap of the process beside that of the
/// stack. Both outlive it.
class BudgetedMemory final : public MemoryProvider {
 public:
  BudgetedMemory(MemoryProvider& source, MemoryBudget& budget) noexcept
      : source_(source), budget_(budget) {}

  void* allocate(std::size_t bytes, std::size_t align) noexcept override {
    if (!budget_.take(bytes)) return nullptr;
    void* memory = source_.allocate(bytes, align);
    if (memory == nullptr) budget_.give(bytes);
    return memory;
  }
  void deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept override {
    if (memory == nullptr) return;
    source_.deallocate(memory, bytes, align);
    budget_.give(bytes);
  }
  std::size_t in_use() const noexcept override { return source_.in_use(); }
  /// What may be in use here at once: others take from the budget as well.
  std::size_t capacity() const noexcept override {
    const std::size_t left = budget_.limit() - budget_.used();
    const std::size_t here = source_.in_use();
    return left < source_.capacity() - here ? here + left : source_.capacity();
  }

 private:
  MemoryProvider& source_;
  MemoryBudget& budget_;
};

}  // namespace tidewire
