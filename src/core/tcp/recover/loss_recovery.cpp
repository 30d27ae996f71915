#include "core/tcp/recover/loss_recovery.hpp"

#include <algorithm>

#include "core/tcp/recover/plain_ack.hpp"

namespace tidewire::tcp {

LossRecovery::LossRecovery(MemoryProvider& memory, const RecoveryConfig& config, Seq snd_nxt,
                           Instant now) noexcept
    : board_(memory),
      rate_(now),
      mss_(std::max<std::uint32_t>(config.mss, 1)),
      sack_(config.sack),
      rack_on_(config.rack),
      undo_on_(config.undo),
      frto_on_(config.undo && config.frto && config.sack),
      prediction_(config.prediction),
      recovery_point_(snd_nxt - 1),
      high_rxt_(snd_nxt),
      rescue_rxt_(snd_nxt),
      rto_una_(snd_nxt),
      spurious_until_(snd_nxt),
      timeout_end_(snd_nxt),
      timer_from_(now),
      probe_from_(now) {
  board_.reset(snd_nxt);
}

Instant LossRecovery::retransmission_stamp(const RttEstimator& rtt, Instant now) const noexcept {
  if (!uses_rack() || !rack_.reordering_seen()) return now;
  // Half a round trip leaves no doubt that the original was sent before.
  const Duration window = std::min(rack_.reordering_window(rtt, 0, true), rtt.min_rtt() / 2);
  return std::min(now, later(now - window, stamp_));
}

void LossRecovery::on_sent(SeqRange range, std::uint32_t seg_size, Instant now, bool probe,
                           Instant stamp) noexcept {
  const RateSnapshot rate = rate_.on_send(now, in_flight(), range.size());
  const bool again = range.start.before(board_.high_data());
  if (board_.empty() || range.start == board_.una()) timer_from_ = now;
  board_.on_sent({range, seg_size, now, rate, probe});
  if (probe) {
    mtu_probe_ = MtuProbe::arrived;
    mtu_range_ = range;
  }
  if (again) {
    if (mtu_probe_ != MtuProbe::none && range.start.before(mtu_range_.end) &&
        range.end.after(mtu_range_.start)) {
      mtu_probe_ = MtuProbe::lost;
    }
    force_first_ = false;
    frto_ = frto_ == Frto::next_ack ? Frto::off : frto_;  // there was nothing new to send
    stamp_ = std::min(stamp, now);
    backdated_ = std::max(backdated_, now - stamp_);
    spurious_.on_retransmit(range, range.start == board_.una(), stamp_);
  } else {
    probe_from_ = now;
    frto_room_ -= std::min<std::uint64_t>(frto_room_, range.size());
  }
  if (probe_due_) {
    probe_due_ = false;
    probe_.on_sent(range.end, again);
    timer_from_ = now;
  }
  if (phase_ != RecoveryPhase::recovery) return;
  prr_.on_sent(range.size());
  if (!again) return;
  if (range.end.after(board_.high_sacked()) && sack_) {
    rescued_ = true;
    rescue_rxt_ = recovery_point_;
  } else {
    high_rxt_ = later(high_rxt_, range.end);
  }
}

void LossRecovery::take_rtt(const AckEvent& event, const Delivered& d, RttEstimator& rtt,
                            AckOutcome& out) noexcept {
  //= RFC 6298 §3 (Karn): data sent twice gives no sample, unless timestamps tell which one arrived;
  // nor does what waited with it for the gap to close.
  if (!d.oldest_sent_at.is_never() && !d.with_retransmitted) {
    // The receiver may have waited for the last of what it acknowledges. What it only reports was
    // perhaps reported before, in an ACK that got lost; the echo shows that too.
    const Instant sent_at = d.acked > 0 ? d.oldest_sent_at : d.newest_clean_sent_at;
    out.rtt = std::max(event.now - sent_at, Duration::nanos(1));
    if (event.echoed_rtt && *event.echoed_rtt + Duration::millis(1) < *out.rtt) {
      out.rtt = event.echoed_rtt;
    }
  } else if (d.acked > 0 && event.echoed_rtt && !d.dsack) {
    // With a report of duplicates the first ACK got lost: the time since then is not a round trip.
    out.rtt = event.echoed_rtt;
  }
  if (!out.rtt) return;
  rtt.on_sample(*out.rtt, event.now, samples_expected(d.acked));
  //= RFC 4015 §3.1 (9)
  if (reseed_ && board_.una().after(timeout_end_)) [[unlikely]] {
    rtt.reseed(std::max(srtt_prev_, *out.rtt), std::max(rttvar_prev_, *out.rtt / 2));
    reseed_ = false;
  }
}

// Counts duplicate ACKs. Returns the bytes that this ACK shows to have been delivered.
std::uint64_t LossRecovery::count_duplicates(const AckEvent& event, const Delivered& d) noexcept {
  if (sack_) {
    if (d.acked > 0) dup_acks_ = 0;
    //= RFC 6675 §2: a duplicate ACK is one with new SACK information
    if (d.acked == 0 && d.new_sack_info) dup_acks_ += event.segments;
    return d.delivered;
  }
  if (d.acked > 0) {
    // Of what is acknowledged now, duplicate ACKs have announced all but the segment that was
    // missing.
    const std::uint64_t announced = std::min(dup_bytes_, d.acked > mss_ ? d.acked - mss_ : 0);
    dup_bytes_ -= announced;
    dup_acks_ = 0;
    return d.delivered - std::min(announced, d.delivered);
  }
  if (!event.duplicate) return 0;
  dup_acks_ += event.segments;
  const std::uint64_t out = board_.outstanding();
  const std::uint64_t most = out > mss_ ? out - mss_ : 0;
  const std::uint64_t before = dup_bytes_;
  dup_bytes_ = std::min(dup_bytes_ + std::uint64_t{mss_} * event.segments, std::max(most, before));
  return dup_bytes_ - before;
}

AckOutcome LossRecovery::on_ack(const AckEvent& event, RttEstimator& rtt) noexcept {
  if (const PlainAck plain = on_plain_ack(event, rtt); plain.acked > 0) {
    return outcome_of(plain, rtt, event.now);
  }
  AckOutcome out;
  out.prior_in_flight = in_flight();
  out.was_in_recovery = in_recovery();
  flight_at_loss_ = out.prior_outstanding = board_.outstanding();
  const Delivered d =
      board_.on_ack(event.seg_ack, sack_ ? event.sack_blocks : std::span<const SeqRange>{},
                    {event.now, rtt.min_rtt(), event.echoed_rtt, backdated_});
  out.acked = d.acked;
  out.dsack = d.dsack.has_value();
  out.overtaken = d.overtaken;
  out.restart_rto = d.acked > 0;
  if (d.acked > 0) timer_from_ = probe_from_ = event.now;
  out.delivered = count_duplicates(event, d);
  delivered_at_loss_ = out.delivered;
  //= RFC 3042 §2
  // As Linux: what duplicate ACKs reported counts no more when the cumulative ACK comes; but at
  // once where more than three segments were overtaken before, so that it says nothing of loss.
  overtaken_ = std::max(overtaken_, d.overtaken);
  const bool reordering = overtaken_ > Scoreboard::kDupThresh * mss_;
  if (!in_recovery() && (d.acked > 0 || reordering)) out.credit = out.delivered;
  take_rtt(event, d, rtt, out);
  if (out.rtt) probe_.on_rtt_sample();
  if (d.any) {
    out.rate = rate_.on_delivered(out.delivered, d.newest.rate, d.newest.sent_at,
                                  d.newest.retransmitted, rtt.min_rtt(), event.now);
  }
  if (d.reneged) {
    board_.forget_sacks();
    out.reneged = true;
  }
  check_spurious(event, d, out);
  if (phase_ >= RecoveryPhase::recovery && board_.una().at_or_after(recovery_point_)) {
    out.left_recovery = in_recovery();
    leave();
  }
  rack_.on_delivered(d, event.now);
  rack_.on_round(out.dsack, out.left_recovery, board_.una(), board_.high_data());
  detect_loss(d, rtt, event.now, out);
  if (mtu_probe_ != MtuProbe::none) [[unlikely]]
    judge_mtu_probe(out);
  check_probe(event, d, out);
  out.in_flight = in_flight();
  if (in_recovery() && !out.entered_recovery) {
    prr_.on_ack(out.delivered, out.in_flight, mss_, d.acked > 0 && out.newly_lost == 0);
  }
  return out;
}

AckOutcome LossRecovery::outcome_of(const PlainAck& plain, const RttEstimator& rtt,
                                    Instant now) noexcept {
  AckOutcome out;
  out.acked = out.delivered = out.credit = plain.acked;
  out.prior_in_flight = plain.prior_in_flight;
  out.prior_outstanding = plain.prior_outstanding;
  out.in_flight = plain.in_flight;
  out.rtt = plain.rtt;
  out.rate = plain.rate;
  out.restart_rto = true;
  if (!plain.settled) {
    detect_loss({}, rtt, now, out);
    out.in_flight = in_flight();
  }
  return out;
}

SpuriousBy LossRecovery::find_spurious(const AckEvent& event, const Delivered& d,
                                       AckOutcome& out) noexcept {
  SpuriousDetector::Report report;
  if (d.dsack) {
    report = spurious_.on_dsack(*d.dsack);
    if (report.ours) out.duplicated = d.dsack->size();
  }
  SpuriousBy by = report.all ? SpuriousBy::dsack : SpuriousBy::none;
  if (phase_ >= RecoveryPhase::recovery) {
    if (check_frto(event, d, out)) by = SpuriousBy::frto;
    //= RFC 3522 §3.2 (5)
    // A report of duplicates with it: the original may have been answered by an ACK that got lost.
    // So may it if all is acknowledged, by a peer that makes no such reports.
    const bool answered = d.acked > 0 && spurious_.on_progress(event.echoed_rtt, event.now);
    if (answered && !d.dsack && (dsack_seen_ || !board_.empty())) by = SpuriousBy::timestamps;
  }
  dsack_seen_ = dsack_seen_ || d.dsack;
  return by;
}

//= RFC 4015 §3.1
void LossRecovery::check_spurious(const AckEvent& event, const Delivered& d,
                                  AckOutcome& out) noexcept {
  if (!spurious_.active() && !d.dsack) return;
  const SpuriousBy by = find_spurious(event, d, out);
  const bool recovering = phase_ >= RecoveryPhase::recovery;
  if (by == SpuriousBy::none) {
    if (recovering || !board_.una().after(spurious_until_)) return;
    if (undo_rounds_ == 0) return spurious_.stop();
    --undo_rounds_;
    spurious_until_ = board_.high_data();
    return;
  }
  spurious_.stop();
  if (!after_timeout_) rack_.on_spurious();
  if (!undo_on_) return;
  out.spurious = by;
  reseed_ = after_timeout_;
  if (!recovering) return;
  board_.undo_lost();
  leave();
}

//= RFC 5682 §3.1
/// Without timestamps: true if data that was sent once only, before the timeout, arrived after its
/// retransmission had been acknowledged and new data had been sent.
bool LossRecovery::check_frto(const AckEvent& event, const Delivered& d, AckOutcome& out) noexcept {
  if (frto_ == Frto::off || phase_ != RecoveryPhase::loss) return false;
  if (frto_ == Frto::first_ack) {
    if (d.acked == 0) return false;
    frto_ = Frto::off;
    if (event.echoed_rtt || board_.una().at_or_after(recovery_point_)) return false;
    frto_ = Frto::next_ack;
    frto_room_ = 2 * std::uint64_t{mss_};
    out.new_data_first = true;
    return false;
  }
  if (d.delivered == 0) return false;
  frto_ = Frto::off;
  const bool beyond = board_.high_sacked().after(recovery_point_);
  return !beyond && !d.oldest_sent_at.is_never() && d.oldest_sent_at < timeout_at_;
}

//= RFC 8985 §7.4.2
void LossRecovery::check_probe(const AckEvent& event, const Delivered& d,
                               AckOutcome& out) noexcept {
  const bool duplicate = d.acked == 0 && !d.new_sack_info;
  if (!probe_.on_ack(event.seg_ack, out.dsack, duplicate)) return;
  if (phase_ >= RecoveryPhase::recovery || out.spurious != SpuriousBy::none) return;
  // What the probe repaired was a loss all the same: one reduction, and nothing left to repair.
  out.entered_recovery = true;
  out.left_recovery = true;
}

void LossRecovery::leave() noexcept {
  phase_ = RecoveryPhase::open;
  dup_acks_ = 0;
  dup_bytes_ = 0;
  force_first_ = false;
  frto_ = Frto::off;
  // Reports of what was sent again last come a round trip later, or in one that was overtaken.
  spurious_until_ = board_.high_data();
  undo_rounds_ = 1;
}

void LossRecovery::detect_loss(const Delivered& d, const RttEstimator& rtt, Instant now,
                               AckOutcome& out) noexcept {
  if (uses_rack()) {
    const Rack::Found found =
        rack_.detect(board_, rtt, mss_, phase_ >= RecoveryPhase::recovery, now);
    out.newly_lost = found.lost;
    reordering_at_ = found.look_again;
  } else if (sack_) {
    out.newly_lost = board_.mark_lost_by_sack(mss_);
  }
  if (in_recovery()) {
    //= RFC 6582 §3.2: a partial ACK shows the next hole
    if (!sack_ && d.acked > 0) {
      out.newly_lost += board_.mark_head_lost();
      force_first_ =
          out.newly_lost > 0;  // the hole is sent again at once, whatever the arithmetic leaves
    }
    return;
  }
  if (phase_ == RecoveryPhase::loss) return;
  //= RFC 6582 §3.2 step 1: without SACK, duplicates of the last recovery begin no new one
  const bool old = !sack_ && !board_.una().after(recovery_point_);
  //= RFC 6675 §5: three duplicate ACKs, or SACK shows that the first segment is lost
  //= RFC 5681 §3.2
  if (!uses_rack() && dup_acks_ >= Scoreboard::kDupThresh && !old) {
    out.newly_lost += board_.mark_head_lost();
  }
  if (mtu_probe_ != MtuProbe::none && out.newly_lost > 0) [[unlikely]]
    judge_mtu_probe(out);
  if (out.newly_lost > 0) {
    enter_recovery(out);
  } else {
    const bool unusual = dup_acks_ > 0 || board_.sacked() > 0;
    phase_ = unusual ? RecoveryPhase::disorder : RecoveryPhase::open;
    if (!unusual) dup_bytes_ = 0;
  }
}

//= RFC 4821 §7.6; RFC 8899 §3
void LossRecovery::judge_mtu_probe(AckOutcome& out) noexcept {
  MtuProbe result = MtuProbe::none;
  if (board_.una().at_or_after(mtu_range_.end)) {
    result = mtu_probe_;
  } else if (mtu_probe_ == MtuProbe::lost) {
    result = MtuProbe::lost;
  } else if (const Run* run = board_.run_at(mtu_range_.start); run != nullptr && run->is_probe) {
    if (run->sacked) result = MtuProbe::arrived;
    if (run->lost) {
      result = MtuProbe::lost;
      // It says nothing about congestion: no reduction, and smaller segments at once.
      out.newly_lost -= std::min<std::uint64_t>(out.newly_lost, run->size());
      force_first_ = true;
    }
  }
  if (result == MtuProbe::none) return;
  out.mtu_probe = result;
  mtu_probe_ = MtuProbe::none;
}

void LossRecovery::enter_recovery(AckOutcome& out) noexcept {
  phase_ = RecoveryPhase::recovery;
  recovery_point_ = board_.high_data();
  high_rxt_ = board_.una();
  probe_.reset();
  probe_due_ = false;
  spurious_.start();
  after_timeout_ = false;
  // A new recovery may rescue again, but not for the same data.
  rescued_ = rescued_ && !board_.una().after(rescue_rxt_);
  force_first_ = true;
  out.entered_recovery = true;
  // Until the controller has spoken, no more than what arrives.
  prr_.enter(flight_at_loss_ / 2, flight_at_loss_);
}

void LossRecovery::start_reduction(std::uint64_t ssthresh) noexcept {
  if (phase_ != RecoveryPhase::recovery) return;
  prr_.enter(ssthresh, flight_at_loss_);
  prr_.on_ack(delivered_at_loss_, in_flight(), mss_, false);
  prr_.force(mss_);
}

std::uint64_t LossRecovery::on_rto(const RttEstimator& rtt, Instant now) noexcept {
  const bool first = first_rto();
  //= RFC 2018 §8
  const bool reneged = !board_.empty() && board_.runs().front().sacked;
  //= RFC 5682 §3.1 (1)
  const bool fresh = phase_ < RecoveryPhase::recovery || (!first && frto_ == Frto::first_ack);
  const bool decides = frto_on_ && fresh && !reneged && mtu_probe_ == MtuProbe::none;
  frto_ = decides ? Frto::first_ack : Frto::off;
  mtu_probe_ = MtuProbe::none;
  if (first) {
    //= RFC 3522 §3.2; RFC 4015 §3.1 (0)
    // A repeated timeout goes on with what the first one began.
    spurious_.start();
    after_timeout_ = true;
    srtt_prev_ = rtt.srtt() + Duration::millis(2);
    rttvar_prev_ = rtt.rttvar();
    // As Linux: after so many reports a timeout means that reordering was overrated.
    if (board_.sacked() >= std::uint64_t{Scoreboard::kDupThresh} * mss_) overtaken_ = 0;
  }
  timeout_at_ = now;
  timeout_end_ = board_.high_data();
  rto_una_ = board_.una();
  phase_ = RecoveryPhase::loss;
  recovery_point_ = board_.high_data();
  dup_acks_ = 0;
  dup_bytes_ = 0;
  force_first_ = true;
  probe_.reset();
  probe_due_ = false;
  timer_from_ = now;
  reordering_at_ = Instant::never();
  if (reneged || !uses_rack()) return board_.mark_all_lost(reneged);
  return rack_.mark_after_timeout(board_, rtt, now);
}

AckOutcome LossRecovery::on_reordering_timer(const RttEstimator& rtt, Instant now) noexcept {
  AckOutcome out;
  out.prior_in_flight = in_flight();
  out.was_in_recovery = in_recovery();
  flight_at_loss_ = out.prior_outstanding = board_.outstanding();
  delivered_at_loss_ = 0;
  detect_loss({}, rtt, now, out);
  out.in_flight = in_flight();
  if (out.was_in_recovery && out.newly_lost > 0) {
    // No ACK will ask for it: it may be the last data that is in flight.
    prr_.on_ack(0, out.in_flight, mss_, false);
    prr_.force(mss_);
  }
  return out;
}

bool LossRecovery::on_probe_timer(Instant now) noexcept {
  if (!probe_.may_probe() || board_.empty()) return false;
  probe_due_ = true;
  timer_from_ = now;
  return true;
}

std::uint64_t LossRecovery::on_path_mtu(std::uint32_t mss) noexcept {
  mss_ = std::max<std::uint32_t>(mss, 1);
  force_first_ = true;
  if (mtu_probe_ != MtuProbe::none && mtu_range_.size() > mss) mtu_probe_ = MtuProbe::lost;
  return board_.mark_lost_if(
      [mss](const Run& run) noexcept { return run.seg_size > mss && run.size() > mss; });
}

void LossRecovery::on_not_taken(Instant now) noexcept {
  timer_from_ = probe_from_ = now;
  force_first_ = !board_.empty();
  (void)board_.mark_lost_if([](const Run&) noexcept { return true; });
}

std::optional<LossRecovery::Retransmit> LossRecovery::next_retransmit(
    bool new_data_available) const noexcept {
  if (const auto lost = board_.next_lost()) {
    if (frto_ == Frto::next_ack && new_data_available) return std::nullopt;
    const RetransmitCause cause = phase_ < RecoveryPhase::recovery ? RetransmitCause::path_mtu
                                  : phase_ == RecoveryPhase::loss  ? RetransmitCause::rto
                                  : uses_rack()                    ? RetransmitCause::rack
                                  : sack_ || dup_acks_ >= Scoreboard::kDupThresh
                                      ? RetransmitCause::fast
                                      : RetransmitCause::partial_ack;
    return Retransmit{*lost, cause};
  }
  if (new_data_available) return std::nullopt;
  if (probe_due_) {
    const auto last = board_.last_segment();
    if (last) return Retransmit{*last, RetransmitCause::tail_probe};
  }
  if (!in_recovery() || !sack_ || rack_on_) return std::nullopt;
  //= RFC 6675 §4 NextSeg() (3)
  if (const auto hole = board_.next_hole(high_rxt_)) {
    return Retransmit{*hole, RetransmitCause::speculative};
  }
  //= RFC 6675 §4 NextSeg() (4)
  if (rescued_) return std::nullopt;
  if (const auto last = board_.last_segment()) {
    return Retransmit{*last, RetransmitCause::rescue};
  }
  return std::nullopt;
}

}  // namespace tidewire::tcp
