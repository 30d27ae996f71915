// Waits for descriptors and for a point in time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "runtime/fd.hpp"

struct epoll_event;

namespace tidewire::runtime {

/// What a descriptor is watched for, and what was found.
enum Io : std::uint32_t {
  kIoNone = 0,
  kIoRead = 1,
  kIoWrite = 2,
  kIoHangUp = 4,       ///< found only: both directions are closed
  kIoError = 8,        ///< found only: a pending error (also: the error queue has something)
  kIoPriority = 16,    ///< urgent data
  kIoErrorsOnly = 32,  ///< watched for: nothing but kIoHangUp and kIoError
  /// With kIoRead, from add() on and for good: of those that wait for the descriptor through
  /// watches of this kind the first one that sleeps is woken, and no other (EPOLLEXCLUSIVE).
  kIoAlone = 64
};

class IoHandler {
 public:
  /// `ready` holds Io bits. May add, change and remove watches, its own included.
  virtual void on_io(int fd, std::uint32_t ready, Instant now) = 0;

 protected:
  ~IoHandler() = default;
};

/// Names a watch; a stale one is recognised.
struct WatchId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  ///< 0: none
  explicit constexpr operator bool() const noexcept { return generation != 0; }
};

/// epoll and one timerfd. Level triggered. One thread uses it. Descriptors stay the caller's; a
/// watch must be removed before its descriptor is closed.
class Poller {
 public:
  /// Throws std::system_error when the kernel gives no descriptors.
  Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// The error is an errno value. `handler` must live until remove().
  Result<WatchId, int> add(int fd, std::uint32_t interest, IoHandler& handler);
  /// With kIoNone the watch sleeps: not even errors and hang-ups are told.
  void set(WatchId watch, std::uint32_t interest) noexcept;
  void remove(WatchId watch) noexcept;
  /// As remove(), for the last reference to an open file, which the caller closes at once: that
  /// ends the kernel's part.
  void remove_closing(WatchId watch) noexcept;

  /// Waits until something is ready or `deadline` has passed, then calls the handlers. Of a
  /// deadline that is known to have passed Instant::from_nanos(0) costs less. Does not sleep during
  /// the first `spin`, which saves the wake-up of an idle processor. Returns how many handlers were
  /// called.
  std::size_t wait(Instant deadline, Duration spin = {});

 private:
  struct Slot {
    int fd = -1;
    std::uint32_t generation = 1;
    std::uint32_t interest = kIoNone;
    bool used = false;
    bool registered = false;
    IoHandler* handler = nullptr;
  };

  Slot* find(WatchId watch) noexcept;
  int apply(std::uint32_t index, std::uint32_t interest) noexcept;
  void free_slot(std::uint32_t index) noexcept;
  void arm(Instant deadline) noexcept;
  int look(std::span<epoll_event> events, Instant deadline, Duration spin) noexcept;

  Fd epoll_;
  Fd timer_;
  Instant armed_ = Instant::never();  // when the timer goes off: not later than asked for
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace tidewire::runtime
