// Loss detection and recovery of one connection: when to send what again, and how much.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "base/seq_range.hpp"
#include "base/time.hpp"
#include "core/tcp/recover/delivery_rate.hpp"
#include "core/tcp/recover/prr.hpp"
#include "core/tcp/recover/rack.hpp"
#include "core/tcp/recover/rtt.hpp"
#include "core/tcp/recover/scoreboard.hpp"
#include "core/tcp/recover/spurious.hpp"
#include "core/tcp/recover/tail_probe.hpp"

namespace tidewire::tcp {

enum class RecoveryPhase : std::uint8_t {
  open,      ///< nothing unusual
  disorder,  ///< duplicate ACKs or SACKs, no loss deemed yet
  recovery,  ///< fast recovery until recovery_point()
  loss,      ///< after a retransmission timeout, until recovery_point()
};

/// Why data is sent again.
enum class RetransmitCause : std::uint8_t {
  fast,         ///< three duplicate ACKs, or SACK showed it lost
  partial_ack,  ///< NewReno (RFC 6582)
  speculative,  ///< RFC 6675 NextSeg() rule (3)
  rescue,       ///< RFC 6675 NextSeg() rule (4)
  rto,          ///< after a timeout
  rack,         ///< RFC 8985
  tail_probe,   ///< RFC 8985 §7
  path_mtu,     ///< RFC 1191 §6.4; or on_not_taken()
};

/// One acceptable ACK as the sender sees it.
struct AckEvent {
  Seq seg_ack;
  std::span<const SeqRange> sack_blocks;  ///< as received, only if SACK was negotiated
  /// RFC 5681 §2: data outstanding, no text, no SYN or FIN, same ACK, same window.
  bool duplicate = false;
  std::uint32_t segments = 1;  ///< ACK segments this stands for
  /// From the timestamps option; only if the ACK advances snd.una.
  std::optional<Duration> echoed_rtt{};
  Instant now{};
};

/// What became of a path-MTU probe.
enum class MtuProbe : std::uint8_t { none, arrived, lost };

/// How the last reduction of the window was seen to be a mistake.
enum class SpuriousBy : std::uint8_t {
  none,        ///< it was not
  timestamps,  ///< Eifel detection (RFC 3522)
  dsack,       ///< RFC 3708
  frto,        ///< RFC 5682
};

/// What an ACK did. Fields for the congestion controller, the timers and the trace.
struct AckOutcome {
  std::uint64_t acked = 0;      ///< bytes by which snd.una moved
  std::uint64_t delivered = 0;  ///< bytes newly delivered (acked or SACKed)
  /// Bytes that count for growing the window. After a timeout not what was SACKed before.
  std::uint64_t credit = 0;
  std::uint64_t newly_lost = 0;  ///< bytes newly deemed lost
  std::uint64_t ce_marked = 0;   ///< bytes reported as marked; filled in by who knows the marks
  std::uint64_t prior_in_flight = 0;
  std::uint64_t prior_outstanding =
      0;  ///< FlightSize (RFC 5681 §2) before it: what was SACKed counts
  std::uint64_t in_flight = 0;
  std::optional<Duration> rtt;  ///< sample taken, already fed to the estimator
  RateSample rate;
  bool entered_recovery = false;  ///< tell the controller: reduce
  bool left_recovery = false;
  bool was_in_recovery = false;            ///< in fast recovery before this ACK
  SpuriousBy spurious = SpuriousBy::none;  ///< the last reduction was a mistake: undo it
  bool new_data_first = false;   ///< F-RTO: what leaves next is new data, in however small segments
  std::uint32_t duplicated = 0;  ///< bytes sent again that the peer says it had (D-SACK)
  /// Bytes that overtook data which arrived now; 0: nothing came late.
  std::uint32_t overtaken = 0;
  bool restart_rto = false;  ///< RFC 6298 §5.3: new data acked (or, all acked, stop it)
  bool dsack = false;
  MtuProbe mtu_probe = MtuProbe::none;
  bool reneged = false;  ///< the peer dropped data it had SACKed; SACKs are forgotten
};

/// The same for an ACK of data sent once, in order, while nothing is wrong.
struct PlainAck {
  std::uint64_t acked = 0;  ///< bytes; 0: it is no such ACK, and nothing was done
  std::uint64_t prior_in_flight = 0;
  std::uint64_t prior_outstanding = 0;
  std::uint64_t in_flight = 0;
  Duration rtt;  ///< sample taken, already fed to the estimator
  RateSample rate;
  bool settled = true;  ///< false: something that is left may be lost by it, see outcome_of()
};

struct RecoveryConfig {
  bool sack = true;        ///< negotiated
  bool rack = true;        ///< RACK-TLP (RFC 8985); needs SACK, else RFC 6675
  bool undo = true;        ///< report mistakes, so that reductions are taken back
  bool frto = true;        ///< F-RTO (RFC 5682); needs SACK, and is not needed with timestamps
  bool prediction = true;  ///< as TcpConfig::prediction
  std::uint32_t mss = 536;
  RttConfig rtt;
};

/// What the one retransmission timer stands for (RFC 8985 §8).
enum class TimerMode : std::uint8_t {
  none,
  rto,         ///< call on_rto()
  tail_probe,  ///< call on_probe_timer()
  reordering,  ///< call on_reordering_timer()
};
struct TimerPlan {
  Instant at = Instant::never();
  TimerMode mode = TimerMode::none;
};

/// Composes scoreboard, RACK-TLP, PRR, delivery rate and undo. Knows no congestion controller: the
/// caller passes its decisions in (ssthresh on entering recovery) and asks for permission out.
/// Without SACK each duplicate ACK stands for one segment that left the network (RFC 6582 and the
/// window inflation of RFC 5681 §3.2, expressed as a smaller pipe).
class LossRecovery {
 public:
  LossRecovery(MemoryProvider& memory, const RecoveryConfig& config, Seq snd_nxt,
               Instant now) noexcept;

  /// See Scoreboard::reserve.
  [[nodiscard]] bool reserve() noexcept { return board_.reserve(); }
  /// Data [range) left at `now`, SYN and FIN included; new or again.
  /// `probe`: new data in one segment that tries a path MTU; one at a time. `stamp`: the time that
  /// the timestamps option told, if it is not `now`.
  void on_sent(SeqRange range, std::uint32_t seg_size, Instant now, bool probe = false,
               Instant stamp = Instant::never()) noexcept;
  //= RFC 7323 §3.2, §5.3
  /// The time that a retransmission tells in its timestamps option. Where the path reorders, it
  /// overtakes data sent shortly before it, which a peer whose TS.Recent it advances would drop as
  /// old: then it is a reordering window ago. Never before the last retransmission's.
  Instant retransmission_stamp(const RttEstimator& rtt, Instant now) const noexcept;

  /// on_sent() for new data while is_open(), after a successful reserve().
  void on_sent_new(SeqRange range, std::uint32_t seg_size, Instant now) noexcept {
    const RateSnapshot rate = rate_.on_send(now, in_flight(), range.size());
    if (board_.empty()) timer_from_ = now;
    board_.on_sent_new({range, seg_size, now, rate});
    probe_from_ = now;
    frto_room_ -= std::min<std::uint64_t>(frto_room_, range.size());
  }

  AckOutcome on_ack(const AckEvent& event, RttEstimator& rtt) noexcept;
  /// What on_ack() does for nearly every ACK (plain_ack.hpp).
  PlainAck on_plain_ack(const AckEvent& event, RttEstimator& rtt) noexcept;
  /// What on_ack() would have said; looks for losses if that was left.
  AckOutcome outcome_of(const PlainAck& plain, const RttEstimator& rtt, Instant now) noexcept;
  /// After on_ack reported entered_recovery: the controller's new ssthresh.
  void start_reduction(std::uint64_t ssthresh) noexcept;

  //= RFC 6298 §5.1 to §5.3; RFC 8985 §7.2, §8
  /// When the retransmission timer is due and for what. To be asked again after everything that was
  /// sent or acknowledged and after every expiry.
  TimerPlan timer(const RttEstimator& rtt, const RttConfig& config) const noexcept;

  //= RFC 6298 §5.4 to §5.6; RFC 2018 §8; RFC 8985 §6.3
  /// The retransmission timer expired. The first segment is lost, and with RACK what is as old as
  /// it should be, without it everything unSACKed. Returns bytes newly lost. The caller backs off
  /// the RTT estimator and tells the controller.
  std::uint64_t on_rto(const RttEstimator& rtt, Instant now) noexcept;
  /// True if a timeout now is the first one of the data at snd.una, which reduces ssthresh (RFC
  /// 5681 §3.1). To be asked before on_rto().
  bool first_rto() const noexcept {
    return phase_ != RecoveryPhase::loss || board_.una() != rto_una_;
  }
  //= RFC 8985 §6.2 step 5
  /// The reordering window of something passed; the outcome is like that of an ACK that delivered
  /// nothing.
  AckOutcome on_reordering_timer(const RttEstimator& rtt, Instant now) noexcept;
  //= RFC 8985 §7.3
  /// The probe timeout expired: allowance() and next_retransmit() let one segment out, new data if
  /// there is any, else the last one again. False: no probe now; the RTO is left.
  bool on_probe_timer(Instant now) noexcept;

  //= RFC 1191 §6.4
  /// The path carries only `mss` bytes a segment from now on: what is out in larger ones is sent
  /// again, without a congestion response. Returns bytes marked.
  std::uint64_t on_path_mtu(std::uint32_t mss) noexcept;

  /// Everything that is out was not taken by the peer, as it said. Sent again like that.
  void on_not_taken(Instant now) noexcept;

  struct Retransmit {
    SeqRange range;  ///< one run's worth at most; send any whole number of segments from its start
    RetransmitCause cause = RetransmitCause::fast;
  };
  /// What to send again next, if anything; permission (see allowance) is the caller's check, except
  /// that the first retransmission of a recovery always may leave.
  std::optional<Retransmit> next_retransmit(bool new_data_available) const noexcept;
  /// Bytes that may be sent now with a congestion window of `cwnd` (the controller's, used outside
  /// of fast recovery or if the controller declines PRR).
  std::uint64_t allowance(std::uint64_t cwnd, bool uses_prr) const noexcept;

  /// Bytes in the network: the scoreboard's pipe, less what duplicate ACKs showed to have left.
  std::uint64_t in_flight() const noexcept {
    const std::uint64_t pipe = board_.pipe();
    return pipe > dup_bytes_ ? pipe - dup_bytes_ : 0;
  }
  /// False: next_retransmit(false) has nothing.
  bool has_to_repair() const noexcept {
    return board_.lost() != 0 || probe_due_ || phase_ == RecoveryPhase::recovery;
  }
  /// Nothing is lost, probed or sent again: the congestion window alone decides what may leave.
  bool is_open() const noexcept {
    return phase_ == RecoveryPhase::open && board_.lost() == 0 && !probe_due_ && !force_first_;
  }
  RecoveryPhase phase() const noexcept { return phase_; }
  /// Fast recovery; after a timeout (RecoveryPhase::loss) the sender is in slow start instead.
  bool in_recovery() const noexcept { return phase_ == RecoveryPhase::recovery; }
  Seq recovery_point() const noexcept { return recovery_point_; }
  const Scoreboard& scoreboard() const noexcept { return board_; }
  DeliveryRate& delivery_rate() noexcept { return rate_; }
  const DeliveryRate& delivery_rate() const noexcept { return rate_; }
  void set_mss(std::uint32_t mss) noexcept { mss_ = mss; }

 private:
  bool is_plain(const AckEvent& event) const noexcept;
  /// An ACK for every second segment gives a sample.
  std::uint32_t samples_expected(std::uint64_t acked) const noexcept {
    const std::uint64_t bytes = board_.outstanding() + acked;
    if (bytes < 4 * std::uint64_t{mss_}) return 1;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes / mss_ / 2, 1, 1000));
  }
  void take_rtt(const AckEvent& event, const Delivered& d, RttEstimator& rtt,
                AckOutcome& out) noexcept;
  std::uint64_t count_duplicates(const AckEvent& event, const Delivered& d) noexcept;
  void detect_loss(const Delivered& d, const RttEstimator& rtt, Instant now,
                   AckOutcome& out) noexcept;
  void enter_recovery(AckOutcome& out) noexcept;
  void leave() noexcept;
  void check_spurious(const AckEvent& event, const Delivered& d, AckOutcome& out) noexcept;
  SpuriousBy find_spurious(const AckEvent& event, const Delivered& d, AckOutcome& out) noexcept;
  bool check_frto(const AckEvent& event, const Delivered& d, AckOutcome& out) noexcept;
  void check_probe(const AckEvent& event, const Delivered& d, AckOutcome& out) noexcept;
  /// Sees what became of the probe, and takes its loss out of `out.newly_lost`.
  void judge_mtu_probe(AckOutcome& out) noexcept;
  bool uses_rack() const noexcept { return sack_ && rack_on_; }

  enum class Frto : std::uint8_t {
    off,
    first_ack,  // the timeout's retransmission is out
    next_ack,   // it was acknowledged: new data goes out, and its ACK decides
  };

  Scoreboard board_;
  DeliveryRate rate_;
  Prr prr_;
  Rack rack_;
  TailProbe probe_;
  SpuriousDetector spurious_;
  std::uint32_t mss_;
  RecoveryPhase phase_ = RecoveryPhase::open;
  bool sack_;
  bool rack_on_;
  bool undo_on_;
  bool frto_on_;
  bool prediction_;
  bool force_first_ = false;  // the first retransmission of a recovery needs no permission
  bool probe_due_ = false;
  bool rescued_ = false;
  bool dsack_seen_ = false;
  bool after_timeout_ = false;    // what began the last episode
  bool reseed_ = false;           // the next sample of data sent after the timeout decides anew
  std::uint8_t undo_rounds_ = 0;  // how often una may still pass spurious_until_
  Frto frto_ = Frto::off;
  MtuProbe mtu_probe_ = MtuProbe::none;  // arrived: under way; lost: its data was sent otherwise
  SeqRange mtu_range_;
  std::uint32_t dup_acks_ = 0;
  std::uint32_t overtaken_ = 0;  // bytes by which data was overtaken at most
  std::uint64_t dup_bytes_ = 0;  // without SACK: bytes that duplicate ACKs showed to have arrived
  std::uint64_t flight_at_loss_ = 0;
  std::uint64_t delivered_at_loss_ = 0;  // by the ACK that began the recovery
  Seq recovery_point_;
  Seq high_rxt_;                 // end of the highest data sent again in this recovery
  Seq rescue_rxt_;               // no second rescue before this is acknowledged
  Seq rto_una_;                  // snd.una at the last timeout
  Seq spurious_until_;           // a report of duplicates long after this means something else
  Seq timeout_end_;              // what lies below was sent before the last timeout
  std::uint64_t frto_room_ = 0;  // bytes of new data that F-RTO still lets out
  Instant timeout_at_;
  Duration srtt_prev_;  // before the timeout (RFC 4015)
  Duration rttvar_prev_;
  Instant stamp_;       // of the last retransmission
  Duration backdated_;  // most by which one was ever stamped earlier than sent
  Instant timer_from_;  // the RTO counts from here
  Instant probe_from_;  // the probe timeout counts from here
  Instant reordering_at_ = Instant::never();
};

inline TimerPlan LossRecovery::timer(const RttEstimator& rtt,
                                     const RttConfig& config) const noexcept {
  if (board_.empty()) return {};
  const Instant rto = timer_from_ + rtt.rto(config);
  if (reordering_at_ < rto) return {reordering_at_, TimerMode::reordering};
  //= RFC 8985 §7.2
  const bool quiet = phase_ == RecoveryPhase::open && board_.sacked() == 0;
  if (uses_rack() && quiet && !probe_due_ && probe_.may_probe()) {
    const Instant probe = probe_from_ + TailProbe::timeout(rtt, board_.outstanding() <= mss_);
    return {earlier(probe, rto), TimerMode::tail_probe};
  }
  return {rto, TimerMode::rto};
}

inline std::uint64_t LossRecovery::allowance(std::uint64_t cwnd, bool uses_prr) const noexcept {
  std::uint64_t bytes = 0;
  if (phase_ == RecoveryPhase::recovery && uses_prr) {
    bytes = prr_.allowance();
  } else {
    const std::uint64_t out = in_flight();
    bytes = cwnd > out ? cwnd - out : 0;
    if (frto_ == Frto::next_ack) bytes = std::min(bytes, frto_room_);
  }
  return force_first_ || probe_due_ ? std::max<std::uint64_t>(bytes, mss_) : bytes;
}

}  // namespace tidewire::tcp
