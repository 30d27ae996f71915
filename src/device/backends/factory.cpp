#include "device/factory.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "device/backends/af_xdp.hpp"
#include "device/backends/packet.hpp"
#include "device/backends/shm.hpp"
#include "device/backends/tap.hpp"
#include "device/wrap/offload_emulator.hpp"

namespace tidewire::device {
namespace {

using Opened = Result<std::unique_ptr<Device>, std::string>;

struct Kind {
  std::string_view name;
  std::string_view form;
  std::string_view help;
  Opened (*open)(std::string name, const OpenOptions& options);
  bool queues = false;  ///< there may be several
};

Opened open_tap_or_tun(std::string name, const OpenOptions& options, bool tun) {
  return open_tap({std::move(name), tun, options.offloads, options.mac, options.io_uring});
}

/// INTERFACE or INTERFACE:QUEUE.
Opened open_xdp_queue(const std::string& name) {
  XdpOptions xdp{.interface = name};
  if (const std::size_t colon = name.rfind(':'); colon != std::string::npos) {
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + colon + 1, end, xdp.queue);
    if (parsed.ec != std::errc{} || parsed.ptr != end || xdp.queue > 4095) {
      return fail("'" + name.substr(colon + 1) + "' is no queue; write xdp:INTERFACE:0");
    }
    xdp.interface.resize(colon);
  }
  return open_xdp(xdp);
}

constexpr std::array<Kind, 5> kKinds{{
    {"tap", "tap:NAME", "a TAP interface of this host",
     [](std::string name, const OpenOptions& o) {
       return open_tap_or_tun(std::move(name), o, false);
     },
     true},
    {"tun", "tun:NAME", "a TUN interface of this host",
     [](std::string name, const OpenOptions& o) {
       return open_tap_or_tun(std::move(name), o, true);
     },
     true},
    {"veth", "veth:INTERFACE", "one end of a veth pair, through a packet socket",
     [](std::string name, const OpenOptions& o) -> Opened {
       return open_packet({std::move(name), o.offloads});
     }},
    {"xdp", "xdp:INTERFACE[:N]", "queue N (0) of an interface, through an AF_XDP socket",
     [](std::string name, const OpenOptions&) -> Opened { return open_xdp_queue(name); }},
    {"shm", "shm:PATH", "shared memory with the other process that names this path",
     [](std::string name, const OpenOptions& o) -> Opened {
       return open_shm({.path = std::move(name), .offloads = o.offloads});
     }},
}};

std::string forms() {
  std::string text;
  for (const Kind& kind : kKinds) {
    if (!text.empty()) text += &kind == &kKinds.back() ? " or " : ", ";
    text += kind.form;
  }
  return text;
}

Result<const Kind*, std::string> find_kind(std::string_view description) {
  const std::size_t colon = description.find(':');
  if (colon == std::string_view::npos || colon + 1 == description.size()) {
    return fail("'" + std::string(description) + "' is no device; write " + forms());
  }
  const std::string_view name = description.substr(0, colon);
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return &kind;
  }
  return fail("unknown kind of device '" + std::string(name) + "'; write " + forms());
}

}  // namespace

std::string_view device_help() noexcept {
  static const std::string text = [] {
    std::string lines;
    for (const Kind& kind : kKinds) {
      lines += std::string(kind.form) + std::string(20 - kind.form.size(), ' ');
      lines += std::string(kind.help) + "\n";
    }
    return lines;
  }();
  return text;
}

Result<void, std::string> check_description(std::string_view description) {
  const auto kind = find_kind(description);
  if (!kind) return fail(kind.error());
  return {};
}

Opened open_device(std::string_view description, const OpenOptions& options) {
  const auto kind = find_kind(description);
  if (!kind) return fail(kind.error());
  const std::string_view name = (*kind)->name;
  if (options.io_uring && name != "tap" && name != "tun") {
    return fail("--io-uring is for tap:NAME and tun:NAME; leave it away with " + std::string(name) +
                ":");
  }
  Opened device = (*kind)->open(std::string(description.substr(name.size() + 1)), options);
  if (!device) return device;
  return with_offloads(std::move(*device));
}

Opened adopt_device(const OpenedDevice& opened) {
  OwnedFd fd{opened.fd};
  OwnedFd control{opened.control};
  auto device =
      opened.tun ? adopt_tun(std::move(fd), std::move(control), opened.name, opened.mtu)
                 : adopt_packet(std::move(fd), opened.index, opened.name, opened.mac, opened.mtu);
  if (!device) return device;
  return with_offloads(std::move(*device));
}

Result<void, std::string> check_queues(std::string_view description, std::size_t count) {
  const auto kind = find_kind(description);
  if (!kind) return fail(kind.error());
  if (count <= 1 || (*kind)->queues) return {};
  return fail(std::string(description) +
              " has one queue, and each shard needs one of its own: use tap:NAME or tun:NAME");
}

Result<std::vector<std::unique_ptr<Device>>, std::string> open_queues(std::string_view description,
                                                                      std::size_t count,
                                                                      const OpenOptions& options) {
  if (const auto known = check_queues(description, count); !known) return fail(known.error());
  std::vector<std::unique_ptr<Device>> queues;
  if (count <= 1) {
    auto device = open_device(description, options);
    if (!device) return fail(device.error());
    queues.push_back(std::move(*device));
    return queues;
  }
  const bool tun = description.starts_with("tun:");
  auto opened = open_tap_queues(
      {std::string(description.substr(4)), tun, options.offloads, options.mac, options.io_uring},
      count);
  if (!opened) return fail(opened.error());
  for (auto& queue : *opened) queues.push_back(with_offloads(std::move(queue)));
  return queues;
}

}  // namespace tidewire::device
