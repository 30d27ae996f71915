// Lets another thread or a signal handler wake a loop.
#pragma once

#include <atomic>

#include "runtime/fd.hpp"

namespace tidewire::runtime {

/// An eventfd and a flag. request() may be called from any thread and from signal handlers, the
/// rest from the loop's thread.
class Wakeup {
 public:
  /// Throws std::system_error when the kernel gives no descriptor.
  Wakeup();

  void request() noexcept;
  bool requested() const noexcept { return requested_.load(std::memory_order_acquire); }
  /// Forgets all requests so far.
  void clear() noexcept;
  /// Readable while a request is pending.
  int descriptor() const noexcept { return event_.get(); }

 private:
  Fd event_;
  std::atomic<bool> requested_ = false;
};

}  // namespace tidewire::runtime
