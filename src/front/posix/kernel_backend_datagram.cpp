// Datagrams and options of the kernel backend.
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "front/abi/options.hpp"
#include "front/abi/sockaddr.hpp"
#include "front/posix/kernel_backend.hpp"

namespace tidewire::posix {
namespace {

bool is_error_control(int level, int type) {
  return (level == IPPROTO_IP && type == IP_RECVERR) ||
         (level == IPPROTO_IPV6 && type == IPV6_RECVERR);
}

struct Controls {
  alignas(cmsghdr) char room[256] = {};
  std::size_t used = 0;

  template <typename T>
  void add(int level, int type, const T& value) {
    auto* head = reinterpret_cast<cmsghdr*>(room + used);
    head->cmsg_level = level;
    head->cmsg_type = type;
    head->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(head), &value, sizeof value);
    used += CMSG_SPACE(sizeof value);
  }
};

void add_v4(Controls& c, const SendMeta& meta) {
  if (meta.source || meta.interface_index != 0) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(meta.interface_index);
    if (meta.source) info.ipi_spec_dst.s_addr = htonl(meta.source->v4_value());
    c.add(IPPROTO_IP, IP_PKTINFO, info);
  }
  if (meta.hop_limit >= 0) c.add(IPPROTO_IP, IP_TTL, meta.hop_limit);
  if (meta.traffic_class >= 0) c.add(IPPROTO_IP, IP_TOS, meta.traffic_class);
}

void add_v6(Controls& c, const SendMeta& meta) {
  if (meta.source || meta.interface_index != 0) {
    in6_pktinfo info{};
    info.ipi6_ifindex = meta.interface_index;
    if (meta.source) std::memcpy(&info.ipi6_addr, meta.source->mapped().octets().data(), 16);
    c.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  if (meta.hop_limit >= 0) c.add(IPPROTO_IPV6, IPV6_HOPLIMIT, meta.hop_limit);
  if (meta.traffic_class >= 0) c.add(IPPROTO_IPV6, IPV6_TCLASS, meta.traffic_class);
}

void read_control(const cmsghdr* head, Datagram& about) {
  const unsigned char* data = CMSG_DATA(head);
  int number = 0;
  if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO) {
    in_pktinfo info;
    std::memcpy(&info, data, sizeof info);
    about.interface_index = static_cast<std::uint32_t>(info.ipi_ifindex);
    about.destination.address = IpAddress::v4(ntohl(info.ipi_addr.s_addr));
  } else if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PKTINFO) {
    in6_pktinfo info;
    std::memcpy(&info, data, sizeof info);
    about.interface_index = info.ipi6_ifindex;
    std::array<std::uint8_t, 16> octets;
    std::memcpy(octets.data(), &info.ipi6_addr, octets.size());
    about.destination.address = IpAddress::v6(octets).unmapped();
  } else if ((head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_TTL) ||
             (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_HOPLIMIT)) {
    std::memcpy(&number, data, sizeof number);
    about.hop_limit = number;
  } else if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_TOS) {
    about.traffic_class = data[0];
  } else if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_TCLASS) {
    std::memcpy(&number, data, sizeof number);
    about.traffic_class = number;
  }
}

}  // namespace

int KernelBackend::send_datagram(SocketRef socket, Bytes payload, const SendMeta& meta, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  RawAddress to;
  if (meta.destination) to = to_raw(*meta.destination, e->domain);
  iovec part{const_cast<std::byte*>(payload.data()), payload.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (to.size != 0) {
    header.msg_name = &to.storage;
    header.msg_namelen = to.size;
  }
  Controls controls;
  if (e->domain == AF_INET) {
    add_v4(controls, meta);
  } else {
    add_v6(controls, meta);
  }
  if (controls.used != 0) {
    header.msg_control = controls.room;
    header.msg_controllen = controls.used;
  }
  return ::sendmsg(e->fd.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ? 0 : errno;
}

Result<Datagram, int> KernelBackend::receive_datagram(SocketRef socket, MutBytes buffer) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(EBADF);
  sockaddr_storage from{};
  alignas(cmsghdr) char control[256];
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_name = &from;
  header.msg_namelen = sizeof from;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(e->fd.get(), &header, MSG_TRUNC | MSG_DONTWAIT);
  if (n < 0) return fail(int{errno});
  Datagram about;
  about.size = static_cast<std::size_t>(n);
  const auto source = from_raw(as_bytes(&from, header.msg_namelen), e->domain);
  if (source) about.source = *source;
  for (const cmsghdr* head = CMSG_FIRSTHDR(&header); head != nullptr;
       head = CMSG_NXTHDR(&header, const_cast<cmsghdr*>(head))) {
    read_control(head, about);
  }
  about.destination.port = local(socket).port;
  return about;
}

std::optional<QueuedError> KernelBackend::take_queued_error(SocketRef socket, MutBytes quote) {
  Entry* e = entry(socket);
  if (e == nullptr) return std::nullopt;
  sockaddr_storage to{};
  alignas(cmsghdr) char control[256];
  iovec part{quote.data(), quote.size()};
  msghdr header{};
  header.msg_name = &to;
  header.msg_namelen = sizeof to;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(e->fd.get(), &header, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (n < 0) return std::nullopt;
  QueuedError found;
  found.size = static_cast<std::size_t>(n);
  const auto destination = from_raw(as_bytes(&to, header.msg_namelen), e->domain);
  if (destination) found.destination = *destination;
  for (const cmsghdr* head = CMSG_FIRSTHDR(&header); head != nullptr;
       head = CMSG_NXTHDR(&header, const_cast<cmsghdr*>(head))) {
    if (!is_error_control(head->cmsg_level, head->cmsg_type)) continue;
    sock_extended_err about;
    std::memcpy(&about, CMSG_DATA(head), sizeof about);
    found.error = static_cast<int>(about.ee_errno);
    found.local = about.ee_origin == SO_EE_ORIGIN_LOCAL;
    found.type = about.ee_type;
    found.code = about.ee_code;
    found.info = about.ee_info;
    const std::size_t rest = head->cmsg_len - CMSG_LEN(sizeof about);
    const auto offender = from_raw(as_bytes(CMSG_DATA(head) + sizeof about, rest), e->domain);
    if (offender) found.offender = offender->address;
  }
  return found;
}

int KernelBackend::set_option(SocketRef socket, Option option, int value, Instant) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  if (option == Option::linger) return 0;  // closing decides
  const OptionRow* row = find_option(option);
  if (row == nullptr) return ENOPROTOOPT;
  return ::setsockopt(e->fd.get(), row->level, row->name, &value, sizeof value) == 0 ? 0 : errno;
}

Result<int, int> KernelBackend::get_option(SocketRef socket, Option option) {
  Entry* e = entry(socket);
  const OptionRow* row = find_option(option);
  if (e == nullptr || row == nullptr) return fail(ENOPROTOOPT);
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(e->fd.get(), row->level, row->name, &value, &size) != 0) {
    return fail(int{errno});
  }
  return value;
}

int KernelBackend::membership(SocketRef socket, const Membership& change) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const bool join = change.action == Membership::Action::join;
  if (change.group.is_v6()) {
    ipv6_mreq request{};
    std::memcpy(&request.ipv6mr_multiaddr, change.group.octets().data(), 16);
    request.ipv6mr_interface = change.interface_index;
    const int name = join ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP;
    return ::setsockopt(e->fd.get(), IPPROTO_IPV6, name, &request, sizeof request) == 0 ? 0 : errno;
  }
  ip_mreqn request{};
  request.imr_multiaddr.s_addr = htonl(change.group.v4_value());
  request.imr_address.s_addr = htonl(change.interface_address.v4_value());
  request.imr_ifindex = static_cast<int>(change.interface_index);
  int name = join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
  if (change.action == Membership::Action::choose_interface) name = IP_MULTICAST_IF;
  return ::setsockopt(e->fd.get(), IPPROTO_IP, name, &request, sizeof request) == 0 ? 0 : errno;
}

int KernelBackend::set_fast_open_keys(SocketRef socket, Bytes keys, Instant) {
  const Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  return ::setsockopt(e->fd.get(), IPPROTO_TCP, TCP_FASTOPEN_KEY, keys.data(),
                      static_cast<socklen_t>(keys.size())) == 0
             ? 0
             : errno;
}

std::size_t KernelBackend::fast_open_keys(SocketRef socket, MutBytes out) {
  const Entry* e = entry(socket);
  auto size = static_cast<socklen_t>(out.size());
  const bool known = e != nullptr && ::getsockopt(e->fd.get(), IPPROTO_TCP, TCP_FASTOPEN_KEY,
                                                  out.data(), &size) == 0;
  return known ? size : 0;
}

// The kernel would take the data too, but whether it did can wait until the connection is there.
Result<std::size_t, int> KernelBackend::connect_send(SocketRef socket, const Endpoint& remote,
                                                     Bytes, Instant now) {
  const int error = connect(socket, remote, now);
  if (error != 0) return fail(error);
  return std::size_t{0};
}

int KernelBackend::set_congestion(SocketRef socket, std::string_view name) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  return ::setsockopt(e->fd.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(),
                      static_cast<socklen_t>(name.size())) == 0
             ? 0
             : errno;
}

std::string KernelBackend::congestion(SocketRef socket) {
  Entry* e = entry(socket);
  char name[16] = {};
  socklen_t size = sizeof name;
  if (e != nullptr) ::getsockopt(e->fd.get(), IPPROTO_TCP, TCP_CONGESTION, name, &size);
  return name;
}

std::size_t KernelBackend::info(SocketRef socket, MutBytes out) {
  Entry* e = entry(socket);
  auto size = static_cast<socklen_t>(out.size());
  const bool known =
      e != nullptr && ::getsockopt(e->fd.get(), IPPROTO_TCP, TCP_INFO, out.data(), &size) == 0;
  return known ? size : 0;
}

}  // namespace tidewire::posix
