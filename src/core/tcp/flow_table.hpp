// From a four-tuple to the record that stands for it.
#pragma once

#include <cstdint>

#include "base/memory.hpp"

namespace tidewire::tcp {

enum class FlowKind : std::uint8_t { none, connection, idle, half_open, time_wait };

/// A record of one of the slabs.
struct FlowRef {
  FlowKind kind = FlowKind::none;
  std::uint32_t index = 0;
  explicit operator bool() const noexcept { return kind != FlowKind::none; }
  friend bool operator==(const FlowRef&, const FlowRef&) noexcept = default;
};

/// Open addressing over {tag, kind and index}; the tuple itself is in the record, so that a flow
/// costs eight bytes here. A table of many flows is in parts, chosen by the upper bits of the tag:
/// each grows by itself into two, so that no insertion waits until all flows have moved.
class FlowTable {
 public:
  explicit FlowTable(MemoryProvider& memory) noexcept : memory_(memory) {}
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;
  ~FlowTable();

  /// The record with this hash for which same(FlowRef) holds.
  template <typename Same>
  FlowRef find(std::uint64_t hash, Same&& same) const noexcept {
    if (size_ == 0) return {};
    const std::uint32_t tag = tag_of(hash);
    const Slot* const slots = parts_[part_of(tag)].slots;
    for (std::uint32_t i = tag & mask();; i = (i + 1) & mask()) {
      const Slot& slot = slots[i];
      if (slot.tag == 0) return {};
      if (slot.tag == tag && same(slot.ref())) return slot.ref();
    }
  }
  /// False: no memory. The tuple is not in the table yet.
  [[nodiscard]] bool insert(std::uint64_t hash, FlowRef ref) noexcept;
  /// The same tuple is now another record.
  void replace(std::uint64_t hash, FlowRef from, FlowRef to) noexcept;
  void erase(std::uint64_t hash, FlowRef ref) noexcept;
  std::uint32_t size() const noexcept { return size_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // 0: empty
    std::uint32_t packed = 0;
    FlowRef ref() const noexcept {
      return {static_cast<FlowKind>(packed >> 29), packed & 0x1fffffffU};
    }
  };
  /// Of the directory, which has a place for each value of the upper bits. A part that has not
  /// grown as often as others has several in a row; the first of them counts.
  struct Part {
    Slot* slots = nullptr;
    std::uint32_t used = 0;
    std::uint32_t bits = 0;  // how many of the upper bits its tags have in common
  };

  static std::uint32_t pack(FlowRef ref) noexcept {
    return static_cast<std::uint32_t>(ref.kind) << 29 | ref.index;
  }
  static std::uint32_t tag_of(std::uint64_t hash) noexcept {
    const auto tag = static_cast<std::uint32_t>(hash);
    return tag == 0 ? 1 : tag;
  }
  std::uint32_t mask() const noexcept { return capacity_ - 1; }
  /// Index into the directory.
  std::uint32_t part_of(std::uint32_t tag) const noexcept {
    return static_cast<std::uint32_t>(std::uint64_t{tag} >> (32 - bits_));
  }
  /// How many places a part has.
  std::uint32_t places_of(const Part& part) const noexcept { return 1U << (bits_ - part.bits); }
  Part& counting_part(std::uint32_t tag) noexcept {
    const std::uint32_t at = part_of(tag);
    return parts_[at & ~(places_of(parts_[at]) - 1)];
  }
  bool full(const Part& part) const noexcept { return part.used + 1 > capacity_ - capacity_ / 4; }

  Slot* locate(std::uint64_t hash, FlowRef ref) noexcept;
  Slot* make_slots(std::uint32_t capacity) noexcept;
  void free_slots(Slot* slots, std::uint32_t capacity) noexcept;
  static void place(Slot* slots, std::uint32_t mask, const Slot& slot) noexcept;
  bool grow(std::uint32_t tag) noexcept;
  bool enlarge() noexcept;
  bool split(Part& part) noexcept;
  bool double_directory() noexcept;

  MemoryProvider& memory_;
  Part* parts_ = nullptr;       // 2^bits_ of them
  std::uint32_t capacity_ = 0;  // slots of a part
  std::uint32_t size_ = 0;
  std::uint32_t bits_ = 0;
};

}  // namespace tidewire::tcp
