#include "wire/shard_map.hpp"

#include "wire/ipv4.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

std::uint32_t ShardMap::owner(std::uint8_t protocol, const Endpoint& local,
                              const Endpoint& remote) const noexcept {
  if (count <= 1) return 0;
  if (protocol == protocol::udp && is_ephemeral(local.port))
    return port_owner(protocol, local.port);
  const std::uint64_t rest =
      std::uint64_t{protocol} << 32 | std::uint64_t{local.port} << 16 | std::uint64_t{remote.port};
  if (local.address.is_v4()) {
    const std::uint64_t addresses =
        std::uint64_t{local.address.v4_value()} << 32 | remote.address.v4_value();
    return pick(siphash13(key, addresses, rest));
  }
  const auto half = [](const IpAddress& address, std::size_t at) {
    return load_u64(reinterpret_cast<const std::byte*>(address.octets().data()) + at);
  };
  const std::uint64_t ours =
      siphash13(key, half(local.address, 0), half(local.address, 8), rest, 1);
  return pick(siphash13(key, half(remote.address, 0), half(remote.address, 8), ours, 2));
}

std::uint32_t ShardMap::port_owner(std::uint8_t protocol, std::uint16_t port) const noexcept {
  if (count <= 1) return 0;
  return pick(siphash13(key, std::uint64_t{protocol} << 16 | port));
}

}  // namespace tidewire::wire
