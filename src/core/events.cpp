#include "core/events.hpp"

#include <new>

namespace tidewire {
namespace {
constexpr std::uint32_t kFirstCapacity = 64;
}

EventQueue::~EventQueue() { memory_.deallocate(slots_, capacity_ * sizeof(Event), alignof(Event)); }

void EventQueue::queue(SocketId socket, EventSlot& slot, std::uint16_t bits) noexcept {
  Event* place = make_place();
  if (place == nullptr) return;  // not marked reported: the next update tries again
  // What only a flow has may be left from one.
  place->kind = Event::Kind::socket;
  place->socket = socket;
  place->bits = bits;
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

bool EventQueue::push_forward(const Event& event) noexcept {
  Event* place = make_place();
  if (place == nullptr) return false;
  *place = event;
  return true;
}

/// A new place at the end; null: no memory.
Event* EventQueue::make_place() noexcept {
  if (count_ == capacity_ && !grow()) return nullptr;
  return &slots_[(head_ + count_++) & (capacity_ - 1)];
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
