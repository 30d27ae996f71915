// Which of several stacks that share an address a flow belongs to.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "wire/address.hpp"

namespace tidewire::wire {

/// All shards of a host have the same map, and each flow has one owner. The key is secret, so that
/// strangers cannot choose which shard has the work.
struct ShardMap {
  std::uint32_t count = 1;
  RandomSeed key;
  /// Ephemeral ports. A datagram socket gets its port before its peer is known: such a port belongs
  /// to one shard, whoever writes to it.
  std::uint16_t ephemeral_first = 32'768, ephemeral_last = 60'999;

  /// The shard, below `count`, of what `remote` sends to `local` by this IP protocol. Of echo
  /// messages the identifier stands for the local port, and the remote one is 0.
  std::uint32_t owner(std::uint8_t protocol, const Endpoint& local,
                      const Endpoint& remote) const noexcept;
  /// The shard of everything that comes to a datagram socket's ephemeral port, or to the identifier
  /// of an echo socket.
  std::uint32_t port_owner(std::uint8_t protocol, std::uint16_t port) const noexcept;
  /// Of what has addresses only.
  std::uint32_t pair_owner(std::uint8_t protocol, const IpAddress& local,
                           const IpAddress& remote) const noexcept {
    return owner(protocol, {local, 0, 0}, {remote, 0, 0});
  }
  bool is_ephemeral(std::uint16_t port) const noexcept {
    return port >= ephemeral_first && port <= ephemeral_last;
  }
  /// A shard from 64 bits that are evenly distributed.
  std::uint32_t pick(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>((hash >> 32) * count >> 32);
  }
};

}  // namespace tidewire::wire
