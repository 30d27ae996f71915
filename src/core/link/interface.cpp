#include "core/link/interface.hpp"

#include <algorithm>

namespace tidewire::link {
namespace {

constexpr std::uint32_t host_mask(std::uint8_t prefix_len) noexcept {
  return prefix_len >= 32 ? 0 : 0xffffffffU >> prefix_len;
}

//= RFC 1122 §3.3.6
// All ones is the standard form; all zeros is the form of old BSD hosts. /31 and /32 have neither.
bool is_directed_broadcast(const IpCidr& cidr, const IpAddress& address) noexcept {
  if (cidr.prefix_len > 30 || !cidr.contains(address)) return false;
  const std::uint32_t mask = host_mask(cidr.prefix_len);
  const std::uint32_t host = address.v4_value() & mask;
  return host == mask || host == 0;
}

}  // namespace

InterfaceTable::InterfaceTable(MemoryProvider& memory) noexcept
    : interfaces_(memory, kNoInterface), addresses_(memory) {}

Interface* InterfaceTable::add(const InterfaceConfig& config) noexcept {
  Interface* interface = interfaces_.acquire();
  if (interface == nullptr) return nullptr;
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
  return {};
}

SocketResult<IpCidr> InterfaceTable::remove_address(InterfaceId interface,
                                                    const IpAddress& address) noexcept {
  for (std::size_t i = 0; i < addresses_.size(); ++i) {
    if (addresses_[i].interface != interface || addresses_[i].cidr.address != address) continue;
    const IpCidr removed = addresses_[i].cidr;
    addresses_.erase(i);
    return removed;
  }
  return fail(SocketError::address_not_available);
}

bool InterfaceTable::is_local(const IpAddress& address) const noexcept {
  if (address.is_v4() && address.is_loopback()) return loopback_ != kNoInterface;
  return std::ranges::any_of(
      addresses_, [&](const LocalAddress& local) { return local.cidr.address == address; });
}

bool InterfaceTable::is_broadcast(const IpAddress& address) const noexcept {
  if (address.is_v6()) return false;
  if (address.is_limited_broadcast()) return true;
  return std::ranges::any_of(addresses_, [&](const LocalAddress& local) {
    return !get(local.interface)->loopback && is_directed_broadcast(local.cidr, address);
  });
}

bool InterfaceTable::is_broadcast_on(InterfaceId interface,
                                     const IpAddress& address) const noexcept {
  if (address.is_v6()) return false;
  if (address.is_limited_broadcast() || address.is_unspecified()) return true;
  return std::ranges::any_of(addresses_, [&](const LocalAddress& local) {
    return local.interface == interface && !get(interface)->loopback &&
           is_directed_broadcast(local.cidr, address);
  });
}

AddressKind InterfaceTable::classify(const IpAddress& address) const noexcept {
  if (address.is_multicast()) return AddressKind::multicast;
  if (is_local(address)) return AddressKind::local;
  return is_broadcast(address) ? AddressKind::broadcast : AddressKind::foreign;
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
