// Opens a device by its description.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct OpenOptions {
  bool offloads = true;           ///< super-segments and pending checksums both ways
  std::optional<MacAddress> mac;  ///< of our end (TAP only)
};

/// "tap:NAME", "tun:NAME" or "veth:INTERFACE". What comes back takes every kind of frame: devices
/// that cannot cut super-segments or complete checksums have the offload emulator in front. The
/// error is one line that says why and what to do.
Result<std::unique_ptr<Device>, std::string> open_device(std::string_view description,
                                                         const OpenOptions& options = {});

}  // namespace tidewire::device
