// BBR's model of the path: bandwidth, round trip, volume, and what loss and marks say about them.
//
// Marks: every packet leaves with ECT(0), so a mark means what a loss means, but less of it (RFC
// 8511). Where the peer counts them (RFC 9768) the share of marked bytes, smoothed, decides how
// much volume is given up after a round with marks, at least 15 %; a probe in which more than half
// is marked went too high. Where it only echoes them (RFC 3168) a mark is taken like a loss rate
// above the threshold.
#include <algorithm>

#include "core/tcp/cc/bbr.hpp"

namespace tidewire::tcp {
namespace {

constexpr std::uint64_t kLossThreshPart = 50;  // 2 %: one in fifty
constexpr Ratio kBeta = Ratio::of(7, 10);
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint8_t kFullBwRounds = 3;
constexpr std::uint8_t kExtraAckedRounds = 5;  // half of ExtraAckedFilterLen: two halves are kept
constexpr Duration kMinRttFilterLen = Duration::seconds(10);
constexpr Duration kProbeRttInterval = Duration::seconds(5);

constexpr std::uint32_t kAlphaOne = 65'536;
constexpr std::uint32_t kAlphaShift = 4;                   // gain 1/16
constexpr std::uint32_t kLeastCut = 15 * kAlphaOne / 100;  // RFC 8511 §3: 0.85
constexpr std::uint32_t kEcnFactor = 3;                    // a third of alpha

/// A bound after a round with losses in which `latest` was delivered. The draft has max(latest, β ·
/// bound). But who paces 1 % below the bound on a path that loses 2 % at most, which is tolerable,
/// is delivered 3 % less than the bound, round after round; that shows no lack of capacity.
std::uint64_t lowered(std::uint64_t bound, std::uint64_t latest) noexcept {
  return std::max(std::min(latest + latest * 3 / 100, bound), kBeta(bound));
}

}  // namespace

/// Sent in PROBE_RTT, or before what was sent then had been delivered.
bool Bbr::quiet(const AckSample& s) const noexcept {
  return quiet_until_ != 0 && s.prior_delivered >= quiet_from_ && s.prior_delivered <= quiet_until_;
}

bool Bbr::app_limited(const AckSample& s) const noexcept { return s.app_limited || quiet(s); }

void Bbr::update_round(const AckSample& s) noexcept {
  round_start_ = s.prior_delivered >= next_round_delivered_;
  if (!round_start_) return;
  start_round();
  ++round_count_;
  if (rounds_since_probe_up_ < 255) ++rounds_since_probe_up_;
}

void Bbr::update_latest_delivery(const AckSample& s) noexcept {
  bw_latest_ = std::max(bw_latest_, s.delivery_rate);
  inflight_latest_ = std::max(inflight_latest_, s.rate_delivered);
  loss_round_start_ = s.prior_delivered >= loss_round_delivered_;
  if (loss_round_start_) loss_round_delivered_ = delivered_;
}

void Bbr::update_congestion_signals(const AckSample& s) noexcept {
  update_round(s);
  update_max_bw(s);
  update_ecn(s);
  if (!loss_round_start_) return;
  // How little was delivered in PROBE_RTT and until the pipe was full again is our own doing: a
  // random loss then must not make it the rate of the whole cycle.
  if (quiet(s)) loss_in_round_ = marks_in_round_ = false;
  adapt_lower_bounds();
  loss_in_round_ = false;
}

void Bbr::update_max_bw(const AckSample& s) noexcept {
  if (s.delivery_rate == 0 || (s.delivery_rate < max_bw() && app_limited(s))) return;
  max_bw_[1] = std::max(max_bw_[1], s.delivery_rate);
}

/// A cycle without a sample keeps what is known.
void Bbr::advance_max_bw_filter() noexcept {
  if (max_bw_[1] == 0) return;
  max_bw_[0] = max_bw_[1];
  max_bw_[1] = 0;
}

std::uint64_t Bbr::extra_acked() const noexcept {
  return std::max(extra_acked_[0], extra_acked_[1]);
}

void Bbr::update_ack_aggregation(const AckSample& s) noexcept {
  if (round_start_) {
    if (extra_acked_rounds_ < 31) ++extra_acked_rounds_;
    if (extra_acked_rounds_ >= (full_bw_reached_ ? kExtraAckedRounds : 1)) {
      extra_acked_rounds_ = 0;
      extra_acked_[0] = full_bw_reached_ ? extra_acked_[1] : 0;
      extra_acked_[1] = 0;
    }
  }
  const Duration interval = std::max(s.now - extra_acked_start_, Duration::zero());
  std::uint64_t expected =
      mul_div(bw_, static_cast<std::uint64_t>(interval.count_nanos()), kSecond);
  if (extra_acked_delivered_ <= expected) {
    extra_acked_delivered_ = 0;
    extra_acked_start_ = s.now;
    expected = 0;
  }
  extra_acked_delivered_ += s.delivered;
  const std::uint64_t extra =
      extra_acked_delivered_ > expected ? extra_acked_delivered_ - expected : 0;
  extra_acked_[1] = std::max(extra_acked_[1], static_cast<std::uint32_t>(std::min(extra, cwnd_)));
}

void Bbr::update_min_rtt(const AckSample& s) noexcept {
  const Duration rtt = s.newest_rtt > Duration::zero() ? s.newest_rtt : s.rtt;
  probe_rtt_expired_ = s.now > probe_rtt_min_stamp_ + kProbeRttInterval;
  const bool none = probe_rtt_min_delay_ <= Duration::zero();
  if (rtt > Duration::zero() && (none || rtt < probe_rtt_min_delay_ || probe_rtt_expired_)) {
    probe_rtt_min_delay_ = rtt;
    probe_rtt_min_stamp_ = s.now;
  }
  if (probe_rtt_min_delay_ <= Duration::zero()) return;
  const bool expired = s.now > min_rtt_stamp_ + kMinRttFilterLen;
  if (min_rtt_ <= Duration::zero() || probe_rtt_min_delay_ < min_rtt_ || expired) {
    min_rtt_ = probe_rtt_min_delay_;
    min_rtt_stamp_ = probe_rtt_min_stamp_;
  }
}

void Bbr::reset_full_bw() noexcept {
  full_bw_ = 0;
  full_bw_count_ = 0;
  full_bw_now_ = false;
}

void Bbr::check_full_bw(const AckSample& s) noexcept {
  if (full_bw_now_ || !round_start_ || app_limited(s)) return;
  if (s.delivery_rate >= full_bw_ + full_bw_ / 4) {
    reset_full_bw();
    full_bw_ = s.delivery_rate;
    return;
  }
  full_bw_now_ = ++full_bw_count_ >= kFullBwRounds;
  full_bw_reached_ = full_bw_reached_ || full_bw_now_;
}

void Bbr::reset_congestion_signals() noexcept {
  loss_in_round_ = marks_in_round_ = false;
  bw_latest_ = inflight_latest_ = 0;
}

void Bbr::reset_short_term_model() noexcept {
  bw_shortterm_ = kNoLimit;
  inflight_shortterm_ = kNoLimit;
}

// AdaptLowerBoundsFromCongestion()
void Bbr::adapt_lower_bounds() noexcept {
  const bool marks = marks_in_round_;
  marks_in_round_ = false;
  if (probing() || (!loss_in_round_ && !marks)) return;
  if (inflight_shortterm_ == kNoLimit) inflight_shortterm_ = cwnd_;
  std::uint64_t volume = inflight_shortterm_;
  if (marks) {
    const std::uint32_t cut = std::max(ecn_alpha_ / kEcnFactor, kLeastCut);
    volume = inflight_shortterm_ - mul_div(inflight_shortterm_, cut, kAlphaOne);
    volume = std::max(volume, std::min(inflight_latest_, inflight_shortterm_));
  }
  if (loss_in_round_) {
    if (bw_shortterm_ == kNoLimit) bw_shortterm_ = max_bw();
    bw_shortterm_ = lowered(bw_shortterm_, bw_latest_);
    volume = std::min(volume, lowered(inflight_shortterm_, inflight_latest_));
  }
  inflight_shortterm_ = volume;
}

/// Once a round: the share of marked bytes. Counts come with each ACK from a peer that counts.
void Bbr::update_ecn(const AckSample& s) noexcept {
  round_marked_ += s.ce_marked;
  round_delivered_ += s.delivered;
  if (s.ce_marked > 0) marks_in_round_ = marks_counted_ = true;
  if (!round_start_ || round_delivered_ == 0) return;
  if (!marks_counted_) {
    round_delivered_ = 0;
    return;
  }
  const std::uint64_t marked = std::min(round_marked_, round_delivered_);
  too_many_marks_ = 2 * marked > round_delivered_;
  const auto share = static_cast<std::uint32_t>(mul_div(marked, kAlphaOne, round_delivered_));
  ecn_alpha_ = ecn_alpha_ - (ecn_alpha_ >> kAlphaShift) + (share >> kAlphaShift);
  if (full_bw_reached_ || !too_many_marks_) {
    marked_rounds_ = 0;
  } else if (marked_rounds_ < 255) {
    ++marked_rounds_;
  }
  round_marked_ = round_delivered_ = 0;
}

void Bbr::on_ecn(const EcnSample& sample) noexcept {
  if (sample.accurate) return;  // on_ack counts
  note_loss();
  if (!full_bw_reached_ && marked_rounds_ < 255) ++marked_rounds_;  // once a window at most
  if (bw_probe_sample_) handle_inflight_too_high(sample.in_flight, false, sample.now);
}

// NoteLoss()
void Bbr::note_loss() noexcept {
  if (!loss_in_round_) {
    loss_round_delivered_ = delivered_;
    save_state_upon_loss();
  }
  loss_in_round_ = true;
}

void Bbr::save_state_upon_loss() noexcept {
  save_cwnd();
  undo_phase_ = Phase::drain;
  undo_bw_shortterm_ = bw_shortterm_;
  undo_inflight_shortterm_ = inflight_shortterm_;
  undo_inflight_longterm_ = inflight_longterm_;
}

// IsInflightTooHigh()
bool Bbr::too_high(std::uint64_t lost, std::uint64_t tx_in_flight) const noexcept {
  // One segment is no rate: of fewer than fifty each would be above it.
  return lost > tx_in_flight / kLossThreshPart + mss_ || (lost > 0 && !sack_);
}

// HandleLostPacket()
void Bbr::on_loss(const LossSample& sample) noexcept {
  note_loss();
  if (loss_events_ < 255) ++loss_events_;
  if (!bw_probe_sample_ || !too_high(sample.lost_since, sample.tx_in_flight)) return;
  // InflightAtLoss(): at which volume did the losses cross the threshold?
  const std::uint64_t size = std::min({sample.lost, sample.tx_in_flight, sample.lost_since});
  const std::uint64_t inflight_prev = sample.tx_in_flight - size;
  const std::uint64_t lost_prev = sample.lost_since - size;
  const std::uint64_t safe = inflight_prev / kLossThreshPart;
  const std::uint64_t lost_prefix =
      safe > lost_prev ? (safe - lost_prev) * kLossThreshPart / (kLossThreshPart - 1) : 0;
  handle_inflight_too_high(inflight_prev + lost_prefix, sample.app_limited, sample.now);
}

// HandleInflightTooHigh()
void Bbr::handle_inflight_too_high(std::uint64_t tx_in_flight, bool limited, Instant now) noexcept {
  prev_probe_too_high_ = true;
  bw_probe_sample_ = false;  // once for each probe
  if (!limited) inflight_longterm_ = std::max(tx_in_flight, kBeta(target_inflight()));
  if (phase_ != Phase::up) return;
  undo_phase_ = Phase::up;
  start_down(now);
}

// HandleSpuriousLossDetection()
void Bbr::on_spurious(Instant) noexcept {
  in_recovery_ = conserving_ = false;
  cwnd_ = std::max(cwnd_, prior_cwnd_);
  loss_in_round_ = false;
  reset_full_bw();
  bw_shortterm_ = std::max(bw_shortterm_, undo_bw_shortterm_);
  inflight_shortterm_ = std::max(inflight_shortterm_, undo_inflight_shortterm_);
  inflight_longterm_ = std::max(inflight_longterm_, undo_inflight_longterm_);
  if (undo_phase_ == Phase::startup && phase_ != Phase::startup) {
    full_bw_reached_ = false;
    if (phase_ != Phase::probe_rtt) enter_startup();
  } else if (undo_phase_ == Phase::up && phase_ != Phase::up && phase_ != Phase::probe_rtt) {
    start_refill();
  }
  undo_phase_ = Phase::drain;
}

}  // namespace tidewire::tcp
