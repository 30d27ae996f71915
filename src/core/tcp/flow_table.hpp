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
/// costs eight bytes here. Growth moves slots only.
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
    for (std::uint32_t i = tag & mask();; i = (i + 1) & mask()) {
      const Slot& slot = slots_[i];
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
  static std::uint32_t pack(FlowRef ref) noexcept {
    return static_cast<std::uint32_t>(ref.kind) << 29 | ref.index;
  }
  static std::uint32_t tag_of(std::uint64_t hash) noexcept {
    const auto tag = static_cast<std::uint32_t>(hash);
    return tag == 0 ? 1 : tag;
  }
  std::uint32_t mask() const noexcept { return capacity_ - 1; }
  Slot* locate(std::uint64_t hash, FlowRef ref) noexcept;
  bool grow() noexcept;

  MemoryProvider& memory_;
  Slot* slots_ = nullptr;
  std::uint32_t capacity_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace tidewire::tcp
