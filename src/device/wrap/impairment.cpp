#include "device/wrap/impairment.hpp"

#include <algorithm>

namespace tidewire::device {
namespace {

enum Purpose : std::uint64_t {
  kLoss = 1,
  kOrder,
  kDuplicate,
  kCorrupt,
  kCorruptBit,
  kJitter,
  kLate
};

bool hit(std::uint64_t hash, Probability p) noexcept { return (hash >> 32) < p.per_2_32; }

/// base^exponent with 2^32 as one.
std::uint64_t power(std::uint64_t base, std::uint32_t exponent) noexcept {
  if (base >= Probability::kOne) return Probability::kOne;
  std::uint64_t result = Probability::kOne;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) {
      result = result == Probability::kOne ? base : result * base >> 32;
    }
    base = base * base >> 32;
  }
  return result;
}

/// The chance p that a run of `burst` losses starts at a packet, so that a share of `loss` is lost
/// in all: 1 - (1 - p)^burst = loss.
Probability start_chance(Probability loss, std::uint32_t burst) noexcept {
  if (burst <= 1 || loss == Probability::always()) return loss;
  std::uint64_t low = 0;
  std::uint64_t high = loss.per_2_32;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    const bool enough =
        Probability::kOne - power(Probability::kOne - middle, burst) >= loss.per_2_32;
    (enough ? high : low) = enough ? middle : middle + 1;
  }
  return {low};
}

std::uint64_t default_queue(std::uint64_t rate_bps) noexcept {
  return std::max<std::uint64_t>(rate_bps / 80, 65536);
}

bool inside(const Window& window, Duration since_origin) noexcept {
  return window.from <= since_origin && since_origin < window.until;
}

}  // namespace

std::string_view to_string(Impact impact) noexcept {
  constexpr std::array<std::string_view, static_cast<std::size_t>(Impact::count_)> kNames{
      "lost",      "lost_listed", "blackout",   "queue_full", "too_big",
      "no_memory", "reordered",   "duplicated", "corrupted"};
  const auto i = static_cast<std::size_t>(impact);
  return i < kNames.size() ? kNames[i] : "unknown";
}

std::uint64_t LinkCounters::dropped() const noexcept {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < impacts.size(); ++i) {
    if (is_drop(static_cast<Impact>(i))) total += impacts[i];
  }
  return total;
}

Impairment::Impairment(const LinkSpec& spec, Direction direction, const RandomSeed& seed,
                       FlowTable& flows, Instant origin)
    : spec_(spec),
      direction_(direction),
      seed_(derive(seed, static_cast<std::uint64_t>(direction))),
      flows_(flows),
      origin_(origin),
      burst_start_(start_chance(spec.loss, spec.burst)) {
  if (spec.rate_bps != 0 && spec.queue.packets == 0) {
    queue_bytes_ = spec.queue.bytes != 0 ? spec.queue.bytes : default_queue(spec.rate_bps);
  }
}

std::uint64_t Impairment::draw(const Flow& flow, std::uint64_t purpose) const noexcept {
  return siphash13(seed_, flow.identity, flow.packets[static_cast<std::size_t>(direction_)],
                   purpose);
}

bool Impairment::loses(Flow& flow, Impact& why) const {
  const auto side = static_cast<std::size_t>(direction_);
  if (std::ranges::binary_search(spec_.lose, flow.packets[side])) {
    why = Impact::lost_listed;
    return true;
  }
  if (burst_start_ != Probability::never() && hit(draw(flow, kLoss), burst_start_)) {
    flow.burst_left[side] = spec_.burst;
  }
  if (flow.burst_left[side] == 0) return false;
  --flow.burst_left[side];
  why = Impact::lost;
  return true;
}

bool Impairment::enqueue(std::size_t size, Instant now) {
  if (spec_.rate_bps == 0) {
    busy_until_ = now;
    return true;
  }
  while (!waiting_.empty() && waiting_.front().starts <= now) {
    waiting_bytes_ -= waiting_.front().size;
    waiting_.pop_front();
  }
  if (busy_until_ > now) {  // it has to wait
    if (spec_.queue.packets != 0 && waiting_.size() >= spec_.queue.packets) return false;
    if (queue_bytes_ != 0 && waiting_bytes_ + size > queue_bytes_) return false;
    waiting_.push_back({busy_until_, static_cast<std::uint32_t>(size)});
    waiting_bytes_ += size;
  } else {
    busy_until_ = now;
  }
  const std::uint64_t bit_nanos = std::uint64_t{size} * 8'000'000'000U;
  busy_until_ +=
      Duration::nanos(static_cast<std::int64_t>((bit_nanos + spec_.rate_bps - 1) / spec_.rate_bps));
  return true;
}

bool Impairment::falls(const Flow& flow, Probability p, std::uint64_t purpose) const noexcept {
  return p != Probability::never() && hit(draw(flow, purpose), p);
}

Duration Impairment::up_to(const Flow& flow, Duration most, std::uint64_t purpose) const noexcept {
  const auto span = static_cast<std::uint64_t>(most.count_nanos()) + 1;
  return Duration::nanos(static_cast<std::int64_t>(draw(flow, purpose) % span));
}

void Impairment::time_arrival(const Flow& flow, Fate& fate) noexcept {
  fate.release = busy_until_ + spec_.delay;
  if (spec_.jitter > Duration::zero()) fate.release += up_to(flow, spec_.jitter, kJitter);
  if (!spec_.jitter_reorders) {
    fate.release = later(fate.release, last_release_);
  } else if (fate.release < last_release_) {
    fate.reordered = true;
  }
  if (!falls(flow, spec_.reorder, kOrder)) {
    last_release_ = later(fate.release, last_release_);
    return;
  }
  fate.reordered = true;
  if (spec_.reorder_by > Duration::zero()) {
    fate.release += up_to(flow, spec_.reorder_by, kLate);
  } else {
    fate.overtaken_by = 1 + static_cast<std::uint32_t>((draw(flow, kOrder) & 0xffffffffU) % 3);
  }
}

Fate Impairment::decide(const PacketKey& packet, std::size_t frame_size, std::size_t ip_size,
                        Instant now) {
  Flow& flow = flows_.count(packet, direction_);
  Fate fate;
  fate.flow_number = flow.number;
  fate.ordinal = flow.packets[static_cast<std::size_t>(direction_)];
  // A run of losses goes on even if its packets die of something else.
  const bool lost = loses(flow, fate.why);
  fate.dropped = true;
  if (packet.is_ip && spec_.mtu != 0 && ip_size > spec_.mtu) {
    fate.why = Impact::too_big;
    return fate;
  }
  if (!enqueue(frame_size, now)) {
    fate.why = Impact::queue_full;
    return fate;
  }
  for (const Window& window : spec_.blackouts) {
    if (inside(window, now - origin_)) {
      fate.why = Impact::blackout;
      return fate;
    }
  }
  if (lost) return fate;
  fate.dropped = false;
  time_arrival(flow, fate);
  fate.duplicate = falls(flow, spec_.duplicate, kDuplicate);
  if (packet.is_ip && falls(flow, spec_.corrupt, kCorrupt)) {
    fate.corrupt = draw(flow, kCorruptBit) | 1U << 31;
  }
  return fate;
}

Instant Impairment::full_until(Instant now) const noexcept {
  for (const Window& window : spec_.full) {
    if (inside(window, now - origin_)) return origin_ + window.until;
  }
  return now;
}

}  // namespace tidewire::device
