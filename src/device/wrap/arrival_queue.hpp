// Frames on their way, in the order in which they arrive.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.hpp"
#include "device/wrap/frame_store.hpp"

namespace tidewire::device {

/// Records with a `release` time and a `sequence`, which the queue sets: earliest first, and in the
/// order of push() where times are equal. A record that is not earlier than those before it costs
/// nothing more than a ring; others go to a heap, so that jitter does not cost as much as there are
/// packets under way.
template <typename T>
class ArrivalQueue {
 public:
  bool empty() const noexcept { return in_order_.empty() && early_.empty(); }
  std::size_t size() const noexcept { return in_order_.size() + early_.size(); }

  void push(T value) {
    value.sequence = next_++;
    if (in_order_.empty() || value.release >= in_order_.back().release) {
      in_order_.push_back(value);
      return;
    }
    early_.push_back(value);
    std::push_heap(early_.begin(), early_.end(), after);
  }
  const T& front() const noexcept { return heap_first() ? early_.front() : in_order_.front(); }
  void pop_front() noexcept {
    if (!heap_first()) return in_order_.pop_front();
    std::pop_heap(early_.begin(), early_.end(), after);
    early_.pop_back();
  }

 private:
  static bool after(const T& a, const T& b) noexcept {
    return a.release != b.release ? a.release > b.release : a.sequence > b.sequence;
  }
  bool heap_first() const noexcept {
    return !early_.empty() && (in_order_.empty() || after(in_order_.front(), early_.front()));
  }

  RingQueue<T> in_order_;
  std::vector<T> early_;  // a heap
  std::uint64_t next_ = 0;
};

}  // namespace tidewire::device
