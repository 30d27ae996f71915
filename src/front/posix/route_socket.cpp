#include "front/posix/route_socket.hpp"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/bytes.hpp"

namespace tidewire::posix {

/// One message: a header of its kind, then attributes, which may nest.
class RouteSocket::Request {
 public:
  template <typename Header>
  Request(std::uint16_t type, std::uint16_t flags, const Header& header) {
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    append(&head, sizeof head);
    append(&header, sizeof header);
  }
  /// Bytes outside of any attribute, as the header of a peer is.
  template <typename Header>
  void put_raw(const Header& header) {
    append(&header, sizeof header);
  }
  void put(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = begin(type);
    append(data, size);
    end(at);
  }
  void put_number(std::uint16_t type, std::uint32_t value) { put(type, &value, sizeof value); }
  void put_text(std::uint16_t type, std::string_view text) {
    const std::size_t at = begin(type);
    append(text.data(), text.size());
    append("", 1);
    end(at);
  }
  void put_mac(std::uint16_t type, const MacAddress& mac) {
    put(type, mac.octets.data(), mac.octets.size());
  }
  void put_v4(std::uint16_t type, const IpAddress& address) {
    const std::uint32_t value = htonl(address.v4_value());
    put(type, &value, sizeof value);
  }
  std::size_t begin(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    rtattr attribute{};
    attribute.rta_type = type;
    append(&attribute, sizeof attribute);
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
  }
  std::vector<std::byte>& finish(std::uint32_t sequence) {
    auto* head = reinterpret_cast<nlmsghdr*>(bytes_.data());
    head->nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    head->nlmsg_seq = sequence;
    return bytes_;
  }

 private:
  void append(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  std::vector<std::byte> bytes_;
};

RouteSocket RouteSocket::open() {
  RouteSocket made;
  made.fd_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  return made;
}

int RouteSocket::ask(Request& request) {
  const std::vector<std::byte>& bytes = request.finish(++sequence_);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return errno;
  alignas(nlmsghdr) std::array<std::byte, 4096> answer;
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), answer.data(), answer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return n < 0 ? errno : EIO;
    const auto* head = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (head->nlmsg_seq != sequence_ || head->nlmsg_type != NLMSG_ERROR) continue;
    return -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(head))->error;
  }
}

int RouteSocket::add_dummy(const std::string& name, const MacAddress& mac, std::uint32_t mtu) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.put_text(IFLA_IFNAME, name);
  request.put_mac(IFLA_ADDRESS, mac);
  request.put_number(IFLA_MTU, mtu);
  const std::size_t about = request.begin(IFLA_LINKINFO);
  request.put_text(IFLA_INFO_KIND, "dummy");
  request.end(about);
  return ask(request);
}

int RouteSocket::add_veth(const std::string& name, const MacAddress& mac, std::uint32_t mtu,
                          const std::string& peer, const MacAddress& peer_mac, int peer_namespace) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.put_text(IFLA_IFNAME, name);
  request.put_mac(IFLA_ADDRESS, mac);
  request.put_number(IFLA_MTU, mtu);
  const std::size_t about = request.begin(IFLA_LINKINFO);
  request.put_text(IFLA_INFO_KIND, "veth");
  const std::size_t data = request.begin(IFLA_INFO_DATA);
  const std::size_t other = request.begin(VETH_INFO_PEER);
  request.put_raw(ifinfomsg{});
  request.put_text(IFLA_IFNAME, peer);
  request.put_mac(IFLA_ADDRESS, peer_mac);
  request.put_number(IFLA_MTU, mtu);
  request.put_number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer_namespace));
  request.end(other);
  request.end(data);
  request.end(about);
  return ask(request);
}

int RouteSocket::set_up(unsigned index, bool address_resolution) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(index);
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  if (!address_resolution) {
    header.ifi_flags |= unsigned{IFF_NOARP};
    header.ifi_change |= unsigned{IFF_NOARP};
  }
  Request request(RTM_NEWLINK, 0, header);
  return ask(request);
}

int RouteSocket::set_mtu(unsigned index, std::uint32_t mtu) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(index);
  Request request(RTM_NEWLINK, 0, header);
  request.put_number(IFLA_MTU, mtu);
  return ask(request);
}

int RouteSocket::add_address(unsigned index, const IpCidr& address) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = address.prefix_len;
  header.ifa_index = index;
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  const std::uint32_t hosts =
      address.prefix_len >= 32 ? 0 : ~std::uint32_t{0} >> address.prefix_len;
  request.put_v4(IFA_LOCAL, address.address);
  request.put_v4(IFA_ADDRESS, address.address);
  request.put_v4(IFA_BROADCAST, IpAddress::v4(address.address.v4_value() | hosts));
  return ask(request);
}

int RouteSocket::add_default_route(unsigned index, const IpAddress& gateway) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header);
  request.put_v4(RTA_GATEWAY, gateway);
  request.put_number(RTA_OIF, index);
  return ask(request);
}

}  // namespace tidewire::posix
