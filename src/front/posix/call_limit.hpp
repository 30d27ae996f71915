// A limit of time for system calls that have none.
#pragma once

#include <time.h>

namespace tidewire::posix {

/// While it is set, a system call of this thread that waits fails with EINTR within a millisecond
/// or two, by a real-time signal that is nobody else's. For the thread that made it.
class CallLimit {
 public:
  CallLimit();
  ~CallLimit();
  CallLimit(const CallLimit&) = delete;
  CallLimit& operator=(const CallLimit&) = delete;

  /// False: the kernel gives no timer; then nothing is limited.
  bool usable() const noexcept { return usable_; }
  void set() noexcept { run(1'000'000); }
  void lift() noexcept { run(0); }

 private:
  void run(long nanoseconds) noexcept;

  timer_t timer_{};
  bool usable_ = false;
};

}  // namespace tidewire::posix
