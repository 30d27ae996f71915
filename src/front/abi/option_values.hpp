// Option values as bytes of programs.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "front/abi/option.hpp"

namespace tidewire::posix {

template <typename T>
std::vector<std::byte> raw_of(const T& value) {
  std::vector<std::byte> raw(sizeof value);
  std::memcpy(raw.data(), &value, sizeof value);
  return raw;
}

/// The int, or the single byte where a program gave only that.
int read_int(Bytes raw);
/// Up to the first NUL.
std::string read_text(Bytes raw);
/// IP_ADD_MEMBERSHIP and its relatives. ENOPROTOOPT for anything else.
Result<Membership, int> parse_membership(int level, int name, Bytes raw);

}  // namespace tidewire::posix
