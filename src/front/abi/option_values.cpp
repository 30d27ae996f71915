#include "front/abi/option_values.hpp"

#include <netinet/in.h>

#include <cerrno>
#include <optional>

#include "front/abi/sockaddr.hpp"

namespace tidewire::posix {
namespace {

IpAddress from_v4(const in_addr& raw) { return IpAddress::v4(ntohl(raw.s_addr)); }

template <typename T>
std::optional<T> take(Bytes raw) {
  if (raw.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, raw.data(), sizeof value);
  return value;
}

Result<Membership, int> v4_request(Membership::Action action, Bytes raw) {
  Membership m;
  m.action = action;
  if (const auto whole = take<ip_mreqn>(raw)) {
    m.group = from_v4(whole->imr_multiaddr);
    m.interface_address = from_v4(whole->imr_address);
    m.interface_index = static_cast<std::uint32_t>(whole->imr_ifindex);
  } else if (const auto plain = take<ip_mreq>(raw)) {
    m.group = from_v4(plain->imr_multiaddr);
    m.interface_address = from_v4(plain->imr_interface);
  } else if (const auto address = take<in_addr>(raw);
             address && action == Membership::Action::choose_interface) {
    m.interface_address = from_v4(*address);
  } else {
    return fail(EINVAL);
  }
  return m;
}

Result<Membership, int> v6_request(Membership::Action action, Bytes raw) {
  const auto request = take<ipv6_mreq>(raw);
  if (!request) return fail(EINVAL);
  Membership m;
  m.action = action;
  std::array<std::uint8_t, 16> octets;
  std::memcpy(octets.data(), &request->ipv6mr_multiaddr, octets.size());
  m.group = IpAddress::v6(octets);
  m.interface_index = request->ipv6mr_interface;
  return m;
}

Result<Membership, int> group_request(Membership::Action action, Bytes raw, int level) {
  const auto request = take<group_req>(raw);
  if (!request) return fail(EINVAL);
  const auto group = from_raw(as_bytes(&request->gr_group, sizeof request->gr_group),
                              level == IPPROTO_IP ? AF_INET : AF_INET6);
  if (!group) return fail(EADDRNOTAVAIL);
  Membership m;
  m.action = action;
  m.group = group->address;
  m.interface_index = request->gr_interface;
  return m;
}

}  // namespace

int read_int(Bytes raw) {
  if (const auto value = take<int>(raw)) return *value;
  return raw.empty() ? 0 : std::to_integer<int>(raw[0]);
}

std::string read_text(Bytes raw) {
  std::string text;
  for (const std::byte b : raw) {
    if (b == std::byte{0}) break;
    text.push_back(static_cast<char>(b));
  }
  return text;
}

Result<Membership, int> parse_membership(int level, int name, Bytes raw) {
  using Action = Membership::Action;
  if (name == MCAST_JOIN_GROUP) return group_request(Action::join, raw, level);
  if (name == MCAST_LEAVE_GROUP) return group_request(Action::leave, raw, level);
  if (level == IPPROTO_IP) {
    if (name == IP_ADD_MEMBERSHIP) return v4_request(Action::join, raw);
    if (name == IP_DROP_MEMBERSHIP) return v4_request(Action::leave, raw);
    if (name == IP_MULTICAST_IF) return v4_request(Action::choose_interface, raw);
  } else {
    if (name == IPV6_ADD_MEMBERSHIP) return v6_request(Action::join, raw);
    if (name == IPV6_DROP_MEMBERSHIP) return v6_request(Action::leave, raw);
  }
  return fail(ENOPROTOOPT);
}

}  // namespace tidewire::posix
