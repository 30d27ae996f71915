#include "front/abi/options.hpp"

#include <asm/socket.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>

#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11
#endif

namespace tidewire::posix {
namespace {

constexpr int any = 0x7fffffff;
constexpr int negative = -any - 1;

constexpr OptionRow socket_rows[] = {
    {SOL_SOCKET, SO_REUSEADDR, Keeper::backend, Option::reuse_address, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_REUSEPORT, Keeper::backend, Option::reuse_port, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_KEEPALIVE, Keeper::backend, Option::keep_alive, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_BROADCAST, Keeper::backend, Option::broadcast, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_SNDBUF, Keeper::special, Option::send_buffer},
    {SOL_SOCKET, SO_RCVBUF, Keeper::special, Option::receive_buffer},
    {SOL_SOCKET, SO_LINGER, Keeper::special, Option::linger},
    {SOL_SOCKET, SO_ERROR, Keeper::special},
    {SOL_SOCKET, SO_TYPE, Keeper::fixed},
    {SOL_SOCKET, SO_DOMAIN, Keeper::fixed},
    {SOL_SOCKET, SO_PROTOCOL, Keeper::fixed},
    {SOL_SOCKET, SO_ACCEPTCONN, Keeper::fixed},
    {SOL_SOCKET, SO_RCVTIMEO, Keeper::native},
    {SOL_SOCKET, SO_SNDTIMEO, Keeper::native},
    {SOL_SOCKET, SO_RCVLOWAT, Keeper::native},
    {SOL_SOCKET, SO_SNDLOWAT, Keeper::native},
    {SOL_SOCKET, SO_OOBINLINE, Keeper::native},
    {SOL_SOCKET, SO_RCVTIMEO_NEW, Keeper::native},
    {SOL_SOCKET, SO_SNDTIMEO_NEW, Keeper::native},
    {SOL_SOCKET, SO_COOKIE, Keeper::native},
    {SOL_SOCKET, SO_DEBUG, Keeper::native},
    {SOL_SOCKET, SO_MARK, Keeper::native},
    {SOL_SOCKET, SO_PRIORITY, Keeper::stored},
    {SOL_SOCKET, SO_DONTROUTE, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_NO_CHECK, Keeper::stored},
    {SOL_SOCKET, SO_TIMESTAMP_OLD, Keeper::special},
    {SOL_SOCKET, SO_TIMESTAMPNS_OLD, Keeper::special},
    {SOL_SOCKET, SO_TIMESTAMP_NEW, Keeper::special},
    {SOL_SOCKET, SO_TIMESTAMPNS_NEW, Keeper::special},
    {SOL_SOCKET, SO_MEMINFO, Keeper::special},
    {SOL_SOCKET, SO_BUSY_POLL, Keeper::stored},
    {SOL_SOCKET, SO_INCOMING_CPU, Keeper::stored},
    {SOL_SOCKET, SO_MAX_PACING_RATE, Keeper::special, Option::max_pacing_rate, negative, any},
    {SOL_SOCKET, SO_RXQ_OVFL, Keeper::stored},
    {SOL_SOCKET, SO_BINDTODEVICE, Keeper::special},
    {SOL_SOCKET, SO_PEERCRED, Keeper::special},
    {SOL_SOCKET, SO_WIFI_STATUS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_NOFCS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {SOL_SOCKET, SO_PASSCRED, Keeper::refused, Option::none, EOPNOTSUPP},
    {SOL_SOCKET, SO_PASSSEC, Keeper::refused, Option::none, EOPNOTSUPP},
    {SOL_SOCKET, SO_SNDBUFFORCE, Keeper::refused, Option::none, EPERM},
    {SOL_SOCKET, SO_RCVBUFFORCE, Keeper::refused, Option::none, EPERM},
    {SOL_SOCKET, SO_DETACH_FILTER, Keeper::refused, Option::none, ENOENT},
    {SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, Keeper::refused, Option::none, ENOENT},
};

constexpr OptionRow tcp_rows[] = {
    {IPPROTO_TCP, TCP_NODELAY, Keeper::backend, Option::no_delay, negative, any, 1, 0, true},
    {IPPROTO_TCP, TCP_CORK, Keeper::backend, Option::cork, negative, any, 1, 0, true},
    {IPPROTO_TCP, TCP_QUICKACK, Keeper::backend, Option::quick_ack, negative, any, 1, 0, true},
    {IPPROTO_TCP, TCP_MAXSEG, Keeper::backend, Option::max_segment, 88, 32767, 1, 0},
    {IPPROTO_TCP, TCP_KEEPIDLE, Keeper::backend, Option::keep_idle, 1, 32767, 1, 0},
    {IPPROTO_TCP, TCP_KEEPINTVL, Keeper::backend, Option::keep_interval, 1, 32767, 1, 0},
    {IPPROTO_TCP, TCP_KEEPCNT, Keeper::backend, Option::keep_count, 1, 127, 1, 0},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Keeper::backend, Option::user_timeout, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_SYNCNT, Keeper::backend, Option::syn_count, 1, 127, 1, 0},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Keeper::backend, Option::defer_accept, negative, any, 1, 0},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, Keeper::backend, Option::window_clamp, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_LINGER2, Keeper::backend, Option::fin_timeout, negative, any, 1, 0},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, Keeper::backend, Option::unsent_low_water, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_FASTOPEN, Keeper::backend, Option::fast_open, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, Keeper::backend, Option::fast_open_connect, 0, 1, 1, 0},
    {IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, Keeper::backend, Option::fast_open_no_cookie, 0, 1, 1, 0},
    {IPPROTO_TCP, TCP_FASTOPEN_KEY, Keeper::special, Option::none, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_CONGESTION, Keeper::special, Option::none, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_INFO, Keeper::special, Option::none, 0, any, 1, 0},
    {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, Keeper::stored, Option::none, 0, 1, 1, 0},
    {IPPROTO_TCP, TCP_ULP, Keeper::refused, Option::none, ENOENT, any, 1, 0},
    {IPPROTO_TCP, TCP_REPAIR, Keeper::refused, Option::none, EPERM, any, 1, 0},
};

constexpr OptionRow ip_rows[] = {
    {IPPROTO_IP, IP_TTL, Keeper::backend, Option::ttl, 1, 255},
    {IPPROTO_IP, IP_TOS, Keeper::backend, Option::tos, negative, any},
    {IPPROTO_IP, IP_MULTICAST_TTL, Keeper::backend, Option::multicast_ttl, -1, 255},
    {IPPROTO_IP, IP_MULTICAST_LOOP, Keeper::backend, Option::multicast_loop, negative, any, 1, 1,
     true},
    {IPPROTO_IP, IP_MTU_DISCOVER, Keeper::backend, Option::mtu_discover, 0, 5},
    {IPPROTO_IP, IP_PKTINFO, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RECVTTL, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RECVTOS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RECVERR, Keeper::backend, Option::receive_errors, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RECVOPTS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RETOPTS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_TRANSPARENT, Keeper::refused, Option::none, EPERM},
    {IPPROTO_IP, IP_FREEBIND, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IP, IP_MULTICAST_ALL, Keeper::stored, Option::none, 0, 1},
    {IPPROTO_IP, IP_OPTIONS, Keeper::special},
    {IPPROTO_IP, IP_MULTICAST_IF, Keeper::special},
    {IPPROTO_IP, IP_ADD_MEMBERSHIP, Keeper::special},
    {IPPROTO_IP, IP_DROP_MEMBERSHIP, Keeper::special},
    {IPPROTO_IP, MCAST_JOIN_GROUP, Keeper::special},
    {IPPROTO_IP, MCAST_LEAVE_GROUP, Keeper::special},
    {IPPROTO_IP, IP_MTU, Keeper::special, Option::path_mtu},
};

constexpr OptionRow ip6_rows[] = {
    {IPPROTO_IPV6, IPV6_V6ONLY, Keeper::backend, Option::v6_only, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, Keeper::backend, Option::hop_limit, -1, 255},
    {IPPROTO_IPV6, IPV6_TCLASS, Keeper::backend, Option::traffic_class, -1, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, Keeper::backend, Option::multicast_hops, -1, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, Keeper::backend, Option::multicast_loop_v6, 0, 1},
    {IPPROTO_IPV6, IPV6_MULTICAST_IF, Keeper::backend, Option::multicast_interface_v6},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, Keeper::stored, Option::none, 0, 5},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVRTHDR, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVHOPOPTS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVDSTOPTS, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_RECVERR, Keeper::backend, Option::receive_errors_v6, negative, any, 1, 1,
     true},
    {IPPROTO_IPV6, IPV6_DONTFRAG, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, Keeper::stored, Option::none, negative, any, 1, 1, true},
    {IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, Keeper::special},
    {IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, Keeper::special},
    {IPPROTO_IPV6, MCAST_JOIN_GROUP, Keeper::special},
    {IPPROTO_IPV6, MCAST_LEAVE_GROUP, Keeper::special},
    {IPPROTO_IPV6, IPV6_MTU, Keeper::special},
};

constexpr OptionRow udp_rows[] = {
    {IPPROTO_UDP, UDP_CORK, Keeper::stored, Option::none, negative, any, 0, 1, true},
    {IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, Keeper::stored, Option::none, 0, any, 0, 1},
    {IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, Keeper::stored, Option::none, 0, any, 0, 1},
};

template <typename Match>
const OptionRow* search(Match match) {
  for (const std::span<const OptionRow> rows :
       {std::span<const OptionRow>(socket_rows), std::span<const OptionRow>(tcp_rows),
        std::span<const OptionRow>(ip_rows), std::span<const OptionRow>(ip6_rows),
        std::span<const OptionRow>(udp_rows)}) {
    for (const OptionRow& row : rows) {
      if (match(row)) return &row;
    }
  }
  return nullptr;
}

}  // namespace

const OptionRow* find_option(int level, int name) {
  return search([&](const OptionRow& row) { return row.level == level && row.name == name; });
}

const OptionRow* find_option(Option option) {
  if (option == Option::none) return nullptr;
  return search([&](const OptionRow& row) { return row.option == option; });
}

}  // namespace tidewire::posix
