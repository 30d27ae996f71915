// One stack in virtual time: its clock, its wire, and the threads that wait for it.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/memory.hpp"
#include "core/stack.hpp"
#include "front/packetdrill/flags.hpp"
#include "front/packetdrill/statistics.hpp"
#include "front/packetdrill/sysctls.hpp"

namespace tidewire::packetdrill {

/// Time moves only when the thread that made the host asks for it (gettimeofday, usleep, waiting
/// for a packet, a call that blocks). A call that blocks on another thread waits for a condition;
/// once it holds, time stands still until that thread has looked at the clock: its time stamp does
/// not depend on how the two threads are scheduled.
///
/// `Lock` is the lock that the caller holds on mutex(); everything here wants it held.
class Host final : private TxSink {
 public:
  using Lock = std::unique_lock<std::mutex>;
  using Condition = std::function<bool()>;

  explicit Host(const Flags& flags);

  std::mutex& mutex() noexcept { return mutex_; }
  Stack& stack() noexcept { return stack_; }
  Instant now() const noexcept { return now_; }

  /// At the start of every call: settings that changed meanwhile.
  void refresh();
  /// After every call that may have changed the stack: takes what it wants to send, and looks
  /// whether a waiting thread may go on.
  void settle();
  /// Called by settle() after each step; before the conditions are looked at.
  void on_step(std::function<void()> observer) { observer_ = std::move(observer); }

  /// Reads the clock, which moves by a microsecond: packetdrill spins on it.
  std::int64_t read_clock(Lock& lock);
  /// Lets time pass. On another thread than the owner's too: packetdrill's threads take turns.
  void sleep(Lock& lock, Duration span);
  /// Waits until `condition` holds. False: `deadline` came first, or nothing will ever make it
  /// hold.
  bool wait(Lock& lock, const Condition& condition, Instant deadline = Instant::never());

  /// A packet arrives.
  void arrive(Bytes packet);
  struct Sent {
    std::vector<std::byte> bytes;
    Instant at;
  };
  /// The next packet the stack sent; lets time pass until there is one. None: none will come.
  std::optional<Sent> next_sent(Lock& lock);

 private:
  struct Waiter {
    const Condition* condition = nullptr;
    Instant deadline = Instant::never();
    pid_t thread = 0;
    bool released = false;
  };

  void apply_sysctls();
  PushResult push(const TxFrame& frame) noexcept override;
  void trace(const char* direction, Bytes packet) const;
  bool on_owner() const noexcept { return std::this_thread::get_id() == owner_; }
  /// Waits, in real time, until the thread that was let go has done with its call: what the script
  /// says next may build on it.
  void await_rest(Lock& lock);
  /// Waits, in real time, for the stamp of a thread that was let go.
  void await_stamp(Lock& lock);
  Instant next_deadline();
  void step_to(Instant at);
  void run_until(Lock& lock, Instant target);
  void release_waiter();
  bool wait_here(Lock& lock, const Condition& condition, Instant deadline);

  const Flags flags_;
  SysctlFile sysctls_;
  StatisticsFile statistics_;
  std::thread::id owner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Instant now_;
  HeapMemory memory_;
  Stack stack_;
  InterfaceId interface_ = kNoInterface;
  std::size_t flushes_ = 0;
  bool link_full_ = false;
  std::deque<Sent> sent_;
  std::function<void()> observer_;
  Waiter* waiter_ = nullptr;  ///< packetdrill has one further thread
  bool stamp_owed_ = false;
  pid_t released_thread_ = 0;
};

}  // namespace tidewire::packetdrill
