// Receives system calls from the kernel and answers them.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "front/posix/fd.hpp"
#include "front/posix/features.hpp"

namespace tidewire::posix {

/// A system call that waits for its answer.
struct Call {
  std::uint64_t id = 0;
  std::uint32_t source = 0;  ///< which filter it came from (Notifiers)
  pid_t tid = 0;             ///< a thread, as this process sees it
  int number = 0;
  std::array<std::uint64_t, 6> args{};
};

/// Called by the thread that receives calls, each time it has queued one, to have it answered while
/// the owner's loop sleeps.
enum class Answered : std::uint8_t {
  all,      ///< and nothing is left for the loop to do: it can sleep on
  to_loop,  ///< the loop must be woken
  busy,     ///< the loop does not sleep; it will look, or sleep soon
};
using Ahead = std::function<Answered()>;

/// A thread receives and queues, so that a call leaves the window in which signals interrupt it as
/// soon as possible; the owner's loop takes and answers, or the thread itself (Ahead). Everything
/// but the constructor is for one thread at a time.
class Notifier {
 public:
  /// `ahead` may be empty: then the loop answers everything.
  Notifier(Fd listener, const Features& features, Ahead ahead);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  /// Readable while calls wait.
  int descriptor() const noexcept { return wake_.get(); }
  /// Takes one call, oldest first.
  bool next(Call& call);
  /// True if next() may have one.
  bool pending() const noexcept { return pending_.load(std::memory_order_acquire) != 0; }
  /// False once no task with the filter is left.
  bool live() const noexcept { return live_.load(std::memory_order_relaxed); }

  // Answers. False: the caller is gone or was interrupted.
  bool give_value(const Call& call, std::int64_t value);
  bool give_error(const Call& call, int error);
  /// Lets the kernel execute the call itself.
  bool let_through(const Call& call);
  /// Installs a copy of `fd` in the caller and makes its number the answer. Returns the number, -1
  /// if the caller did not get it.
  int give_fd(const Call& call, int fd, bool close_on_exec);
  /// Replaces the caller's descriptor `target` by a copy of `fd`; the call stays unanswered.
  bool replace_fd(const Call& call, int fd, int target, bool close_on_exec);
  bool still_waiting(const Call& call) const;

 private:
  struct Kept {
    int number;
    std::array<std::uint64_t, 6> args;
    std::int64_t value;
    int error;
  };
  bool send(const Call& call, std::int64_t value, int error, std::uint32_t flags);
  bool replay(const Call& call);
  bool receive(void* space, std::size_t size);
  bool answered_ahead();
  void wake_owner();
  void receive_loop();

  Fd listener_;
  Fd wake_;
  Fd stop_;
  Ahead ahead_;
  bool keep_answers_;
  std::atomic<bool> live_{true};
  std::atomic<std::uint32_t> pending_{0};  // calls in queue_
  std::mutex lock_;
  std::deque<Call> queue_;
  bool woken_ = false;                    // wake_ is readable, or will be at once
  std::unordered_map<pid_t, Kept> kept_;  // answers that found their caller interrupted
  std::thread thread_;
};

}  // namespace tidewire::posix
