// What happens when time passes.
#pragma once

#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

class Timers {
 public:
  explicit Timers(Shared& shared) noexcept : s(shared) {}

  std::uint32_t expire(std::uint32_t limit) noexcept;
  Instant next_deadline() noexcept {
    const Instant next = s.wheel.next_deadline();
    if (s.time_wait_first == kNoIndex) return next;
    return earlier(next, s.time_wait_deadline(*s.time_waits.at_index(s.time_wait_first)));
  }

 private:
  void fire(Connection& c) noexcept;
  void run(Connection& c, TimerKind kind) noexcept;
  void fire(HalfOpen& h) noexcept;
  void fire(IdleConnection& idle) noexcept;
  void retransmit(Connection& c) noexcept;
  void retransmit_syn(Connection& c) noexcept;
  void retransmit_data(Connection& c) noexcept;
  void device_refuses(Connection& c) noexcept;
  void persist(Connection& c) noexcept;
  void keepalive(Connection& c) noexcept;
  std::uint32_t syn_ack_limit(const Connection& listener) const noexcept;
  bool gave_up(Connection& c, std::uint32_t count, std::uint32_t limit) noexcept;

  Shared& s;
};

}  // namespace tidewire::tcp
