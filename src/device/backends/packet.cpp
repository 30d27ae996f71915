#include "device/backends/packet.hpp"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <utility>

#include "device/backends/vnet_device.hpp"

namespace tidewire::device {
namespace {

constexpr int kIgnoreOutgoing = 23;  // PACKET_IGNORE_OUTGOING, Linux 4.20
constexpr int kReceiveBuffer = 16 << 20;

class Packet final : public VnetDevice {
 public:
  Packet(OwnedFd fd, std::string name, const Capabilities& can)
      : VnetDevice(std::move(fd), std::move(name), can) {}
  /// In another namespace whose interfaces cannot be asked for.
  Packet(OwnedFd fd, OwnedFd control, std::string name, const Capabilities& can)
      : VnetDevice(std::move(fd), std::move(control), std::move(name), can) {}

 protected:
  std::ptrdiff_t read_frame(MutBytes out) noexcept override {
    iovec piece{out.data(), out.size()};
    sockaddr_ll from{};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    while (true) {
      const ssize_t size = recvmsg(fd(), &message, MSG_DONTWAIT);
      // An interface that went down leaves one error behind and may come back.
      if (size < 0 && (errno == EINTR || errno == ENETDOWN)) continue;
      if (size < 0) return 0;
      if (from.sll_pkttype == PACKET_OUTGOING) return -1;
      if ((message.msg_flags & MSG_TRUNC) != 0) {
        ++count().truncated;
        return -1;
      }
      return size;
    }
  }
};

std::string cannot(const std::string& name, const char* what) {
  return "cannot " + std::string(what) + " " + name + ": " + error_text(errno);
}

std::string no_socket(const PacketOptions& options) {
  std::string text = cannot(options.interface, "open a packet socket on");
  if (errno == EPERM || errno == EACCES) {
    text +=
        "; it needs CAP_NET_RAW: run with sudo, or inside a user namespace of your own: "
        "unshare -Urn";
  }
  return text;
}

void set(int fd, int level, int option, int value) {
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

/// A socket that is not bound gets the frames of one interface, with headers about offloads.
Result<void, std::string> listen_on(const OwnedFd& fd, int index, const std::string& name) {
  int on = 1;
  if (setsockopt(fd.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0) {
    return fail(cannot(name, "use offload headers on"));
  }
  set(fd.get(), SOL_PACKET, kIgnoreOutgoing, 1);
  set(fd.get(), SOL_SOCKET, SO_RCVBUF, kReceiveBuffer);
  set(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBuffer);
  set(fd.get(), SOL_SOCKET, SO_SNDBUF, kReceiveBuffer / 4);
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_protocol = htons(ETH_P_ALL);
  where.sll_ifindex = index;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) {
    return fail(cannot(name, "listen on"));
  }
  packet_mreq all_multicast{};
  all_multicast.mr_ifindex = index;
  all_multicast.mr_type = PACKET_MR_ALLMULTI;
  (void)setsockopt(fd.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all_multicast,
                   sizeof all_multicast);
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>, std::string> open_packet(const PacketOptions& options) {
  const unsigned index = if_nametoindex(options.interface.c_str());
  if (index == 0) {
    return fail("there is no interface " + options.interface +
                " here; make a pair with: ip link add " + options.interface +
                " type veth peer name PEER");
  }
  // Protocol 0 until it is bound, so that no other interface's frames get in.
  OwnedFd fd{socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd) return fail(no_socket(options));
  if (const auto done = listen_on(fd, static_cast<int>(index), options.interface); !done) {
    return fail(done.error());
  }
  Capabilities can;
  can.mtu = interface_mtu(options.interface);
  can.mac = interface_mac(options.interface);
  can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = options.offloads;
  can.rx_trusted = true;
  return std::make_unique<Packet>(std::move(fd), options.interface, can);
}

Result<std::unique_ptr<Device>, std::string> adopt_packet(OwnedFd fd, int index,
                                                          const std::string& name,
                                                          const MacAddress& mac,
                                                          std::uint32_t mtu) {
  if (const auto done = listen_on(fd, index, name); !done) return fail(done.error());
  Capabilities can;
  can.mtu = mtu;
  can.mac = mac;
  can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = true;
  can.rx_trusted = true;
  return std::make_unique<Packet>(std::move(fd), OwnedFd{}, name, can);
}

}  // namespace tidewire::device
