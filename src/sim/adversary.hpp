// A scheduler that makes life hard for a stack, within what the seam allows.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "base/time.hpp"
#include "core/types.hpp"
#include "device/net_spec.hpp"

namespace tidewire::sim {

/// What a hostile driver does. All off by default.
struct AdversaryOptions {
  bool small_budgets = false;  ///< poll_transmit with one to a few frames, now and then none
  bool split_batches = false;  ///< frames arrive in random pieces of a batch
  device::Probability full;    ///< a push finds the device full, for up to full_time
  Duration full_time = Duration::millis(3);
  device::Probability late;  ///< a host is served late, by up to late_time
  Duration late_time = Duration::millis(2);
  bool shuffled_calls = false;  ///< timeouts before or after frames, events left for later

  bool active() const noexcept {
    return small_budgets || split_batches || shuffled_calls ||
           full != device::Probability::never() || late != device::Probability::never();
  }
  /// Everything at once, moderately.
  static AdversaryOptions all() noexcept {
    AdversaryOptions o;
    o.small_budgets = o.split_batches = o.shuffled_calls = true;
    o.full = device::Probability::percent(3);
    o.late = device::Probability::percent(10);
    return o;
  }
};

/// Draws the decisions, one host after the other in a fixed order.
class Adversary {
 public:
  Adversary(const AdversaryOptions& options, const RandomSeed& seed) noexcept
      : options_(options), rng_(seed) {}

  bool active() const noexcept { return options_.active(); }
  TxBudget budget() noexcept {
    if (!options_.small_budgets) return {};
    TxBudget budget;
    budget.frames = static_cast<std::uint32_t>(rng_.below(5));
    if (rng_.below(4) == 0) budget.bytes = 1 + rng_.below(4000);
    return budget;
  }
  std::size_t batch(std::size_t most) noexcept {
    return options_.split_batches ? 1 + rng_.below(most < 4 ? most : 4) : most;
  }
  /// How long a push finds the device full; zero: it is not.
  Duration full() noexcept { return drawn(options_.full, options_.full_time); }
  /// How much later a host is served; zero: in time.
  Duration late() noexcept { return drawn(options_.late, options_.late_time); }
  bool coin() noexcept { return options_.shuffled_calls && rng_.below(2) == 0; }

 private:
  Duration drawn(device::Probability p, Duration most) noexcept {
    if (p == device::Probability::never() || !rng_.chance(p.per_2_32)) return Duration::zero();
    const auto bound = static_cast<std::uint64_t>(most.count_nanos());
    return Duration::nanos(1 + static_cast<std::int64_t>(rng_.below(bound)));
  }

  AdversaryOptions options_;
  Rng rng_;
};

}  // namespace tidewire::sim
