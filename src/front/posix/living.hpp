// Finding out that a program closed a socket that has no peer to notice it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "front/posix/fd.hpp"

namespace tidewire::posix {

/// Watches sockets without keeping them open. With descriptor copies (pidfd_getfd) a private epoll
/// set serves: the kernel drops an entry at the last close, and fdinfo lists what is left. Without
/// them we hold a copy ourselves and look whether any process of the run holds the same inode.
class Living {
 public:
  explicit Living(bool copies);

  /// Processes that descend from `root` belong to the run.
  void add_root(pid_t root) { roots_.push_back(root); }
  void remove_root(pid_t root) { std::erase(roots_, root); }

  /// `app` is a copy of the program's end; without copies its `inode` is enough. Adding twice is
  /// harmless.
  void add(int app, std::uint32_t serial, std::uint64_t inode);
  /// The socket has a peer now, or is gone.
  void remove(int app, std::uint32_t serial);
  /// Forgets an entry the kernel already dropped.
  void forget(std::uint32_t serial) { watched_.erase(serial); }
  bool empty() const noexcept { return watched_.empty(); }
  /// The processes of the run.
  std::vector<pid_t> family() const;
  /// The watched sockets that no program holds any more.
  std::unordered_set<std::uint32_t> dead();

 private:
  std::unordered_set<std::uint32_t> listed() const;
  std::unordered_set<std::uint64_t> held_inodes() const;

  bool copies_;
  std::vector<pid_t> roots_;
  Fd epoll_;
  Fd slot_;  // every copy is registered under this one number, so that it can be found again
  std::unordered_map<std::uint32_t, std::uint64_t> watched_;  // serial to inode
};

/// The numbers that sockets have in a process, as far as we may know them.
std::vector<int> sockets_of(pid_t pid);

}  // namespace tidewire::posix
