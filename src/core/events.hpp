// The queue behind Stack::poll_event: FIFO, each socket in it at most once.
#pragma once

#include <cstdint>
#include <optional>

#include "base/memory.hpp"
#include "core/types.hpp"

namespace tidewire {

/// A growable FIFO of sockets and flows with news. The owner of a socket keeps an `EventSlot` in
/// its record: whether it is queued, and which bits it has reported. A bit is reported again only
/// after its condition was false in between.
struct EventSlot {
  std::uint16_t reported = 0;  ///< bits that were true when last reported
  bool queued = false;
};

class EventQueue {
 public:
  explicit EventQueue(MemoryProvider& memory) noexcept : memory_(memory) {}
  ~EventQueue();
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  /// Tells that the level bits of a socket are now `bits`. Queues the socket if a bit is new and it
  /// is not queued yet. Bits that went away may be reported again later.
  void update(SocketId socket, EventSlot& slot, std::uint16_t bits) noexcept {
    const auto fresh = static_cast<std::uint16_t>(bits & ~slot.reported);
    slot.reported = static_cast<std::uint16_t>(slot.reported & bits);
    if (fresh != 0 && !slot.queued) queue(socket, slot, bits);
  }
  /// False: no memory, nobody will hear of the flow.
  bool push_forward(const Event& event) noexcept;
  /// The next entry; for a socket the caller (Stack) fills in the bits that are true by then,
  /// clears `queued` and skips it when the socket is gone.
  std::optional<Event> pop() noexcept;
  bool empty() const noexcept { return count_ == 0; }

 private:
  void queue(SocketId socket, EventSlot& slot, std::uint16_t bits) noexcept;
  Event* make_place() noexcept;
  bool grow() noexcept;

  MemoryProvider& memory_;
  Event* slots_ = nullptr;
  std::uint32_t capacity_ = 0, head_ = 0, count_ = 0;
};

}  // namespace tidewire
