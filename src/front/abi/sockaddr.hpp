// Socket addresses as programs write them.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/address.hpp"

namespace tidewire::posix {

/// The bytes of a sockaddr for a program.
struct RawAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  Bytes bytes() const noexcept { return as_bytes(&storage, size); }
};

/// Writes an endpoint as a socket of `domain` shows it: on AF_INET6 an IPv4 address is mapped.
RawAddress to_raw(const Endpoint& endpoint, int domain);

/// Reads an address given to a socket of `domain`. IPv4-mapped addresses come back as IPv4.
/// Errors as Linux gives them: EINVAL if too short, EAFNOSUPPORT for another family.
Result<Endpoint, int> from_raw(Bytes raw, int domain);

/// The family field, AF_UNSPEC if there is none.
int family_of(Bytes raw);

}  // namespace tidewire::posix
