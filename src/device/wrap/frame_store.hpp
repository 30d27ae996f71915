// Pooled buffers for devices that hold frames, and a growing ring of small records.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.hpp"

namespace tidewire::device {

/// A piece of memory out of a FramePool with `size` bytes in use.
struct FrameBuffer {
  std::byte* data = nullptr;
  std::uint32_t capacity = 0;
  std::uint32_t size = 0;

  Bytes bytes() const noexcept { return {data, size}; }
  MutBytes space() const noexcept { return {data, capacity}; }
  explicit operator bool() const noexcept { return data != nullptr; }
};

/// Buffers in a few sizes. What is given back is kept, so that nothing is allocated in the steady
/// state. All buffers must be back before the pool dies.
class FramePool {
 public:
  explicit FramePool(std::size_t cap_bytes = std::size_t{256} << 20) noexcept : cap_(cap_bytes) {}

  /// A buffer of at least `size` bytes, with `size` set; an empty one above the cap or the greatest
  /// frame.
  FrameBuffer take(std::size_t size) noexcept;
  void give(FrameBuffer buffer) noexcept;
  std::size_t in_use() const noexcept { return in_use_; }

 private:
  static constexpr std::array<std::uint32_t, 3> kSizes{2048, 9728, 65536 + 512};

  std::array<std::vector<std::unique_ptr<std::byte[]>>, kSizes.size()> free_;
  std::size_t cap_;
  std::size_t in_use_ = 0;
};

/// A double-ended queue of trivially copyable records on one power-of-two array: it allocates only
/// when it grows.
template <typename T>
class RingQueue {
 public:
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  T& operator[](std::size_t i) noexcept { return slots_[(first_ + i) & mask()]; }
  const T& operator[](std::size_t i) const noexcept { return slots_[(first_ + i) & mask()]; }
  T& front() noexcept { return (*this)[0]; }
  const T& front() const noexcept { return (*this)[0]; }
  T& back() noexcept { return (*this)[size_ - 1]; }

  void push_back(const T& value) {
    if (size_ == slots_.size()) grow();
    slots_[(first_ + size_) & mask()] = value;
    ++size_;
  }
  void pop_front() noexcept {
    first_ = (first_ + 1) & mask();
    --size_;
  }

 private:
  std::size_t mask() const noexcept { return slots_.size() - 1; }
  void grow() {
    std::vector<T> wider(slots_.empty() ? 16 : slots_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) wider[i] = (*this)[i];
    slots_.swap(wider);
    first_ = 0;
  }

  std::vector<T> slots_;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace tidewire::device
