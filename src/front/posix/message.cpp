#include "front/posix/message.hpp"

#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tidewire::posix {
namespace {

template <typename T>
void put(Message& m, int level, int type, const T& value) {
  put_control(m, level, type, as_bytes(&value, sizeof value));
}

in6_addr raw_v6(const IpAddress& address) {
  in6_addr raw;
  std::memcpy(&raw, address.mapped().octets().data(), sizeof raw);
  return raw;
}

void put_v4(Message& m, const Socket& s, const Datagram& about) {
  if (s.option(IPPROTO_IP, IP_PKTINFO) != 0) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(about.interface_index);
    info.ipi_addr.s_addr = htonl(about.destination.address.v4_value());
    info.ipi_spec_dst = info.ipi_addr;
    put(m, IPPROTO_IP, IP_PKTINFO, info);
  }
  if (s.option(IPPROTO_IP, IP_RECVTTL) != 0) put(m, IPPROTO_IP, IP_TTL, about.hop_limit);
  if (s.option(IPPROTO_IP, IP_RECVTOS) != 0) {
    put(m, IPPROTO_IP, IP_TOS, static_cast<std::uint8_t>(std::max(about.traffic_class, 0)));
  }
  if (s.option(IPPROTO_IP, IP_RECVORIGDSTADDR) != 0) {
    const RawAddress to =
        to_raw({about.destination.address.unmapped(), about.destination.port, 0}, AF_INET);
    put_control(m, IPPROTO_IP, IP_ORIGDSTADDR, to.bytes());
  }
}

// As the option that asks for it says: microseconds or nanoseconds.
void put_stamp(Message& m, int option, timespec arrived) {
  if (option == 0 || arrived.tv_sec == 0) return;
  if (option == SO_TIMESTAMP_OLD || option == SO_TIMESTAMP_NEW) arrived.tv_nsec /= 1000;
  put(m, SOL_SOCKET, option, arrived);
}

template <typename T>
bool read_value(Bytes data, T& value) {
  if (data.size() < sizeof value) return false;
  std::memcpy(&value, data.data(), sizeof value);
  return true;
}

int parse_v4(int type, Bytes data, SendMeta& meta) {
  int number = 0;
  switch (type) {
    case IP_PKTINFO: {
      in_pktinfo info{};
      if (!read_value(data, info)) return EINVAL;
      meta.interface_index = static_cast<std::uint32_t>(info.ipi_ifindex);
      if (info.ipi_spec_dst.s_addr != 0) {
        meta.source = IpAddress::v4(ntohl(info.ipi_spec_dst.s_addr));
      }
      return 0;
    }
    case IP_TTL:
      if (!read_value(data, number) || number < 1 || number > 255) return EINVAL;
      meta.hop_limit = number;
      return 0;
    case IP_TOS:
      if (data.size() == 1) {
        number = std::to_integer<int>(data[0]);
      } else if (!read_value(data, number)) {
        return EINVAL;
      }
      meta.traffic_class = number & 0xff;
      return 0;
    default:
      return EINVAL;
  }
}

int parse_v6(int type, Bytes data, SendMeta& meta) {
  int number = 0;
  switch (type) {
    case IPV6_PKTINFO: {
      in6_pktinfo info{};
      if (!read_value(data, info)) return EINVAL;
      meta.interface_index = info.ipi6_ifindex;
      std::array<std::uint8_t, 16> octets;
      std::memcpy(octets.data(), &info.ipi6_addr, octets.size());
      const IpAddress address = IpAddress::v6(octets).unmapped();
      if (!address.is_unspecified()) meta.source = address;
      return 0;
    }
    case IPV6_HOPLIMIT:
      if (data.size() != sizeof number || !read_value(data, number)) return EINVAL;
      if (number < -1 || number > 255) return EINVAL;
      meta.hop_limit = number;
      return 0;
    case IPV6_TCLASS:
      if (data.size() != sizeof number || !read_value(data, number)) return EINVAL;
      if (number < -1 || number > 255) return EINVAL;
      meta.traffic_class = number;
      return 0;
    default:
      return EINVAL;
  }
}

}  // namespace

void put_control(Message& m, int level, int type, Bytes data) {
  const std::size_t room = m.control_room - std::min(m.control_room, m.control.size());
  if (room < sizeof(cmsghdr)) {
    m.out_flags |= MSG_CTRUNC;
    return;
  }
  const std::size_t whole = CMSG_LEN(data.size());
  if (room < whole) m.out_flags |= MSG_CTRUNC;
  cmsghdr head{};
  head.cmsg_len = std::min(room, whole);
  head.cmsg_level = level;
  head.cmsg_type = type;
  std::vector<std::byte> piece(std::min<std::size_t>(room, CMSG_SPACE(data.size())));
  std::memcpy(piece.data(), &head, sizeof head);
  std::memcpy(piece.data() + CMSG_LEN(0), data.data(), head.cmsg_len - CMSG_LEN(0));
  m.control.insert(m.control.end(), piece.begin(), piece.end());
}

void put_datagram_controls(Message& m, const Socket& s, const QueuedDatagram& datagram) {
  const Datagram& about = datagram.about;
  put_stamp(m, s.stamp_option, datagram.arrived);
  const bool v4 = about.destination.address.unmapped().is_v4();
  if (s.domain == AF_INET6) {
    if (s.option(IPPROTO_IPV6, IPV6_RECVPKTINFO) != 0) {
      in6_pktinfo info{};
      info.ipi6_ifindex = about.interface_index;
      info.ipi6_addr = raw_v6(about.destination.address);
      put(m, IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    if (!v4 && s.option(IPPROTO_IPV6, IPV6_RECVHOPLIMIT) != 0) {
      put(m, IPPROTO_IPV6, IPV6_HOPLIMIT, about.hop_limit);
    }
    if (!v4 && s.option(IPPROTO_IPV6, IPV6_RECVTCLASS) != 0) {
      put(m, IPPROTO_IPV6, IPV6_TCLASS, std::max(about.traffic_class, 0));
    }
  }
  if (v4) put_v4(m, s, about);
}

void put_error_control(Message& m, int domain, const QueuedError& error) {
  const bool v4 = error.destination.address.unmapped().is_v4();
  struct {
    sock_extended_err about{};
    sockaddr_in6 offender{};
  } value;
  value.about.ee_errno = static_cast<std::uint32_t>(error.error);
  value.about.ee_origin = error.local ? SO_EE_ORIGIN_LOCAL
                          : v4        ? SO_EE_ORIGIN_ICMP
                                      : SO_EE_ORIGIN_ICMP6;
  value.about.ee_type = error.type;
  value.about.ee_code = error.code;
  value.about.ee_info = error.info;
  if (!error.local) {
    const RawAddress offender = to_raw({error.offender, 0, 0}, domain);
    std::memcpy(&value.offender, &offender.storage, offender.size);
  }
  const bool narrow = domain == AF_INET;
  const std::size_t size =
      sizeof value.about + (narrow ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
  put_control(m, narrow ? IPPROTO_IP : IPPROTO_IPV6, narrow ? IP_RECVERR : IPV6_RECVERR,
              as_bytes(&value, size));
}

Result<SendMeta, int> parse_controls(Bytes control, int domain) {
  SendMeta meta;
  while (control.size() >= sizeof(cmsghdr)) {
    cmsghdr head;
    std::memcpy(&head, control.data(), sizeof head);
    if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > control.size()) return fail(EINVAL);
    const Bytes data = control.subspan(CMSG_LEN(0), head.cmsg_len - CMSG_LEN(0));
    int error = 0;
    if (head.cmsg_level == IPPROTO_IP) {
      error = parse_v4(head.cmsg_type, data, meta);
    } else if (head.cmsg_level == IPPROTO_IPV6 && domain == AF_INET6) {
      error = parse_v6(head.cmsg_type, data, meta);
    } else if (head.cmsg_level == SOL_SOCKET && head.cmsg_type != SCM_RIGHTS &&
               head.cmsg_type != SCM_CREDENTIALS) {
      error = EINVAL;
    }
    if (error != 0) return fail(error);
    control = control.subspan(std::min<std::size_t>(control.size(), CMSG_ALIGN(head.cmsg_len)));
  }
  return meta;
}

}  // namespace tidewire::posix
