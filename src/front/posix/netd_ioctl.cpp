// ioctl: how many bytes wait, and questions about interfaces.
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/abi/sockaddr.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr unsigned long stamp_requests[] = {0x8906, 0x8907};

void put_address(sockaddr& out, std::uint32_t host_order) {
  const RawAddress raw = to_raw({IpAddress::v4(host_order), 0, 0}, AF_INET);
  std::memcpy(&out, &raw.storage, sizeof out);
}

// Fills one answer about an interface; false for a request that is not known.
bool describe(const InterfaceInfo& about, unsigned long request, ifreq& r) {
  const std::uint32_t address = about.address.address.v4_value();
  const unsigned prefix = about.address.prefix_len;
  const std::uint32_t mask = prefix == 0 ? 0 : 0xffffffffU << (32 - std::min(prefix, 32U));
  switch (request) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
      put_address(r.ifr_addr, address);
      return true;
    case SIOCGIFBRDADDR:
      put_address(r.ifr_addr, about.loopback ? 0 : address | ~mask);
      return true;
    case SIOCGIFNETMASK:
      put_address(r.ifr_addr, mask);
      return true;
    case SIOCGIFFLAGS:
      r.ifr_flags = static_cast<short>(
          IFF_UP | IFF_RUNNING | (about.loopback ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST));
      return true;
    case SIOCGIFMETRIC:
      r.ifr_metric = 0;
      return true;
    case SIOCGIFMTU:
      r.ifr_mtu = static_cast<int>(about.mtu);
      return true;
    case SIOCGIFHWADDR:
      std::memset(&r.ifr_hwaddr, 0, sizeof r.ifr_hwaddr);
      r.ifr_hwaddr.sa_family = about.loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
      std::memcpy(r.ifr_hwaddr.sa_data, about.mac.octets.data(), about.mac.octets.size());
      return true;
    case SIOCGIFINDEX:
      r.ifr_ifindex = static_cast<int>(about.index);
      return true;
    case SIOCGIFTXQLEN:
      r.ifr_qlen = 1000;
      return true;
    default:
      return false;
  }
}

void put_name(ifreq& r, const InterfaceInfo& about) {
  std::memset(r.ifr_name, 0, sizeof r.ifr_name);
  std::memcpy(r.ifr_name, about.name.data(), std::min(about.name.size(), sizeof r.ifr_name - 1));
}

}  // namespace

Outcome Netd::on_ioctl(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  const unsigned long request = call.args[1];
  if (s.phase == Phase::netlink && request == FIONREAD) return Outcome::through();
  int value = 0;
  if (std::ranges::find(stamp_requests, request) != std::end(stamp_requests)) {
    return last_stamp(call, s, request == stamp_requests[1]);
  }
  switch (request) {
    case FIONREAD:
      if (s.phase == Phase::listening) return Outcome::error(EINVAL);
      if (s.is_stream() || t.app < 0) return Outcome::through();
      // The size of the next datagram, where the twin would add up all of them.
      pump_datagrams_down(s);
      value = static_cast<int>(std::max<ssize_t>(
          0, ::recv(t.app, scratch_.data(), scratch_.size(), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT)));
      break;
    case SIOCOUTQ:
      if (s.phase == Phase::listening) return Outcome::error(EINVAL);
      value = static_cast<int>(unsent(s));
      break;
    case SIOCATMARK:
      return s.is_stream() ? Outcome::through() : Outcome::error(EINVAL);
    default:
      return interface_ioctl(call, request);
  }
  return tasks_.write(call.tid, call.args[2], std::as_bytes(std::span(&value, 1)))
             ? Outcome::ok()
             : Outcome::error(EFAULT);
}

// Bytes that the program has sent and nobody has acknowledged.
std::size_t Netd::unsent(Socket& s) {
  int value = 0;
  if (s.peer && !s.filler) ::ioctl(s.peer.get(), FIONREAD, &value);
  if (s.tail && value > 0) --value;
  if (s.is_stream()) value += static_cast<int>(backend_.unacknowledged(s.ref));
  return static_cast<std::size_t>(value);
}

// SIOCGSTAMP: when the datagram that was read last arrived. Asking is what starts the recording.
Outcome Netd::last_stamp(const Call& call, Socket& s, bool nanoseconds) {
  s.stamps_wanted = true;
  if (s.last_stamp.tv_sec == 0) return Outcome::error(ENOENT);
  timespec stamp = s.last_stamp;
  if (!nanoseconds) stamp.tv_nsec /= 1000;
  return tasks_.write(call.tid, call.args[2], std::as_bytes(std::span(&stamp, 1)))
             ? Outcome::ok()
             : Outcome::error(EFAULT);
}

Outcome Netd::interface_ioctl(const Call& call, unsigned long request) {
  const auto all = backend_.interfaces();
  if (all.empty()) return Outcome::through();
  if (request == SIOCGIFCONF) {
    ifconf conf{};
    if (!tasks_.read(call.tid, call.args[2], std::as_writable_bytes(std::span(&conf, 1)))) {
      return Outcome::error(EFAULT);
    }
    const auto room = static_cast<std::size_t>(std::max(conf.ifc_len, 0)) / sizeof(ifreq);
    std::vector<ifreq> answers;
    for (const InterfaceInfo& about : all) {
      ifreq r{};
      put_name(r, about);
      put_address(r.ifr_addr, about.address.address.v4_value());
      answers.push_back(r);
    }
    if (conf.ifc_buf != nullptr) answers.resize(std::min(answers.size(), room));
    conf.ifc_len = static_cast<int>(answers.size() * sizeof(ifreq));
    const auto at = reinterpret_cast<std::uint64_t>(conf.ifc_buf);
    const bool written =
        (at == 0 || tasks_.write(call.tid, at, std::as_bytes(std::span(answers)))) &&
        tasks_.write(call.tid, call.args[2], std::as_bytes(std::span(&conf, 1)));
    return written ? Outcome::ok() : Outcome::error(EFAULT);
  }
  ifreq r{};
  if (!tasks_.read(call.tid, call.args[2], std::as_writable_bytes(std::span(&r, 1)))) {
    return Outcome::error(EFAULT);
  }
  for (const InterfaceInfo& about : all) {
    if (request == SIOCGIFNAME) {
      if (static_cast<int>(about.index) != r.ifr_ifindex) continue;
      put_name(r, about);
    } else {
      if (about.name != std::string_view(r.ifr_name, ::strnlen(r.ifr_name, IFNAMSIZ))) continue;
      if (!describe(about, request, r)) return Outcome::error(ENOTTY);
    }
    return tasks_.write(call.tid, call.args[2], std::as_bytes(std::span(&r, 1)))
               ? Outcome::ok()
               : Outcome::error(EFAULT);
  }
  return Outcome::error(ENODEV);
}

}  // namespace tidewire::posix
