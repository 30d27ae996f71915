#include "runtime/poller.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <span>
#include <system_error>

#include "runtime/clock.hpp"

namespace tidewire::runtime {

namespace {

constexpr std::uint64_t kTimerKey = ~std::uint64_t{0};

[[noreturn]] void fail_with(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::uint32_t to_epoll(std::uint32_t interest) noexcept {
  std::uint32_t events = 0;
  if ((interest & kIoRead) != 0) events |= EPOLLIN;
  if ((interest & kIoWrite) != 0) events |= EPOLLOUT;
  if ((interest & kIoPriority) != 0) events |= EPOLLPRI;
  if ((interest & kIoAlone) != 0) events |= EPOLLEXCLUSIVE;
  return events;
}

std::uint32_t from_epoll(std::uint32_t events) noexcept {
  std::uint32_t ready = 0;
  if ((events & EPOLLIN) != 0) ready |= kIoRead;
  if ((events & EPOLLOUT) != 0) ready |= kIoWrite;
  if ((events & EPOLLPRI) != 0) ready |= kIoPriority;
  if ((events & EPOLLHUP) != 0) ready |= kIoHangUp;
  if ((events & EPOLLERR) != 0) ready |= kIoError;
  return ready;
}

}  // namespace

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (!epoll_) fail_with("epoll_create1");
  if (!timer_) fail_with("timerfd_create");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kTimerKey}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event) != 0) fail_with("epoll_ctl");
}

Result<WatchId, int> Poller::add(int fd, std::uint32_t interest, IoHandler& handler) {
  std::uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.fd = fd;
  slot.used = true;
  slot.registered = false;
  slot.handler = &handler;
  slot.interest = kIoNone;
  const WatchId watch{index, slot.generation};
  if (const int error = apply(index, interest); error != 0) {
    remove(watch);
    return fail(error);
  }
  return watch;
}

int Poller::apply(std::uint32_t index, std::uint32_t interest) noexcept {
  Slot& slot = slots_[index];
  slot.interest = interest;
  // A watch without interest leaves epoll altogether: it would report hang-ups again and again.
  if (interest == kIoNone) {
    if (slot.registered) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slot.fd, nullptr);
    slot.registered = false;
    return 0;
  }
  epoll_event event{.events = to_epoll(interest),
                    .data = {.u64 = std::uint64_t{slot.generation} << 32 | index}};
  const int operation = slot.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_.get(), operation, slot.fd, &event) != 0) return errno;
  slot.registered = true;
  return 0;
}

Poller::Slot* Poller::find(WatchId watch) noexcept {
  if (watch.generation == 0 || watch.slot >= slots_.size()) return nullptr;
  Slot& slot = slots_[watch.slot];
  return slot.used && slot.generation == watch.generation ? &slot : nullptr;
}

void Poller::set(WatchId watch, std::uint32_t interest) noexcept {
  const Slot* slot = find(watch);
  if (slot == nullptr || slot->interest == interest) return;
  (void)apply(watch.slot, interest);
}

void Poller::remove(WatchId watch) noexcept {
  if (find(watch) == nullptr) return;
  (void)apply(watch.slot, kIoNone);
  free_slot(watch.slot);
}

void Poller::remove_closing(WatchId watch) noexcept {
  if (find(watch) != nullptr) free_slot(watch.slot);
}

void Poller::free_slot(std::uint32_t index) noexcept {
  Slot& slot = slots_[index];
  slot.used = false;
  slot.handler = nullptr;
  if (++slot.generation == 0) slot.generation = 1;
  free_.push_back(index);
}

// A timer that goes off early wakes the loop once; setting it anew for every deadline that moves
// on, as retransmission timers do with each ACK, would cost a system call each time.
void Poller::arm(Instant deadline) noexcept {
  if (armed_ <= deadline) return;
  armed_ = deadline;
  itimerspec when{};
  // 0 would disarm the timer.
  const std::int64_t ns = deadline.nanos() > 1 ? deadline.nanos() : 1;
  when.it_value.tv_sec = ns / 1'000'000'000;
  when.it_value.tv_nsec = ns % 1'000'000'000;
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

int Poller::look(std::span<epoll_event> events, Instant deadline, Duration spin) noexcept {
  const auto poll = [&](int timeout) {
    return epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
  };
  if (deadline.nanos() <= 0) return poll(0);
  if (spin > Duration::zero()) {
    Instant now = Clock::now();
    for (const Instant until = earlier(now + spin, deadline); now < until; now = Clock::now()) {
      if (const int n = poll(0); n != 0) return n;
    }
  }
  // One that has passed meanwhile goes off at once: rarer than what looking at the clock costs.
  arm(deadline);
  return poll(-1);
}

std::size_t Poller::wait(Instant deadline, Duration spin) {
  std::array<epoll_event, 128> events;
  std::size_t called = 0;
  bool early = true;
  while (early) {
    const int n = look(events, deadline, spin);
    if (n <= 0) return 0;
    const Instant now = Clock::now();
    early = now < deadline;
    for (const epoll_event& event : std::span{events}.first(static_cast<std::size_t>(n))) {
      if (event.data.u64 == kTimerKey) {
        std::uint64_t expirations = 0;
        (void)!::read(timer_.get(), &expirations, sizeof expirations);
        armed_ = Instant::never();
        continue;
      }
      early = false;
      const WatchId watch{static_cast<std::uint32_t>(event.data.u64),
                          static_cast<std::uint32_t>(event.data.u64 >> 32)};
      // An earlier handler of this round may have removed it or changed its interest.
      const Slot* slot = find(watch);
      if (slot == nullptr || slot->interest == kIoNone) continue;
      ++called;
      slot->handler->on_io(slot->fd, from_epoll(event.events), now);
    }
  }
  return called;
}

}  // namespace tidewire::runtime
