// Joining and leaving multicast groups.
#include "core/ip/layer.hpp"

namespace tidewire::ip {

SocketResult<InterfaceId> Layer::join_group(const IpAddress& group,
                                            InterfaceId interface) noexcept {
  if (interface == kNoInterface) {
    const auto hop = route(group, kNoInterface);
    if (!hop) return fail(SocketError::address_not_available);
    interface = hop->interface;
  }
  if (interfaces_.get(interface) == nullptr) return fail(SocketError::invalid);
  Group* entry = groups_.find(group, interface);
  if (entry == nullptr) entry = groups_.add(group, interface);
  if (entry == nullptr) return fail(SocketError::no_buffers);
  ++entry->users;
  return interface;
}

void Layer::leave_group(const IpAddress& group, InterfaceId interface) noexcept {
  Group* entry = groups_.find(group, interface);
  if (entry == nullptr || entry->users == 0) return;
  if (--entry->users == 0) groups_.remove(*entry);
}

//= RFC 1112 §7.1
// 224.0.0.1 is every host's. On loopback the members of any interface hear each other.
bool Layer::hears(const link::Interface& interface, const IpAddress& group) const noexcept {
  if (group == IpAddress::v4(224, 0, 0, 1)) return true;
  return groups_.is_member(group, interface.loopback ? kNoInterface : interface.id);
}

}  // namespace tidewire::ip
