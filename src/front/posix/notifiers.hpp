// The system calls of all programs of a host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "front/posix/fd.hpp"
#include "front/posix/features.hpp"
#include "front/posix/notifier.hpp"

namespace tidewire::posix {

/// Asks the owner's loop to watch a notification descriptor (true) before anything else waits for
/// it, and not to (false) before it is closed. False: it could not, and a thread goes on receiving.
/// See Notifier::listener().
using WatchCalls = std::function<bool(int listener, bool watched)>;

/// One notifier for each program that was started under a filter of its own; a call knows which it
/// came from, and answers find their way back.
class Notifiers {
 public:
  Notifiers(const Features& features, WatchCalls watch)
      : features_(features), watch_(std::move(watch)) {}
  Notifiers(const Notifiers&) = delete;
  Notifiers& operator=(const Notifiers&) = delete;

  /// Takes the notification descriptor of one more program. What it returns is readable while calls
  /// of that program wait, and closed once the program is over.
  int add(Fd listener);
  /// As of Notifier, for that notification descriptor.
  bool receive(Call& call, int listener, bool readable);
  bool receive_another(Call& call, int listener);
  /// As of Notifier, for all that the owner's loop watches.
  void share(bool shared);
  /// As of Notifier; of several programs by turns.
  bool next(Call& call);
  /// False once no task with any of the filters is left.
  bool live() const noexcept;
  /// True if next() may have one.
  bool pending() const noexcept;

  // As of Notifier.
  bool give_value(const Call& call, std::int64_t value);
  bool give_error(const Call& call, int error);
  bool let_through(const Call& call);
  int give_fd(const Call& call, int fd, bool close_on_exec);
  bool replace_fd(const Call& call, int fd, int target, bool close_on_exec);
  bool still_waiting(const Call& call) const;

 private:
  struct Source {
    std::uint32_t number;
    std::unique_ptr<Notifier> notifier;
    bool watched;  ///< by the owner's loop
  };
  Notifier* of(const Call& call) const noexcept;
  Source* behind(int listener) noexcept;

  Features features_;
  WatchCalls watch_;  // may be empty
  bool shared_ = true;
  std::vector<Source> sources_;
  std::uint32_t last_ = 0;
  std::size_t turn_ = 0;
};

}  // namespace tidewire::posix
