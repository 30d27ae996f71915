// The small program in front of an interface that hands the frames of one queue to an AF_XDP
// socket. It is loaded with bpf(2) as it stands here: no compiler and no library is needed.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {

/// Sits on the interface as long as this lives. Frames of other queues pass on to the kernel.
struct XdpProgram {
  OwnedFd map;          ///< XSKMAP: queue → socket
  OwnedFd link;         ///< the attachment
  bool native = false;  ///< run by the driver; else by the kernel's generic path
};

/// Why there is no program: an errno value and the step.
struct XdpProgramError {
  int error = 0;
  const char* step = "";
};

/// `native`: only in the driver. The map has room for `queues`.
Result<XdpProgram, XdpProgramError> attach_xdp_program(unsigned interface, unsigned queues,
                                                       bool native);
/// False and errno if the kernel refuses.
bool give_queue_to(const XdpProgram& program, unsigned queue, int socket) noexcept;

}  // namespace tidewire::device
