// Messages with a descriptor along (SCM_RIGHTS).
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace tidewire::runtime {

/// sendmsg(2) of `size` bytes, and of a copy of `passed` unless that is -1. Allocates nothing. The
/// bytes sent, or -1 with errno.
inline ssize_t send_with_fd(int socket, const void* bytes, std::size_t size, int passed) noexcept {
  iovec part{const_cast<void*>(bytes), size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  if (passed >= 0) {
    header.msg_control = room;
    header.msg_controllen = sizeof room;
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &passed, sizeof passed);
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL);
}

/// recvmsg(2) of at most `size` bytes, again after EINTR. A descriptor that came along is in
/// `passed`, close-on-exec and the caller's, else -1; of several the kernel closes all but the
/// first. The bytes received, or -1 with errno.
inline ssize_t receive_with_fd(int socket, void* bytes, std::size_t size, int flags,
                               int& passed) noexcept {
  passed = -1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))];
  iovec part{bytes, size};
  msghdr header{};
  ssize_t n = 0;
  do {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = room;
    header.msg_controllen = CMSG_LEN(sizeof(int));  // no room behind the first
    n = ::recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return n;
  const cmsghdr* head = CMSG_FIRSTHDR(&header);
  if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
    std::memcpy(&passed, CMSG_DATA(head), sizeof passed);
  }
  return n;
}

}  // namespace tidewire::runtime
