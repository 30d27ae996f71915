#include "runtime/pool_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

namespace tidewire::runtime {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kRun = std::size_t{64} << 10;  ///< carved at once for small blocks
constexpr std::size_t kBig = std::size_t{1} << 20;   ///< pages of such blocks are given back

constexpr std::size_t round_up(std::size_t n, std::size_t step) noexcept {
  return (n + step - 1) / step * step;
}

}  // namespace

PoolMemory::PoolMemory(std::size_t cap_bytes, std::size_t prefault_bytes) : cap_(cap_bytes) {
  // Twice the cap: blocks rest in their classes. Address space costs nothing until touched.
  reserved_ = round_up(cap_bytes * 2 + kHugePage, kHugePage);
  void* mapping = mmap(nullptr, reserved_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "mmap of the stack's memory");
  }
  base_ = static_cast<std::byte*>(mapping);
  (void)madvise(base_, reserved_, MADV_HUGEPAGE);
  (void)commit(std::min(prefault_bytes, cap_bytes));
}

PoolMemory::~PoolMemory() { munmap(base_, reserved_); }

PoolMemory::SizeClass PoolMemory::size_class(std::size_t bytes, std::size_t align) noexcept {
  std::size_t size = std::max<std::size_t>(bytes, 16);
  // Class sizes are multiples of 16, from 256 on of 64; anything stricter takes a power of two.
  if (align > 64 || (align > 16 && size < 256)) {
    size = std::bit_ceil(std::max(size, align));
  } else {
    const std::size_t step = std::max<std::size_t>(16, std::bit_floor(size - 1) / 4);
    size = round_up(size, step);
  }
  const auto exponent = static_cast<std::size_t>(std::bit_width(size)) - 1;  // 4 for 16
  const std::size_t quarter = (size >> (exponent - 2)) & 3;
  return {exponent * 4 + quarter - 16, size};
}

bool PoolMemory::commit(std::size_t bytes) noexcept {
  if (bytes <= touched_) return true;
  const std::size_t target = std::min(round_up(bytes, kHugePage), reserved_);
  // Where the kernel cannot populate, pages are faulted in on use.
  (void)madvise(base_ + touched_, target - touched_, MADV_POPULATE_WRITE);
  touched_ = target;
  return true;
}

bool PoolMemory::refill(SizeClass wanted) noexcept {
  const std::size_t run = round_up(std::max(kRun, wanted.size), kPage);
  if (run > reserved_ - carved_) return false;
  std::byte* start = base_ + carved_;
  carved_ += run;
  if (wanted.size < kBig) (void)commit(carved_);
  touched_ = std::max(touched_, carved_);
  for (std::size_t n = run / wanted.size; n > 0; --n) {
    auto* block = reinterpret_cast<FreeBlock*>(start + (n - 1) * wanted.size);
    block->next = free_[wanted.index];
    free_[wanted.index] = block;
  }
  return true;
}

void* PoolMemory::allocate(std::size_t bytes, std::size_t align) noexcept {
  if (bytes > cap_) return nullptr;
  const SizeClass wanted = size_class(bytes, align);
  if (wanted.size > cap_ - in_use_ || wanted.index >= kClasses) return nullptr;
  if (free_[wanted.index] == nullptr && !refill(wanted)) return nullptr;
  FreeBlock* block = free_[wanted.index];
  free_[wanted.index] = block->next;
  in_use_ += wanted.size;
  return block;
}

void PoolMemory::deallocate(void* memory, std::size_t bytes, std::size_t align) noexcept {
  if (memory == nullptr) return;
  const SizeClass given = size_class(bytes, align);
  if (given.size >= kBig) (void)madvise(memory, given.size, MADV_DONTNEED);
  auto* block = static_cast<FreeBlock*>(memory);
  block->next = free_[given.index];
  free_[given.index] = block;
  in_use_ -= given.size;
}

}  // namespace tidewire::runtime
