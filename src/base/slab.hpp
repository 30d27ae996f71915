// A pool of objects of one type with stable addresses and handles that notice reuse.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
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
/// (amortised over the chunk), and what they choose depends on their order only, so runs repeat
/// exactly. A chunk in which nothing lives goes back to the provider, but for one that is kept, so
/// that a number that goes up and down takes no memory each time.
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
    trim();
    if (places_ != nullptr) {
      memory_->deallocate(places_, sizeof(Place) * capacity_, alignof(Place));
    }
  }

  /// Makes an object; null if there is no memory or the limit is reached.
  template <typename... Args>
  [[nodiscard]] T* acquire(Args&&... args) noexcept {
    if (live_ >= limit_ || (first_ == kNone && !open_chunk())) return nullptr;
    Place& place = places_[first_];
    Slot& slot = place.slots[place.first_free % kPerChunk];
    place.first_free = slot.next_free();
    ++place.live;
    if (place.first_free == kNone) unlink(first_);
    ++slot.generation;
    ++live_;
    return ::new (static_cast<void*>(slot.storage)) T(std::forward<Args>(args)...);
  }

  /// Ends an object of this slab. Handles to it name nothing from now on.
  void release(T& object) noexcept {
    Slot& slot = slot_of(object);
    object.~T();
    ++slot.generation;
    const std::uint32_t at = slot.index / kPerChunk;
    Place& place = places_[at];
    slot.set_next_free(place.first_free);
    if (place.first_free == kNone) link(at);
    place.first_free = slot.index;
    --live_;
    if (--place.live == 0) retire(at);
  }

  /// The object a handle names, or null if it was released.
  T* get(SlabHandle handle) noexcept {
    if ((handle.generation & 1U) == 0) return nullptr;
    Slot* slot = find(handle.index);
    return slot != nullptr && slot->generation == handle.generation ? slot->object() : nullptr;
  }
  const T* get(SlabHandle handle) const noexcept { return const_cast<Slab*>(this)->get(handle); }

  /// The live object at an index, or null. For tables that hold bare 32-bit indexes.
  T* at_index(std::uint32_t index) noexcept {
    Slot* slot = find(index);
    return slot != nullptr && slot->lives() ? slot->object() : nullptr;
  }

  /// All live objects have an index below this.
  std::uint32_t index_end() const noexcept { return count_ * kPerChunk; }

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
    for (std::uint32_t i = 0; i < count_ * kPerChunk; ++i) {
      Slot* slot = find(i);
      if (slot == nullptr) {
        i |= kPerChunk - 1;  // nothing in this chunk
      } else if (slot->lives()) {
        f(*slot->object());
      }
    }
  }

  /// Gives the chunk that is kept back, too. Handles of what lived there are still noticed.
  void trim() noexcept {
    if (spare_ == kNone) return;
    free_chunk(spare_);
    spare_ = kNone;
  }

  /// All indexes lie below this.
  std::uint32_t slots() const noexcept { return index_end(); }
  /// Live objects.
  std::uint32_t size() const noexcept { return live_; }
  bool empty() const noexcept { return live_ == 0; }
  std::uint32_t limit() const noexcept { return limit_; }
  /// Bytes held from the provider.
  std::size_t memory_used() const noexcept {
    return std::size_t{count_ - holes_} * kPerChunk * sizeof(Slot) +
           std::size_t{capacity_} * sizeof(Place);
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Slot {
    alignas(T) std::byte storage[std::max(sizeof(T), sizeof(std::uint32_t))];
    std::uint32_t generation;
    std::uint32_t index;
    T* object() noexcept { return std::launder(reinterpret_cast<T*>(storage)); }
    bool lives() const noexcept { return (generation & 1U) != 0; }
    // Of a slot in which nothing lives.
    std::uint32_t next_free() const noexcept {
      std::uint32_t next = 0;
      std::memcpy(&next, storage, sizeof next);
      return next;
    }
    void set_next_free(std::uint32_t next) noexcept { std::memcpy(storage, &next, sizeof next); }
  };
  static constexpr std::uint32_t kPerChunk = static_cast<std::uint32_t>(
      std::bit_floor(std::clamp<std::size_t>(16384 / sizeof(Slot), 8, 256)));

  /// Where a chunk is, or was. Those with free slots are linked, but for the one that is kept;
  /// those without a chunk are linked, too.
  struct Place {
    Slot* slots = nullptr;
    std::uint32_t first_free = kNone;
    std::uint32_t live = 0;
    std::uint32_t next = kNone, prev = kNone;
  };

  Slot* find(std::uint32_t index) const noexcept {
    const std::uint32_t at = index / kPerChunk;
    if (at >= count_ || places_[at].slots == nullptr) return nullptr;
    return &places_[at].slots[index % kPerChunk];
  }
  // The object is the first member of its slot.
  static Slot& slot_of(T& object) noexcept { return *reinterpret_cast<Slot*>(&object); }

  void link(std::uint32_t at) noexcept {
    places_[at].prev = kNone;
    places_[at].next = first_;
    if (first_ != kNone) places_[first_].prev = at;
    first_ = at;
  }
  void unlink(std::uint32_t at) noexcept {
    const Place& place = places_[at];
    (place.prev != kNone ? places_[place.prev].next : first_) = place.next;
    if (place.next != kNone) places_[place.next].prev = place.prev;
  }

  /// Nothing lives in the chunk any more.
  void retire(std::uint32_t at) noexcept {
    unlink(at);
    if (spare_ == kNone) {
      spare_ = at;
    } else {
      free_chunk(at);
    }
  }

  void free_chunk(std::uint32_t at) noexcept {
    Slot* slots = places_[at].slots;
    for (std::uint32_t k = 0; k < kPerChunk; ++k) {
      first_generation_ = std::max(first_generation_, slots[k].generation);
    }
    memory_->deallocate(slots, sizeof(Slot) * kPerChunk, alignof(Slot));
    places_[at] = {};
    places_[at].next = std::exchange(first_hole_, at);
    ++holes_;
  }

  bool open_chunk() noexcept {
    if (spare_ != kNone) {
      link(std::exchange(spare_, kNone));
      return true;
    }
    if (count_ >= kNone / kPerChunk) return false;
    // The place that was emptied last, or a new one.
    const std::uint32_t at = holes_ > 0 ? first_hole_ : count_;
    if (at == capacity_ && !grow()) return false;
    auto* slots = static_cast<Slot*>(memory_->allocate(sizeof(Slot) * kPerChunk, alignof(Slot)));
    if (slots == nullptr) return false;
    std::uint32_t next = kNone;
    for (std::uint32_t i = kPerChunk; i-- > 0;) {
      Slot& slot = slots[i];
      slot.generation = first_generation_;
      slot.index = at * kPerChunk + i;
      slot.set_next_free(next);
      next = slot.index;
    }
    if (at == count_) {
      ++count_;
    } else {
      --holes_;
      first_hole_ = places_[at].next;
    }
    places_[at] = {slots, next, 0, kNone, kNone};
    link(at);
    return true;
  }

  bool grow() noexcept {
    const std::uint32_t capacity = std::max<std::uint32_t>(8, capacity_ * 2);
    auto* bigger = static_cast<Place*>(memory_->allocate(sizeof(Place) * capacity, alignof(Place)));
    if (bigger == nullptr) return false;
    std::uninitialized_copy_n(places_, count_, bigger);
    std::uninitialized_value_construct_n(bigger + count_, capacity - count_);
    if (places_ != nullptr) {
      memory_->deallocate(places_, sizeof(Place) * capacity_, alignof(Place));
    }
    places_ = bigger;
    capacity_ = capacity;
    return true;
  }

  MemoryProvider* memory_;
  Place* places_ = nullptr;
  std::uint32_t capacity_ = 0;          // places there is memory for
  std::uint32_t count_ = 0;             // places ever used
  std::uint32_t holes_ = 0;             // of these, without a chunk
  std::uint32_t first_hole_ = kNone;    // linked by Place::next
  std::uint32_t first_ = kNone;         // of the places with free slots
  std::uint32_t spare_ = kNone;         // the place of the chunk that is kept
  std::uint32_t first_generation_ = 0;  // of slots in new chunks; even
  std::uint32_t live_ = 0;
  std::uint32_t limit_;
};

}  // namespace tidewire
