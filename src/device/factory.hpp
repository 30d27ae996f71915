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

/// What another process has opened for us, perhaps in another network namespace.
struct OpenedDevice {
  bool tun = true;   ///< a TUN device with virtio-net headers; else a packet socket, not bound
  int fd = -1;       ///< becomes the device's, whatever comes back
  int control = -1;  ///< likewise; of a TUN device: a socket of its interface's namespace, or -1
  int index = 0;     ///< of the interface that the packet socket is for
  std::string name;  ///< of the interface
  MacAddress mac;    ///< of the interface that the packet socket is for
  std::uint32_t mtu = 1500;
};

/// As open_device(), with offloads.
Result<std::unique_ptr<Device>, std::string> adopt_device(const OpenedDevice& opened);

/// An error (as of open_queues) if devices of this form never have `count` queues. Opens nothing.
Result<void, std::string> check_queues(std::string_view description, std::size_t count);

/// As open_device(), `count` times: the queues of one "tap:NAME" or "tun:NAME", each for a thread
/// of its own. Other devices have one.
Result<std::vector<std::unique_ptr<Device>>, std::string> open_queues(
    std::string_view description, std::size_t count, const OpenOptions& options = {});

}  // namespace tidewire::device
