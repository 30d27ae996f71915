#include "front/posix/living.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace tidewire::posix {
namespace {

std::uint64_t number_after(std::string_view text, std::size_t from, int base) {
  while (from < text.size() && text[from] == ' ') ++from;
  std::uint64_t value = 0;
  std::from_chars(text.data() + from, text.data() + text.size(), value, base);
  return value;
}

std::string read_all(const char* path) {
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  char part[16384];
  ssize_t n = 0;
  while (file && (n = ::read(file.get(), part, sizeof part)) > 0) {
    text.append(part, static_cast<std::size_t>(n));
  }
  return text;
}

// A child belongs to the thread that started it.
void add_children(pid_t pid, std::vector<pid_t>& found) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR* dir = ::opendir(path);
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    char list[96];
    std::snprintf(list, sizeof list, "/proc/%d/task/%d/children", pid, std::atoi(entry->d_name));
    const std::string text = read_all(list);
    for (const char* at = text.c_str(); *at != '\0';) {
      char* end = nullptr;
      const long child = std::strtol(at, &end, 10);
      if (end == at) break;
      found.push_back(static_cast<pid_t>(child));
      at = end;
    }
  }
  ::closedir(dir);
}

// Calls `take` with the number and the inode of each socket.
template <typename Take>
void for_sockets_of(pid_t pid, Take take) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR* dir = ::opendir(path);
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    char target[64];
    const ssize_t n = ::readlinkat(::dirfd(dir), entry->d_name, target, sizeof target - 1);
    constexpr std::string_view prefix = "socket:[";
    if (n <= static_cast<ssize_t>(prefix.size())) continue;
    const std::string_view text(target, static_cast<std::size_t>(n));
    if (!text.starts_with(prefix)) continue;
    take(std::atoi(entry->d_name), number_after(text, prefix.size(), 10));
  }
  ::closedir(dir);
}

}  // namespace

Living::Living(bool copies)
    : copies_(copies),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      slot_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

void Living::add(int app, std::uint32_t serial, std::uint64_t inode) {
  if (copies_ && app < 0) return;
  watched_[serial] = inode;
  if (!copies_) return;
  epoll_event event{};
  event.data.u64 = serial;
  if (::dup3(app, slot_.get(), O_CLOEXEC) < 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, slot_.get(), &event);
  // The slot must not keep the socket open.
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ::dup3(null.get(), slot_.get(), O_CLOEXEC);
}

void Living::remove(int app, std::uint32_t serial) {
  if (watched_.erase(serial) == 0 || !copies_ || app < 0) return;
  if (::dup3(app, slot_.get(), O_CLOEXEC) < 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slot_.get(), nullptr);
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ::dup3(null.get(), slot_.get(), O_CLOEXEC);
}

std::unordered_set<std::uint32_t> Living::listed() const {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll_.get());
  const std::string text = read_all(path);
  std::unordered_set<std::uint32_t> found;
  constexpr std::string_view label = "data:";
  for (std::size_t at = text.find(label); at != std::string::npos; at = text.find(label, at + 1)) {
    found.insert(static_cast<std::uint32_t>(number_after(text, at + label.size(), 16)));
  }
  return found;
}

std::vector<pid_t> Living::family() const {
  std::vector<pid_t> found;
  for (const pid_t root : roots_) add_children(root, found);
  for (std::size_t i = 0; i < found.size(); ++i) add_children(found[i], found);
  return found;
}

std::unordered_set<std::uint64_t> Living::held_inodes() const {
  std::unordered_set<std::uint64_t> found;
  for (const pid_t pid : family()) {
    for_sockets_of(pid, [&](int, std::uint64_t inode) { found.insert(inode); });
  }
  return found;
}

std::unordered_set<std::uint32_t> Living::dead() {
  std::unordered_set<std::uint32_t> gone;
  if (watched_.empty()) return gone;
  if (copies_) {
    const auto alive = listed();
    for (const auto& [serial, inode] : watched_) {
      if (!alive.contains(serial)) gone.insert(serial);
    }
  } else {
    const auto alive = held_inodes();
    for (const auto& [serial, inode] : watched_) {
      if (!alive.contains(inode)) gone.insert(serial);
    }
  }
  return gone;
}

std::vector<int> sockets_of(pid_t pid) {
  std::vector<int> found;
  for_sockets_of(pid, [&](int fd, std::uint64_t) { found.push_back(fd); });
  return found;
}

}  // namespace tidewire::posix
