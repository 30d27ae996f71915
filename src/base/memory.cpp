#include "base/memory.hpp"

#include <new>

namespace tidewire {

void* HeapMemory::allocate(std::size_t bytes, std::size_t align) noexcept {
  if (failing_ || bytes > cap_ - in_use_) return nullptr;
  void* memory = ::operator new(bytes, std::align_val_t{align}, std::nothrow);
  if (memory == nullptr) return nullptr;
  in_use_ += bytes;
  ++allocations_;
  return memory;
}

void HeapMemory::deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept {
  if (memory == nullptr) return;
  ::operator delete(memory, std::align_val_t{align});
  in_use_ -= bytes;
}

}  // namespace tidewire
