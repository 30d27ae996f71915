// What is in flight, what the peer reported, what is lost.
#pragma once

#include <cstddef>
#include <cstdint>
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
  Instant sent_at{};                ///< of the last transmission
  RateSnapshot rate{};

  std::uint32_t size() const noexcept { return Seq::span(start, end); }
  bool retransmitted() const noexcept { return transmissions > 1; }
};

/// What one ACK delivered, gathered over its cumulative part and its SACK blocks.
struct Delivered {
  std::uint64_t acked = 0;           ///< bytes by which snd.una moved
  std::uint64_t sacked = 0;          ///< bytes newly SACKed
  std::uint64_t delivered = 0;       ///< bytes not known to be delivered before this ACK
  std::uint64_t delivered_lost = 0;  ///< of these, bytes that had been deemed lost
  bool any = false;                  ///< `newest` is set
  struct {
    Instant sent_at;
    Seq end;
    bool retransmitted = false;
    RateSnapshot rate;
  } newest;                                   ///< the data sent last of what was delivered
  Instant oldest_sent_at = Instant::never();  ///< earliest sent, never retransmitted; for the RTT
  Instant newest_clean_sent_at = Instant::never();  ///< latest sent, never retransmitted
  bool reordered = false;         ///< never-retransmitted data below already SACKed data arrived
  bool reneged = false;           ///< snd.una reached data that had been SACKed and still is there
  std::optional<SeqRange> dsack;  ///< RFC 2883: received twice
  bool new_sack_info = false;     ///< a block told something new (RFC 3042 §2, RFC 6675 §2)
};

/// The sender's record of its flight. Runs in one sorted array; memory is bounded by the number of
/// segments in flight whatever the peer claims; an event costs what it touches.
class Scoreboard {
 public:
  static constexpr std::uint32_t kDupThresh = 3;

  explicit Scoreboard(MemoryProvider& memory) noexcept : memory_(&memory) {}
  Scoreboard(const Scoreboard&) = delete;
  Scoreboard& operator=(const Scoreboard&) = delete;
  ~Scoreboard();

  /// Empties it; the next data starts at `snd_nxt`.
  void reset(Seq snd_nxt) noexcept;

  /// Makes sure that the next emission can be recorded, before it is handed to the device.
  /// False: no memory, do not send now.
  [[nodiscard]] bool reserve() noexcept;
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

  //= RFC 6675 §3, §5 Update()
  /// An acceptable ACK and its SACK blocks (D-SACK first, if it has one). Blocks that make no sense
  /// (RFC 2018: outside what is in flight) are ignored.
  Delivered on_ack(Seq seg_ack, std::span<const SeqRange> sack_blocks) noexcept;

  //= RFC 6675 §4 IsLost()
  /// Marks what the SACK information shows to be lost; returns bytes newly marked.
  std::uint64_t mark_lost_by_sack(std::uint32_t mss) noexcept;
  /// Marks the first unSACKed segment lost (third duplicate ACK, partial ACK without SACK).
  std::uint64_t mark_head_lost() noexcept;
  //= RFC 2018 §8; RFC 6298 §5.4
  /// After an RTO: all that is outstanding and unSACKed is lost and to be sent again; with
  /// `forget_sacks` (reneging shown) SACK information is discarded too.
  std::uint64_t mark_all_lost(bool forget_sacks) noexcept;
  /// Marks unSACKed data lost for which lost(const Run&) says so (RACK); the run may be cut by the
  /// caller's rule only as a whole. A retransmission in flight may be lost again.
  template <typename F>
  std::uint64_t mark_lost_if(F&& lost) noexcept {
    std::uint64_t marked = 0;
    for (std::size_t i = head_; i < tail_; ++i) {
      Run& run = runs_[i];
      if (run.sacked || (run.lost && !run.in_flight_again) || !lost(std::as_const(run))) continue;
      marked += lose_again(run);
    }
    return marked;
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
  Seq high_data() const noexcept { return high_data_; }      ///< snd.nxt of the highest emission
  Seq high_sacked() const noexcept { return high_sacked_; }  ///< end of the highest SACKed data
  /// Runs in the order of sequence numbers.
  std::span<const Run> runs() const noexcept { return {runs_ + head_, tail_ - head_}; }
  std::size_t memory_used() const noexcept { return capacity_ * sizeof(Run); }

 private:
  std::size_t find(Seq s) const noexcept;  // the run that contains s
  std::size_t split(std::size_t i, Seq at) noexcept;
  bool make_room(std::size_t n) noexcept;
  void erase(std::size_t first, std::size_t last) noexcept;
  void resend(const Emission& emission, SeqRange range) noexcept;
  void lose(Run& run) noexcept;                 // not lost yet
  std::uint64_t lose_again(Run& run) noexcept;  // its retransmission too
  void settle(const Run& run, Seq prior_high_sacked, Delivered& out) noexcept;
  void ack_through(Seq ack, Seq prior_high_sacked, Delivered& out) noexcept;
  void apply_block(SeqRange block, Seq prior_high_sacked, Delivered& out) noexcept;
  void merge_sacked(std::size_t first, std::size_t last) noexcept;

  MemoryProvider* memory_;
  Run* runs_ = nullptr;  // [head_, tail_) of capacity_
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t capacity_ = 0;
  Seq una_;
  Seq high_data_;
  Seq high_sacked_;
  Seq lost_up_to_;           // below this IsLost() was decided
  mutable Seq resend_from_;  // below this nothing lost waits to be sent again
  std::uint64_t outstanding_ = 0;
  std::uint64_t sacked_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t again_ = 0;
};

}  // namespace tidewire::tcp
