// What a program's epoll sets hold of one of its descriptors, carried over when another file takes
// its number.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace tidewire::posix {

/// One descriptor in one epoll set. The kernel knows it by its file and its number together.
struct EpollItem {
  int set = -1;  ///< the epoll descriptor's number in its process
  std::uint32_t events = 0;
  std::uint64_t data = 0;
};

/// The sets of the thread's process that watch descriptor `fd`, as the kernel tells in fdinfo. Sets
/// of other processes that hold the same file are not found.
std::vector<EpollItem> epoll_items_of(pid_t tid, int fd);

/// Adds `file` to the epoll set `set` (both descriptors of this process) as if its number were
/// `number`, so that the program that shares the set can change and remove it under that number.
/// False if that failed.
bool add_epoll_item(int set, int file, int number, const EpollItem& item);

}  // namespace tidewire::posix
