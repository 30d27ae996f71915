#include "core/tcp/flow_table.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace tidewire::tcp {
namespace {
constexpr std::uint32_t kFirstCapacity = 64;
constexpr std::uint32_t kMostCapacity = 4096;  // of a part: some 20 us to move
constexpr std::uint32_t kMostBits = 20;
}  // namespace

FlowTable::~FlowTable() {
  if (parts_ == nullptr) return;
  const std::uint32_t count = 1U << bits_;
  for (std::uint32_t i = 0; i < count; i += places_of(parts_[i])) {
    free_slots(parts_[i].slots, capacity_);
  }
  memory_.deallocate(parts_, sizeof(Part) * count, alignof(Part));
}

FlowTable::Slot* FlowTable::make_slots(std::uint32_t capacity) noexcept {
  auto* slots = static_cast<Slot*>(memory_.allocate(sizeof(Slot) * capacity, alignof(Slot)));
  if (slots != nullptr) std::fill_n(slots, capacity, Slot{});
  return slots;
}

void FlowTable::free_slots(Slot* slots, std::uint32_t capacity) noexcept {
  if (slots != nullptr) memory_.deallocate(slots, sizeof(Slot) * capacity, alignof(Slot));
}

void FlowTable::place(Slot* slots, std::uint32_t mask, const Slot& slot) noexcept {
  std::uint32_t i = slot.tag & mask;
  while (slots[i].tag != 0) i = (i + 1) & mask;
  slots[i] = slot;
}

bool FlowTable::insert(std::uint64_t hash, FlowRef ref) noexcept {
  const std::uint32_t tag = tag_of(hash);
  Part* part = parts_ == nullptr ? nullptr : &counting_part(tag);
  while (part == nullptr || full(*part)) [[unlikely]] {
    if (!grow(tag)) return false;
    part = &counting_part(tag);
  }
  place(part->slots, mask(), {tag, pack(ref)});
  ++part->used;
  ++size_;
  return true;
}

FlowTable::Slot* FlowTable::locate(std::uint64_t hash, FlowRef ref) noexcept {
  if (size_ == 0) return nullptr;
  const std::uint32_t tag = tag_of(hash);
  const std::uint32_t packed = pack(ref);
  Slot* const slots = parts_[part_of(tag)].slots;
  for (std::uint32_t i = tag & mask(); slots[i].tag != 0; i = (i + 1) & mask()) {
    if (slots[i].packed == packed) return &slots[i];
  }
  return nullptr;
}

void FlowTable::replace(std::uint64_t hash, FlowRef from, FlowRef to) noexcept {
  if (Slot* slot = locate(hash, from)) slot->packed = pack(to);
}

void FlowTable::erase(std::uint64_t hash, FlowRef ref) noexcept {
  Slot* found = locate(hash, ref);
  if (found == nullptr) return;
  Part& part = counting_part(tag_of(hash));
  Slot* const slots = part.slots;
  auto hole = static_cast<std::uint32_t>(found - slots);
  for (std::uint32_t i = (hole + 1) & mask(); slots[i].tag != 0; i = (i + 1) & mask()) {
    // A slot may move up to the hole only if its home does not lie behind the hole.
    if (((i - slots[i].tag) & mask()) >= ((i - hole) & mask())) {
      slots[hole] = slots[i];
      hole = i;
    }
  }
  slots[hole] = {};
  --part.used;
  --size_;
}

/// Room in the part that `tag` belongs to; if the tags there are much alike, not at once.
bool FlowTable::grow(std::uint32_t tag) noexcept {
  if (capacity_ < kMostCapacity) return enlarge();
  if (counting_part(tag).bits == bits_ && !double_directory()) return false;
  return split(counting_part(tag));
}

/// The only part gets twice the slots.
bool FlowTable::enlarge() noexcept {
  if (parts_ == nullptr) {
    void* const room = memory_.allocate(sizeof(Part), alignof(Part));
    if (room == nullptr) return false;
    parts_ = ::new (room) Part{};
  }
  const std::uint32_t larger = std::max(kFirstCapacity, capacity_ * 2);
  Slot* const fresh = make_slots(larger);
  if (fresh == nullptr) return false;
  Slot* const old = std::exchange(parts_[0].slots, fresh);
  const std::uint32_t old_capacity = std::exchange(capacity_, larger);
  for (std::uint32_t i = 0; i < old_capacity; ++i) {
    if (old[i].tag != 0) place(fresh, mask(), old[i]);
  }
  free_slots(old, old_capacity);
  return true;
}

/// The part becomes two, by the next bit of its tags. It has two places at least.
bool FlowTable::split(Part& part) noexcept {
  Slot* const low = make_slots(capacity_);
  Slot* const high = make_slots(capacity_);
  if (low == nullptr || high == nullptr) {
    free_slots(low, capacity_);
    free_slots(high, capacity_);
    return false;
  }
  const Part old = part;
  const std::uint32_t bit = 1U << (31 - old.bits);
  std::uint32_t used_high = 0;
  for (std::uint32_t i = 0; i < capacity_; ++i) {
    const Slot& slot = old.slots[i];
    if (slot.tag == 0) continue;
    const bool goes_high = (slot.tag & bit) != 0;
    place(goes_high ? high : low, mask(), slot);
    used_high += goes_high ? 1 : 0;
  }
  free_slots(old.slots, capacity_);
  const std::uint32_t half = places_of(old) / 2;
  std::fill_n(&part, half, Part{low, old.used - used_high, old.bits + 1});
  std::fill_n(&part + half, half, Part{high, used_high, old.bits + 1});
  return true;
}

bool FlowTable::double_directory() noexcept {
  if (bits_ == kMostBits) return false;
  const std::uint32_t count = 1U << bits_;
  auto* const fresh = static_cast<Part*>(memory_.allocate(sizeof(Part) * 2 * count, alignof(Part)));
  if (fresh == nullptr) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uninitialized_fill_n(fresh + std::size_t{2} * i, 2, parts_[i]);
  }
  memory_.deallocate(std::exchange(parts_, fresh), sizeof(Part) * count, alignof(Part));
  ++bits_;
  return true;
}

}  // namespace tidewire::tcp
