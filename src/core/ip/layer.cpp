#include "core/ip/layer.hpp"

#include <algorithm>

namespace tidewire::ip {

Layer::Layer(Context& context, Upper& upper) noexcept
    : context_(context),
      upper_(upper),
      store_(context.memory),
      interfaces_(context.memory),
      routes_(context.memory),
      path_mtus_(context),
      neighbors_(context, *this, store_),
      reassembly_(context, store_.chunks()),
      igmp_(context, *this),
      icmp_limit_(context.config.ip.icmp_per_second, context.config.ip.icmp_burst, context.now),
      ip_forwarding_(context.config.ip.forwarding),
      identification_key_(
          derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::ip_identification))) {
  Rng rng{identification_key_};
  for (std::uint16_t& id : identifications_) id = static_cast<std::uint16_t>(rng.next());
}

Layer::~Layer() {
  for (InterfaceId id = 0; id < interfaces_.count(); ++id) {
    store_.drain(interfaces_.get(id)->outbox);
  }
}

SocketResult<InterfaceId> Layer::add_interface(const InterfaceConfig& config) noexcept {
  link::Interface* interface = interfaces_.add(config);
  if (interface == nullptr) return fail(SocketError::no_buffers);
  if (config.loopback) {
    const IpCidr v4{IpAddress::loopback(Family::v4), 8};
    const IpCidr v6{IpAddress::loopback(Family::v6), 128};
    if (auto r = interfaces_.add_address(interface->id, v4); !r) return fail(r.error());
    if (auto r = interfaces_.add_address(interface->id, v6); !r) return fail(r.error());
  }
  paths_changed();
  return interface->id;
}

//= RFC 1122 §3.3.1.1
SocketResult<void> Layer::add_address(InterfaceId interface, const IpCidr& cidr) noexcept {
  const link::Interface* owner = interfaces_.get(interface);
  // IPv6 needs neighbor discovery, which only loopback can do without.
  if (owner != nullptr && cidr.address.is_v6() && !owner->loopback) {
    return fail(SocketError::not_supported);
  }
  if (auto r = interfaces_.add_address(interface, cidr); !r) return r;
  paths_changed();
  const IpCidr network{cidr.network(), cidr.prefix_len};
  auto route = routes_.add({network, std::nullopt, interface, 0});
  // A second address of the same network shares the route of the first.
  if (!route && route.error() != SocketError::address_in_use) return route;
  return {};
}

SocketResult<void> Layer::remove_address(InterfaceId interface, const IpAddress& address) noexcept {
  const auto removed = interfaces_.remove_address(interface, address);
  if (!removed) return fail(removed.error());
  const IpCidr network{removed->network(), removed->prefix_len};
  const bool shared =
      std::ranges::any_of(interfaces_.addresses(), [&](const link::LocalAddress& local) {
        return local.interface == interface && local.cidr.prefix_len == network.prefix_len &&
               local.cidr.network() == network.address;
      });
  if (!shared) routes_.remove_on_link(network, interface);
  paths_changed();
  upper_.path_changed();
  return {};
}

SocketResult<void> Layer::add_route(const Route& route) noexcept {
  if (interfaces_.get(route.interface) == nullptr) return fail(SocketError::invalid);
  auto result = routes_.add(route);
  if (result) paths_changed();
  return result;
}

SocketResult<void> Layer::remove_route(const IpCidr& destination) noexcept {
  auto result = routes_.remove(destination);
  if (result) paths_changed();
  return result;
}

void Layer::set_forwarding(InterfaceId interface, const ForwardPolicy& policy) noexcept {
  if (link::Interface* i = interfaces_.get(interface)) i->forwarding = policy;
}

void Layer::on_link(InterfaceId id, LinkState state, std::uint32_t mtu) noexcept {
  link::Interface* interface = interfaces_.get(id);
  if (interface == nullptr) return;
  const bool up = state == LinkState::up;
  if (!up) {
    waiting_ -= interface->outbox.count();
    store_.drain(interface->outbox);
    neighbors_.flush(id);
    routes_.forget_learned(id);
  }
  interface->up = up;
  interface->blocked = false;
  interface->mtu = std::clamp<std::uint32_t>(mtu, 68, 65'535);
  paths_changed();
  upper_.path_changed();
}

void Layer::on_writable(InterfaceId interface) noexcept {
  if (link::Interface* i = interfaces_.get(interface)) i->blocked = false;
}

std::uint32_t Layer::on_timeout(std::uint32_t limit) noexcept {
  std::uint32_t handled = neighbors_.on_timeout(limit);
  if (handled < limit) handled += reassembly_.on_timeout(limit - handled, *this);
  if (handled < limit) handled += igmp_.on_timeout(limit - handled);
  if (path_mtus_.on_timeout()) {
    paths_changed();
    upper_.path_changed();
  }
  return handled;
}

//= RFC 1122 §3.3.1.4
bool Layer::usable(const Route& route) const noexcept {
  const link::Interface* interface = interfaces_.get(route.interface);
  if (interface == nullptr || !interface->up) return false;
  if (!route.gateway) return true;
  const link::Neighbor* gateway = neighbors_.find(route.interface, *route.gateway);
  return gateway == nullptr || !gateway->asked_once ||
         gateway->state != link::NeighborState::failed;
}

SocketResult<Hop> Layer::find_route(const IpAddress& destination,
                                    InterfaceId bound) const noexcept {
  if (interfaces_.is_local(destination)) {
    if (interfaces_.loopback() == kNoInterface) return fail(SocketError::network_unreachable);
    return Hop{interfaces_.loopback(), destination};
  }
  if (destination.is_loopback()) return fail(SocketError::network_unreachable);
  const bool group = destination.is_multicast() || destination.is_limited_broadcast();
  if (group && bound != kNoInterface && interfaces_.get(bound) != nullptr) {
    return Hop{bound, destination};
  }
  const RouteTable::Found found = routes_.lookup(destination, bound, *this);
  if (const Route* route = found.route) {
    const link::Interface* interface = interfaces_.get(route->interface);
    if (interface == nullptr || !interface->up) return fail(SocketError::network_unreachable);
    // All else that a direct way depends on changes the generation.
    if (!route->gateway && !found.passed_over) {
      direct_ = {destination, generation_, bound, route->interface};
    }
    return Hop{route->interface, route->gateway && !group ? *route->gateway : destination};
  }
  const link::Interface* only = interfaces_.get(bound);
  if (only != nullptr && only->up) return Hop{bound, destination};
  if (bound != kNoInterface || !group) return fail(SocketError::network_unreachable);
  //= RFC 1122 §3.3.6
  // A broadcast needs no route: the first interface with an address takes it.
  for (const link::LocalAddress& local : interfaces_.addresses()) {
    const link::Interface* interface = interfaces_.get(local.interface);
    if (!interface->loopback && interface->up &&
        local.cidr.address.family() == destination.family()) {
      return Hop{interface->id, destination};
    }
  }
  return fail(SocketError::network_unreachable);
}

//= RFC 1122 §3.3.4.3
//= RFC 6724 §5
Result<IpAddress, SocketError> Layer::source_for(const IpAddress& destination,
                                                 InterfaceId bound) const noexcept {
  // Rule 1: the same address; all of 127/8 is reached from 127.0.0.1.
  if (interfaces_.is_local(destination)) {
    return destination.is_loopback() ? IpAddress::loopback(destination.family()) : destination;
  }
  const auto hop = route(destination, bound);
  if (!hop) return fail(hop.error());
  // Rule 5: an address of the outgoing interface.
  if (const IpAddress* best = interfaces_.best_source(hop->interface, hop->next_hop)) return *best;
  for (const link::LocalAddress& local : interfaces_.addresses()) {
    if (local.cidr.address.family() == destination.family() && !local.cidr.address.is_loopback()) {
      return local.cidr.address;
    }
  }
  return fail(SocketError::address_not_available);
}

std::uint32_t Layer::interface_mtu(const IpAddress& destination, InterfaceId bound) const noexcept {
  const auto hop = route(destination, bound);
  const link::Interface* interface = hop ? interfaces_.get(hop->interface) : nullptr;
  return interface == nullptr ? 1500 : interface->mtu;
}

std::uint32_t Layer::path_mtu(const IpAddress& destination, InterfaceId bound) const noexcept {
  return path_mtus_.get(destination, interface_mtu(destination, bound)).mtu;
}

void Layer::lower_path_mtu(const IpAddress& destination, std::uint32_t mtu) noexcept {
  if (path_mtus_.lower(destination, mtu, path_mtu(destination, kNoInterface))) paths_changed();
}

void Layer::advise_failure(const IpAddress& destination) noexcept {
  const auto hop = route(destination, kNoInterface);
  if (!hop) return;
  if (link::Neighbor* entry = neighbors_.find(hop->interface, hop->next_hop)) {
    neighbors_.doubt(*entry);
  }
}

void Layer::confirm(const Path& path) noexcept {
  if (path.generation != generation_) return;
  if (link::Neighbor* entry = neighbors_.get(path.neighbor)) neighbors_.confirm(*entry);
}

bool Layer::blocked(const Path& path) const noexcept {
  if (path.generation != generation_) return false;
  const link::Interface* interface = interfaces_.get(path.interface);
  return interface != nullptr && interface->blocked;
}

}  // namespace tidewire::ip
