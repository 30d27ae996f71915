// Loss detection by time (RFC 8985 §6).
#pragma once

#include <cstdint>

#include "base/seq.hpp"
#include "base/time.hpp"
#include "core/tcp/recover/rtt.hpp"
#include "core/tcp/recover/scoreboard.hpp"

namespace tidewire::tcp {

/// RACK: data is lost if something sent later has arrived and a reordering window has passed.
/// Needs SACK.
class Rack {
 public:
  //= RFC 8985 §6.2 steps 2 and 3
  /// An ACK delivered `d`.
  void on_delivered(const Delivered& d, Instant now) noexcept;
  //= RFC 8985 §6.2 steps 2 to 4
  /// The same for an ACK of originals, all of which were sent before what is left, that ends with
  /// `newest`. True: nothing of what is left can be lost by it, detect() would find nothing.
  bool on_in_order(const Run& newest, const Scoreboard& board, Instant now) noexcept {
    rtt_ = now.since(newest.sent_at);
    if (in_dsack_round_ && newest.end.after(dsack_round_)) in_dsack_round_ = false;
    if (valid_ && !passed_by(newest)) return false;
    sent_at_ = newest.sent_at;
    order_ = newest.order;
    end_ = newest.end;
    valid_ = true;
    return !any_below_ && looked_at_ == board.changes_below();
  }
  //= RFC 8985 §6.2 step 4
  /// Adapts the reordering window to duplicate reports; once per round trip.
  void on_round(bool dsack, bool left_recovery, Seq snd_una, Seq snd_nxt) noexcept;

  struct Found {
    std::uint64_t lost = 0;                 ///< bytes newly marked
    Instant look_again = Instant::never();  ///< when what is still within the window is due
  };
  //= RFC 8985 §6.2 step 5
  /// Marks what is lost by now. Costs what was sent since the highest retransmission; what lies
  /// below is looked at again only if something there was sent again or can be due.
  Found detect(Scoreboard& board, const RttEstimator& rtt, std::uint32_t mss, bool in_recovery,
               Instant now) noexcept;
  //= RFC 8985 §6.3
  /// After a timeout: the first segment, and what is older than a round trip and the window.
  std::uint64_t mark_after_timeout(Scoreboard& board, const RttEstimator& rtt,
                                   Instant now) const noexcept;

  /// How long data may be overtaken before it counts as lost.
  Duration reordering_window(const RttEstimator& rtt, std::uint64_t sacked_segments,
                             bool in_recovery) const noexcept;
  /// A fast retransmission was for nothing: data came late, though it does not show which.
  void on_spurious() noexcept { reordering_seen_ = true; }
  bool reordering_seen() const noexcept { return reordering_seen_; }
  Duration round_trip() const noexcept { return rtt_; }

 private:
  static constexpr std::uint8_t kPersist = 16;  // recoveries for which a wider window is kept

  bool passed(const Run& run) const noexcept { return run.sent_before(sent_at_, order_, end_); }
  /// `run` was sent after what is known to have arrived last.
  bool passed_by(const Run& run) const noexcept {
    if (run.sent_at != sent_at_) return sent_at_ < run.sent_at;
    if (run.order != order_) return Seq{order_}.before(Seq{run.order});
    return end_.before(run.end);
  }

  Instant sent_at_;  // of the latest data known to have arrived
  Seq end_;
  std::uint32_t order_ = 0;
  std::uint32_t looked_at_ = 0;  // Scoreboard::changes_below() at the last look
  bool any_below_ = false;
  Run first_below_;  // what was sent first of what was in the network there, if anything was
  Duration rtt_;
  bool valid_ = false;
  bool reordering_seen_ = false;
  bool in_dsack_round_ = false;
  Seq dsack_round_;
  std::uint8_t multiplier_ = 1;
  std::uint8_t persist_ = kPersist;
};

}  // namespace tidewire::tcp
