#include "runtime/steered_device.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace tidewire::runtime {

namespace {

// What a ring tells of a frame.
constexpr std::uint8_t kYours = 0;      // the flow is the taker's
constexpr std::uint8_t kFindOwner = 1;  // a fragment, whose owner the taker knows or will know

}  // namespace

ShardExchange::ShardExchange(const wire::ShardMap& map, std::size_t ring_bytes) : map_(map) {
  for (std::uint32_t from = 0; from < count(); ++from) {
    bells_.push_back(std::make_unique<Bell>());
    for (std::uint32_t to = 0; to < count(); ++to) {
      rings_.push_back(from == to ? nullptr : std::make_unique<FrameRing>(ring_bytes));
    }
  }
}

// Both sides exchange: whoever comes second sees what the first did before. So either the sleeper
// finds the frame in its ring, or the other one finds it asleep.
void ShardExchange::about_to_sleep(std::uint32_t shard) noexcept {
  bells_[shard]->asleep.exchange(true, std::memory_order_acq_rel);
}

void ShardExchange::wake(std::uint32_t shard) noexcept {
  if (bells_[shard]->asleep.exchange(false, std::memory_order_acq_rel)) {
    bells_[shard]->wakeup.request();
  }
}

SteeredDevice::SteeredDevice(std::unique_ptr<device::Device> queue, ShardExchange& exchange,
                             std::uint32_t index)
    : Wrapper(std::move(queue)),
      exchange_(exchange),
      index_(index),
      steer_(exchange.map(), inner().capabilities().medium) {}

std::span<const RxFrame> SteeredDevice::receive(Instant now, std::size_t limit) noexcept {
  if (exchange_.count() == 1) return inner().receive(now, limit);
  out_.clear();
  out_held_.clear();
  take_from_others(now, std::max<std::size_t>(1, limit / 2));
  std::span<const RxFrame> given = out_;
  if (out_.size() < limit) given = sort(inner().receive(now, limit - out_.size()), now);
  for (; to_wake_ != 0; to_wake_ &= to_wake_ - 1) {
    exchange_.wake(static_cast<std::uint32_t>(std::countr_zero(to_wake_)));
  }
  return given;
}

// As a rule everything is where it belongs, and nothing has to be moved.
std::span<const RxFrame> SteeredDevice::sort(std::span<const RxFrame> arrived,
                                             Instant now) noexcept {
  std::size_t own = 0;
  if (out_.empty()) {
    while (own < arrived.size() && is_own(steer_(arrived[own].head))) ++own;
    counters_.own += own;
    if (own == arrived.size()) return arrived;
    out_.assign(arrived.begin(), arrived.begin() + static_cast<std::ptrdiff_t>(own));
  }
  for (const RxFrame& frame : arrived.subspan(own)) place(frame, now);
  return out_;
}

bool SteeredDevice::is_own(const wire::Steering& steering) const noexcept {
  return steering.to == wire::Steering::To::here ||
         (steering.to == wire::Steering::To::owner && steering.owner == index_);
}

void SteeredDevice::take_from_others(Instant now, std::size_t limit) noexcept {
  const std::uint32_t count = exchange_.count();
  std::size_t taken = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t from = (next_from_ + i) % count;
    if (from == index_) continue;
    FrameRing& ring = exchange_.ring(from, index_);
    ring.release();  // what the last call gave out
    while (taken < limit) {
      const auto next = ring.take();
      if (!next) break;
      ++taken;
      ++counters_.taken_over;
      if (next->note == kFindOwner) {
        collect(next->frame, steer_(next->frame.head), now);
      } else {
        out_.push_back(next->frame);
      }
    }
  }
  next_from_ = (next_from_ + 1) % count;
}

void SteeredDevice::place(const RxFrame& frame, Instant now) noexcept {
  const wire::Steering steering = steer_(frame.head);
  switch (steering.to) {
    case wire::Steering::To::here:
      return give(index_, frame);
    case wire::Steering::To::owner:
      return give(steering.owner, frame);
    case wire::Steering::To::everybody:
      give(index_, frame);
      return share(frame, steering.arp_request);
    case wire::Steering::To::collector:
      if (steering.collector == index_) return collect(frame, steering, now);
      return hand_over(steering.collector, frame, kFindOwner);
  }
}

// One shard answers a request for our address. To the others it is told as a reply: they learn the
// sender's address from it (RFC 826), and are silent.
void SteeredDevice::share(const RxFrame& frame, bool arp_request) noexcept {
  RxFrame told = frame;
  std::array<std::byte, 64> reply{};
  if (arp_request) {
    const std::size_t size = std::min(frame.head.size(), reply.size());
    std::copy_n(frame.head.begin(), size, reply.begin());
    reply[wire::kArpOperationByte] = std::byte{2};
    told.head = Bytes{reply}.first(size);
    told.more = {};
  }
  for (std::uint32_t i = 0; i < exchange_.count(); ++i) {
    if (i != index_) hand_over(i, told, kYours);
  }
}

void SteeredDevice::collect(const RxFrame& frame, const wire::Steering& steering,
                            Instant now) noexcept {
  ++counters_.fragments;
  if (!steering.first_fragment) {
    if (const auto owner = fragments_.owner(steering.packet, now)) return give(*owner, frame);
    return fragments_.hold(steering.packet, frame, now);
  }
  for (auto& held : fragments_.learn(steering.packet, steering.owner, now)) {
    give(steering.owner, held.frame);
    out_held_.push_back(std::move(held));
  }
  give(steering.owner, frame);
}

void SteeredDevice::give(std::uint32_t owner, const RxFrame& frame) noexcept {
  if (owner != index_) return hand_over(owner, frame, kYours);
  ++counters_.own;
  out_.push_back(frame);
}

void SteeredDevice::hand_over(std::uint32_t to, const RxFrame& frame, std::uint8_t note) noexcept {
  if (!exchange_.ring(index_, to).push(frame, note)) {
    ++counters_.ring_full;
    return;
  }
  ++counters_.handed_over;
  to_wake_ |= std::uint64_t{1} << to;
}

bool SteeredDevice::others_wait() noexcept {
  for (std::uint32_t from = 0; from < exchange_.count(); ++from) {
    if (from != index_ && !exchange_.ring(from, index_).empty()) return true;
  }
  return false;
}

Instant SteeredDevice::next_deadline() noexcept {
  if (exchange_.count() == 1) return inner().next_deadline();
  exchange_.about_to_sleep(index_);
  return others_wait() ? Instant::from_nanos(0) : inner().next_deadline();
}

SteeringCounters SteeredDevice::counters() const noexcept {
  SteeringCounters all = counters_;
  all.fragments_lost = fragments_.lost();
  return all;
}

}  // namespace tidewire::runtime
