#include "device/factory.hpp"

#include "device/backends/packet.hpp"
#include "device/backends/tap.hpp"
#include "device/wrap/offload_emulator.hpp"

namespace tidewire::device {
namespace {

using Opened = Result<std::unique_ptr<Device>, std::string>;

Opened open_bare(std::string_view kind, std::string name, const OpenOptions& options) {
  if (kind == "tap" || kind == "tun") {
    return open_tap({std::move(name), kind == "tun", options.offloads, options.mac});
  }
  if (kind == "veth") return open_packet({std::move(name), options.offloads});
  return fail("unknown kind of device '" + std::string(kind) +
              "'; write tap:NAME, tun:NAME or veth:INTERFACE");
}

}  // namespace

Opened open_device(std::string_view description, const OpenOptions& options) {
  const std::size_t colon = description.find(':');
  if (colon == std::string_view::npos || colon + 1 == description.size()) {
    return fail("'" + std::string(description) +
                "' is no device; write tap:NAME, tun:NAME or veth:INTERFACE");
  }
  Opened device =
      open_bare(description.substr(0, colon), std::string(description.substr(colon + 1)), options);
  if (!device) return device;
  return with_offloads(std::move(*device));
}

}  // namespace tidewire::device
