// Reaching into the programs of a run: memory, descriptors, signal state.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "front/posix/fd.hpp"
#include "front/posix/features.hpp"

namespace tidewire::posix {

/// A program's descriptor as seen from here.
struct AppFd {
  std::uint64_t key = 0;  ///< identity of the kernel's socket, the same for every dup of it
  Fd copy;                ///< a dup; absent where pidfd_getfd is denied
};

class Tasks {
 public:
  explicit Tasks(const Features& features);

  /// Readable once a task that was asked about has ended: then drop_ended().
  int descriptor() const noexcept { return epoll_.get(); }
  /// Closes the descriptors that are kept of tasks that have ended; where the kernel has none for
  /// threads (PIDFD_THREAD), of processes.
  void drop_ended();

  // Memory. False: EFAULT.
  bool read(pid_t tid, std::uint64_t address, MutBytes out) const;
  bool write(pid_t tid, std::uint64_t address, Bytes data) const;
  /// Two places at once.
  bool write(pid_t tid, std::uint64_t first, Bytes first_data, std::uint64_t second,
             Bytes second_data) const;

  /// Which socket descriptor `fd` of the thread is; none if it is no socket.
  std::optional<AppFd> identify(pid_t tid, int fd);
  /// The identity of a socket of this process.
  std::uint64_t key_of(int own_fd) const;
  /// A dup of the descriptor, without a look at what it is.
  Fd take(pid_t tid, int fd);
  /// True if copies of a program's descriptors can be had.
  bool can_copy() const noexcept { return features_.pidfd_getfd; }

  /// True if a signal that the thread handles is certainly pending for it.
  bool signal_pending(pid_t tid, bool process_wide_too) const;
  /// True if the kernel would let the thread open a raw socket (CAP_NET_RAW).
  bool may_open_raw(pid_t tid) const;
  /// The thread group; the thread itself if that is not to be had.
  pid_t process_of(pid_t tid) const;
  /// True if the file that the thread executes would give it privileges.
  bool is_privileged_file(pid_t tid) const;
  /// Short name of the program, "" if it is gone.
  std::string program_of(pid_t tid);

 private:
  struct Entry {
    Fd fd;
    Fd name;  ///< /proc/PID/comm of its process, once that was asked for
    std::list<pid_t>::iterator age;
  };
  Entry* entry(pid_t tid, bool refresh);
  void drop(pid_t tid);
  int pidfd(pid_t tid, bool refresh);

  Features features_;
  Fd epoll_;  // the entries' descriptors, by thread
  std::unordered_map<pid_t, Entry> pidfds_;
  std::list<pid_t> ages_;  // least recently opened first
};

}  // namespace tidewire::posix
