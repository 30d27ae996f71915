// AF_XDP sockets: the frames of one queue of an interface, past the kernel's network stack.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct XdpOptions {
  std::string interface;
  unsigned queue = 0;
  bool zero_copy = true;  ///< if the driver offers it
  bool native = true;     ///< in the driver if it can, else by the kernel's generic path
};

struct XdpCounters {
  std::uint64_t frames_in = 0, frames_out = 0;
  std::uint64_t full = 0;      ///< pushes that found no room
  std::uint64_t too_long = 0;  ///< pushed frames longer than a frame of the memory; they are lost
  std::uint64_t kicks = 0;     ///< system calls that sent
};

/// Ethernet frames, without offloads of any kind: the offload emulator belongs in front, and what
/// arrives must have its checksum (a veth peer keeps back its own: `ethtool -K PEER tx off`). Our
/// end uses the interface's own MAC address; the kernel does not see the frames of this queue any
/// more. Frames are held back until flush().
class Xdp : public Device {
 public:
  virtual const XdpCounters& counters() const noexcept = 0;
  virtual bool zero_copy() const noexcept = 0;
  virtual bool native() const noexcept = 0;
};

/// Needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF (or CAP_SYS_ADMIN). The error is one line that says
/// why and what to do.
Result<std::unique_ptr<Xdp>, std::string> open_xdp(const XdpOptions& options);

}  // namespace tidewire::device
