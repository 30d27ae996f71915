#include "front/posix/task.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "front/posix/kernel_abi.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t max_pidfds = 256;
constexpr int ended_at_once = 64;

std::string read_small_file(const char* path) {
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text(4096, '\0');
  const ssize_t n = file ? ::read(file.get(), text.data(), text.size()) : -1;
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

std::uint64_t field(std::string_view status, std::string_view name, int base) {
  const std::size_t at = status.find(name);
  if (at == std::string_view::npos) return 0;
  std::size_t from = at + name.size();
  while (from < status.size() && (status[from] == '\t' || status[from] == ' ')) ++from;
  std::uint64_t value = 0;
  std::from_chars(status.data() + from, status.data() + status.size(), value, base);
  return value;
}

std::string status_of(pid_t tid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/status", tid);
  return read_small_file(path);
}

}  // namespace

Tasks::Tasks(const Features& features)
    : features_(features), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

bool Tasks::read(pid_t tid, std::uint64_t address, MutBytes out) const {
  if (out.empty()) return true;
  iovec local{out.data(), out.size()};
  iovec remote{reinterpret_cast<void*>(address), out.size()};
  return ::process_vm_readv(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(out.size());
}

bool Tasks::write(pid_t tid, std::uint64_t address, Bytes data) const {
  if (data.empty()) return true;
  iovec local{const_cast<std::byte*>(data.data()), data.size()};
  iovec remote{reinterpret_cast<void*>(address), data.size()};
  return ::process_vm_writev(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(data.size());
}

bool Tasks::write(pid_t tid, std::uint64_t first, Bytes first_data, std::uint64_t second,
                  Bytes second_data) const {
  if (first_data.empty()) return write(tid, second, second_data);
  const std::array local{iovec{const_cast<std::byte*>(first_data.data()), first_data.size()},
                         iovec{const_cast<std::byte*>(second_data.data()), second_data.size()}};
  const std::array remote{iovec{reinterpret_cast<void*>(first), first_data.size()},
                          iovec{reinterpret_cast<void*>(second), second_data.size()}};
  return ::process_vm_writev(tid, local.data(), 2, remote.data(), 2, 0) ==
         static_cast<ssize_t>(first_data.size() + second_data.size());
}

Tasks::Entry* Tasks::entry(pid_t tid, bool refresh) {
  if (const auto known = pidfds_.find(tid); known != pidfds_.end()) {
    if (!refresh) return &known->second;
    drop(tid);
  }
  Fd opened(abi::pidfd_open(tid, features_.pidfd_thread ? abi::pidfd_thread : 0));
  if (!opened) opened.reset(abi::pidfd_open(process_of(tid), 0));
  if (!opened) return nullptr;
  if (pidfds_.size() >= max_pidfds) drop(ages_.front());
  // The end of the task makes its descriptor readable.
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = tid;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, opened.get(), &event);
  ages_.push_back(tid);
  Entry made{std::move(opened), Fd{}, std::prev(ages_.end())};
  return &pidfds_.emplace(tid, std::move(made)).first->second;
}

void Tasks::drop(pid_t tid) {
  const auto known = pidfds_.find(tid);
  if (known == pidfds_.end()) return;
  ages_.erase(known->second.age);
  pidfds_.erase(known);
}

void Tasks::drop_ended() {
  std::array<epoll_event, ended_at_once> ended;
  const int n = ::epoll_wait(epoll_.get(), ended.data(), ended_at_once, 0);
  for (int i = 0; i < n; ++i) drop(ended[static_cast<std::size_t>(i)].data.fd);
}

int Tasks::pidfd(pid_t tid, bool refresh) {
  const Entry* known = entry(tid, refresh);
  return known == nullptr ? -1 : known->fd.get();
}

Fd Tasks::take(pid_t tid, int fd) {
  if (!features_.pidfd_getfd) return Fd{};
  for (const bool refresh : {false, true}) {
    const int task = pidfd(tid, refresh);
    if (task < 0) continue;
    Fd copy(abi::pidfd_getfd(task, fd));
    // ESRCH: the remembered task is gone and its number was given to another.
    if (copy || errno != ESRCH) return copy;
  }
  return Fd{};
}

std::uint64_t Tasks::key_of(int own_fd) const {
  if (features_.pidfd_getfd) {
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return ::getsockopt(own_fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
  }
  struct stat about{};
  return ::fstat(own_fd, &about) == 0 && S_ISSOCK(about.st_mode) ? about.st_ino : 0;
}

std::optional<AppFd> Tasks::identify(pid_t tid, int fd) {
  AppFd found;
  if (features_.pidfd_getfd) {
    found.copy = take(tid, fd);
    if (!found.copy) return std::nullopt;
    found.key = key_of(found.copy.get());
  } else {
    char path[64];
    char target[64];
    std::snprintf(path, sizeof path, "/proc/%d/fd/%d", tid, fd);
    const ssize_t n = ::readlink(path, target, sizeof target - 1);
    constexpr std::string_view prefix = "socket:[";
    if (n <= static_cast<ssize_t>(prefix.size())) return std::nullopt;
    const std::string_view text(target, static_cast<std::size_t>(n));
    if (!text.starts_with(prefix)) return std::nullopt;
    std::from_chars(text.data() + prefix.size(), text.data() + text.size(), found.key);
  }
  if (found.key == 0) return std::nullopt;
  return found;
}

bool Tasks::signal_pending(pid_t tid, bool process_wide_too) const {
  const std::string status = status_of(tid);
  if (status.empty()) return false;
  std::uint64_t pending = field(status, "\nSigPnd:", 16);
  // A signal for the whole process may be taken by any thread that does not block it.
  const std::uint64_t threads = field(status, "\nThreads:", 10);
  const bool main_thread = field(status, "\nTgid:", 10) == static_cast<std::uint64_t>(tid);
  if (threads == 1 || (main_thread && process_wide_too)) {
    pending |= field(status, "\nShdPnd:", 16);
  }
  return (pending & ~field(status, "\nSigBlk:", 16) & field(status, "\nSigCgt:", 16)) != 0;
}

bool Tasks::may_open_raw(pid_t tid) const {
  return (field(status_of(tid), "\nCapEff:", 16) >> CAP_NET_RAW & 1U) != 0;
}

pid_t Tasks::process_of(pid_t tid) const {
  const auto group = static_cast<pid_t>(field(status_of(tid), "\nTgid:", 10));
  return group > 0 ? group : tid;
}

bool Tasks::is_privileged_file(pid_t tid) const {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/exe", tid);
  struct stat about{};
  if (::stat(path, &about) != 0) return false;
  if ((about.st_mode & S_ISUID) != 0 && about.st_uid != ::geteuid()) return true;
  const bool group = (about.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
  return (group && about.st_gid != ::getegid()) ||
         ::getxattr(path, "security.capability", nullptr, 0) > 0;
}

// The file stays open: it tells the name of its process as it is then, and of no other.
std::string Tasks::program_of(pid_t tid) {
  for (const bool refresh : {false, true}) {
    Entry* known = entry(tid, refresh);
    if (known == nullptr) continue;
    if (!known->name) {
      char path[64];
      std::snprintf(path, sizeof path, "/proc/%d/comm", process_of(tid));
      known->name.reset(::open(path, O_RDONLY | O_CLOEXEC));
    }
    std::array<char, 64> text;
    const ssize_t n = ::pread(known->name.get(), text.data(), text.size(), 0);
    if (n > 0) return {text.data(), static_cast<std::size_t>(n) - (text[n - 1] == '\n' ? 1 : 0)};
  }
  return {};
}

}  // namespace tidewire::posix
