// What --so_flags says: where the stack is, and what it is told of sysctls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "wire/address.hpp"

namespace tidewire::packetdrill {

struct Flags {
  IpAddress local;                   ///< the stack's own address
  std::uint8_t prefix_len = 0;       ///< of the network of `local`
  std::optional<IpAddress> gateway;  ///< of everything else; none: on link
  std::optional<IpAddress> remote;   ///< the peer that the script plays
  std::uint32_t mtu = 1500;
  std::string sysctl_file;    ///< lines `key=value`; empty: none
  std::string counters_file;  ///< written: lines "NAME VALUE" as nstat has them; empty: none
  bool trace = false;         ///< packets on standard error
};

/// Reads `key=value,...`. The error is one line for a person.
Result<Flags, std::string> parse_flags(std::string_view text);

}  // namespace tidewire::packetdrill
