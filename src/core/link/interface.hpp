// The interfaces of a stack and the addresses on them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/slab.hpp"
#include "base/vec.hpp"
#include "core/link/packet_store.hpp"
#include "core/stack.hpp"

namespace tidewire::link {

struct Interface {
  InterfaceId id = kNoInterface;
  std::array<char, 16> name{};
  Medium medium = Medium::ethernet;
  MacAddress mac;
  std::uint32_t mtu = 1500;
  bool loopback = false;
  bool trusted = false;
  bool up = true;
  bool blocked = false;  ///< has said full; until on_writable
  ForwardPolicy forwarding;
  PacketQueue outbox;

  bool forwards_flows() const noexcept {
    return forwarding.tcp || forwarding.udp || forwarding.icmp_echo;
  }
};

struct LocalAddress {
  IpCidr cidr;
  InterfaceId interface = kNoInterface;
};

/// What an IPv4 address is to this host.
struct V4Role {
  bool local = false;
  bool broadcast = false;     ///< limited, or directed to any attached network
  bool broadcast_on = false;  ///< of the network of one interface (also 0.0.0.0)
};

/// All interfaces and addresses. An InterfaceId is an index into it; interfaces are never removed.
class InterfaceTable {
 public:
  explicit InterfaceTable(MemoryProvider& memory) noexcept;

  Interface* add(const InterfaceConfig& config) noexcept;  ///< null: no memory or no id left
  Interface* get(InterfaceId id) noexcept { return id < count_ ? by_id_[id].interface : nullptr; }
  const Interface* get(InterfaceId id) const noexcept {
    return const_cast<InterfaceTable*>(this)->get(id);
  }
  InterfaceId count() const noexcept { return count_; }
  InterfaceId loopback() const noexcept { return loopback_; }

  SocketResult<void> add_address(InterfaceId interface, const IpCidr& cidr) noexcept;
  /// The prefix that was removed.
  SocketResult<IpCidr> remove_address(InterfaceId interface, const IpAddress& address) noexcept;
  const Vec<LocalAddress>& addresses() const noexcept { return addresses_; }

  bool is_local(const IpAddress& address) const noexcept;
  bool is_broadcast(const IpAddress& address) const noexcept;
  /// All of it in one pass over plain numbers, for every packet that arrives on `interface`.
  V4Role role(std::uint32_t address, InterfaceId interface) const noexcept;
  /// True for a broadcast address of this one interface (limited, directed, or all zeros).
  bool is_broadcast_on(InterfaceId interface, const IpAddress& address) const noexcept;
  /// The address of `interface` that suits `next_hop` best: same prefix, else the first of it;
  /// nullptr if it has none of that family.
  const IpAddress* best_source(InterfaceId interface, const IpAddress& next_hop) const noexcept;

 private:
  /// An IPv4 address of ours; mask: its host bits, 0 if its network has no broadcast.
  struct V4Local {
    std::uint32_t address, mask;
    InterfaceId interface;
  };
  struct Place {
    Interface* interface;
  };
  bool rebuild() noexcept;

  Slab<Interface> interfaces_;
  Vec<Place> by_id_;
  Vec<LocalAddress> addresses_;
  Vec<V4Local> v4_;
  InterfaceId count_ = 0;
  InterfaceId loopback_ = kNoInterface;
};

}  // namespace tidewire::link
