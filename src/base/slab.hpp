// A pool of objects of one type with stable addresses and handles that notice reuse.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "base/memory.hpp"

namespace tidewire {

/// Names one object of a Slab. A handle of a released object is noticed, also after its slot was
/// taken again (until a slot was reused 2^31 times). The default handle names nothing.
struct SlabHandle {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;  ///< odd while the object lives; 0: names nothing

  constexpr explicit operator bool() const noexcept { return generation != 0; }
  friend constexpr bool operator==(const SlabHandle&, const SlabHandle&) noexcept = default;
};

/// Objects in chunks from a MemoryProvider. An object never moves. Acquire and release are O(1)
/// (amortised over the chunk); the slot freed last is taken first, so runs repeat exactly.
/// Memory of released objects is kept for reuse until trim() or the end of the slab.
template <typename T>
class Slab {
 public:
  /// At most `limit` objects live at once. `memory` must outlive the slab.
  explicit Slab(MemoryProvider& memory,
                std::uint32_t limit = std::numeric_limits<std::uint32_t>::max()) noexcept
      : memory_(&memory), limit_(limit) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() {
    for_each([this](T& object) { release(object); });
    for (std::uint32_t i = 0; i < chunks_; ++i) free_chunk(i);
    if (directory_ != nullptr) {
      memory_->deallocate(directory_, sizeof(Slot*) * directory_capacity_, alignof(Slot*));
    }
  }

  /// Makes an object; null if there is no memory or the limit is reached.
  template <typename... Args>
  [[nodiscard]] T* acquire(Args&&... args) noexcept {
    if (live_ >= limit_ || (first_free_ == kNone && !add_chunk())) return nullptr;
    Slot& slot = at(first_free_);
    first_free_ = slot.next_free;
    ++slot.generation;
    ++live_;
    return ::new (static_cast<void*>(slot.storage)) T(std::forward<Args>(args)...);
  }

  /// Ends an object of this slab. Handles to it name nothing from now on.
  void release(T& object) noexcept {
    Slot& slot = slot_of(object);
    object.~T();
    ++slot.generation;
    slot.next_free = first_free_;
    first_free_ = slot.index;
    --live_;
  }

  /// The object a handle names, or null if it was released.
  T* get(SlabHandle handle) noexcept {
    if ((handle.generation & 1U) == 0 || handle.index >= chunks_ * kPerChunk) return nullptr;
    if (directory_[handle.index / kPerChunk] == nullptr) return nullptr;
    Slot& slot = at(handle.index);
    return slot.generation == handle.generation ? slot.object() : nullptr;
  }
  const T* get(SlabHandle handle) const noexcept { return const_cast<Slab*>(this)->get(handle); }

  /// The live object at an index, or null. For tables that hold bare 32-bit indexes.
  T* at_index(std::uint32_t index) noexcept {
    if (index >= chunks_ * kPerChunk || directory_[index / kPerChunk] == nullptr) return nullptr;
    Slot& slot = at(index);
    return (slot.generation & 1U) != 0 ? slot.object() : nullptr;
  }

  /// All live objects have an index below this.
  std::uint32_t index_end() const noexcept { return chunks_ * kPerChunk; }

  /// The handle of a live object of this slab.
  SlabHandle handle_of(const T& object) const noexcept {
    const Slot& slot = slot_of(const_cast<T&>(object));
    return {slot.index, slot.generation};
  }
  std::uint32_t index_of(const T& object) const noexcept { return handle_of(object).index; }

  /// Calls f(T&) for every live object in the order of indexes. f may release the object it is
  /// given; objects acquired meanwhile may or may not be visited.
  template <typename F>
  void for_each(F&& f) noexcept {
    for (std::uint32_t i = 0; i < chunks_ * kPerChunk; ++i) {
      if (directory_[i / kPerChunk] == nullptr) continue;
      Slot& slot = at(i);
      if ((slot.generation & 1U) != 0) f(*slot.object());
    }
  }

  /// Gives chunks in which nothing lives back to the provider. Looks at every slot. Handles of
  /// what lived there are still noticed.
  void trim() noexcept {
    first_free_ = kNone;
    for (std::uint32_t i = chunks_; i-- > 0;) {
      if (directory_[i] == nullptr) continue;
      const auto lives = [](const Slot& slot) noexcept { return (slot.generation & 1U) != 0; };
      Slot* const chunk = directory_[i];
      if (std::none_of(chunk, chunk + kPerChunk, lives)) {
        for (std::uint32_t k = 0; k < kPerChunk; ++k) {
          first_generation_ = std::max(first_generation_, chunk[k].generation);
        }
        free_chunk(i);
        directory_[i] = nullptr;
        ++holes_;
        continue;
      }
      for (std::uint32_t k = kPerChunk; k-- > 0;) {
        if (lives(chunk[k])) continue;
        chunk[k].next_free = first_free_;
        first_free_ = chunk[k].index;
      }
    }
  }

  /// All indexes lie below this.
  std::uint32_t slots() const noexcept { return chunks_ * kPerChunk; }
  /// Live objects.
  std::uint32_t size() const noexcept { return live_; }
  bool empty() const noexcept { return live_ == 0; }
  std::uint32_t limit() const noexcept { return limit_; }
  /// Bytes held from the provider.
  std::size_t memory_used() const noexcept {
    return std::size_t{chunks_ - holes_} * kPerChunk * sizeof(Slot) +
           std::size_t{directory_capacity_} * sizeof(Slot*);
  }

 private:
  struct Slot {
    alignas(T) std::byte storage[sizeof(T)];
    std::uint32_t generation;
    std::uint32_t index;
    std::uint32_t next_free;
    T* object() noexcept { return std::launder(reinterpret_cast<T*>(storage)); }
  };
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t kPerChunk = static_cast<std::uint32_t>(
      std::bit_floor(std::clamp<std::size_t>(16384 / sizeof(Slot), 8, 256)));

  Slot& at(std::uint32_t index) const noexcept {
    return directory_[index / kPerChunk][index % kPerChunk];
  }
  // The object is the first member of its slot.
  static Slot& slot_of(T& object) noexcept { return *reinterpret_cast<Slot*>(&object); }

  void free_chunk(std::uint32_t i) noexcept {
    if (directory_[i] == nullptr) return;
    memory_->deallocate(directory_[i], sizeof(Slot) * kPerChunk, alignof(Slot));
  }

  bool add_chunk() noexcept {
    if (chunks_ >= kNone / kPerChunk) return false;
    // The lowest place that trim() has emptied, or a new one.
    std::uint32_t place = chunks_;
    if (holes_ > 0) {
      place = 0;
      while (directory_[place] != nullptr) ++place;
    }
    if (place == directory_capacity_ && !grow_directory()) return false;
    auto* chunk = static_cast<Slot*>(memory_->allocate(sizeof(Slot) * kPerChunk, alignof(Slot)));
    if (chunk == nullptr) return false;
    const std::uint32_t base = place * kPerChunk;
    for (std::uint32_t i = kPerChunk; i-- > 0;) {
      Slot& slot = chunk[i];
      slot.generation = first_generation_;
      slot.index = base + i;
      slot.next_free = first_free_;
      first_free_ = slot.index;
    }
    directory_[place] = chunk;
    if (place == chunks_) {
      ++chunks_;
    } else {
      --holes_;
    }
    return true;
  }

  bool grow_directory() noexcept {
    const std::uint32_t capacity = std::max<std::uint32_t>(8, directory_capacity_ * 2);
    auto* bigger = static_cast<Slot**>(memory_->allocate(sizeof(Slot*) * capacity, alignof(Slot*)));
    if (bigger == nullptr) return false;
    if (directory_ != nullptr) {
      std::memcpy(bigger, directory_, sizeof(Slot*) * chunks_);
      memory_->deallocate(directory_, sizeof(Slot*) * directory_capacity_, alignof(Slot*));
    }
    directory_ = bigger;
    directory_capacity_ = capacity;
    return true;
  }

  MemoryProvider* memory_;
  Slot** directory_ = nullptr;
  std::uint32_t directory_capacity_ = 0;
  std::uint32_t chunks_ = 0;            // places, those emptied by trim() included
  std::uint32_t holes_ = 0;             // of these, empty
  std::uint32_t first_generation_ = 0;  // of slots in new chunks; even
  std::uint32_t first_free_ = kNone;
  std::uint32_t live_ = 0;
  std::uint32_t limit_;
};

}  // namespace tidewire
