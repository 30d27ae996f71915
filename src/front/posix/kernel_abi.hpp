// Kernel interfaces that are younger than the C library's headers.
#pragma once

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

namespace tidewire::posix::abi {

inline constexpr unsigned long filter_flag_wait_killable = 1UL << 5;
inline constexpr std::uint64_t notif_fd_sync_wake_up = 1;
inline constexpr unsigned long notif_set_flags = _IOW('!', 4, std::uint64_t);
inline constexpr unsigned pidfd_thread = 0200;  // O_EXCL
/// The kernel's own "restart or EINTR, as SA_RESTART says"; meaningful only with a signal pending.
inline constexpr int erestartsys = 512;

inline int pidfd_open(pid_t pid, unsigned flags) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, flags));
}
inline int pidfd_getfd(int pidfd, int fd) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, fd, 0U));
}
inline int seccomp(unsigned operation, unsigned long flags, void* argument) noexcept {
  return static_cast<int>(::syscall(SYS_seccomp, operation, flags, argument));
}

}  // namespace tidewire::posix::abi
