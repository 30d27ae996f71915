#include "front/posix/epoll_items.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include "front/posix/fd.hpp"

namespace tidewire::posix {
namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void add_items(pid_t tid, int set, int fd, std::vector<EpollItem>& found) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", tid, set);
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path, "re"));
  char line[256];
  while (file && std::fgets(line, sizeof line, file.get()) != nullptr) {
    EpollItem item{.set = set};
    int number = -1;
    if (std::sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64, &number, &item.events,
                    &item.data) == 3 &&
        number == fd) {
      found.push_back(item);
    }
  }
}

// Runs in a thread whose table of descriptors is its own, so that every number is free to take. It
// is emptied before the thread ends: the thread's end is awaited, the end of its table could not
// be.
bool add_in_own_table(int set, int file, int number, epoll_event event) {
  if (::unshare(CLONE_FILES) != 0) return false;
  const int safe_set = ::fcntl(set, F_DUPFD_CLOEXEC, number + 1);
  const int safe_file = ::fcntl(file, F_DUPFD_CLOEXEC, number + 1);
  const bool added = safe_set >= 0 && safe_file >= 0 &&
                     ::dup3(safe_file, number, O_CLOEXEC) == number &&
                     ::epoll_ctl(safe_set, EPOLL_CTL_ADD, number, &event) == 0;
  ::close_range(0, ~0U, 0);
  return added;
}

}  // namespace

std::vector<EpollItem> epoll_items_of(pid_t tid, int fd) {
  std::vector<EpollItem> found;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd", tid);
  DIR* dir = ::opendir(path);
  if (dir == nullptr) return found;
  while (const dirent* entry = ::readdir(dir)) {
    char target[64];
    const ssize_t n = ::readlinkat(::dirfd(dir), entry->d_name, target, sizeof target);
    if (n > 0 &&
        std::string_view(target, static_cast<std::size_t>(n)) == "anon_inode:[eventpoll]") {
      add_items(tid, std::atoi(entry->d_name), fd, found);
    }
  }
  ::closedir(dir);
  return found;
}

bool add_epoll_item(int set, int file, int number, const EpollItem& item) {
  epoll_event event{};
  event.events = item.events;
  event.data.u64 = item.data;
  bool added = false;
  std::thread([&] { added = add_in_own_table(set, file, number, event); }).join();
  return added;
}

}  // namespace tidewire::posix
