// CUBIC (RFC 9438) in whole numbers.
#pragma once

#include <cstdint>

#include "core/tcp/cc/controller.hpp"

namespace tidewire::tcp {

/// CUBIC with fast convergence and the Reno-friendly region; slow start is HyStart++ (RFC 9406).
class Cubic {
 public:
  explicit Cubic(const ControllerConfig& config) noexcept;

  void on_sent(const SentSample& sample) noexcept;
  void on_ack(const AckSample& sample) noexcept;
  void on_quiet_ack(Instant now, Duration srtt) noexcept;
  void on_loss(const LossSample& sample) noexcept { lost_flight_ = sample.tx_in_flight; }
  void on_rto(const RtoSample& sample) noexcept;
  void on_ecn(const EcnSample& sample) noexcept;
  void on_recovery(const RecoverySample& sample) noexcept;
  void on_spurious(Instant now) noexcept;
  void on_idle_restart(const IdleSample& sample) noexcept;
  void on_mss(std::uint32_t mss) noexcept;

  std::uint64_t window() const noexcept { return cwnd_; }
  std::uint64_t ssthresh() const noexcept { return ssthresh_; }
  std::uint64_t pacing_rate() const noexcept;
  ControllerStats stats() const noexcept;
  bool uses_prr() const noexcept { return true; }
  bool paces() const noexcept { return false; }  // as Linux, without a qdisc that does

  /// W_cubic(t) in bytes for a curve with plateau `w_max` bytes reached `k` after its start
  /// (RFC 9438 §4.2, C = 0.4). For tests and plots.
  static std::uint64_t curve(std::uint64_t w_max, Duration k, Duration t,
                             std::uint32_t mss) noexcept;
  /// K: how long from `cwnd` to `w_max`, in whole milliseconds.
  static Duration plateau_time(std::uint64_t w_max, std::uint64_t cwnd, std::uint32_t mss) noexcept;

 private:
  void slow_start(const AckSample& sample) noexcept;
  void hystart(const AckSample& sample) noexcept;
  void avoidance(const AckSample& sample, std::uint64_t acked) noexcept;
  void start_epoch(Instant now) noexcept;
  void reduce(std::uint64_t in_flight) noexcept;

  std::uint64_t cwnd_;
  std::uint64_t ssthresh_;
  std::uint64_t initial_window_;
  std::uint64_t w_max_ = 0;
  std::uint64_t w_est_ = 0;
  std::uint64_t cwnd_prior_ = 0;
  std::uint64_t lost_flight_ = 0;  // bytes out when what was deemed lost last was sent
  std::uint64_t est_acked_ = 0;
  std::uint64_t grow_acked_ = 0;
  Instant epoch_start_;
  Instant last_ack_;
  Duration k_;
  Duration srtt_;
  // HyStart++ (RFC 9406)
  std::uint64_t round_end_ = 0;  // snd_nxt_offset when the round began
  Duration round_min_rtt_;
  Duration last_round_min_rtt_;
  Duration css_baseline_;
  std::uint8_t round_samples_ = 0;
  std::uint8_t css_rounds_ = 0;
  bool in_css_ = false;
  bool in_epoch_ = false;
  std::uint32_t mss_;
  // before the last reduction
  std::uint64_t saved_cwnd_ = 0;
  std::uint64_t saved_ssthresh_ = 0;
  std::uint64_t saved_w_max_ = 0;
  Duration saved_k_;
  Instant saved_epoch_start_;
};
static_assert(QuietController<Cubic>);
static_assert(sizeof(Cubic) <= AnyController::kCapacity);

}  // namespace tidewire::tcp
