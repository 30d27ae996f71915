// A growable array of plain values over a MemoryProvider, for tables that configuration fills.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/memory.hpp"

namespace tidewire {

/// Growth copies the elements: pointers into it are valid until the next insertion or removal.
template <typename T>
class Vec {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  explicit Vec(MemoryProvider& memory) noexcept : memory_(&memory) {}
  Vec(const Vec&) = delete;
  Vec& operator=(const Vec&) = delete;
  ~Vec() { release(); }

  /// False: no memory, nothing changed.
  [[nodiscard]] bool insert(std::size_t at, const T& value) noexcept {
    if (size_ == capacity_ && !grow()) return false;
    std::memmove(static_cast<void*>(items_ + at + 1), items_ + at, (size_ - at) * sizeof(T));
    items_[at] = value;
    ++size_;
    return true;
  }
  [[nodiscard]] bool push_back(const T& value) noexcept { return insert(size_, value); }
  /// Removes one element; the order of the others stays.
  void erase(std::size_t at) noexcept {
    std::memmove(static_cast<void*>(items_ + at), items_ + at + 1, (size_ - at - 1) * sizeof(T));
    --size_;
  }
  void clear() noexcept { size_ = 0; }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return items_[i]; }
  const T& operator[](std::size_t i) const noexcept { return items_[i]; }
  T* begin() noexcept { return items_; }
  T* end() noexcept { return items_ + size_; }
  const T* begin() const noexcept { return items_; }
  const T* end() const noexcept { return items_ + size_; }

 private:
  bool grow() noexcept {
    const std::size_t larger = capacity_ == 0 ? 8 : capacity_ * 2;
    auto* fresh = static_cast<T*>(memory_->allocate(larger * sizeof(T), alignof(T)));
    if (fresh == nullptr) return false;
    if (size_ != 0) std::memcpy(static_cast<void*>(fresh), items_, size_ * sizeof(T));
    release();
    items_ = fresh;
    capacity_ = larger;
    return true;
  }
  void release() noexcept {
    if (items_ != nullptr) memory_->deallocate(items_, capacity_ * sizeof(T), alignof(T));
  }

  MemoryProvider* memory_;
  T* items_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace tidewire
