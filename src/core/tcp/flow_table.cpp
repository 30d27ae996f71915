#include "core/tcp/flow_table.hpp"

namespace tidewire::tcp {
namespace {
constexpr std::uint32_t kFirstCapacity = 64;
constexpr std::uint32_t kMostCapacity = 1U << 29;
}  // namespace

FlowTable::~FlowTable() {
  if (slots_ != nullptr) memory_.deallocate(slots_, sizeof(Slot) * capacity_, alignof(Slot));
}

bool FlowTable::insert(std::uint64_t hash, FlowRef ref) noexcept {
  if (size_ + 1 > capacity_ - capacity_ / 4 && !grow()) return false;
  std::uint32_t i = tag_of(hash) & mask();
  while (slots_[i].tag != 0) i = (i + 1) & mask();
  slots_[i] = {tag_of(hash), pack(ref)};
  ++size_;
  return true;
}

FlowTable::Slot* FlowTable::locate(std::uint64_t hash, FlowRef ref) noexcept {
  if (size_ == 0) return nullptr;
  const std::uint32_t packed = pack(ref);
  for (std::uint32_t i = tag_of(hash) & mask(); slots_[i].tag != 0; i = (i + 1) & mask()) {
    if (slots_[i].packed == packed) return &slots_[i];
  }
  return nullptr;
}

void FlowTable::replace(std::uint64_t hash, FlowRef from, FlowRef to) noexcept {
  if (Slot* slot = locate(hash, from)) slot->packed = pack(to);
}

void FlowTable::erase(std::uint64_t hash, FlowRef ref) noexcept {
  Slot* found = locate(hash, ref);
  if (found == nullptr) return;
  auto hole = static_cast<std::uint32_t>(found - slots_);
  for (std::uint32_t i = (hole + 1) & mask(); slots_[i].tag != 0; i = (i + 1) & mask()) {
    // A slot may move up to the hole only if its home does not lie behind the hole.
    if (((i - slots_[i].tag) & mask()) >= ((i - hole) & mask())) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = {};
  --size_;
}

bool FlowTable::grow() noexcept {
  const std::uint32_t larger = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
  if (larger > kMostCapacity) return false;
  auto* fresh = static_cast<Slot*>(memory_.allocate(sizeof(Slot) * larger, alignof(Slot)));
  if (fresh == nullptr) return false;
  for (std::uint32_t i = 0; i < larger; ++i) fresh[i] = {};
  for (std::uint32_t i = 0; i < capacity_; ++i) {
    if (slots_[i].tag == 0) continue;
    std::uint32_t at = slots_[i].tag & (larger - 1);
    while (fresh[at].tag != 0) at = (at + 1) & (larger - 1);
    fresh[at] = slots_[i];
  }
  if (slots_ != nullptr) memory_.deallocate(slots_, sizeof(Slot) * capacity_, alignof(Slot));
  slots_ = fresh;
  capacity_ = larger;
  return true;
}

}  // namespace tidewire::tcp
