#include "front/posix/netlink.hpp"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if_arp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

namespace tidewire::posix {
namespace {

constexpr std::size_t datagram_bytes = 4096;
constexpr std::uint8_t operstate_up = 6;

/// Makes one message: a header, a fixed part and attributes.
class NetlinkMessage {
 public:
  NetlinkMessage(std::uint16_t type, std::uint16_t flags, const nlmsghdr& asked,
                 std::uint32_t port) {
    head_.nlmsg_type = type;
    head_.nlmsg_flags = flags;
    head_.nlmsg_seq = asked.nlmsg_seq;
    head_.nlmsg_pid = port;
    add(head_);
  }
  template <typename T>
  void add(const T& value) {
    append(as_bytes(&value, sizeof value));
  }
  void attribute(int type, Bytes data) {
    rtattr head{};
    head.rta_type = static_cast<unsigned short>(type);
    head.rta_len = static_cast<unsigned short>(RTA_LENGTH(data.size()));
    append(as_bytes(&head, sizeof head));
    append(data);
  }
  template <typename T>
  void attribute(int type, const T& value) {
    attribute(type, as_bytes(&value, sizeof value));
  }
  void text(int type, std::string_view value) {
    std::vector<std::byte> data(value.size() + 1);
    std::memcpy(data.data(), value.data(), value.size());
    attribute(type, Bytes(data));
  }
  void address(int type, const IpAddress& value) {
    if (value.is_v4()) {
      attribute(type, htonl(value.v4_value()));
    } else {
      attribute(type, value.octets());
    }
  }
  std::vector<std::byte> take() {
    head_.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &head_, sizeof head_);
    return std::move(bytes_);
  }

 private:
  void append(Bytes data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  nlmsghdr head_{};
  std::vector<std::byte> bytes_;
};

/// One request of a datagram, and where its replies go.
struct Request {
  nlmsghdr head{};
  Bytes body;
  std::uint32_t port = 0;
  std::vector<NetlinkReply>* replies = nullptr;

  bool is_dump() const { return (head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP; }
  std::uint16_t reply_flags() const { return is_dump() ? std::uint16_t{NLM_F_MULTI} : 0; }
  NetlinkMessage message(std::uint16_t type) const { return {type, reply_flags(), head, port}; }
  /// The fixed part, zeros where the request is shorter.
  template <typename T>
  T fixed() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
  /// The attribute `type` behind a fixed part of `skip` octets.
  std::optional<Bytes> attribute(std::size_t skip, int type) const {
    Bytes rest = body.subspan(std::min(body.size(), std::size_t{NLMSG_ALIGN(skip)}));
    while (rest.size() >= sizeof(rtattr)) {
      rtattr head_of;
      std::memcpy(&head_of, rest.data(), sizeof head_of);
      if (head_of.rta_len < sizeof head_of || head_of.rta_len > rest.size()) return std::nullopt;
      if ((head_of.rta_type & NLA_TYPE_MASK) == type) {
        return rest.subspan(sizeof head_of, head_of.rta_len - sizeof head_of);
      }
      rest = rest.subspan(std::min<std::size_t>(rest.size(), RTA_ALIGN(head_of.rta_len)));
    }
    return std::nullopt;
  }

  /// Replies share datagrams, as far as there is room.
  void reply(NetlinkMessage message) const {
    const std::vector<std::byte> bytes = message.take();
    const bool joins = is_dump() && !replies->empty() && !replies->back().empty() &&
                       replies->back().size() + bytes.size() <= datagram_bytes;
    if (!joins) replies->emplace_back();
    replies->back().insert(replies->back().end(), bytes.begin(), bytes.end());
  }
  /// An error, or with 0 the acknowledgement.
  void status(int error) const {
    NetlinkMessage message(NLMSG_ERROR, 0, head, port);
    nlmsgerr about{};
    about.error = -error;
    about.msg = head;
    message.add(about);
    replies->push_back(message.take());
  }
  void done() const {
    NetlinkMessage message(NLMSG_DONE, NLM_F_MULTI, head, port);
    message.add(int{0});
    replies->push_back(message.take());
  }
};

template <typename Answer>
std::vector<NetlinkReply> answer_each(Bytes requests, std::uint32_t port, Answer answer) {
  std::vector<NetlinkReply> replies;
  while (requests.size() >= sizeof(nlmsghdr)) {
    Request request;
    request.port = port;
    request.replies = &replies;
    std::memcpy(&request.head, requests.data(), sizeof request.head);
    const std::size_t size = request.head.nlmsg_len;
    if (size < sizeof(nlmsghdr) || size > requests.size()) break;
    request.body = requests.subspan(NLMSG_HDRLEN, size - NLMSG_HDRLEN);
    // Each dump starts a datagram of its own.
    const bool control = request.head.nlmsg_type < NLMSG_MIN_TYPE;
    const bool asks = (request.head.nlmsg_flags & NLM_F_REQUEST) != 0;
    if (asks && !control) {
      const std::size_t before = replies.size();
      if (request.is_dump()) replies.emplace_back();
      const int error = answer(request);
      if (request.is_dump() && replies[before].empty()) {
        replies.erase(replies.begin() + static_cast<std::ptrdiff_t>(before));
      }
      const bool wants_status = (request.head.nlmsg_flags & NLM_F_ACK) != 0;
      if (error == 0 && request.is_dump()) {
        request.done();
      } else if (error != 0 || wants_status) {
        request.status(error);
      }
    } else if (control && (request.head.nlmsg_flags & NLM_F_ACK) != 0) {
      request.status(0);
    }
    requests = requests.subspan(std::min<std::size_t>(requests.size(), NLMSG_ALIGN(size)));
  }
  return replies;
}

// --- links ---

std::uint32_t link_flags(const InterfaceInfo& i) {
  const std::uint32_t common = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
  return common |
         (i.loopback ? std::uint32_t{IFF_LOOPBACK} : std::uint32_t{IFF_BROADCAST | IFF_MULTICAST});
}

void put_link(const Request& request, const InterfaceInfo& i) {
  NetlinkMessage m = request.message(RTM_NEWLINK);
  ifinfomsg about{};
  about.ifi_type = i.loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
  about.ifi_index = static_cast<int>(i.index);
  about.ifi_flags = link_flags(i);
  m.add(about);
  m.text(IFLA_IFNAME, i.name);
  m.attribute(IFLA_TXQLEN, std::uint32_t{1000});
  m.attribute(IFLA_OPERSTATE, i.loopback ? std::uint8_t{0} : operstate_up);
  m.attribute(IFLA_LINKMODE, std::uint8_t{0});
  m.attribute(IFLA_MTU, i.mtu);
  m.attribute(IFLA_GROUP, std::uint32_t{0});
  m.text(IFLA_QDISC, "noqueue");
  m.attribute(IFLA_ADDRESS, i.mac.octets);
  std::array<std::uint8_t, 6> broadcast{};
  if (!i.loopback) broadcast.fill(0xff);
  m.attribute(IFLA_BROADCAST, broadcast);
  m.attribute(IFLA_STATS, rtnl_link_stats{});
  request.reply(std::move(m));
}

std::string_view text_of(Bytes data) {
  const auto* text = reinterpret_cast<const char*>(data.data());
  return {text, ::strnlen(text, data.size())};
}

int get_links(const Request& request, const NetlinkHost& host) {
  const auto wanted = request.fixed<ifinfomsg>();
  const auto name = request.attribute(sizeof wanted, IFLA_IFNAME);
  bool found = false;
  for (const InterfaceInfo& i : host.interfaces) {
    const bool fits = (wanted.ifi_index == 0 || wanted.ifi_index == static_cast<int>(i.index)) &&
                      (!name || text_of(*name) == i.name);
    if (!request.is_dump() && !fits) continue;
    put_link(request, i);
    found = true;
  }
  return found || request.is_dump() ? 0 : ENODEV;
}

// --- addresses ---

void put_address(const Request& request, const InterfaceInfo& i, const IpAddress& address,
                 unsigned prefix) {
  NetlinkMessage m = request.message(RTM_NEWADDR);
  ifaddrmsg about{};
  about.ifa_family = address.is_v4() ? AF_INET : AF_INET6;
  about.ifa_prefixlen = static_cast<std::uint8_t>(prefix);
  about.ifa_flags = IFA_F_PERMANENT;
  about.ifa_scope = i.loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  about.ifa_index = i.index;
  m.add(about);
  m.address(IFA_ADDRESS, address);
  if (address.is_v4()) {
    m.address(IFA_LOCAL, address);
    if (!i.loopback) {
      const std::uint32_t hosts = prefix == 0 ? ~0U : ~(~0U << (32 - std::min(prefix, 32U)));
      m.address(IFA_BROADCAST, IpAddress::v4(address.v4_value() | hosts));
    }
    m.text(IFA_LABEL, i.name);
  }
  m.attribute(IFA_FLAGS, std::uint32_t{IFA_F_PERMANENT});
  m.attribute(IFA_CACHEINFO, ifa_cacheinfo{~0U, ~0U, 0, 0});
  request.reply(std::move(m));
}

int get_addresses(const Request& request, const NetlinkHost& host) {
  const auto wanted = request.fixed<ifaddrmsg>();
  const auto asked_for = [&](int family) {
    return wanted.ifa_family == AF_UNSPEC || wanted.ifa_family == family;
  };
  for (const InterfaceInfo& i : host.interfaces) {
    if (wanted.ifa_index != 0 && wanted.ifa_index != i.index) continue;
    const IpAddress& address = i.address.address;
    if (asked_for(address.is_v4() ? AF_INET : AF_INET6)) {
      put_address(request, i, address, i.address.prefix_len);
    }
    if (i.loopback && address.is_v4() && asked_for(AF_INET6)) {
      put_address(request, i, IpAddress::loopback(Family::v6), 128);
    }
  }
  return 0;
}

// --- routes ---

struct Route {
  IpCidr destination;
  std::uint32_t interface = 0;
  std::optional<IpAddress> gateway;
  std::optional<IpAddress> source;
  std::uint8_t table = RT_TABLE_MAIN, type = RTN_UNICAST, scope = RT_SCOPE_UNIVERSE;
};

std::vector<Route> routes_of(const NetlinkHost& host) {
  std::vector<Route> routes;
  for (const InterfaceInfo& i : host.interfaces) {
    if (i.gateway) {
      Route& route = routes.emplace_back();
      route.destination = {IpAddress::any(i.gateway->family()), 0};
      route.interface = i.index;
      route.gateway = i.gateway;
    }
  }
  for (const InterfaceInfo& i : host.interfaces) {
    const IpAddress& address = i.address.address;
    if (!i.loopback) {
      Route& net = routes.emplace_back();
      net.destination = {i.address.network(), i.address.prefix_len};
      net.interface = i.index;
      net.source = address;
      net.scope = RT_SCOPE_LINK;
    }
    Route& local = routes.emplace_back();
    const std::uint8_t whole = address.is_v4() ? 32 : 128;
    local.destination = {i.loopback ? i.address.network() : address,
                         i.loopback ? i.address.prefix_len : whole};
    local.interface = i.index;
    local.source = address;
    local.table = RT_TABLE_LOCAL;
    local.type = RTN_LOCAL;
    local.scope = RT_SCOPE_HOST;
  }
  return routes;
}

void put_route(const Request& request, const Route& route, const IpCidr& shown) {
  NetlinkMessage m = request.message(RTM_NEWROUTE);
  rtmsg about{};
  about.rtm_family = shown.address.is_v4() ? AF_INET : AF_INET6;
  about.rtm_dst_len = static_cast<std::uint8_t>(shown.prefix_len);
  about.rtm_table = route.table;
  about.rtm_protocol = route.gateway ? RTPROT_BOOT : RTPROT_KERNEL;
  about.rtm_scope = route.scope;
  about.rtm_type = route.type;
  m.add(about);
  m.attribute(RTA_TABLE, std::uint32_t{route.table});
  if (shown.prefix_len != 0) m.address(RTA_DST, shown.address);
  if (route.source) m.address(RTA_PREFSRC, *route.source);
  if (route.gateway) m.address(RTA_GATEWAY, *route.gateway);
  m.attribute(RTA_OIF, route.interface);
  request.reply(std::move(m));
}

std::optional<IpAddress> address_in(Bytes data) {
  if (data.size() == 4) {
    std::uint32_t value;
    std::memcpy(&value, data.data(), sizeof value);
    return IpAddress::v4(ntohl(value));
  }
  if (data.size() != 16) return std::nullopt;
  std::array<std::uint8_t, 16> octets;
  std::memcpy(octets.data(), data.data(), octets.size());
  return IpAddress::v6(octets);
}

// The way to one address: of the most specific route.
int get_way(const Request& request, const std::vector<Route>& routes) {
  const auto raw = request.attribute(sizeof(rtmsg), RTA_DST);
  const auto to = raw ? address_in(*raw) : std::nullopt;
  if (!to) return EINVAL;
  const Route* best = nullptr;
  for (const Route& route : routes) {
    if (route.destination.address.family() != to->family()) continue;
    if (!route.destination.contains(*to)) continue;
    if (best == nullptr || best->destination.prefix_len < route.destination.prefix_len) {
      best = &route;
    }
  }
  if (best == nullptr) return ENETUNREACH;
  Route way = *best;
  way.scope = RT_SCOPE_UNIVERSE;
  for (const Route& route : routes) {
    if (!way.source && route.interface == way.interface) way.source = route.source;
  }
  put_route(request, way, {*to, static_cast<std::uint8_t>(to->is_v4() ? 32 : 128)});
  return 0;
}

int get_routes(const Request& request, const NetlinkHost& host) {
  const std::vector<Route> routes = routes_of(host);
  if (!request.is_dump()) return get_way(request, routes);
  const auto wanted = request.fixed<rtmsg>();
  for (const Route& route : routes) {
    const int family = route.destination.address.is_v4() ? AF_INET : AF_INET6;
    if (wanted.rtm_family != AF_UNSPEC && wanted.rtm_family != family) continue;
    if (wanted.rtm_table != RT_TABLE_UNSPEC && wanted.rtm_table != route.table) continue;
    put_route(request, route, route.destination);
  }
  return 0;
}

int answer_route_request(const Request& request, const NetlinkHost& host) {
  switch (request.head.nlmsg_type) {
    case RTM_GETLINK:
      return get_links(request, host);
    case RTM_GETADDR:
      return request.is_dump() ? get_addresses(request, host) : EOPNOTSUPP;
    case RTM_GETROUTE:
      return get_routes(request, host);
    default:
      break;
  }
  // Each kind of object has four messages: new, delete, get, set.
  const unsigned verb = (request.head.nlmsg_type - RTM_BASE) % 4U;
  if (verb != 2) return EPERM;
  return request.is_dump() ? 0 : EOPNOTSUPP;
}

// --- sockets ---

int protocol_of(Transport transport) {
  if (transport == Transport::tcp) return IPPROTO_TCP;
  return transport == Transport::udp ? int{IPPROTO_UDP} : int{IPPROTO_UDPLITE};
}

void put_octets(const IpAddress& address, __be32 (&out)[4]) {
  std::memset(out, 0, sizeof out);
  if (address.is_v4()) {
    out[0] = htonl(address.v4_value());
  } else {
    std::memcpy(out, address.octets().data(), 16);
  }
}

int list_sockets(const Request& request, const NetlinkHost& host) {
  const auto wanted = request.fixed<inet_diag_req_v2>();
  if (wanted.sdiag_family != AF_INET && wanted.sdiag_family != AF_INET6) return ENOENT;
  if (!request.is_dump()) return ENOENT;
  for (const ListedSocket& s : host.sockets) {
    if (s.transport == Transport::icmp_echo || protocol_of(s.transport) != wanted.sdiag_protocol) {
      continue;
    }
    if (s.domain != wanted.sdiag_family || (wanted.idiag_states >> s.state & 1U) == 0) continue;
    NetlinkMessage m = request.message(SOCK_DIAG_BY_FAMILY);
    inet_diag_msg about{};
    about.idiag_family = static_cast<std::uint8_t>(s.domain);
    about.idiag_state = s.state;
    const bool v6 = s.domain == AF_INET6;
    about.id.idiag_sport = htons(s.local.port);
    about.id.idiag_dport = htons(s.remote.port);
    put_octets(v6 ? s.local.address.mapped() : s.local.address, about.id.idiag_src);
    put_octets(v6 ? s.remote.address.mapped() : s.remote.address, about.id.idiag_dst);
    about.idiag_rqueue = s.receive_queue;
    about.idiag_wqueue = s.send_queue;
    about.idiag_inode = static_cast<std::uint32_t>(s.inode);
    m.add(about);
    request.reply(std::move(m));
  }
  return 0;
}

}  // namespace

std::vector<NetlinkReply> answer_route(Bytes requests, const NetlinkHost& host,
                                       std::uint32_t port) {
  return answer_each(requests, port,
                     [&](const Request& request) { return answer_route_request(request, host); });
}

std::vector<NetlinkReply> answer_diag(Bytes requests, const NetlinkHost& host, std::uint32_t port) {
  return answer_each(requests, port, [&](const Request& request) {
    return request.head.nlmsg_type == SOCK_DIAG_BY_FAMILY ? list_sockets(request, host) : ENOENT;
  });
}

}  // namespace tidewire::posix
