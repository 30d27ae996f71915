#include "core/link/interface.hpp"

#include <algorithm>

namespace tidewire::link {
namespace {

constexpr std::uint32_t host_mask(std::uint8_t prefix_len) noexcept {
  return prefix_len >= 32 ? 0 : 0xffffffffU >> prefix_len;
}

}  // namespace

InterfaceTable::InterfaceTable(MemoryProvider& memory) noexcept
    : interfaces_(memory, kNoInterface), by_id_(memory), addresses_(memory), v4_(memory) {}

Interface* InterfaceTable::add(const InterfaceConfig& config) noexcept {
  Interface* interface = interfaces_.acquire();
  if (interface == nullptr) return nullptr;
  if (!by_id_.push_back({interface})) {
    interfaces_.release(*interface);
    return nullptr;
  }
  interface->id = count_++;
  std::copy_n(config.name.begin(), std::min(config.name.size(), interface->name.size() - 1),
              interface->name.begin());
  interface->medium = config.medium;
  interface->mac = config.mac;
  interface->mtu = std::clamp<std::uint32_t>(config.mtu, 68, 65'535);
  interface->loopback = config.loopback;
  interface->trusted = config.trusted;
  if (config.loopback && loopback_ == kNoInterface) loopback_ = interface->id;
  return interface;
}

SocketResult<void> InterfaceTable::add_address(InterfaceId interface, const IpCidr& cidr) noexcept {
  const std::uint8_t bits = cidr.address.is_v4() ? 32 : 128;
  const IpAddress& a = cidr.address;
  if (get(interface) == nullptr || cidr.prefix_len > bits || a.is_unspecified() ||
      a.is_multicast() || a.is_limited_broadcast()) {
    return fail(SocketError::invalid);
  }
  for (const LocalAddress& existing : addresses_) {
    if (existing.interface == interface && existing.cidr.address == cidr.address) {
      return fail(SocketError::address_in_use);
    }
  }
  if (!addresses_.push_back({cidr, interface})) return fail(SocketError::no_buffers);
  if (rebuild()) return {};
  addresses_.erase(addresses_.size() - 1);
  (void)rebuild();
  return fail(SocketError::no_buffers);
}

SocketResult<IpCidr> InterfaceTable::remove_address(InterfaceId interface,
                                                    const IpAddress& address) noexcept {
  for (std::size_t i = 0; i < addresses_.size(); ++i) {
    if (addresses_[i].interface != interface || addresses_[i].cidr.address != address) continue;
    const IpCidr removed = addresses_[i].cidr;
    addresses_.erase(i);
    (void)rebuild();  // shorter than before: needs no memory
    return removed;
  }
  return fail(SocketError::address_not_available);
}

bool InterfaceTable::rebuild() noexcept {
  v4_.clear();
  for (const LocalAddress& local : addresses_) {
    if (local.cidr.address.is_v6()) continue;
    // /31 and /32 have no broadcast address, loopback has none either.
    const bool none = local.cidr.prefix_len > 30 || get(local.interface)->loopback;
    const std::uint32_t mask = none ? 0 : host_mask(local.cidr.prefix_len);
    if (!v4_.push_back({local.cidr.address.v4_value(), mask, local.interface})) return false;
  }
  return true;
}

//= RFC 1122 §3.3.6
// All ones is the standard form of a directed broadcast; all zeros is that of old BSD hosts.
V4Role InterfaceTable::role(std::uint32_t address, InterfaceId interface) const noexcept {
  V4Role role;
  role.broadcast = address == 0xffff'ffffU;
  role.broadcast_on = role.broadcast || address == 0;
  role.local = address >> 24 == 127 && loopback_ != kNoInterface;
  for (const V4Local& own : v4_) {
    if (own.address == address) role.local = true;
    if (own.mask == 0 || ((own.address ^ address) & ~own.mask) != 0) continue;
    const std::uint32_t host = address & own.mask;
    if (host != 0 && host != own.mask) continue;
    role.broadcast = true;
    role.broadcast_on = role.broadcast_on || own.interface == interface;
  }
  return role;
}

bool InterfaceTable::is_local(const IpAddress& address) const noexcept {
  if (address.is_v4()) return role(address.v4_value(), kNoInterface).local;
  return std::ranges::any_of(
      addresses_, [&](const LocalAddress& local) { return local.cidr.address == address; });
}

bool InterfaceTable::is_broadcast(const IpAddress& address) const noexcept {
  return address.is_v4() && role(address.v4_value(), kNoInterface).broadcast;
}

bool InterfaceTable::is_broadcast_on(InterfaceId interface,
                                     const IpAddress& address) const noexcept {
  return address.is_v4() && role(address.v4_value(), interface).broadcast_on;
}

//= RFC 6724 §5
// Rule 8 (longest matching prefix) reduced to "the subnet of the next hop"; the first address of
// the interface otherwise.
const IpAddress* InterfaceTable::best_source(InterfaceId interface,
                                             const IpAddress& next_hop) const noexcept {
  const IpAddress* first = nullptr;
  const LocalAddress* best = nullptr;
  for (const LocalAddress& local : addresses_) {
    if (local.interface != interface || local.cidr.address.family() != next_hop.family()) continue;
    if (first == nullptr) first = &local.cidr.address;
    if (local.cidr.contains(next_hop) &&
        (best == nullptr || local.cidr.prefix_len > best->cidr.prefix_len)) {
      best = &local;
    }
  }
  return best != nullptr ? &best->cidr.address : first;
}

}  // namespace tidewire::link
