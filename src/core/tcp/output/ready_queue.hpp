// Which connections have something to send, by interface, in the order they became ready.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/list.hpp"
#include "core/tcp/connection.hpp"

namespace tidewire::tcp {

/// Interfaces share 64 buckets. A blocked bucket is passed over in O(1), whatever waits in it; a
/// flow whose next hop is being resolved is parked.
class ReadyQueue {
 public:
  /// Adds a connection unless it is here (or parked) already.
  void add(Connection& c) noexcept {
    if (c.ListNode<ReadyTag>::linked()) return;
    push(c);
  }
  /// The next connection whose interface has room, taken off; null: none.
  Connection* pop() noexcept {
    while (const std::uint64_t open = ready_ & ~blocked_) {
      const unsigned bucket = next_of(open);
      Connection* c = lists_[bucket].pop_front();
      if (lists_[bucket].empty()) ready_ &= ~bit(bucket);
      if (c != nullptr) return c;
    }
    return nullptr;
  }
  /// Nothing waits, except perhaps parked.
  bool empty() const noexcept { return ready_ == 0; }
  /// Something waits, but only for on_writable().
  bool only_blocked() noexcept {
    for (std::uint64_t rest = ready_ & blocked_; rest != 0; rest &= rest - 1) {
      if (!lists_[static_cast<unsigned>(std::countr_zero(rest))].empty()) return true;
    }
    return false;
  }
  void block(InterfaceId interface) noexcept { blocked_ |= bit(bucket_of(interface)); }
  void unblock(InterfaceId interface) noexcept { blocked_ &= ~bit(bucket_of(interface)); }
  void park(Connection& c) noexcept { parked_.push_back(c); }
  /// Flows parked on this interface (or not known on which) try again.
  void unpark(InterfaceId interface) noexcept {
    for (Connection* c = parked_.front(); c != nullptr;) {
      Connection* next = parked_.next(*c);
      if (c->path.interface == interface || c->path.interface == kNoInterface) {
        c->ListNode<ReadyTag>::unlink();
        push(*c);
      }
      c = next;
    }
  }
  template <typename F>
  void for_each_parked(F&& f) noexcept {
    for (Connection* c = parked_.front(); c != nullptr;) {
      Connection* next = parked_.next(*c);
      f(*c);
      c = next;
    }
  }
  static void remove(Connection& c) noexcept { c.ListNode<ReadyTag>::unlink(); }

 private:
  /// Round robin over the buckets: the first one at or after `turn_`.
  unsigned next_of(std::uint64_t open) noexcept {
    if ((open & (open - 1)) == 0) return static_cast<unsigned>(std::countr_zero(open));
    const auto turn = static_cast<int>(turn_);
    const auto bucket =
        static_cast<unsigned>((std::countr_zero(std::rotr(open, turn)) + turn) & 63);
    turn_ = (bucket + 1) & 63;
    return bucket;
  }
  static unsigned bucket_of(InterfaceId interface) noexcept { return interface & 63U; }
  static std::uint64_t bit(unsigned bucket) noexcept { return std::uint64_t{1} << bucket; }
  void push(Connection& c) noexcept {
    const unsigned bucket = bucket_of(c.path.interface);
    lists_[bucket].push_back(c);
    ready_ |= bit(bucket);
  }

  std::array<List<Connection, ReadyTag>, 64> lists_;
  List<Connection, ReadyTag> parked_;
  std::uint64_t ready_ = 0;
  std::uint64_t blocked_ = 0;
  unsigned turn_ = 0;
};

}  // namespace tidewire::tcp
