// Round-trip time and the retransmission timeout (RFC 6298).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.hpp"

namespace tidewire::tcp {

struct RttConfig {
  Duration initial_rto = Duration::seconds(1);  ///< RFC 6298 §2.1
  /// Lower bound of the variance term: RTO >= SRTT + min_rto, as Linux does. RFC 6298 §2.4 says
  /// RTO >= 1 s (SHOULD).
  Duration min_rto = Duration::millis(200);
  Duration max_rto = Duration::seconds(120);  ///< RFC 6298 §2.5: at least 60 s
};

/// Smoothed RTT, its variation, the minimum over a while, and the backed-off RTO. Small: it stays
/// with an idle connection.
class RttEstimator {
 public:
  //= RFC 6298 §2.2, §2.3; RFC 7323 §4.2
  /// One measurement. `samples_per_rtt` is how many are expected in one round trip (flight / 2 MSS
  /// with timestamps, 1 otherwise), so that many samples do not wash out the history.
  void on_sample(Duration rtt, Instant now, std::uint32_t samples_per_rtt = 1) noexcept;

  //= RFC 6298 §5.5
  /// The timer expired: the RTO doubles. Saturates.
  void back_off() noexcept {
    if (backoff_ < kMaxBackoff) ++backoff_;
  }
  //= RFC 4015 §3.1 (9)
  /// A timeout was premature: the path is slower than was thought.
  void reseed(Duration srtt, Duration rttvar) noexcept {
    srtt_ = srtt;
    rttvar_ = rttvar;
  }
  /// An ACK of new data ends the back-off.
  void end_back_off() noexcept { backoff_ = 0; }
  /// The SYN timed out while the RTO was below 3 s: data starts with 3 s (RFC 6298 §5.7) until the
  /// first sample.
  void on_syn_timeout() noexcept { after_syn_timeout_ = true; }

  /// The retransmission timeout, backed off, within the limits of `config`.
  Duration rto(const RttConfig& config) const noexcept;
  /// The same without back-off: what an expiry at this level of estimate means (R1, R2, idle).
  Duration base_rto(const RttConfig& config) const noexcept;

  bool has_sample() const noexcept { return has_sample_; }
  Duration srtt() const noexcept { return srtt_; }  ///< zero before the first sample
  Duration rttvar() const noexcept { return rttvar_; }
  Duration latest() const noexcept { return latest_; }
  /// Least RTT of the last 10 s or so (RACK's and BBR's idea of the path); zero before a sample.
  Duration min_rtt() const noexcept { return min_rtt_; }
  std::uint8_t backoffs() const noexcept { return backoff_; }

  /// The same in less room, for a connection that rests.
  struct Packed {
    std::uint32_t srtt = 0, rttvar = 0, latest = 0, min_rtt = 0;  ///< nanoseconds
    Instant min_at;
    std::uint8_t backoff = 0;
    bool has_sample = false;
    bool after_syn_timeout = false;
  };
  /// Nothing if a time does not fit (4.29 s).
  std::optional<Packed> pack() const noexcept;
  static RttEstimator unpack(const Packed& packed) noexcept;

 private:
  static constexpr std::uint8_t kMaxBackoff = 30;
  static constexpr Duration kMinWindow = Duration::seconds(10);

  Duration srtt_;
  Duration rttvar_;
  Duration latest_;
  Duration min_rtt_;
  Instant min_at_;
  std::uint8_t backoff_ = 0;
  bool has_sample_ = false;
  bool after_syn_timeout_ = false;
};
static_assert(sizeof(RttEstimator) <= 48);

inline Duration RttEstimator::base_rto(const RttConfig& config) const noexcept {
  if (!has_sample_) [[unlikely]] {
    //= RFC 6298 §5.7
    const Duration start = config.initial_rto;
    return after_syn_timeout_ ? std::max(start, Duration::seconds(3)) : start;
  }
  const Duration rto = srtt_ + std::max(config.min_rto, rttvar_ * 4);
  return std::min(rto, config.max_rto);
}

inline Duration RttEstimator::rto(const RttConfig& config) const noexcept {
  const Duration base = base_rto(config);
  if (backoff_ == 0) [[likely]]
    return std::min(base, config.max_rto);
  return std::min(base * (std::int64_t{1} << backoff_), config.max_rto);
}

}  // namespace tidewire::tcp
