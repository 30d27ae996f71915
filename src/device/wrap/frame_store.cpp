#include "device/wrap/frame_store.hpp"

#include <new>

namespace tidewire::device {

FrameBuffer FramePool::take(std::size_t size) noexcept {
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    if (size > kSizes[i]) continue;
    if (in_use_ + kSizes[i] > cap_) return {};
    FrameBuffer buffer;
    buffer.capacity = kSizes[i];
    buffer.size = static_cast<std::uint32_t>(size);
    if (free_[i].empty()) {
      buffer.data = new (std::nothrow) std::byte[kSizes[i]];
      if (buffer.data == nullptr) return {};
    } else {
      buffer.data = free_[i].back().release();
      free_[i].pop_back();
    }
    in_use_ += kSizes[i];
    return buffer;
  }
  return {};
}

void FramePool::give(FrameBuffer buffer) noexcept {
  if (!buffer) return;
  in_use_ -= buffer.capacity;
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    if (buffer.capacity == kSizes[i]) free_[i].emplace_back(buffer.data);
  }
}

}  // namespace tidewire::device
