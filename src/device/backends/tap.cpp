#include "device/backends/tap.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/random.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {
namespace {

// Younger than the headers of Debian 12.
constexpr unsigned kOffloadUso4 = 0x20;
constexpr unsigned kOffloadUso6 = 0x40;
constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

class Tap final : public VnetDevice {
 public:
  Tap(OwnedFd fd, std::string name, const Capabilities& can)
      : VnetDevice(std::move(fd), std::move(name), can) {}
  Tap(OwnedFd fd, OwnedFd control, std::string name, const Capabilities& can)
      : VnetDevice(std::move(fd), std::move(control), std::move(name), can) {}
  using VnetDevice::write_in_batches;

 protected:
  std::ptrdiff_t read_frame(MutBytes out) noexcept override {
    while (true) {
      const ssize_t size = read(fd(), out.data(), out.size());
      if (size >= 0) return size;
      if (errno != EINTR) return 0;
    }
  }
};

std::string way_out(const TapOptions& options, bool queues) {
  const std::string mode = options.tun ? "tun" : "tap";
  const std::string more = queues ? " multi_queue" : "";
  switch (errno) {
    case EPERM:
      return "it needs CAP_NET_ADMIN or a device that belongs to you: sudo ip tuntap add dev " +
             options.name + " mode " + mode + more + " user $USER";
    case EBUSY:
      return "another program has it open";
    case E2BIG:
      return "other programs have its queues open";
    case EINVAL:
      return "an interface of that name exists and is no " + mode + " device of " +
             (queues ? "several queues" : "one queue") +
             "; choose another name, or delete it with: sudo ip link del " + options.name;
    default:
      return "see ip link show " + options.name;
  }
}

std::string no_tun_device() {
  std::string text = "cannot open /dev/net/tun: " + error_text(errno) + "; ";
  if (errno == ENOENT || errno == ENXIO || errno == ENODEV) {
    return text +
           "the kernel or container has none: modprobe tun, or start the container with "
           "--device /dev/net/tun --cap-add NET_ADMIN";
  }
  return text +
         "run with sudo, or use --veth in a user namespace (unshare -Urn), which needs no "
         "privilege";
}

MacAddress derived_mac(const std::string& name) {
  const std::uint64_t hash = siphash13({1, 2}, as_bytes(name.data(), name.size()));
  MacAddress mac{{0x02, 0x74}};
  for (std::size_t i = 2; i < 6; ++i) mac.octets[i] = static_cast<std::uint8_t>(hash >> (8 * i));
  return mac;
}

/// True if the kernel takes UDP super-segments: it knows their flags.
bool set_offloads(int fd, bool on) {
  if (!on) {
    ioctl(fd, TUNSETOFFLOAD, 0U);
    return false;
  }
  const bool udp = ioctl(fd, TUNSETOFFLOAD, kOffloads | kOffloadUso4 | kOffloadUso6) == 0;
  ioctl(fd, TUNSETOFFLOAD, kOffloads);  // we do not ask for coalesced datagrams
  return udp;
}

/// True if writes to TAP devices can be told not to wait, as io_uring wants it. One that is shorter
/// than its header has no effect.
bool can_write_without_waiting(int fd) noexcept {
  std::byte one{};
  const iovec piece{&one, 1};
  return pwritev2(fd, &piece, 1, -1, RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP;
}

/// Brings an interface up that this open created; one that existed is its owner's business.
void bring_up(const ifreq& named) {
  const OwnedFd control{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  ifreq request = named;
  if (!control || ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) return;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  ioctl(control.get(), SIOCSIFFLAGS, &request);
}

/// One more queue of an interface, or its only one.
Result<OwnedFd, std::string> open_queue(const TapOptions& options, bool queues) {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) {
    return fail("'" + options.name + "' is no interface name: 1 to 15 characters");
  }
  const bool exists = if_nametoindex(options.name.c_str()) != 0;
  OwnedFd fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return fail(no_tun_device());
  unsigned features = 0;
  if (queues && (ioctl(fd.get(), TUNGETFEATURES, &features) != 0 ||
                 (features & unsigned{IFF_MULTI_QUEUE}) == 0)) {
    return fail("the TAP devices of this kernel have one queue: several need Linux 3.8");
  }
  ifreq request{};
  std::memcpy(request.ifr_name, options.name.data(), options.name.size());
  const int mode =
      (options.tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI | IFF_VNET_HDR | (queues ? IFF_MULTI_QUEUE : 0);
  request.ifr_flags = static_cast<short>(mode);
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    const std::string out = way_out(options, queues);
    return fail("cannot use " + options.name + ": " + error_text(errno) + "; " + out);
  }
  int header = sizeof(VnetHeader);
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0) {
    return fail("cannot use " + options.name + ": " + error_text(errno) + " for its header size");
  }
  if (!exists) bring_up(request);
  return fd;
}

Result<std::unique_ptr<Device>, std::string> device_of(OwnedFd fd, const TapOptions& options) {
  Capabilities can;
  can.medium = options.tun ? Medium::ip : Medium::ethernet;
  can.mtu = interface_mtu(options.name);
  if (can.mtu == 0) can.mtu = 1500;
  can.mac = options.mac.value_or(derived_mac(options.name));
  can.tx_udp_segmentation = set_offloads(fd.get(), options.offloads);
  can.tx_checksum = can.tx_segmentation = options.offloads;
  can.rx_trusted = true;
  auto tap = std::make_unique<Tap>(std::move(fd), options.name, can);
  if (options.io_uring) {
    if (!can_write_without_waiting(tap->descriptor())) {
      return fail("cannot use io_uring for " + options.name +
                  ": Linux 6.4 or later can; leave --io-uring away");
    }
    if (const auto ready = tap->write_in_batches(); !ready) return fail(ready.error());
  }
  return tap;
}

}  // namespace

Result<std::unique_ptr<Device>, std::string> open_tap(const TapOptions& options) {
  auto fd = open_queue(options, false);
  if (!fd) return fail(fd.error());
  return device_of(std::move(*fd), options);
}

Result<std::unique_ptr<Device>, std::string> adopt_tun(OwnedFd fd, OwnedFd control,
                                                       const std::string& name, std::uint32_t mtu) {
  int header = sizeof(VnetHeader);
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0) {
    return fail("cannot use " + name + ": " + error_text(errno) + " for its header size");
  }
  Capabilities can;
  can.medium = Medium::ip;
  can.mtu = mtu;
  can.tx_udp_segmentation = set_offloads(fd.get(), true);
  can.tx_checksum = can.tx_segmentation = true;
  can.rx_trusted = true;
  return std::make_unique<Tap>(std::move(fd), std::move(control), name, can);
}

Result<std::vector<std::unique_ptr<Device>>, std::string> open_tap_queues(const TapOptions& options,
                                                                          std::size_t count) {
  std::vector<std::unique_ptr<Device>> queues;
  for (std::size_t i = 0; i < count; ++i) {
    auto fd = open_queue(options, true);
    if (!fd) return fail(fd.error());
    auto device = device_of(std::move(*fd), options);
    if (!device) return fail(device.error());
    queues.push_back(std::move(*device));
  }
  return queues;
}

}  // namespace tidewire::device
