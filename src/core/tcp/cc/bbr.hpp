// BBR version 3 (draft-ietf-ccwg-bbr) in whole numbers.
#pragma once

#include <array>
#include <cstdint>

#include "base/fixed_point.hpp"
#include "core/tcp/cc/controller.hpp"

namespace tidewire::tcp {

/// A model of the path (bandwidth, round trip, safe volume in flight) instead of a reaction to each
/// loss. Names are the draft's, in bytes and bytes per second; kNoLimit stands for its Infinity.
/// The draft leaves ECN open; see bbr_model.cpp for what is done here.
class Bbr {
 public:
  enum class Phase : std::uint8_t { startup, drain, down, cruise, refill, up, probe_rtt };

  explicit Bbr(const ControllerConfig& config) noexcept;

  void on_sent(const SentSample& sample) noexcept;
  void on_ack(const AckSample& sample) noexcept;
  void on_loss(const LossSample& sample) noexcept;
  void on_rto(const RtoSample& sample) noexcept;
  void on_ecn(const EcnSample& sample) noexcept;
  void on_recovery(const RecoverySample& sample) noexcept;
  void on_spurious(Instant now) noexcept;
  /// The draft keeps the window: what follows is paced (see on_sent).
  void on_idle_restart(const IdleSample&) noexcept {}
  void on_mss(std::uint32_t mss) noexcept;

  std::uint64_t window() const noexcept { return cwnd_; }
  /// BBR has none. Once the path is known it is the window, so that another algorithm that takes
  /// over does not begin with slow start.
  std::uint64_t ssthresh() const noexcept { return full_bw_reached_ ? cwnd_ : kNoLimit; }
  std::uint64_t pacing_rate() const noexcept { return pacing_rate_; }
  ControllerStats stats() const noexcept;
  bool uses_prr() const noexcept { return false; }
  bool paces() const noexcept { return true; }

  // --- the model, for tests and plots ---
  Phase phase() const noexcept { return phase_; }
  std::uint64_t max_bw() const noexcept {
    return max_bw_[0] > max_bw_[1] ? max_bw_[0] : max_bw_[1];
  }
  std::uint64_t bw() const noexcept { return bw_; }
  Duration min_rtt() const noexcept { return min_rtt_; }
  std::uint64_t inflight_longterm() const noexcept { return inflight_longterm_; }
  std::uint64_t inflight_shortterm() const noexcept { return inflight_shortterm_; }
  std::uint64_t bw_shortterm() const noexcept { return bw_shortterm_; }
  std::uint64_t extra_acked() const noexcept;
  std::uint32_t round_count() const noexcept { return round_count_; }
  bool full_bw_reached() const noexcept { return full_bw_reached_; }
  /// Share of marked bytes, smoothed, in 1/65536.
  std::uint32_t ecn_alpha() const noexcept { return ecn_alpha_; }

 private:
  enum class AckPhase : std::uint8_t { init, refilling, starting, feedback, stopping };

  // bbr.cpp: events, control parameters
  void take_first_rtt(Duration srtt) noexcept;
  void set_pacing_rate(Ratio gain) noexcept;
  void set_cwnd(const AckSample& s) noexcept;
  void bound_cwnd() noexcept;
  void save_cwnd() noexcept;
  Ratio pacing_gain() const noexcept;
  Ratio cwnd_gain() const noexcept;
  std::uint64_t send_quantum() const noexcept;
  std::uint64_t min_pipe_cwnd() const noexcept { return std::uint64_t{4} * mss_; }
  std::uint64_t bdp(std::uint64_t bandwidth) const noexcept;
  std::uint64_t with_budget(std::uint64_t inflight_cap) const noexcept;
  std::uint64_t probe_rtt_cwnd() const noexcept;
  std::uint64_t inflight_with_headroom() const noexcept;
  std::uint64_t target_inflight() const noexcept;

  // bbr_model.cpp: what the path delivers
  bool quiet(const AckSample& s) const noexcept;
  bool app_limited(const AckSample& s) const noexcept;
  void update_round(const AckSample& s) noexcept;
  void start_round() noexcept { next_round_delivered_ = delivered_; }
  void update_latest_delivery(const AckSample& s) noexcept;
  void update_congestion_signals(const AckSample& s) noexcept;
  void update_max_bw(const AckSample& s) noexcept;
  void advance_max_bw_filter() noexcept;
  void update_ack_aggregation(const AckSample& s) noexcept;
  void update_min_rtt(const AckSample& s) noexcept;
  void check_full_bw(const AckSample& s) noexcept;
  void reset_full_bw() noexcept;
  void reset_congestion_signals() noexcept;
  void reset_short_term_model() noexcept;
  void adapt_lower_bounds() noexcept;
  void update_ecn(const AckSample& s) noexcept;
  void note_loss() noexcept;
  void save_state_upon_loss() noexcept;
  bool too_high(std::uint64_t lost, std::uint64_t tx_in_flight) const noexcept;
  void handle_inflight_too_high(std::uint64_t tx_in_flight, bool limited, Instant now) noexcept;

  // bbr_phases.cpp: the state machine
  bool in_probe_bw() const noexcept;
  bool probing() const noexcept;
  void check_startup_done(const AckSample& s) noexcept;
  void check_drain_done(const AckSample& s) noexcept;
  void enter_startup() noexcept;
  void start_down(Instant now) noexcept;
  void start_refill() noexcept;
  void start_up(const AckSample& s) noexcept;
  void update_probe_bw(const AckSample& s) noexcept;
  bool adapt_long_term_model(const AckSample& s) noexcept;
  void probe_inflight_upward(const AckSample& s) noexcept;
  void raise_inflight_slope() noexcept;
  bool is_time_to_probe(Instant now) const noexcept;
  bool is_time_to_cruise(const AckSample& s) const noexcept;
  bool is_time_to_go_down(const AckSample& s) noexcept;
  void pick_probe_wait() noexcept;
  void check_probe_rtt(const AckSample& s) noexcept;
  void handle_probe_rtt(const AckSample& s) noexcept;
  void check_probe_rtt_done(Instant now) noexcept;
  std::uint64_t draw() noexcept;

  // control parameters
  std::uint64_t cwnd_;
  std::uint64_t prior_cwnd_ = 0;
  std::uint64_t initial_window_;
  std::uint64_t pacing_rate_ = 0;
  // data rate
  std::array<std::uint64_t, 2> max_bw_{};  // of the cycle before and of this one
  std::uint64_t bw_ = 0;
  std::uint64_t bw_shortterm_ = kNoLimit;
  std::uint64_t bw_latest_ = 0;
  std::uint64_t full_bw_ = 0;
  // data volume
  std::uint64_t inflight_longterm_ = kNoLimit;
  std::uint64_t inflight_shortterm_ = kNoLimit;
  std::uint64_t inflight_latest_ = 0;
  std::uint64_t extra_acked_delivered_ = 0;
  std::array<std::uint32_t, 2> extra_acked_{};  // maxima of two halves of the window
  // rounds
  std::uint64_t delivered_ = 0;
  std::uint64_t next_round_delivered_ = 0;
  std::uint64_t loss_round_delivered_ = 0;
  std::uint64_t conserve_until_ = 0;  // packet conservation: round trip after entering recovery
  std::uint64_t quiet_from_ = 0;      // samples of what was sent in PROBE_RTT say little
  std::uint64_t quiet_until_ = 0;
  // growth of inflight_longterm
  std::uint64_t probe_up_acked_per_inc_ = kNoLimit;
  std::uint64_t bw_probe_up_acked_ = 0;
  // undo
  std::uint64_t undo_bw_shortterm_ = 0;
  std::uint64_t undo_inflight_shortterm_ = 0;
  std::uint64_t undo_inflight_longterm_ = 0;
  // marks
  std::uint64_t round_marked_ = 0;
  std::uint64_t round_delivered_ = 0;
  // times
  Duration min_rtt_;
  Duration probe_rtt_min_delay_;
  Instant min_rtt_stamp_;
  Instant probe_rtt_min_stamp_;
  Instant probe_rtt_done_stamp_ = Instant::never();
  Instant extra_acked_start_;
  Instant cycle_stamp_;
  std::uint64_t random_;
  std::uint32_t bw_probe_wait_ms_ = 0;
  std::uint32_t mss_;
  std::uint32_t round_count_ = 0;
  std::uint32_t drain_start_round_ = 0;
  std::uint32_t ecn_alpha_ = 65'536;
  std::uint8_t rounds_since_probe_up_ = 0;
  std::uint8_t bw_probe_up_rounds_ = 0;
  std::uint8_t full_bw_count_ = 0;
  std::uint8_t extra_acked_rounds_ = 0;
  std::uint8_t loss_events_ = 0;
  std::uint8_t marked_rounds_ = 0;  // with marks enough to leave STARTUP
  Phase phase_ = Phase::startup;
  Phase undo_phase_ = Phase::drain;  // startup or up: left because of a loss; else nothing to undo
  AckPhase ack_phase_ = AckPhase::init;
  bool sack_ : 1;
  bool rtt_seen_ : 1 = false;
  bool full_bw_reached_ : 1 = false;
  bool full_bw_now_ : 1 = false;
  bool round_start_ : 1 = false;
  bool loss_round_start_ : 1 = false;
  bool loss_in_round_ : 1 = false;
  bool marks_in_round_ : 1 = false;
  bool marks_counted_ : 1 = false;  // by the peer: there was one
  bool too_many_marks_ : 1 = false;
  bool bw_probe_sample_ : 1 = false;
  bool prev_probe_too_high_ : 1 = false;
  bool prev_probe_precautionary_ : 1 = false;
  bool probe_rtt_expired_ : 1 = false;
  bool probe_rtt_round_done_ : 1 = false;
  bool idle_restart_ : 1 = false;
  bool in_recovery_ : 1 = false;
  bool conserving_ : 1 = false;
};
static_assert(Controller<Bbr>);
static_assert(sizeof(Bbr) <= AnyController::kCapacity);

}  // namespace tidewire::tcp
