#include "front/abi/sockaddr.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

namespace tidewire::posix {
namespace {

constexpr std::size_t min_v6 = 24;  // without the scope id, as RFC 2133 had it

IpAddress address_of(const in6_addr& raw) {
  std::array<std::uint8_t, 16> octets;
  std::memcpy(octets.data(), &raw, octets.size());
  return IpAddress::v6(octets).unmapped();
}

}  // namespace

RawAddress to_raw(const Endpoint& endpoint, int domain) {
  RawAddress out;
  if (domain == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.address.v4_value());
    out.size = sizeof in;
    std::memcpy(&out.storage, &in, sizeof in);
    return out;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(endpoint.port);
  const IpAddress shown = endpoint.address.mapped();
  std::memcpy(&in.sin6_addr, shown.octets().data(), 16);
  if (endpoint.address.is_v6() && endpoint.address.is_link_local()) {
    in.sin6_scope_id = endpoint.scope_id;
  }
  out.size = sizeof in;
  std::memcpy(&out.storage, &in, sizeof in);
  return out;
}

int family_of(Bytes raw) {
  sa_family_t family = AF_UNSPEC;
  if (raw.size() >= sizeof family) std::memcpy(&family, raw.data(), sizeof family);
  return family;
}

Result<Endpoint, int> from_raw(Bytes raw, int domain) {
  if (raw.size() < sizeof(sa_family_t)) return fail(EINVAL);
  const int family = family_of(raw);
  if (domain == AF_INET) {
    if (raw.size() < sizeof(sockaddr_in)) return fail(EINVAL);
    if (family != AF_INET) return fail(EAFNOSUPPORT);
    sockaddr_in in;
    std::memcpy(&in, raw.data(), sizeof in);
    return Endpoint{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port), 0};
  }
  if (family == AF_INET && raw.size() >= sizeof(sockaddr_in)) {
    return from_raw(raw, AF_INET);
  }
  if (raw.size() < min_v6) return fail(EINVAL);
  if (family != AF_INET6) return fail(EAFNOSUPPORT);
  sockaddr_in6 in{};
  std::memcpy(&in, raw.data(), std::min(sizeof in, raw.size()));
  return Endpoint{address_of(in.sin6_addr), ntohs(in.sin6_port), in.sin6_scope_id};
}

}  // namespace tidewire::posix
