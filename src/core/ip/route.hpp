// The routing table.
#pragma once

#include "base/vec.hpp"
#include "core/stack.hpp"

namespace tidewire::ip {

/// Whether a next-hop gateway is believed to be dead (RFC 1122 §3.3.1.4), or an interface down.
class RouteHealth {
 public:
  virtual bool usable(const Route& route) const noexcept = 0;

 protected:
  ~RouteHealth() = default;
};

/// Routes ordered by prefix length (longest first), then metric, then age. Small by design: flows
/// cache what they find.
class RouteTable {
 public:
  explicit RouteTable(MemoryProvider& memory) noexcept : routes_(memory), learned_(memory) {}

  SocketResult<void> add(const Route& route) noexcept;
  SocketResult<void> remove(const IpCidr& destination) noexcept;
  /// Removes the on-link route of an address that is gone.
  void remove_on_link(const IpCidr& destination, InterfaceId interface) noexcept;
  /// A host route from a redirect; the oldest of at most `limit` makes room.
  bool learn(const IpAddress& destination, const IpAddress& gateway, InterfaceId interface,
             std::uint32_t limit) noexcept;
  void forget_learned(InterfaceId interface) noexcept;

  struct Found {
    const Route* route = nullptr;
    bool passed_over = false;  ///< a better one is not usable at the moment
  };
  /// The best route through `bound` (kNoInterface: any); among equally long prefixes a usable one
  /// is preferred. nullptr: none.
  Found lookup(const IpAddress& destination, InterfaceId bound,
               const RouteHealth& health) const noexcept;
  const Vec<Route>& routes() const noexcept { return routes_; }

 private:
  Vec<Route> routes_;
  Vec<Route> learned_;
};

}  // namespace tidewire::ip
