// The seccomp filter that turns socket control calls into notifications.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace tidewire::posix {

struct FilterOptions {
  bool allow_io_uring = false;  ///< false: io_uring_setup says ENOSYS
  bool native_accept = false;   ///< lets calls pass that write to native_accept::region
};

/// Everything else is allowed untouched: data calls, poll, close, dup, fork and exec act on the
/// program's descriptors natively.
std::vector<sock_filter> build_filter(const FilterOptions& options);

}  // namespace tidewire::posix
