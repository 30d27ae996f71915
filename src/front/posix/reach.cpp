#include "front/posix/reach.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "front/posix/fd.hpp"
#include "front/posix/kernel_abi.hpp"

namespace tidewire::posix {
namespace {

// Yama's ptrace_scope: 1 lets a process look into its descendants only.
bool yama_restricts() {
  const Fd file(::open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC));
  char value = '0';
  return file && ::read(file.get(), &value, 1) == 1 && value != '0';
}

bool can_copy(pid_t pid) {
  const Fd process(abi::pidfd_open(pid, 0));
  if (!process) return false;
  const Fd got(abi::pidfd_getfd(process.get(), 2));
  return got || errno == EBADF;
}

}  // namespace

std::string explain_out_of_reach(pid_t pid, std::uint64_t cell, std::uint64_t word, bool copies) {
  if (pid <= 0) return "the command that wants to join is in another process namespace";
  std::uint64_t found = 0;
  iovec local{&found, sizeof found};
  iovec remote{reinterpret_cast<void*>(cell), sizeof found};
  const bool read = ::process_vm_readv(pid, &local, 1, &remote, 1, 0) == sizeof found;
  const int error = errno;
  if (read && found != word) {
    return "the command that wants to join is in another process namespace";
  }
  if (read && (!copies || can_copy(pid))) return {};
  if (yama_restricts()) {
    return "the kernel lets a process look into its own descendants only (Yama), so programs of "
           "another command cannot be served; as root: sysctl kernel.yama.ptrace_scope=0, or start "
           "the programs from one command";
  }
  return "programs of the command that wants to join cannot be served from here: " +
         std::string(std::strerror(read ? EPERM : error));
}

bool is_child_of(pid_t child, pid_t parent) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", child);
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[512];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text - 1) : -1;
  if (n <= 0) return false;
  text[n] = '\0';
  // The name may hold blanks and parentheses: the last one ends it.
  const char* after = std::strrchr(text, ')');
  int number = 0;
  return after != nullptr && std::sscanf(after + 1, " %*c %d", &number) == 1 && number == parent;
}

bool is_listener(int fd) {
  char path[64];
  char target[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(path, target, sizeof target);
  if (n <= 0) return false;
  return std::string_view(target, static_cast<std::size_t>(n)) == "anon_inode:seccomp notify";
}

}  // namespace tidewire::posix
