// BBR's state machine: STARTUP, DRAIN, PROBE_BW (DOWN, CRUISE, REFILL, UP) and PROBE_RTT.
#include <algorithm>

#include "core/tcp/cc/bbr.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint8_t kStartupFullLossCount = 6;
constexpr std::uint8_t kStartupFullMarkedRounds = 2;
constexpr std::uint32_t kDrainRounds = 3;
constexpr std::uint64_t kMostRenoRounds = 63;
constexpr Duration kProbeRttDuration = Duration::millis(200);

}  // namespace

bool Bbr::in_probe_bw() const noexcept {
  return phase_ == Phase::down || phase_ == Phase::cruise || phase_ == Phase::refill ||
         phase_ == Phase::up;
}

bool Bbr::probing() const noexcept {
  return phase_ == Phase::startup || phase_ == Phase::refill || phase_ == Phase::up;
}

std::uint64_t Bbr::draw() noexcept {
  random_ = random_ * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
  return random_ >> 33;
}

void Bbr::enter_startup() noexcept { phase_ = Phase::startup; }

// CheckStartupDone(), CheckStartupHighLoss()
void Bbr::check_startup_done(const AckSample& s) noexcept {
  if (!full_bw_reached_) {
    const bool losses = sack_ ? loss_round_start_ && s.in_recovery &&
                                    loss_events_ >= kStartupFullLossCount &&
                                    too_high(s.lost_since, s.tx_in_flight)
                              : s.in_recovery && loss_in_round_;
    if (losses || marked_rounds_ >= kStartupFullMarkedRounds) {
      undo_phase_ = losses ? Phase::startup : Phase::drain;
      full_bw_reached_ = true;
      inflight_longterm_ = std::max(bdp(max_bw()), inflight_latest_);
    }
  }
  if (loss_round_start_) loss_events_ = 0;
  if (phase_ != Phase::startup || !full_bw_reached_) return;
  phase_ = Phase::drain;
  drain_start_round_ = round_count_;
}

void Bbr::check_drain_done(const AckSample& s) noexcept {
  if (phase_ != Phase::drain) return;
  if (s.in_flight <= with_budget(bdp(bw_)) || round_count_ > drain_start_round_ + kDrainRounds) {
    start_down(s.now);
  }
}

// StartProbeBW_DOWN()
void Bbr::start_down(Instant now) noexcept {
  reset_congestion_signals();
  probe_up_acked_per_inc_ = kNoLimit;
  pick_probe_wait();
  cycle_stamp_ = now;
  ack_phase_ = AckPhase::stopping;
  start_round();
  phase_ = Phase::down;
}

void Bbr::start_refill() noexcept {
  reset_short_term_model();
  bw_probe_up_rounds_ = 0;
  bw_probe_up_acked_ = 0;
  prev_probe_precautionary_ = false;
  ack_phase_ = AckPhase::refilling;
  start_round();
  phase_ = Phase::refill;
}

void Bbr::start_up(const AckSample& s) noexcept {
  ack_phase_ = AckPhase::starting;
  start_round();
  reset_full_bw();
  full_bw_ = s.delivery_rate;
  phase_ = Phase::up;
  raise_inflight_slope();
}

/// Both time scales have a random part, so that flows that share a bottleneck mix.
void Bbr::pick_probe_wait() noexcept {
  rounds_since_probe_up_ = static_cast<std::uint8_t>(draw() & 1);
  bw_probe_wait_ms_ = static_cast<std::uint32_t>(2000 + draw() % 1000);
}

bool Bbr::is_time_to_probe(Instant now) const noexcept {
  if (now > cycle_stamp_ + Duration::millis(bw_probe_wait_ms_)) return true;
  // IsRenoCoexistenceProbeTime()
  return rounds_since_probe_up_ >= std::min(target_inflight() / mss_, kMostRenoRounds);
}

bool Bbr::is_time_to_cruise(const AckSample& s) const noexcept {
  return s.in_flight <= inflight_with_headroom() && s.in_flight <= with_budget(bdp(max_bw()));
}

bool Bbr::is_time_to_go_down(const AckSample& s) noexcept {
  if (prev_probe_too_high_ && s.in_flight >= inflight_longterm_) {
    prev_probe_precautionary_ = true;
    return true;
  }
  if (s.cwnd_limited && cwnd_ >= inflight_longterm_) {
    reset_full_bw();
    full_bw_ = s.delivery_rate;
    return false;
  }
  return full_bw_now_;
}

void Bbr::raise_inflight_slope() noexcept {
  const std::uint64_t growth = std::uint64_t{1} << bw_probe_up_rounds_;
  bw_probe_up_rounds_ = std::min<std::uint8_t>(bw_probe_up_rounds_ + 1, 30);
  probe_up_acked_per_inc_ = std::max(cwnd_ / growth, std::uint64_t{mss_});
}

void Bbr::probe_inflight_upward(const AckSample& s) noexcept {
  if (!s.cwnd_limited || cwnd_ < inflight_longterm_) return;
  bw_probe_up_acked_ += s.delivered;
  if (bw_probe_up_acked_ >= probe_up_acked_per_inc_) {
    const std::uint64_t steps = bw_probe_up_acked_ / probe_up_acked_per_inc_;
    bw_probe_up_acked_ -= steps * probe_up_acked_per_inc_;
    inflight_longterm_ += steps * mss_;
  }
  if (round_start_) raise_inflight_slope();
}

// AdaptLongTermModel(): true if it has decided the phase.
bool Bbr::adapt_long_term_model(const AckSample& s) noexcept {
  if (ack_phase_ == AckPhase::starting && round_start_) ack_phase_ = AckPhase::feedback;
  if (ack_phase_ == AckPhase::stopping && round_start_) {
    bw_probe_sample_ = false;
    ack_phase_ = AckPhase::init;
    if (in_probe_bw() && !app_limited(s)) advance_max_bw_filter();
    if (in_probe_bw() && prev_probe_precautionary_ && !prev_probe_too_high_) {
      start_refill();
      return true;
    }
  }
  const bool losses = too_high(s.lost_since, s.tx_in_flight);
  if (bw_probe_sample_ && (losses || (too_many_marks_ && round_start_))) {
    const bool up = phase_ == Phase::up;
    handle_inflight_too_high(s.tx_in_flight, app_limited(s), s.now);
    return up;
  }
  if (losses) return false;
  if (inflight_longterm_ == kNoLimit) return false;
  inflight_longterm_ = std::max(inflight_longterm_, s.tx_in_flight);
  if (phase_ == Phase::up) probe_inflight_upward(s);
  return false;
}

// UpdateProbeBWCyclePhase()
void Bbr::update_probe_bw(const AckSample& s) noexcept {
  if (!full_bw_reached_ || adapt_long_term_model(s)) return;
  switch (phase_) {
    case Phase::down:
      if (is_time_to_probe(s.now)) return start_refill();
      if (is_time_to_cruise(s)) phase_ = Phase::cruise;
      return;
    case Phase::cruise:
      if (is_time_to_probe(s.now)) start_refill();
      return;
    case Phase::refill:
      if (!round_start_) return;
      bw_probe_sample_ = true;
      return start_up(s);
    case Phase::up:
      if (!is_time_to_go_down(s)) return;
      prev_probe_too_high_ = false;
      return start_down(s.now);
    case Phase::startup:
    case Phase::drain:
    case Phase::probe_rtt:
      return;
  }
}

void Bbr::check_probe_rtt(const AckSample& s) noexcept {
  if (phase_ != Phase::probe_rtt && probe_rtt_expired_ && !idle_restart_) {
    // Where a round trip is long, a cycle may never come to its end.
    if (ack_phase_ == AckPhase::feedback && !app_limited(s)) advance_max_bw_filter();
    save_cwnd();
    phase_ = Phase::probe_rtt;
    probe_rtt_done_stamp_ = Instant::never();
    ack_phase_ = AckPhase::stopping;
    quiet_from_ = delivered_;
    start_round();
  }
  if (phase_ == Phase::probe_rtt) handle_probe_rtt(s);
  if (s.rate_delivered > 0) idle_restart_ = false;
}

void Bbr::handle_probe_rtt(const AckSample& s) noexcept {
  quiet_until_ = std::max<std::uint64_t>(delivered_ + s.in_flight, 1);
  if (probe_rtt_done_stamp_.is_never()) {
    if (s.in_flight > probe_rtt_cwnd()) return;
    probe_rtt_done_stamp_ = s.now + kProbeRttDuration;
    probe_rtt_round_done_ = false;
    start_round();
    return;
  }
  if (round_start_) probe_rtt_round_done_ = true;
  if (probe_rtt_round_done_) check_probe_rtt_done(s.now);
}

// CheckProbeRTTDone(), ExitProbeRTT()
void Bbr::check_probe_rtt_done(Instant now) noexcept {
  if (probe_rtt_done_stamp_.is_never() || now <= probe_rtt_done_stamp_) return;
  probe_rtt_min_stamp_ = now;
  cwnd_ = std::max(cwnd_, prior_cwnd_);
  reset_short_term_model();
  if (!full_bw_reached_) return enter_startup();
  start_down(now);
  phase_ = Phase::cruise;
}

}  // namespace tidewire::tcp
