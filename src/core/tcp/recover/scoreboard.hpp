// What is in flight, what the peer reported, what is lost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "base/memory.hpp"
#include "base/seq_range.hpp"
#include "base/time.hpp"
#include "core/tcp/recover/delivery_rate.hpp"

namespace tidewire::tcp {

/// Sent data in equal condition. Cut only on the segment boundaries of its last emission.
struct Run {
  Seq start;
  Seq end;
  std::uint32_t seg_size = 0;       ///< payload bytes per segment of the last emission
  std::uint16_t transmissions = 1;  ///< saturates
  bool sacked = false;              ///< the peer holds it
  bool lost = false;                ///< deemed lost
  bool in_flight_again = false;     ///< a retransmission, not deemed lost, is out
  bool is_probe = false;            ///< a path-MTU probe: its loss is no congestion signal
  std::uint32_t order = 0;          ///< of emissions, for those of one instant; wraps
  Instant sent_at{};                ///< of the last transmission
  RateSnapshot rate{};

  std::uint32_t size() const noexcept { return Seq::span(start, end); }
  //= RFC 8985 §6.2 RACK_sent_after(); emissions of one instant are told apart by their order
  bool sent_before(Instant other_sent_at, std::uint32_t other_order, Seq other_end) const noexcept {
    if (sent_at != other_sent_at) return sent_at < other_sent_at;
    if (order != other_order) return Seq{order}.before(Seq{other_order});
    return end.before(other_end);
  }
  bool retransmitted() const noexcept { return transmissions > 1; }
};

/// When an ACK came and what it shows of time; RFC 8985 §6.2 tells by it whether an ACKed
/// retransmission was the one that arrived.
struct AckClock {
  Instant now{};
  Duration min_rtt{};                  ///< zero: not known
  std::optional<Duration> echoed_rtt;  ///< from the timestamps option
  Duration backdated{};                ///< a retransmission's timestamp may be so much too early

  //= RFC 8985 §6.2 step 2
  /// True if data sent again at `sent_at` cannot be what this ACK answers.
  bool answers_original(Instant sent_at) const noexcept {
    const Duration age = now - sent_at;
    return age < min_rtt || (echoed_rtt && *echoed_rtt > age + backdated + Duration::millis(1));
  }
};

/// What one ACK delivered, gathered over its cumulative part and its SACK blocks.
struct Delivered {
  std::uint64_t acked = 0;           ///< bytes by which snd.una moved
  std::uint64_t sacked = 0;          ///< bytes newly SACKed
  std::uint64_t delivered = 0;       ///< bytes not known to be delivered before this ACK
  std::uint64_t delivered_lost = 0;  ///< of these, bytes that had been deemed lost
  bool with_retransmitted = false;   ///< some of it had been sent more than once
  bool any = false;                  ///< `newest` is set
  struct {
    Instant sent_at;
    Seq end;
    bool retransmitted = false;
    RateSnapshot rate;
  } newest;           ///< the data sent last of what was delivered
  bool rack = false;  ///< `rack_sent_at` and `rack_end` are set
  std::uint32_t rack_order = 0;
  Instant rack_sent_at{};  ///< as newest, without retransmissions that were not needed
  Seq rack_end;
  Instant rack_rtt_from;  ///< when the last of it was sent, in the order of sequence numbers
  Seq rack_rtt_end;       ///< where that ends
  bool original_answered = false;  ///< data sent again was acked, but the original had arrived
  Instant oldest_sent_at = Instant::never();  ///< earliest sent, never retransmitted; for the RTT
  Instant newest_clean_sent_at = Instant::never();  ///< latest sent, never retransmitted
  bool reordered = false;                           ///< originals below already SACKed data arrived
  std::uint32_t overtaken = 0;                      ///< by how many bytes at most
  bool reneged = false;           ///< snd.una reached data that had been SACKed and still is there
  std::optional<SeqRange> dsack;  ///< RFC 2883: received twice
  bool new_sack_info = false;     ///< a block told something new (RFC 3042 §2, RFC 6675 §2)
};

/// What an ACK delivered of a flight in which nothing is unusual.
struct InOrder {
  std::uint64_t acked = 0;  ///< bytes; 0: there is something unusual, and nothing was done
  Instant oldest_sent_at;
  const Run* newest = nullptr;  ///< what was sent last of it; until something is sent again
};

/// The sender's record of its flight. Runs in one sorted array; memory is bounded by the number of
/// segments in flight whatever the peer claims; an event costs what it touches.
class Scoreboard {
 public:
  static constexpr std::uint32_t kDupThresh = 3;

  explicit Scoreboard(MemoryProvider& memory) noexcept : memory_(&memory) {}
  Scoreboard(const Scoreboard&) = delete;
  Scoreboard& operator=(const Scoreboard&) = delete;
  ~Scoreboard() {
    if (!has_few()) free_runs();
  }

  /// Empties it; the next data starts at `snd_nxt`.
  void reset(Seq snd_nxt) noexcept;

  /// Makes sure that the next emission can be recorded, before it is handed to the device.
  /// False: no memory, do not send now.
  [[nodiscard]] bool reserve() noexcept {
    // A resend cuts at most twice.
    return tail_ + 2 <= capacity_ || make_room(2);
  }
  struct Emission {
    SeqRange range;              ///< SYN and FIN included
    std::uint32_t seg_size = 0;  ///< payload bytes per segment
    Instant now;
    RateSnapshot rate;
    bool is_probe = false;
  };
  /// Data was sent: new data at high_data(), or any part of what is in flight, again.
  /// After a successful reserve() it cannot fail.
  void on_sent(const Emission& emission) noexcept;
  /// The same for new data, which cannot be empty.
  void on_sent_new(const Emission& emission) noexcept {
    ::new (static_cast<void*>(runs_ + tail_))
        Run{.start = emission.range.start,
            .end = emission.range.end,
            .seg_size = std::max<std::uint32_t>(emission.seg_size, 1),
            .is_probe = emission.is_probe,
            .order = ++emissions_,
            .sent_at = emission.now,
            .rate = emission.rate};
    ++tail_;
    outstanding_ += emission.range.size();
    high_data_ = emission.range.end;
  }

  //= RFC 6675 §3, §5 Update()
  /// An acceptable ACK and its SACK blocks (D-SACK first, if it has one). Blocks that make no sense
  /// (outside what is in flight) are ignored.
  Delivered on_ack(Seq seg_ack, std::span<const SeqRange> sack_blocks,
                   const AckClock& clock = {}) noexcept;

  /// What nearly every ACK does: it acknowledges whole emissions, all of them sent once, of a
  /// flight in which nothing was SACKed, lost or sent again. Says so and is done with them, or
  /// leaves all as it is for on_ack().
  InOrder on_ack_in_order(Seq seg_ack) noexcept;

  //= RFC 6675 §4 IsLost()
  /// Marks what the SACK information shows to be lost; returns bytes newly marked.
  std::uint64_t mark_lost_by_sack(std::uint32_t mss) noexcept;
  /// Marks the first unSACKed segment lost (third duplicate ACK, partial ACK without SACK).
  std::uint64_t mark_head_lost() noexcept;
  /// The same after a timeout: its retransmission, if it had one, is lost too.
  std::uint64_t mark_head_lost_again() noexcept;
  //= RFC 2018 §8; RFC 6298 §5.4
  /// After an RTO: all that is outstanding and unSACKed is lost and to be sent again; with
  /// `forget_sacks` (reneging shown) SACK information is discarded too.
  std::uint64_t mark_all_lost(bool forget_sacks) noexcept;
  enum class Fate : std::uint8_t { keep, lost, stop };
  /// Asks fate(const Run&) about each run that is unSACKed and has a copy in the network, in the
  /// order of sequence numbers from `from` until it says stop, and marks what it calls lost; a
  /// retransmission can be lost again. Returns bytes newly marked.
  template <typename F>
  std::uint64_t judge(Seq from, F&& fate) noexcept {
    std::uint64_t marked = 0;
    for (std::size_t i = find(from); i < tail_; ++i) {
      Run& run = runs_[i];
      if (run.sacked || (run.lost && !run.in_flight_again)) continue;
      const Fate f = fate(std::as_const(run));
      if (f == Fate::stop) break;
      if (f == Fate::lost) marked += lose_again(run);
    }
    return marked;
  }
  /// The same where lost(const Run&) is a yes or no.
  template <typename F>
  std::uint64_t mark_lost_if(F&& lost) noexcept {
    return judge(una_, [&](const Run& run) { return lost(run) ? Fate::lost : Fate::keep; });
  }
  /// Discards all SACK information (the peer has reneged).
  void forget_sacks() noexcept;
  /// Takes back all loss marks (the loss was not real).
  void undo_lost() noexcept;

  /// The next data to send again: lost, unSACKed, not sent again since. One run at most.
  std::optional<SeqRange> next_lost() const noexcept;
  //= RFC 6675 §4 NextSeg() (3)
  /// Unlost, unSACKed data below the highest SACKed that was not sent again, from `from` on.
  std::optional<SeqRange> next_hole(Seq from) const noexcept;
  /// The last unSACKed segment in flight (rescue, tail-loss probe).
  std::optional<SeqRange> last_segment() const noexcept;
  /// The run that holds `seq`; null if none does.
  const Run* run_at(Seq seq) const noexcept {
    const std::size_t i = find(seq);
    return i < tail_ && runs_[i].start.at_or_before(seq) ? &runs_[i] : nullptr;
  }
  /// The first unacknowledged segment.
  std::optional<SeqRange> first_segment() const noexcept;

  //= RFC 6675 §4 SetPipe()
  /// Bytes estimated to be in the network.
  std::uint64_t pipe() const noexcept { return outstanding_ - sacked_ - lost_ + again_; }
  std::uint64_t outstanding() const noexcept { return outstanding_; }  ///< sent, not cum. acked
  std::uint64_t sacked() const noexcept { return sacked_; }
  std::uint64_t lost() const noexcept { return lost_; }         ///< deemed lost, sent again or not
  std::uint64_t sent_again() const noexcept { return again_; }  ///< with a retransmission in flight
  bool empty() const noexcept { return head_ == tail_; }
  bool has_lost() const noexcept { return next_lost().has_value(); }
  Seq una() const noexcept { return una_; }
  Seq high_data() const noexcept { return high_data_; }  ///< snd.nxt of the highest emission
  /// From here on everything was sent once, in the order of sequence numbers.
  Seq in_order_from() const noexcept { return again_ == 0 ? una_ : again_end_; }
  /// Changes whenever more came to be in the network below in_order_from(); wraps.
  std::uint32_t changes_below() const noexcept { return changes_below_; }
  Seq high_sacked() const noexcept { return high_sacked_; }  ///< end of the highest SACKed data
  /// Runs in the order of sequence numbers.
  std::span<const Run> runs() const noexcept { return {runs_ + head_, tail_ - head_}; }
  /// Bytes of memory beyond the object itself.
  std::size_t memory_used() const noexcept { return has_few() ? 0 : capacity_ * sizeof(Run); }

 private:
  struct Before {
    Seq high_sacked;
    AckClock clock;
  };
  std::size_t find(Seq s) const noexcept;  // the run that contains s
  std::size_t split(std::size_t i, Seq at) noexcept;
  bool make_room(std::size_t n) noexcept;
  void erase(std::size_t first, std::size_t last) noexcept;
  std::size_t head_segment() noexcept;
  void resend(const Emission& emission, SeqRange range) noexcept;
  void lose(Run& run) noexcept;                 // not lost yet
  std::uint64_t lose_again(Run& run) noexcept;  // its retransmission too
  void settle(const Run& run, const Before& before, Delivered& out) noexcept;
  void ack_through(Seq ack, const Before& before, Delivered& out) noexcept;
  void apply_block(SeqRange block, const Before& before, Delivered& out) noexcept;
  void merge_sacked(std::size_t first, std::size_t last) noexcept;

  // What a conversation or a short connection has out needs no memory of its own.
  static constexpr std::size_t kFewRuns = 4;
  bool has_few() const noexcept { return capacity_ == kFewRuns; }
  void free_runs() noexcept;

  MemoryProvider* memory_;
  alignas(Run) std::byte few_[kFewRuns * sizeof(Run)];
  Run* runs_ = reinterpret_cast<Run*>(few_);  // [head_, tail_) of capacity_
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t capacity_ = kFewRuns;
  Seq una_;
  Seq high_data_;
  Seq high_sacked_;
  Seq lost_up_to_;           // below this IsLost() was decided
  Seq again_end_;            // above this nothing was sent again
  mutable Seq resend_from_;  // below this nothing lost waits to be sent again
  std::uint32_t emissions_ = 0;
  std::uint32_t changes_below_ = 0;
  std::uint64_t outstanding_ = 0;
  std::uint64_t sacked_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t again_ = 0;
};

inline InOrder Scoreboard::on_ack_in_order(Seq seg_ack) noexcept {
  InOrder out;
  if ((sacked_ | lost_ | again_) != 0 || high_sacked_.after(una_)) return out;
  if (!seg_ack.after(una_) || seg_ack.after(high_data_)) return out;
  std::size_t last = head_;
  for (;; ++last) {
    if (last == tail_ || runs_[last].retransmitted()) return out;
    if (runs_[last].end.at_or_after(seg_ack)) break;
  }
  if (runs_[last].end != seg_ack) return out;
  out.acked = Seq::span(una_, seg_ack);
  out.oldest_sent_at = runs_[head_].sent_at;
  out.newest = runs_ + last;
  head_ = last + 1;
  if (head_ == tail_) head_ = tail_ = 0;
  outstanding_ -= out.acked;
  una_ = high_sacked_ = seg_ack;
  lost_up_to_ = later(lost_up_to_, seg_ack);
  again_end_ = later(again_end_, seg_ack);
  resend_from_ = later(resend_from_, seg_ack);
  return out;
}

}  // namespace tidewire::tcp
