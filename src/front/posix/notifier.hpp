// Receives system calls from the kernel and answers them.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

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

/// Calls are received as soon as they come, so that they leave the window in which signals
/// interrupt them: by the owner's loop if that sleeps and watches listener(), else by a thread that
/// does nothing else and queues them. A loop whose turns are short may do without the thread. The
/// loop answers.
class Notifier {
 public:
  Notifier(Fd listener, const Features& features);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  /// Readable while calls wait that the thread has received.
  int descriptor() const noexcept { return wake_.get(); }
  /// Readable while calls wait to be received. For a watch that is alone in being woken and was
  /// made before this notifier (kIoAlone of the poller).
  int listener() const noexcept { return listener_.get(); }
  /// Receives a call: false if there is none for the loop. To be called once after each look of the
  /// loop that found listener() readable (`readable`) or hung up.
  bool receive(Call& call, bool readable);
  /// Receives one more, if there is one: it may be newer than what the loop's look found elsewhere.
  bool receive_another(Call& call);
  /// Whether the thread, too, receives what comes while the loop works; at first it does.
  void share(bool shared);
  /// Takes one call that the thread has received, oldest first.
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
  bool look_and_take(Call& call);
  bool take(Call& call);
  bool receive_in_thread();
  void wake_owner();
  void receive_loop();

  Fd listener_;
  Fd wake_;
  Fd stop_;
  Fd epoll_;  // the thread's: stop_ and, behind the loop's watch, listener_
  bool keep_answers_;
  std::atomic<bool> live_{true};
  std::atomic<std::uint32_t> pending_{0};  // calls in queue_
  bool shared_ = true;                     // epoll_ has listener_
  std::mutex receive_lock_;         // held from a look at listener_ to the call that was seen
  std::vector<char> space_;         // for one call, with receive_lock_
  std::uint64_t thread_looks_ = 0;  // of the thread at listener_, with receive_lock_
  std::uint64_t known_looks_ = 0;   // those that the loop knows of
  std::mutex lock_;
  std::deque<Call> queue_;
  bool woken_ = false;                    // wake_ is readable
  std::unordered_map<pid_t, Kept> kept_;  // answers that found their caller interrupted
  std::thread thread_;
};

}  // namespace tidewire::posix
