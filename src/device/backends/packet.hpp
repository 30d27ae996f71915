// AF_PACKET sockets: frames on an existing interface, such as one end of a veth pair. Needs no
// privilege inside a user namespace that owns the network namespace.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "device/backends/owned.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct PacketOptions {
  std::string interface;
  bool offloads = true;  ///< send super-segments and pending checksums; they arrive in any case
};

/// Our end uses the interface's own MAC address. The kernel must have no IP address on it, or it
/// answers as well. The error is one line that says why and what to do.
Result<std::unique_ptr<Device>, std::string> open_packet(const PacketOptions& options);

/// A packet socket (SOCK_RAW, not bound) that was opened elsewhere, perhaps in another network
/// namespace: from now on that of the interface number `index` there, whose address is `mac`.
Result<std::unique_ptr<Device>, std::string> adopt_packet(OwnedFd fd, int index,
                                                          const std::string& name,
                                                          const MacAddress& mac, std::uint32_t mtu);

}  // namespace tidewire::device
