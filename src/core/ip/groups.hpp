// The multicast groups this host has joined.
#pragma once

#include <cstdint>

#include "base/vec.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::ip {

struct Group {
  IpAddress address;
  InterfaceId interface = kNoInterface;
  std::uint32_t users = 0;
};

class GroupTable {
 public:
  explicit GroupTable(MemoryProvider& memory) noexcept : groups_(memory) {}

  Group* find(const IpAddress& address, InterfaceId interface) noexcept {
    for (Group& group : groups_) {
      if (group.interface == interface && group.address == address) return &group;
    }
    return nullptr;
  }
  /// True if a member is there, on this or (kNoInterface) any interface.
  bool is_member(const IpAddress& address, InterfaceId interface) const noexcept {
    for (const Group& group : groups_) {
      if (group.users != 0 && group.address == address &&
          (interface == kNoInterface || interface == group.interface)) {
        return true;
      }
    }
    return false;
  }
  Group* add(const IpAddress& address, InterfaceId interface) noexcept {
    if (!groups_.push_back({address, interface, 0})) return nullptr;
    return groups_.end() - 1;
  }
  void remove(const Group& group) noexcept {
    groups_.erase(static_cast<std::size_t>(&group - groups_.begin()));
  }
  Vec<Group>& all() noexcept { return groups_; }

 private:
  Vec<Group> groups_;
};

}  // namespace tidewire::ip
