#include "front/gateway/host_datagrams.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace tidewire::gateway {

bool can_segment(int fd) noexcept {
  const int none = 0;
  return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof none) == 0;
}

void ask_for_coalescing(int fd) noexcept {
  const int on = 1;
  (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
}

bool send_datagrams(int fd, Bytes data, std::size_t segment,
                    const runtime::SocketAddress& to) noexcept {
  iovec piece{const_cast<std::byte*>(data.data()), data.size()};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(to.get());
  message.msg_namelen = to.length;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(std::uint16_t))] = {};
  if (segment != 0 && segment < data.size()) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = IPPROTO_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
    const auto size = static_cast<std::uint16_t>(segment);
    std::memcpy(CMSG_DATA(header), &size, sizeof size);
  }
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

bool refuses_segments(int error) noexcept {
  return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP;
}

HostDatagrams receive_datagrams(int fd, MutBytes out) noexcept {
  HostDatagrams got;
  iovec piece{out.data(), out.size()};
  alignas(cmsghdr) std::byte control[256];
  msghdr message{};
  message.msg_name = got.from.get();
  message.msg_namelen = got.from.length;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  got.size = recvmsg(fd, &message, MSG_DONTWAIT);
  if (got.size < 0) return got;
  got.from.length = message.msg_namelen;
  got.segment = static_cast<std::size_t>(got.size);
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
    int segment = 0;
    std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
    if (segment > 0 && segment < got.size) got.segment = static_cast<std::size_t>(segment);
  }
  return got;
}

}  // namespace tidewire::gateway
