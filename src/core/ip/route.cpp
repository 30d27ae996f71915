#include "core/ip/route.hpp"

namespace tidewire::ip {
namespace {

bool same_prefix(const IpCidr& a, const IpCidr& b) noexcept {
  return a.prefix_len == b.prefix_len && a.address.family() == b.address.family() &&
         a.network() == b.network();
}

}  // namespace

SocketResult<void> RouteTable::add(const Route& route) noexcept {
  const bool v4 = route.destination.address.is_v4();
  if (route.destination.prefix_len > (v4 ? 32 : 128)) return fail(SocketError::invalid);
  if (route.gateway && (route.gateway->is_v4() != v4 || route.gateway->is_unspecified() ||
                        route.gateway->is_multicast())) {
    return fail(SocketError::invalid);
  }
  std::size_t at = 0;
  for (; at < routes_.size(); ++at) {
    const Route& other = routes_[at];
    if (same_prefix(other.destination, route.destination) && other.gateway == route.gateway &&
        other.interface == route.interface) {
      return fail(SocketError::address_in_use);
    }
  }
  for (at = 0; at < routes_.size(); ++at) {
    const Route& other = routes_[at];
    if (other.destination.prefix_len < route.destination.prefix_len) break;
    if (other.destination.prefix_len == route.destination.prefix_len &&
        other.metric > route.metric) {
      break;
    }
  }
  if (!routes_.insert(at, route)) return fail(SocketError::no_buffers);
  return {};
}

SocketResult<void> RouteTable::remove(const IpCidr& destination) noexcept {
  bool found = false;
  for (std::size_t i = routes_.size(); i-- > 0;) {
    if (!same_prefix(routes_[i].destination, destination)) continue;
    routes_.erase(i);
    found = true;
  }
  if (!found) return fail(SocketError::network_unreachable);
  return {};
}

void RouteTable::remove_on_link(const IpCidr& destination, InterfaceId interface) noexcept {
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (routes_[i].interface != interface || routes_[i].gateway ||
        !same_prefix(routes_[i].destination, destination)) {
      continue;
    }
    routes_.erase(i);
    return;
  }
}

//= RFC 1122 §3.2.2.2
bool RouteTable::learn(const IpAddress& destination, const IpAddress& gateway,
                       InterfaceId interface, std::uint32_t limit) noexcept {
  for (std::size_t i = 0; i < learned_.size(); ++i) {
    if (learned_[i].destination.address != destination) continue;
    learned_.erase(i);
    break;
  }
  if (limit == 0) return false;
  if (learned_.size() >= limit) learned_.erase(0);
  const auto bits = static_cast<std::uint8_t>(destination.is_v4() ? 32 : 128);
  return learned_.push_back({{destination, bits}, gateway, interface, 0});
}

void RouteTable::forget_learned(InterfaceId interface) noexcept {
  for (std::size_t i = learned_.size(); i-- > 0;) {
    if (learned_[i].interface == interface) learned_.erase(i);
  }
}

//= RFC 1122 §3.3.1.2
RouteTable::Found RouteTable::lookup(const IpAddress& destination, InterfaceId bound,
                                     const RouteHealth& health) const noexcept {
  bool passed_over = false;
  for (const Route& route : learned_) {
    if (route.destination.address != destination ||
        (bound != kNoInterface && bound != route.interface)) {
      continue;
    }
    if (health.usable(route)) return {&route, passed_over};
    passed_over = true;
  }
  const Route* doubtful = nullptr;
  for (const Route& route : routes_) {
    if (doubtful != nullptr && route.destination.prefix_len < doubtful->destination.prefix_len) {
      break;
    }
    if (bound != kNoInterface && bound != route.interface) continue;
    if (!route.destination.contains(destination)) continue;
    //= RFC 1122 §3.3.1.5
    // A dead gateway is used only if there is no other.
    if (health.usable(route)) return {&route, passed_over};
    passed_over = true;
    if (doubtful == nullptr) doubtful = &route;
  }
  return {doubtful, passed_over};
}

}  // namespace tidewire::ip
