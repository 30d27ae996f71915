// Control messages.
#include <ctime>  // before the next, which lacks it

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "front/packetdrill/sockets.hpp"

namespace tidewire::packetdrill {

/// TCP_INQ: what is left to read; of a stream that has ended, its end counts as one byte.
void Sockets::add_control(int fd, msghdr& message) {
  Socket* s = find(fd);
  const std::size_t room = std::exchange(message.msg_controllen, 0);
  if (s == nullptr || !s->inq) return;
  if (message.msg_control == nullptr || room < CMSG_SPACE(sizeof(int))) {
    message.msg_flags |= MSG_CTRUNC;
    return;
  }
  auto left = static_cast<int>(host_.stack().get_option(s->id, SocketOption::unread).value_or(0));
  if (left == 0 && holds(*s, kPeerClosed)) left = 1;
  message.msg_controllen = CMSG_SPACE(sizeof left);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_TCP;
  header->cmsg_type = TCP_CM_INQ;
  header->cmsg_len = CMSG_LEN(sizeof left);
  std::memcpy(CMSG_DATA(header), &left, sizeof left);
}

/// The end of sends with MSG_ZEROCOPY. Here as on Linux where the device cannot do it: what is sent
/// is copied, and each report says so.
ssize_t Sockets::receive_completion(int fd, msghdr& message) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if (s->zerocopy_told == s->zerocopy_sends) return -EAGAIN;
  struct {
    sock_extended_err error{};
    sockaddr_storage offender{};  // nobody
  } report;
  report.error.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
  report.error.ee_code = SO_EE_CODE_ZEROCOPY_COPIED;
  report.error.ee_info = s->zerocopy_told;       // the first and
  report.error.ee_data = s->zerocopy_sends - 1;  // the last of those that ended
  s->zerocopy_told = s->zerocopy_sends;
  const bool v6 = s->domain == AF_INET6;
  const std::size_t size = sizeof report.error + (v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  message.msg_flags = MSG_ERRQUEUE;
  if (message.msg_control == nullptr || message.msg_controllen < CMSG_SPACE(size)) {
    message.msg_flags |= MSG_CTRUNC;
    message.msg_controllen = 0;
    return 0;
  }
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  header->cmsg_type = v6 ? IPV6_RECVERR : IP_RECVERR;
  header->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(header), &report, size);
  message.msg_controllen = CMSG_SPACE(size);
  return 0;
}

}  // namespace tidewire::packetdrill
