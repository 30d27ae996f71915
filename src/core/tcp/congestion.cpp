// Between loss recovery and the congestion controller, which do not know each other.
#include <algorithm>

#include "base/clip.hpp"
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {
namespace {

UndoCause cause_of(SpuriousBy by) noexcept {
  switch (by) {
    case SpuriousBy::none:
      return UndoCause::none;
    case SpuriousBy::timestamps:
      return UndoCause::timestamps;
    case SpuriousBy::dsack:
      return UndoCause::dsack;
    case SpuriousBy::frto:
      return UndoCause::frto;
  }
  return UndoCause::none;
}

}  // namespace

//= RFC 3168 §6.1.2; RFC 9768 §3.2.2.5
void Shared::heed_marks(Connection& c, const Segment& seg, AckOutcome& o) noexcept {
  const std::uint32_t mss = eff_mss(c);
  std::uint64_t marked = 0;
  if (c.ecn.accurate()) {
    marked = c.ecn.feedback(seg.flags, seg.options.acc_ecn, o.delivered, mss);
    o.ce_marked = marked;
  } else if (c.ecn.echoes(seg.flags)) {
    marked = mss;  // one packet at least
  }
  if (marked == 0) return;
  c.stats.ce_reported += marked;
  Active& a = *c.active;
  if (a.cc.uses_prr()) o.credit = 0;  // the window does not grow meanwhile
  if (a.recovery.phase() >= RecoveryPhase::recovery) return c.ecn.confirm();
  if (c.ecn.reduced(c.snd.una)) return;
  c.ecn.on_reduced(c.snd.nxt);
  ++c.stats.ecn_reductions;
  a.cc.on_ecn({.now = now(),
               .ce_marked = marked,
               .in_flight = o.prior_in_flight,
               .accurate = c.ecn.accurate()});
}

//= RFC 5681 §3.1 (4); RFC 9438 §4.6
/// What a reduction starts from. Until a loss is sure, data behind it is SACKed, and a full buffer
/// may keep the sender from replacing it: what is in the network then says little about the path.
/// What was SACKed was replaced otherwise, so that FlightSize may be up to twice the window.
std::uint64_t Shared::flight_size(const Connection& c, std::uint64_t outstanding,
                                  std::uint64_t in_flight) noexcept {
  return std::min(outstanding, std::max(c.active->cc.window(), in_flight));
}

/// A window is reduced once, though it had marks as well as losses.
void Shared::enter_recovery(Connection& c, const AckOutcome& o) noexcept {
  Active& a = *c.active;
  ++c.stats.fast_retransmits;
  ++ctx.counters.tcp_fast_retransmits;
  const bool done = c.ecn.on() && c.ecn.reduced(c.snd.una) && a.cc.uses_prr();
  if (done) {
    c.ecn.confirm();
  } else {
    a.cc.on_recovery({.now = now(),
                      .edge = RecoveryEdge::enter,
                      .in_flight = flight_size(c, o.prior_outstanding, o.prior_in_flight)});
    if (c.ecn.on()) c.ecn.on_reduced(c.snd.nxt);
  }
  a.recovery.start_reduction(a.cc.ssthresh());
}

/// Of what is to be sent again, the oldest stands for all.
LossSample Shared::loss_sample(const Active& a, const AckOutcome& o) const noexcept {
  LossSample sample{.now = now(), .lost = o.newly_lost, .in_flight = o.in_flight};
  const Scoreboard& board = a.recovery.scoreboard();
  const auto range = board.next_lost();
  const Run* run = range ? board.run_at(range->start) : nullptr;
  if (run == nullptr) return sample;
  sample.tx_in_flight = run->rate.tx_in_flight;
  sample.lost_since = a.recovery.delivery_rate().lost_since(run->rate);
  sample.app_limited = run->rate.app_limited != 0;
  return sample;
}

void Shared::take_back(Connection& c, const AckOutcome& o) noexcept {
  ++c.stats.spurious;
  ++ctx.counters.tcp_spurious;
  if (c.ecn.on() && !c.ecn.on_spurious()) return;  // there were marks too
  c.active->cc.on_spurious(now());
  mark_ready(c);
  if (!tracing()) [[likely]]
    return;
  TraceRecord record = trace_record(TraceKind::undo, c);
  record.a = clip(c.active->cc.window());
  record.b = clip(c.active->cc.ssthresh());
  record.d = static_cast<std::uint32_t>(cause_of(o.spurious));
  trace(record);
}

void Shared::note_duplicate(Connection& c, SeqRange range, std::uint32_t again) noexcept {
  ++c.stats.dsacks;
  ++ctx.counters.tcp_dsacks_in;
  if (again == 0) return;
  const std::uint32_t mss = std::max(1U, eff_mss(c));
  const std::uint32_t segments = (again + mss - 1) / mss;
  c.stats.spurious_retransmits += segments;
  ctx.counters.tcp_spurious_retransmits += segments;
  if (!tracing()) [[likely]]
    return;
  TraceRecord record = trace_record(TraceKind::spurious, c);
  record.a = range.start.value();
  record.b = segments;
  record.c = again;
  trace(record);
}

void Shared::tell_controller(Connection& c, const AckOutcome& o, bool cwnd_limited) noexcept {
  Active& a = *c.active;
  if (o.mtu_probe != MtuProbe::none) [[unlikely]]
    on_mtu_probe(c, o.mtu_probe);
  // A mistake of before is taken back first: what is found lost now is a loss of its own.
  if (o.spurious != SpuriousBy::none) take_back(c, o);
  if (o.new_data_first) c.override_sws = true;
  if (o.overtaken > 0) {
    const std::uint32_t segments = o.overtaken / std::max(1U, eff_mss(c));
    c.stats.reordering = std::max({c.stats.reordering, segments, 1U});
    ++c.stats.reordering_seen;
  }
  if (o.newly_lost > 0) {
    c.stats.lost += static_cast<std::uint32_t>(o.newly_lost / std::max(1U, eff_mss(c)));
    a.recovery.delivery_rate().on_lost(o.newly_lost);
    a.cc.on_loss(loss_sample(a, o));
    if (tracing()) [[unlikely]] {
      TraceRecord record = trace_record(TraceKind::loss, c);
      record.cause = !c.sack_on       ? LossCause::duplicate_acks
                     : !config().rack ? LossCause::sack
                                      : LossCause::rack;
      record.a = c.snd.una.value();
      record.c = static_cast<std::uint32_t>(o.newly_lost);
      trace(record);
    }
  }
  if (o.entered_recovery) enter_recovery(c, o);
  if (o.delivered > 0 || o.acked > 0) tell_acked(c, o, cwnd_limited);
  if (o.left_recovery) {
    a.cc.on_recovery({.now = now(), .edge = RecoveryEdge::exit, .in_flight = o.in_flight});
  }
  if (tracing()) [[unlikely]]
    trace_ack(c, o.in_flight, o.rtt);
}

void Shared::tell_acked(Connection& c, const AckOutcome& o, bool cwnd_limited) noexcept {
  Active& a = *c.active;
  const LossRecovery& r = a.recovery;
  AckSample sample;
  sample.now = now();
  sample.acked = o.acked;
  sample.delivered = o.delivered;
  sample.credit = o.credit;
  sample.lost = o.newly_lost;
  sample.ce_marked = o.ce_marked;
  sample.prior_in_flight = o.prior_in_flight;
  sample.in_flight = o.in_flight;
  sample.rtt = o.rtt.value_or(Duration::zero());
  sample.srtt = c.rtt.srtt();
  sample.min_rtt = c.rtt.min_rtt();
  sample.delivery_rate = o.rate.bytes_per_second();
  sample.total_delivered = r.delivery_rate().delivered();
  sample.prior_delivered = o.rate.prior_delivered;
  sample.rate_delivered = o.rate.delivered;
  sample.tx_in_flight = o.rate.tx_in_flight;
  sample.lost_since = o.rate.lost;
  sample.newest_rtt = o.rate.rtt;
  sample.snd_una_offset = c.stats.bytes_acked;
  sample.snd_nxt_offset = c.stats.bytes_acked + Seq::span(c.snd.una, c.snd.nxt);
  sample.app_limited = o.rate.app_limited;
  sample.cwnd_limited = cwnd_limited;
  sample.in_recovery = o.was_in_recovery || r.in_recovery();
  a.cc.on_ack(sample);
  if (o.rate.valid()) c.stats.delivery_rate = sample.delivery_rate;
}

void Shared::tell_controller(Connection& c, const PlainAck& plain, bool cwnd_limited) noexcept {
  const std::uint64_t bytes_per_second = plain.rate.bytes_per_second();
  if (cwnd_limited || !c.active->cc.on_quiet_ack(now(), c.rtt.srtt())) {
    tell_acked(c, plain, bytes_per_second, cwnd_limited);
  }
  if (plain.rate.valid()) c.stats.delivery_rate = bytes_per_second;
  if (tracing()) [[unlikely]]
    trace_ack(c, plain.in_flight, plain.rtt);
}

void Shared::tell_acked(Connection& c, const PlainAck& plain, std::uint64_t bytes_per_second,
                        bool cwnd_limited) noexcept {
  Active& a = *c.active;
  const RateSample& rate = plain.rate;
  a.cc.on_ack({.now = now(),
               .acked = plain.acked,
               .delivered = plain.acked,
               .credit = plain.acked,
               .prior_in_flight = plain.prior_in_flight,
               .in_flight = plain.in_flight,
               .rtt = plain.rtt,
               .srtt = c.rtt.srtt(),
               .min_rtt = c.rtt.min_rtt(),
               .delivery_rate = bytes_per_second,
               .total_delivered = a.recovery.delivery_rate().delivered(),
               .prior_delivered = rate.prior_delivered,
               .rate_delivered = rate.delivered,
               .tx_in_flight = rate.tx_in_flight,
               .lost_since = rate.lost,
               .newest_rtt = rate.rtt,
               .snd_una_offset = c.stats.bytes_acked,
               .snd_nxt_offset = c.stats.bytes_acked + Seq::span(c.snd.una, c.snd.nxt),
               .app_limited = rate.app_limited,
               .cwnd_limited = cwnd_limited});
}

void Shared::trace_ack(const Connection& c, std::uint64_t in_flight,
                       std::optional<Duration> rtt) noexcept {
  TraceRecord record = trace_record(TraceKind::congestion, c);
  record.a = clip(c.active->cc.window());
  record.b = clip(c.active->cc.ssthresh());
  record.c = clip(in_flight);
  record.d = c.active->recovery.in_recovery() ? 1 : 0;
  trace(record);
  if (rtt) trace_rtt(c, *rtt);
}

void Shared::trace_rtt(const Connection& c, Duration sample) noexcept {
  TraceRecord record = trace_record(TraceKind::rtt, c);
  record.a = static_cast<std::uint32_t>(sample.count_micros());
  record.b = static_cast<std::uint32_t>(c.rtt.srtt().count_micros());
  record.c = static_cast<std::uint32_t>(c.rtt.rttvar().count_micros());
  record.d = static_cast<std::uint32_t>(c.rtt.rto(rtt_config()).count_micros());
  trace(record);
}

}  // namespace tidewire::tcp
