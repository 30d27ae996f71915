// The least TCP there can be on a TAP device without offloads: segments as a loop writes and reads
// them itself, and the device.
#pragma once

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "kernel_side.hpp"

namespace tidewire::bench::bare {

inline constexpr const char* kPeer = "10.77.0.1";
inline constexpr const char* kOwn = "10.77.0.2";
inline constexpr std::uint16_t kOwnPort = 40'000;
inline constexpr std::uint8_t kScale = 8;           // of the window announced
inline constexpr std::uint32_t kWindow = 4U << 20;  // bytes announced
inline constexpr std::uint32_t kText = 1460;        // bytes of a segment
inline constexpr std::size_t kEthernet = 14, kHeaders = kEthernet + 20 + 20;
enum Flag : std::uint8_t { kFin = 1, kSyn = 2, kRst = 4, kAck = 16 };

struct Segment {
  std::uint32_t seq = 0, ack = 0, window = 0, text = 0;  // window in units of the peer's scale
  std::uint8_t flags = 0;
  std::uint8_t scale = 0;  // of a SYN
  std::uint16_t own = 0;   // port; of a segment received
};

inline std::uint16_t get16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}
inline std::uint32_t get32(const std::uint8_t* at) {
  return std::uint32_t{get16(at)} << 16 | get16(at + 2);
}
inline void put16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
inline void put32(std::uint8_t* at, std::uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value);
}
inline std::uint32_t sum(const std::uint8_t* at, std::size_t size) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < size; i += 2) total += get16(at + i);
  return total;
}
inline std::uint32_t folded(std::uint32_t total) {
  total = (total & 0xffff) + (total >> 16);
  return ~(total + (total >> 16)) & 0xffff;
}
inline bool before(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b) < 0;
}

/// A TAP device without offloads, tw0, with the kernel at 10.77.0.1 and static neighbours.
class Tap {
 public:
  Tap() : fd_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) give_up("/dev/net/tun");
    ifreq request{};
    std::strcpy(request.ifr_name, "tw0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd_, TUNSETIFF, &request) != 0) give_up("TUNSETIFF");
    shell(
        "ip link set tw0 address 02:00:00:00:00:01 up txqueuelen 10000 && "
        "ip addr add 10.77.0.1/24 dev tw0 && "
        "ip neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev tw0 nud permanent");
    const std::array<std::uint8_t, kEthernet> ethernet{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    std::copy(ethernet.begin(), ethernet.end(), out_.begin());
    std::uint8_t* ip = out_.data() + kEthernet;
    ip[0] = 0x45;
    ip[6] = 0x40;  // DF
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    inet_pton(AF_INET, kOwn, ip + 12);
    inet_pton(AF_INET, kPeer, ip + 16);
  }
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;
  ~Tap() { close(fd_); }

  /// The packet, valid until the next call.
  std::span<const std::uint8_t> build(std::uint16_t port, const Segment& segment,
                                      std::uint16_t own = kOwnPort) {
    std::uint8_t* const ip = out_.data() + kEthernet;
    std::uint8_t* const tcp = ip + 20;
    const bool syn = (segment.flags & kSyn) != 0;
    const std::uint32_t header = syn ? 28 : 20;
    put16(ip + 2, 20 + header + segment.text);
    put16(ip + 10, 0);
    put16(ip + 10, folded(sum(ip, 20)));
    put16(tcp, own);
    put16(tcp + 2, port);
    put32(tcp + 4, segment.seq);
    put32(tcp + 8, segment.ack);
    tcp[12] = static_cast<std::uint8_t>(header << 2);
    tcp[13] = segment.flags;
    put16(tcp + 14, segment.window);
    put16(tcp + 16, 0);
    put16(tcp + 18, 0);
    put32(tcp + 20, syn ? 0x02040000 | kText : 0);
    put32(tcp + 24, syn ? 0x01030300U | kScale : 0);
    const std::uint32_t pseudo = sum(ip + 12, 8) + IPPROTO_TCP + header + segment.text;
    put16(tcp + 16, folded(pseudo + sum(tcp, header)));
    return std::span{out_}.first(kEthernet + 20 + header + segment.text);
  }
  /// False: the device has no room.
  bool send(std::uint16_t port, const Segment& segment, std::uint16_t own = kOwnPort) {
    const auto packet = build(port, segment, own);
    const ssize_t done = write(fd_, packet.data(), packet.size());
    if (done == static_cast<ssize_t>(packet.size())) return true;
    if (errno != EAGAIN && errno != ENOBUFS) give_up("write to the device");
    return false;
  }

  /// The next segment of the peer, if one is there. What is no TCP is passed over.
  bool receive(Segment& segment) {
    for (;;) {
      const ssize_t size = read(fd_, in_.data(), in_.size());
      if (size < 0 && errno != EAGAIN) give_up("read from the device");
      if (size < 0) return false;
      if (parse(size, segment)) return true;
    }
  }
  /// The segment that was read into room(); false if it is none.
  bool parse(ssize_t size, Segment& segment) const {
    const std::uint8_t* const ip = in_.data() + kEthernet;
    if (size < static_cast<ssize_t>(kHeaders) || ip[0] != 0x45 || ip[9] != IPPROTO_TCP) {
      return false;
    }
    const std::uint8_t* const tcp = ip + 20;
    const std::uint32_t header = (tcp[12] >> 4) * 4U;
    segment = {.seq = get32(tcp + 4),
               .ack = get32(tcp + 8),
               .window = get16(tcp + 14),
               .text = get16(ip + 2) - 20U - header,
               .flags = tcp[13],
               .own = get16(tcp + 2)};
    for (std::uint32_t at = 20; at + 2 < header && tcp[at] != 0;) {  // options of the SYN
      if (tcp[at] == 3) segment.scale = tcp[at + 2];
      at += tcp[at] == 1 ? 1U : std::max<std::uint32_t>(tcp[at + 1], 2);
    }
    return true;
  }
  std::span<std::uint8_t> room() { return in_; }
  int descriptor() const { return fd_; }
  /// Reads wait from now on.
  void block() {
    if (fcntl(fd_, F_SETFL, O_RDWR) != 0) give_up("fcntl");
  }

 private:
  int fd_;
  std::array<std::uint8_t, kHeaders + 8 + kText> out_{};
  std::array<std::uint8_t, 2048> in_;
};

}  // namespace tidewire::bench::bare
