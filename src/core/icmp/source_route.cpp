#include "core/icmp/source_route.hpp"

#include <array>

#include "wire/ipv4.hpp"

namespace tidewire::icmp {
namespace {

constexpr std::uint8_t kLoose = 131;
constexpr std::uint8_t kStrict = 137;

/// The source route option, or an empty span.
Bytes find_route(Bytes options) noexcept {
  while (!options.empty()) {
    const std::uint8_t kind = wire::load_u8(options.data());
    if (kind == 0 || (kind != 1 && options.size() < 2)) return {};
    const std::size_t length = kind == 1 ? 1 : wire::load_u8(options.data() + 1);
    if (length == 0 || length > options.size()) return {};
    if (kind == kLoose || kind == kStrict) return options.first(length);
    options = options.subspan(length);
  }
  return {};
}

}  // namespace

//= RFC 1122 §3.2.1.8
Bytes reverse_source_route(Bytes header, const IpAddress& own, MutBytes out,
                           IpAddress& first_hop) noexcept {
  const Bytes route = find_route(header.subspan(wire::kIpv4MinHeaderLen));
  if (route.size() < 3) return {};
  std::array<IpAddress, 9> hops;
  std::size_t count = 0;
  for (std::size_t at = 3; at + 4 <= route.size() && count < hops.size(); at += 4) {
    const IpAddress hop = wire::load_ipv4(route.data() + at);
    // The last entries may be this host, recorded on arrival.
    if (hop != own) hops[count++] = hop;
  }
  if (count == 0) return {};
  const IpAddress origin = wire::load_ipv4(header.data() + 12);
  // Backwards: to the last router first, and at the end to who sent it.
  first_hop = hops[count - 1];
  Writer writer{out};
  writer.u8(wire::load_u8(route.data()));
  writer.u8(static_cast<std::uint8_t>(3 + 4 * count));
  writer.u8(4);
  for (std::size_t i = count - 1; i-- > 0;) writer.bytes(hops[i].bytes());
  writer.bytes(origin.bytes());
  while (writer.written() % 4 != 0) writer.u8(0);
  return writer.ok() ? Bytes{writer.so_far()} : Bytes{};
}

}  // namespace tidewire::icmp
