// TAP and TUN devices of the Linux kernel.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct TapOptions {
  std::string name;               ///< of the interface; created if it does not exist and we may
  bool tun = false;               ///< IP packets without Ethernet headers
  bool offloads = true;           ///< super-segments and pending checksums both ways
  std::optional<MacAddress> mac;  ///< of our end; else derived from the name
};

/// The error is one line that says why and what to do.
Result<std::unique_ptr<Device>, std::string> open_tap(const TapOptions& options);

}  // namespace tidewire::device
