// What the running kernel offers to the interception.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tidewire::posix {

/// Optional kernel features. Each can be switched off, to behave as on a kernel without it.
struct Features {
  bool user_notification = false;  ///< seccomp listener with ADDFD and atomic send (5.14): needed
  bool wait_killable = false;      ///< SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (5.19)
  bool sync_wake_up = false;       ///< SECCOMP_IOCTL_NOTIF_SET_FLAGS (6.6)
  bool pidfd_thread = false;       ///< PIDFD_THREAD (6.9)
  bool pidfd_getfd = false;        ///< 5.6, but denied by the default filter of containers
  bool unix_oob = false;           ///< MSG_OOB on unix sockets (5.15)
  bool process_vm = false;         ///< process_vm_readv/writev: needed
};

/// Asks the kernel. Creates and ends one child process.
Features probe_features();

/// Switches off each feature in a comma-separated list (wait_killable, sync_wake_up, pidfd_thread,
/// pidfd_getfd, unix_oob). Returns the first unknown word, or an empty string.
std::string switch_off(Features& features, std::string_view words);

/// One line for each thing that is missing: what it is and what follows from that.
std::vector<std::string> explain_missing(const Features& features);

}  // namespace tidewire::posix
