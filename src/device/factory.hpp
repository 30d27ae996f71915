// Opens a device by its description.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct OpenOptions {
  bool offloads = true;           ///< super-segments and pending checksums both ways
  std::optional<MacAddress> mac;  ///< of our end (TAP only)
  bool io_uring = false;          ///< one system call for many frames (TAP and TUN only)
};

/// What open_device() understands, one form a line, for help texts.
std::string_view device_help() noexcept;
/// An error (as of open_device) if `description` has no such form. Opens nothing.
Result<void, std::string> check_description(std::string_view description);

/// "tap:NAME", "tun:NAME", "veth:INTERFACE", "xdp:INTERFACE[:QUEUE]" or "shm:PATH". What comes back
/// takes every kind of frame: devices that cannot cut super-segments or complete checksums have the
/// offload emulator in front. The error is one line that says why and what to do.
Result<std::unique_ptr<Device>, std::string> open_device(std::string_view description,
                                                         const OpenOptions& options = {});

/// An error (as of open_queues) if devices of this form never have `count` queues. Opens nothing.
Result<void, std::string> check_queues(std::string_view description, std::size_t count);

/// As open_device(), `count` times: the queues of one "tap:NAME" or "tun:NAME", each for a thread
/// of its own. Other devices have one.
Result<std::vector<std::unique_ptr<Device>>, std::string> open_queues(
    std::string_view description, std::size_t count, const OpenOptions& options = {});

}  // namespace tidewire::device
