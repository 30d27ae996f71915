// TAP and TUN devices of the Linux kernel.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "device/backends/owned.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct TapOptions {
  std::string name;               ///< of the interface; created if it does not exist and we may
  bool tun = false;               ///< IP packets without Ethernet headers
  bool offloads = true;           ///< super-segments and pending checksums both ways
  std::optional<MacAddress> mac;  ///< of our end; else derived from the name
  bool io_uring = false;          ///< the frames of a turn are written with one system call
};

/// The error is one line that says why and what to do.
Result<std::unique_ptr<Device>, std::string> open_tap(const TapOptions& options);

/// A TUN device that was opened elsewhere: with virtio-net headers, perhaps in another network
/// namespace, which `control` is a socket of. `name` and `mtu` are those of its interface.
Result<std::unique_ptr<Device>, std::string> adopt_tun(OwnedFd fd, OwnedFd control,
                                                       const std::string& name, std::uint32_t mtu);

/// `count` queues of one interface, each a device of its own that a thread of its own may drive.
/// The kernel sends a flow's packets through the queue that sent it one last, and others by a hash
/// of its own. An interface of one queue has no more than that.
Result<std::vector<std::unique_ptr<Device>>, std::string> open_tap_queues(const TapOptions& options,
                                                                          std::size_t count);

}  // namespace tidewire::device
