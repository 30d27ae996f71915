#include "core/tcp/cc/cubic.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::tcp {
namespace {

constexpr Ratio kFastConvergence = Ratio::of(17, 20);  // (1 + β) / 2, §4.7

//= RFC 9438 §4.6: 0.7, and of ten segments exactly seven
constexpr std::uint64_t beta(std::uint64_t bytes) noexcept { return mul_div(bytes, 7, 10); }

// RFC 9406 §4.2
constexpr Duration kMinRttThresh = Duration::millis(4);
constexpr Duration kMaxRttThresh = Duration::millis(16);
constexpr std::uint8_t kRttSamples = 8;
constexpr std::uint64_t kCssGrowthDivisor = 4;
constexpr std::uint8_t kCssRounds = 5;

// The curve is followed for at most this long, and windows stay in what TCP can announce.
constexpr std::int64_t kMostMillis = 1'000'000;
constexpr std::uint64_t kMostWindow = std::uint64_t{1} << 31;

}  // namespace

Cubic::Cubic(const ControllerConfig& config) noexcept
    : cwnd_(config.start()),
      ssthresh_(config.initial_ssthresh),
      initial_window_(config.window()),
      last_ack_(config.now),
      srtt_(config.srtt),
      mss_(std::max<std::uint32_t>(config.mss, 1)) {}

//= RFC 9438 §4.2 Figure 1
std::uint64_t Cubic::curve(std::uint64_t w_max, Duration k, Duration t,
                           std::uint32_t mss) noexcept {
  const std::int64_t away =
      std::clamp(t.count_millis() - k.count_millis(), -kMostMillis, kMostMillis);
  const auto distance = static_cast<std::uint64_t>(away < 0 ? -away : away);
  // C = 0.4 segments per second cubed, milliseconds cubed: 4 · mss · d³ / (10 · 10⁹)
  const Wide delta = Wide{distance} * distance * distance * 4 * mss / 10'000'000'000U;
  if (away >= 0) return static_cast<std::uint64_t>(std::min<Wide>(w_max + delta, kMostWindow));
  return delta >= w_max ? 0 : w_max - static_cast<std::uint64_t>(delta);
}

//= RFC 9438 §4.2 Figure 2
Duration Cubic::plateau_time(std::uint64_t w_max, std::uint64_t cwnd, std::uint32_t mss) noexcept {
  if (w_max <= cwnd || mss == 0) return Duration::zero();
  const std::uint64_t missing = std::min(w_max - cwnd, kMostWindow);
  return Duration::millis(cube_root(mul_div(missing, 2'500'000'000, mss)));
}

//= RFC 9438 §4.2
/// Nothing was out: the time since the last ACK is none in which the window could have been probed.
void Cubic::on_sent(const SentSample& sample) noexcept {
  if (sample.in_flight > sample.bytes || !in_epoch_ || sample.now <= last_ack_) return;
  epoch_start_ += sample.now - last_ack_;
  last_ack_ = sample.now;
}

//= RFC 9438 §4.2: the curve stands still while the application is what limits
void Cubic::on_quiet_ack(Instant now, Duration srtt) noexcept {
  srtt_ = srtt;
  if (now <= last_ack_) return;
  if (in_epoch_) epoch_start_ += now - last_ack_;
  last_ack_ = now;
}

void Cubic::on_ack(const AckSample& sample) noexcept {
  if (!sample.cwnd_limited) return on_quiet_ack(sample.now, sample.srtt);
  srtt_ = sample.srtt;
  last_ack_ = later(last_ack_, sample.now);
  if (sample.in_recovery) return;
  std::uint64_t acked = sample.credit;
  if (cwnd_ < ssthresh_) {
    const std::uint64_t before = cwnd_;
    slow_start(sample);
    if (cwnd_ < ssthresh_) return;
    acked -= std::min(acked, cwnd_ - before);
  }
  avoidance(sample, acked);
}

void Cubic::slow_start(const AckSample& sample) noexcept {
  // RFC 9406 §4.2: only the first slow start, where nothing is known of the path.
  if (ssthresh_ == kNoLimit) hystart(sample);
  const std::uint64_t acked = in_css_ ? sample.credit / kCssGrowthDivisor : sample.credit;
  cwnd_ = std::min({cwnd_ + acked, std::max(ssthresh_, cwnd_), kMostWindow});
}

//= RFC 9406 §4.2
void Cubic::hystart(const AckSample& sample) noexcept {
  if (sample.snd_una_offset >= round_end_) {
    round_end_ = sample.snd_nxt_offset;
    last_round_min_rtt_ = round_min_rtt_;
    round_min_rtt_ = Duration::zero();
    round_samples_ = 0;
    if (in_css_ && ++css_rounds_ >= kCssRounds) {
      ssthresh_ = cwnd_;
      return;
    }
  }
  if (sample.rtt <= Duration::zero()) return;
  if (round_samples_ == 0 || sample.rtt < round_min_rtt_) round_min_rtt_ = sample.rtt;
  if (round_samples_ < kRttSamples) ++round_samples_;
  if (round_samples_ < kRttSamples || last_round_min_rtt_ == Duration::zero()) return;
  if (in_css_) {
    if (round_min_rtt_ < css_baseline_) in_css_ = false;
    return;
  }
  const Duration threshold = std::clamp(last_round_min_rtt_ / 8, kMinRttThresh, kMaxRttThresh);
  if (round_min_rtt_ >= last_round_min_rtt_ + threshold) {
    css_baseline_ = round_min_rtt_;
    in_css_ = true;
    css_rounds_ = 0;
  }
}

void Cubic::start_epoch(Instant now) noexcept {
  in_epoch_ = true;
  epoch_start_ = now;
  //= RFC 9438 §4.8: after a timeout or a slow start that ended by itself the plateau is here
  w_max_ = std::max(w_max_, cwnd_);
  k_ = plateau_time(w_max_, cwnd_, mss_);
  w_est_ = cwnd_;
  est_acked_ = grow_acked_ = 0;
}

void Cubic::avoidance(const AckSample& sample, std::uint64_t acked) noexcept {
  if (acked == 0) return;
  if (!in_epoch_) start_epoch(sample.now);
  const Duration t = sample.now - epoch_start_;
  //= RFC 9438 §4.3: α = 3·(1-β)/(1+β) = 9/17, and 1 once the old window is reached
  const bool past = w_est_ >= cwnd_prior_;
  const std::uint64_t denominator = cwnd_ * (past ? 1 : 17);
  est_acked_ += acked * mss_ * (past ? 1 : 9);
  w_est_ += est_acked_ / denominator;
  est_acked_ %= denominator;
  if (curve(w_max_, k_, t, mss_) < w_est_) {
    cwnd_ = std::min(std::max(cwnd_, w_est_), kMostWindow);
    return;
  }
  //= RFC 9438 §4.4, §4.5
  const std::uint64_t target =
      std::clamp(curve(w_max_, k_, t + sample.srtt, mss_), cwnd_, cwnd_ + cwnd_ / 2);
  grow_acked_ += (target - cwnd_) * acked;
  const std::uint64_t step = grow_acked_ / cwnd_;
  grow_acked_ %= cwnd_;
  cwnd_ = std::min(cwnd_ + step, kMostWindow);
}

//= RFC 9438 §4.6, §4.7
void Cubic::reduce(std::uint64_t in_flight) noexcept {
  saved_cwnd_ = cwnd_;
  saved_ssthresh_ = ssthresh_;
  saved_w_max_ = w_max_;
  saved_k_ = k_;
  saved_epoch_start_ = epoch_start_;
  cwnd_prior_ = cwnd_;
  w_max_ = cwnd_ < w_max_ ? kFastConvergence(cwnd_) : cwnd_;
  ssthresh_ = std::max(beta(in_flight), std::uint64_t{2} * mss_);
  in_epoch_ = false;
  in_css_ = false;
}

void Cubic::on_recovery(const RecoverySample& sample) noexcept {
  if (sample.edge == RecoveryEdge::enter) {
    // Writes in lumps leave the flight anywhere below the window when a loss shows. What it was
    // when the lost data was sent is what the path did not carry.
    reduce(std::max(sample.in_flight, std::min(lost_flight_, cwnd_)));
    lost_flight_ = 0;
  }
  cwnd_ = ssthresh_;
}

//= RFC 9438 §4.8
void Cubic::on_rto(const RtoSample& sample) noexcept {
  if (sample.first) reduce(sample.in_flight);
  w_max_ = 0;
  in_epoch_ = false;
  cwnd_ = mss_;
}

void Cubic::on_ecn(const EcnSample& sample) noexcept {
  reduce(sample.in_flight);
  cwnd_ = ssthresh_;
}

//= RFC 9438 §4.9
void Cubic::on_spurious(Instant now) noexcept {
  if (saved_cwnd_ == 0) return;
  cwnd_ = std::max(cwnd_, saved_cwnd_);
  ssthresh_ = std::max(ssthresh_, saved_ssthresh_);
  w_max_ = saved_w_max_;
  k_ = saved_k_;
  epoch_start_ = saved_epoch_start_;
  in_epoch_ = cwnd_ >= ssthresh_ && w_max_ != 0;
  w_est_ = std::max(w_est_, cwnd_);
  last_ack_ = later(last_ack_, now);
  saved_cwnd_ = 0;
}

//= RFC 5681 §4.1
void Cubic::on_idle_restart(const IdleSample& sample) noexcept {
  cwnd_ = std::min(cwnd_, initial_window_);
  in_epoch_ = false;
  last_ack_ = later(last_ack_, sample.now);
}

void Cubic::on_mss(std::uint32_t mss) noexcept {
  mss_ = std::max<std::uint32_t>(mss, 1);
  cwnd_ = std::max(cwnd_, std::uint64_t{mss_});
  initial_window_ = std::max(initial_window_, std::uint64_t{mss_});  // a restart sends a segment
  in_epoch_ = false;
}

std::uint64_t Cubic::pacing_rate() const noexcept {
  if (srtt_ <= Duration::zero()) return kNoLimit;
  const Ratio gain = cwnd_ < ssthresh_ / 2 ? Ratio::of(2, 1) : Ratio::of(6, 5);
  return gain(mul_div(cwnd_, 1'000'000'000, static_cast<std::uint64_t>(srtt_.count_nanos())));
}

ControllerStats Cubic::stats() const noexcept {
  const char* phase = cwnd_ >= ssthresh_ ? "avoidance"
                      : in_css_          ? "conservative slow start"
                                         : "slow start";
  return {cwnd_, ssthresh_, pacing_rate(), phase};
}

}  // namespace tidewire::tcp
