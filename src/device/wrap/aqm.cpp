#include "device/wrap/aqm.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::device {
namespace {

/// A new run of signals this many intervals after the last goes on where that stopped.
constexpr std::int64_t kMemory = 16;

}  // namespace

std::uint64_t power_of_fraction(std::uint64_t base, std::uint64_t exponent) noexcept {
  constexpr std::uint64_t kOne = Probability::kOne;
  if (base >= kOne) return kOne;
  std::uint64_t result = kOne;
  for (; exponent != 0 && result != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result = result == kOne ? base : result * base >> 32;
    base = base * base >> 32;
  }
  return result;
}

//= RFC 8289 §4.4
bool Codel::may_signal(Duration waited, std::uint64_t bytes_behind, Instant now) noexcept {
  if (waited < spec_.target || bytes_behind <= greatest_) {
    first_above_ = Instant::never();
    return false;
  }
  if (first_above_ == Instant::never()) {
    first_above_ = now + spec_.interval;
    return false;
  }
  return now >= first_above_;
}

//= RFC 8289 §4.5
// from + interval / sqrt(count)
Instant Codel::control_law(Instant from) const noexcept {
  const std::uint64_t root = square_root(std::uint64_t{count_} << 32);  // × 2^16
  const std::uint64_t step =
      mul_div(static_cast<std::uint64_t>(spec_.interval.count_nanos()), 1U << 16, root);
  return from + Duration::nanos(static_cast<std::int64_t>(step));
}

//= RFC 8289 §4.3
QueueVerdict Codel::leaves(Duration waited, std::uint64_t size, std::uint64_t bytes_behind,
                           bool can_mark, Instant now) noexcept {
  greatest_ = std::max(greatest_, size);
  const bool may = may_signal(waited, bytes_behind, now);
  if (!may) {
    signalling_ = false;
    return QueueVerdict::pass;
  }
  if (signalling_) {
    if (now < *next_signal_) return QueueVerdict::pass;
    if (count_ != UINT32_MAX) ++count_;
    next_signal_ = control_law(*next_signal_);
  } else {
    signalling_ = true;
    const std::uint32_t more = count_ - last_count_;
    const bool recent = next_signal_ && now - *next_signal_ < spec_.interval * kMemory;
    count_ = more > 1 && recent ? more : 1;
    last_count_ = count_;
    next_signal_ = control_law(now);
  }
  return can_mark ? QueueVerdict::mark : QueueVerdict::drop;
}

Red::Red(const RedSpec& spec) noexcept : spec_(spec) {
  min_ = (in_packets() ? spec.min.packets : spec.min.bytes) << kShift;
  max_ = (in_packets() ? spec.max.packets : spec.max.bytes) << kShift;
}

bool Red::signals(Probability chance, std::uint64_t hash) noexcept {
  // A signal about every 1/chance packets, evenly spread: chance / (1 - passed × chance).
  const std::uint64_t used = since_signal_ * chance.per_2_32;
  ++since_signal_;
  if (used < Probability::kOne &&
      hash >> 32 >= mul_div(chance.per_2_32, Probability::kOne, Probability::kOne - used)) {
    return false;
  }
  since_signal_ = 0;
  return true;
}

QueueVerdict Red::arrives(std::uint64_t length, std::uint64_t idle_packets, std::uint64_t hash,
                          bool can_mark) noexcept {
  constexpr unsigned kWeight = 9;
  if (idle_packets != 0) {
    constexpr std::uint64_t kKept = Probability::kOne - (Probability::kOne >> kWeight);
    average_ = mul_div(average_, power_of_fraction(kKept, idle_packets), Probability::kOne);
  } else {
    average_ = average_ - (average_ >> kWeight) + ((length << kShift) >> kWeight);
  }
  if (average_ < min_) {
    since_signal_ = 0;
    return QueueVerdict::pass;
  }
  //= RFC 3168 §7
  // Beyond the upper end packets are dropped, whatever their senders said.
  const std::uint64_t end = spec_.gentle ? 2 * max_ : max_;
  if (average_ >= end) {
    since_signal_ = 0;
    return QueueVerdict::drop;
  }
  const std::uint64_t p = spec_.p.per_2_32;
  Probability chance;
  if (average_ < max_) {
    chance.per_2_32 = mul_div(p, average_ - min_, max_ - min_);
  } else {
    chance.per_2_32 = p + mul_div(Probability::kOne - p, average_ - max_, max_);
  }
  if (!signals(chance, hash)) return QueueVerdict::pass;
  return can_mark ? QueueVerdict::mark : QueueVerdict::drop;
}

}  // namespace tidewire::device
