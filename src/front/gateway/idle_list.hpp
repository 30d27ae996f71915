// Members in the order in which they were last used, to find those that were idle too long.
#pragma once

#include "base/time.hpp"

namespace tidewire::gateway {

/// Embedded in what can be idle. Leaves its list when it dies.
struct IdleLink {
  IdleLink() noexcept = default;
  IdleLink(const IdleLink&) = delete;
  IdleLink& operator=(const IdleLink&) = delete;
  ~IdleLink() { unlink(); }

  void unlink() noexcept {
    if (next == nullptr) return;
    next->previous = previous;
    previous->next = next;
    next = previous = nullptr;
  }

  IdleLink* next = nullptr;
  IdleLink* previous = nullptr;
  void* owner = nullptr;
  Instant last_used;
};

/// One timeout for all members, so that the list is sorted by itself: touching moves to the end.
/// Owns nothing.
template <typename Owner>
class IdleList {
 public:
  explicit IdleList(Duration timeout) noexcept : timeout_(timeout) {
    head_.next = head_.previous = &head_;
  }
  ~IdleList() {
    while (head_.next != &head_) head_.next->unlink();
    head_.next = nullptr;
  }
  IdleList(const IdleList&) = delete;
  IdleList& operator=(const IdleList&) = delete;

  /// `link` is part of `owner`; it may be in this or another list before.
  void touch(IdleLink& link, Owner& owner, Instant now) noexcept {
    link.unlink();
    link.owner = &owner;
    link.last_used = now;
    link.previous = head_.previous;
    link.next = &head_;
    head_.previous->next = &link;
    head_.previous = &link;
  }
  /// The member that was used longest ago, or nullptr.
  Owner* oldest() const noexcept {
    return head_.next == &head_ ? nullptr : static_cast<Owner*>(head_.next->owner);
  }
  /// One that has been idle for the timeout, or nullptr.
  Owner* expired(Instant now) const noexcept { return next_deadline() <= now ? oldest() : nullptr; }
  Instant next_deadline() const noexcept {
    return head_.next == &head_ ? Instant::never() : head_.next->last_used + timeout_;
  }

 private:
  IdleLink head_;
  Duration timeout_;
};

}  // namespace tidewire::gateway
