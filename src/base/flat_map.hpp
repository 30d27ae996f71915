// A seeded hash table without tombstones, for lookups that a stranger can provoke.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/memory.hpp"
#include "base/random.hpp"

namespace tidewire {

/// SipHash-1-3 over an integer key. Other keys bring a functor of the same form:
/// `std::uint64_t operator()(const RandomSeed&, const Key&) const noexcept`.
struct IntegerHash {
  template <typename K>
  std::uint64_t operator()(const RandomSeed& seed, const K& key) const noexcept {
    return siphash13(seed, static_cast<std::uint64_t>(key));
  }
};

/// Open addressing with linear probing, load at most 3/4, removal by shifting back. Keys and values
/// are trivially copyable and move on growth: a pointer into the table is valid until the next
/// insert or erase. There is no iteration on purpose: nothing may depend on the order of the table.
template <typename Key, typename Value, typename Hash = IntegerHash>
class FlatMap {
  static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);

 public:
  /// `memory` must outlive the map. No memory is held until the first insert.
  FlatMap(MemoryProvider& memory, const RandomSeed& seed) noexcept
      : memory_(&memory), seed_(seed) {}
  FlatMap(const FlatMap&) = delete;
  FlatMap& operator=(const FlatMap&) = delete;
  ~FlatMap() { free_table(slots_, capacity_); }

  /// The value of a key; null if it is not there.
  Value* find(const Key& key) noexcept { return size_ == 0 ? nullptr : find(key, tag_of(key)); }
  const Value* find(const Key& key) const noexcept { return const_cast<FlatMap*>(this)->find(key); }
  bool contains(const Key& key) const noexcept { return find(key) != nullptr; }

  struct Inserted {
    Value* value = nullptr;  ///< null: no memory
    bool fresh = false;      ///< false: the key was there and its value is unchanged
  };
  /// Adds a key, or finds it if it is there. Amortised O(1).
  Inserted insert(const Key& key, const Value& value) noexcept {
    const std::uint32_t tag = tag_of(key);
    if (Value* found = size_ == 0 ? nullptr : find(key, tag)) return {found, false};
    if ((size_ + 1) > capacity_ - capacity_ / 4 && !resize(std::max(kMinimum, capacity_ * 2))) {
      // A full table still works as long as one slot stays empty.
      if (size_ + 1 >= capacity_) return {};
    }
    return {&place(tag, key, value), true};
  }

  /// Removes a key; false if it was not there. Entries behind it move up, so nothing is left
  /// behind.
  bool erase(const Key& key) noexcept {
    Value* found = find(key);
    if (found == nullptr) return false;
    auto hole = static_cast<std::uint32_t>(slot_of(found) - slots_);
    for (std::uint32_t i = (hole + 1) & mask(); slots_[i].tag != kEmpty; i = (i + 1) & mask()) {
      const std::uint32_t home = slots_[i].tag & mask();
      // May move up to the hole only if its home does not lie after the hole.
      if (((i - home) & mask()) >= ((i - hole) & mask())) {
        slots_[hole] = slots_[i];
        hole = i;
      }
    }
    slots_[hole].tag = kEmpty;
    --size_;
    if (capacity_ > kMinimum && size_ < capacity_ / 16) (void)resize(capacity_ / 4);
    return true;
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  /// Bytes held from the provider.
  std::size_t memory_used() const noexcept { return std::size_t{capacity_} * sizeof(Slot); }

 private:
  struct Slot {
    std::uint32_t tag;  // kEmpty, or the low bits of the hash
    Key key;
    Value value;
  };
  static constexpr std::uint32_t kEmpty = 0;
  static constexpr std::uint32_t kMinimum = 16;

  std::uint32_t mask() const noexcept { return capacity_ - 1; }
  std::uint32_t tag_of(const Key& key) const noexcept {
    const auto tag = static_cast<std::uint32_t>(Hash{}(seed_, key));
    return tag == kEmpty ? 0x80000000U : tag;
  }
  static Slot* slot_of(Value* value) noexcept {
    return reinterpret_cast<Slot*>(reinterpret_cast<std::byte*>(value) - offsetof(Slot, value));
  }

  /// In a table that is not empty.
  Value* find(const Key& key, std::uint32_t tag) noexcept {
    for (std::uint32_t i = tag & mask();; i = (i + 1) & mask()) {
      if (slots_[i].tag == kEmpty) return nullptr;
      if (slots_[i].tag == tag && slots_[i].key == key) return &slots_[i].value;
    }
  }
  Value& place(std::uint32_t tag, const Key& key, const Value& value) noexcept {
    std::uint32_t i = tag & mask();
    while (slots_[i].tag != kEmpty) i = (i + 1) & mask();
    slots_[i] = Slot{tag, key, value};
    ++size_;
    return slots_[i].value;
  }

  bool resize(std::uint32_t capacity) noexcept {
    if (capacity < kMinimum || capacity > 0x40000000U) return false;
    auto* fresh = static_cast<Slot*>(memory_->allocate(sizeof(Slot) * capacity, alignof(Slot)));
    if (fresh == nullptr) return false;
    for (std::uint32_t i = 0; i < capacity; ++i) fresh[i].tag = kEmpty;
    Slot* old = slots_;
    const std::uint32_t old_capacity = capacity_;
    slots_ = fresh;
    capacity_ = capacity;
    size_ = 0;
    for (std::uint32_t i = 0; i < old_capacity; ++i) {
      if (old[i].tag != kEmpty) (void)place(old[i].tag, old[i].key, old[i].value);
    }
    free_table(old, old_capacity);
    return true;
  }
  void free_table(Slot* slots, std::uint32_t capacity) noexcept {
    if (slots != nullptr) memory_->deallocate(slots, sizeof(Slot) * capacity, alignof(Slot));
  }

  MemoryProvider* memory_;
  RandomSeed seed_;
  Slot* slots_ = nullptr;
  std::uint32_t capacity_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace tidewire
