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

}  // namespace tidewire
