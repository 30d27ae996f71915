// BBR: events, and the control parameters that follow from the model.
#include "core/tcp/cc/bbr.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {

constexpr Ratio kStartupPacingGain = Ratio::of(277, 100);
constexpr Ratio kDrainPacingGain = Ratio::of(1, 2);
constexpr Ratio kDownPacingGain = Ratio::of(9, 10);
constexpr Ratio kUpPacingGain = Ratio::of(5, 4);
constexpr Ratio kOne = Ratio::of(1, 1);
constexpr Ratio kDefaultCwndGain = Ratio::of(2, 1);
constexpr Ratio kUpCwndGain = Ratio::of(9, 4);
constexpr Ratio kProbeRttCwndGain = Ratio::of(1, 2);
constexpr Ratio kPacingMargin = Ratio::of(99, 100);
constexpr Ratio kHeadroom = Ratio::of(15, 100);
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMostQuantum = 64 * 1024;
constexpr std::uint64_t kMostWindow = std::uint64_t{1} << 31;

std::uint64_t nanos(Duration d) noexcept { return static_cast<std::uint64_t>(d.count_nanos()); }

}  // namespace

Bbr::Bbr(const ControllerConfig& config) noexcept
    : cwnd_(config.start()),
      initial_window_(config.window()),
      min_rtt_(config.min_rtt > Duration::zero() ? config.min_rtt : config.srtt),
      probe_rtt_min_delay_(min_rtt_),
      min_rtt_stamp_(config.now),
      probe_rtt_min_stamp_(config.now),
      extra_acked_start_(config.now),
      cycle_stamp_(config.now),
      random_(config.seed),
      mss_(std::max<std::uint32_t>(config.mss, 1)),
      sack_(config.sack) {
  // Without a round trip a nominal one of 1 ms: the first window leaves almost at once.
  pacing_rate_ = kStartupPacingGain(mul_div(cwnd_, kSecond, nanos(Duration::millis(1))));
  take_first_rtt(config.srtt);
}

void Bbr::take_first_rtt(Duration srtt) noexcept {
  if (rtt_seen_ || srtt <= Duration::zero()) return;
  rtt_seen_ = true;
  pacing_rate_ = kStartupPacingGain(mul_div(cwnd_, kSecond, nanos(srtt)));
}

// HandleRestartFromIdle()
void Bbr::on_sent(const SentSample& sample) noexcept {
  if (sample.in_flight > sample.bytes || !sample.app_limited) return;
  idle_restart_ = true;
  extra_acked_start_ = sample.now;
  extra_acked_delivered_ = 0;
  if (in_probe_bw()) {
    set_pacing_rate(kOne);
  } else if (phase_ == Phase::probe_rtt) {
    check_probe_rtt_done(sample.now);
  }
}

void Bbr::on_ack(const AckSample& s) noexcept {
  take_first_rtt(s.srtt);
  if (s.tx_in_flight == 0 || s.delivered == 0) return;  // no sample of the path
  delivered_ = s.total_delivered;
  update_latest_delivery(s);
  update_congestion_signals(s);
  update_ack_aggregation(s);
  check_full_bw(s);
  check_startup_done(s);
  check_drain_done(s);
  update_probe_bw(s);
  update_min_rtt(s);
  check_probe_rtt(s);
  if (loss_round_start_) {
    bw_latest_ = s.delivery_rate;
    inflight_latest_ = s.rate_delivered;
  }
  bw_ = std::min(max_bw(), bw_shortterm_);
  set_pacing_rate(pacing_gain());
  set_cwnd(s);
}

void Bbr::on_recovery(const RecoverySample& sample) noexcept {
  if (sample.edge == RecoveryEdge::enter) {
    // The loss that led here has saved the state, and perhaps changed it since.
    if (!loss_in_round_ && undo_phase_ == Phase::drain) save_state_upon_loss();
    save_cwnd();
    in_recovery_ = conserving_ = true;
    conserve_until_ = delivered_;
    return;
  }
  in_recovery_ = conserving_ = false;
  cwnd_ = std::max(cwnd_, prior_cwnd_);
  bound_cwnd();
}

void Bbr::on_rto(const RtoSample& sample) noexcept {
  if (sample.first) {
    save_cwnd();
    note_loss();
  }
  in_recovery_ = conserving_ = false;
  cwnd_ = mss_;
}

void Bbr::on_mss(std::uint32_t mss) noexcept {
  mss_ = std::max<std::uint32_t>(mss, 1);
  cwnd_ = std::max(cwnd_, std::uint64_t{mss_});
  initial_window_ = std::max(initial_window_, std::uint64_t{mss_});
}

void Bbr::save_cwnd() noexcept {
  const bool modulated = in_recovery_ || phase_ == Phase::probe_rtt;
  prior_cwnd_ = modulated ? std::max(prior_cwnd_, cwnd_) : cwnd_;
}

Ratio Bbr::pacing_gain() const noexcept {
  switch (phase_) {
    case Phase::startup:
      return kStartupPacingGain;
    case Phase::drain:
      return kDrainPacingGain;
    case Phase::down:
      return kDownPacingGain;
    case Phase::up:
      return kUpPacingGain;
    case Phase::cruise:
    case Phase::refill:
    case Phase::probe_rtt:
      break;
  }
  return kOne;
}

Ratio Bbr::cwnd_gain() const noexcept {
  if (phase_ == Phase::up) return kUpCwndGain;
  return phase_ == Phase::probe_rtt ? kProbeRttCwndGain : kDefaultCwndGain;
}

// SetPacingRateWithGain()
void Bbr::set_pacing_rate(Ratio gain) noexcept {
  const std::uint64_t rate = kPacingMargin(gain(bw_));
  if (rate > 0 && (full_bw_reached_ || rate > pacing_rate_)) pacing_rate_ = rate;
}

std::uint64_t Bbr::send_quantum() const noexcept {
  return std::max(std::min(pacing_rate_ / 1000, kMostQuantum), std::uint64_t{2} * mss_);
}

std::uint64_t Bbr::bdp(std::uint64_t bandwidth) const noexcept {
  if (min_rtt_ <= Duration::zero()) return initial_window_;
  return std::min(mul_div(bandwidth, nanos(min_rtt_), kSecond), kMostWindow);
}

// QuantizationBudget()
std::uint64_t Bbr::with_budget(std::uint64_t inflight_cap) const noexcept {
  const std::uint64_t cap = std::max({inflight_cap, 3 * send_quantum(), min_pipe_cwnd()});
  return phase_ == Phase::up ? cap + std::uint64_t{2} * mss_ : cap;
}

std::uint64_t Bbr::probe_rtt_cwnd() const noexcept {
  return std::max(kProbeRttCwndGain(bdp(bw_)), min_pipe_cwnd());
}

std::uint64_t Bbr::inflight_with_headroom() const noexcept {
  if (inflight_longterm_ == kNoLimit) return kNoLimit;
  const std::uint64_t headroom = std::max(std::uint64_t{mss_}, kHeadroom(inflight_longterm_));
  const std::uint64_t rest = inflight_longterm_ > headroom ? inflight_longterm_ - headroom : 0;
  return std::max(rest, min_pipe_cwnd());
}

std::uint64_t Bbr::target_inflight() const noexcept { return std::min(bdp(bw_), cwnd_); }

// SetCwnd()
void Bbr::set_cwnd(const AckSample& s) noexcept {
  const std::uint64_t cap = cwnd_gain()(bdp(bw_)) + extra_acked();
  const std::uint64_t max_inflight = std::min(with_budget(cap), kMostWindow);
  if (conserving_ && s.prior_delivered >= conserve_until_) conserving_ = false;
  if (in_recovery_) cwnd_ -= std::min(s.lost, cwnd_ - std::min<std::uint64_t>(mss_, cwnd_));
  if (conserving_) {
    // For a round trip no more leaves than arrives.
    cwnd_ = std::max(cwnd_, s.in_flight + s.delivered);
    if (full_bw_reached_) cwnd_ = std::min(cwnd_, max_inflight);
  } else if (full_bw_reached_) {
    cwnd_ = std::min(cwnd_ + s.delivered, max_inflight);
  } else if (cwnd_ < max_inflight || delivered_ < initial_window_) {
    cwnd_ = std::min(cwnd_ + s.delivered, kMostWindow);
  }
  bound_cwnd();
}

// BoundCwndForProbeRTT(), BoundCwndForModel()
void Bbr::bound_cwnd() noexcept {
  cwnd_ = std::max(cwnd_, min_pipe_cwnd());
  if (phase_ == Phase::probe_rtt) cwnd_ = std::min(cwnd_, probe_rtt_cwnd());
  std::uint64_t cap = kNoLimit;
  if (phase_ == Phase::cruise || phase_ == Phase::probe_rtt) {
    cap = inflight_with_headroom();
  } else if (in_probe_bw()) {
    cap = inflight_longterm_;
  }
  cwnd_ = std::min(cwnd_, std::max(std::min(cap, inflight_shortterm_), min_pipe_cwnd()));
}

ControllerStats Bbr::stats() const noexcept {
  constexpr std::array<const char*, 7> kNames{"startup", "drain",    "probe down", "cruise",
                                              "refill",  "probe up", "probe rtt"};
  return {cwnd_, ssthresh(), pacing_rate_, kNames[static_cast<std::size_t>(phase_)]};
}

}  // namespace tidewire::tcp
