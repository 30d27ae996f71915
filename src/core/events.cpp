#include "core/events.hpp"

#include <new>

namespace tidewire {
namespace {
constexpr std::uint32_t kFirstCapacity = 64;
}

EventQueue::~EventQueue() { memory_.deallocate(slots_, capacity_ * sizeof(Event), alignof(Event)); }

void EventQueue::queue(SocketId socket, EventSlot& slot, std::uint16_t bits) noexcept {
  Event event;
  event.socket = socket;
  event.bits = bits;
  if (!push(event)) return;  // not marked reported: the next update tries again
  slot.queued = true;
  slot.reported = bits;
}

std::optional<Event> EventQueue::pop() noexcept {
  if (count_ == 0) return std::nullopt;
  const Event event = slots_[head_];
  head_ = (head_ + 1) & (capacity_ - 1);
  --count_;
  return event;
}

bool EventQueue::push(const Event& event) noexcept {
  if (count_ == capacity_ && !grow()) return false;
  slots_[(head_ + count_) & (capacity_ - 1)] = event;
  ++count_;
  return true;
}

bool EventQueue::grow() noexcept {
  const std::uint32_t larger = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
  void* memory = memory_.allocate(larger * sizeof(Event), alignof(Event));
  if (memory == nullptr) return false;
  auto* fresh = static_cast<Event*>(memory);
  for (std::uint32_t i = 0; i < larger; ++i) ::new (static_cast<void*>(fresh + i)) Event{};
  for (std::uint32_t i = 0; i < count_; ++i) fresh[i] = slots_[(head_ + i) & (capacity_ - 1)];
  memory_.deallocate(slots_, capacity_ * sizeof(Event), alignof(Event));
  slots_ = fresh;
  capacity_ = larger;
  head_ = 0;
  return true;
}

}  // namespace tidewire
