// Active queue management: when a queue tells its senders that it is too long.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.hpp"
#include "device/net_spec.hpp"

namespace tidewire::device {

enum class QueueVerdict : std::uint8_t { pass, mark, drop };

//= RFC 8289 §4
/// CoDel: looks at how long packets have waited when they leave the queue.
class Codel {
 public:
  Codel() = default;
  explicit Codel(const CodelSpec& spec) noexcept : spec_(spec) {}

  /// The next packet, of `size` bytes, is about to leave at `now` after `waited`, with
  /// `bytes_behind` still in the queue. `can_mark`: it may be marked instead of dropped. After
  /// `drop`, ask about the next one at the same time.
  QueueVerdict leaves(Duration waited, std::uint64_t size, std::uint64_t bytes_behind,
                      bool can_mark, Instant now) noexcept;
  /// Nothing is left to ask about.
  void on_empty() noexcept { first_above_ = Instant::never(); }

 private:
  bool may_signal(Duration waited, std::uint64_t bytes_behind, Instant now) noexcept;
  Instant control_law(Instant from) const noexcept;

  CodelSpec spec_;
  Instant first_above_ = Instant::never();  ///< signals may start then; never: below the target
  std::optional<Instant> next_signal_;      ///< none: there was no signal yet
  std::uint64_t greatest_ = 0;  ///< packet seen; a queue of no more than one is no standing queue
  std::uint32_t count_ = 0, last_count_ = 0;
  bool signalling_ = false;
};

/// RED (Floyd and Jacobson 1993) with the weight 2^-9, and its gentle form: looks at the average
/// length of the queue when packets arrive.
class Red {
 public:
  Red() = default;
  /// `spec` with min and max resolved, both of one unit.
  explicit Red(const RedSpec& spec) noexcept;

  /// True if the length counts in packets, else in bytes.
  bool in_packets() const noexcept { return spec_.max.packets != 0; }
  /// A packet arrives when `length` is in the queue. `idle_packets`: how many could have been sent
  /// since the queue ran empty; 0: it is not. `hash` is the packet's draw.
  QueueVerdict arrives(std::uint64_t length, std::uint64_t idle_packets, std::uint64_t hash,
                       bool can_mark) noexcept;
  std::uint64_t average() const noexcept { return average_ >> kShift; }

 private:
  static constexpr unsigned kShift = 20;  ///< of the fixed point that holds the average
  bool signals(Probability chance, std::uint64_t hash) noexcept;

  RedSpec spec_;
  std::uint64_t min_ = 0, max_ = 0;  ///< shifted
  std::uint64_t average_ = 0;        ///< shifted
  std::uint64_t since_signal_ = 0;   ///< packets that passed above min since the last signal
};

/// `base`^`exponent` with 2^32 as one.
std::uint64_t power_of_fraction(std::uint64_t base, std::uint64_t exponent) noexcept;

}  // namespace tidewire::device
