#include "core/tcp/recover/rack.hpp"

#include <algorithm>
#include <limits>

namespace tidewire::tcp {

void Rack::on_delivered(const Delivered& d, Instant now) noexcept {
  if (d.reordered) reordering_seen_ = true;
  if (!d.rack) return;
  Run delivered;
  delivered.sent_at = d.rack_sent_at;
  delivered.order = d.rack_order;
  delivered.end = d.rack_end;
  const bool newer = !valid_ || passed_by(delivered);
  // Of what the ACK delivered last, be it sent before the rest: then it came late.
  rtt_ = now - d.rack_rtt_from;
  if (!newer) return;
  sent_at_ = d.rack_sent_at;
  order_ = d.rack_order;
  end_ = d.rack_end;
  valid_ = true;
}

void Rack::on_round(bool dsack, bool left_recovery, Seq snd_una, Seq snd_nxt) noexcept {
  if (in_dsack_round_ && snd_una.after(dsack_round_)) in_dsack_round_ = false;
  if (dsack && !in_dsack_round_) {
    in_dsack_round_ = true;
    dsack_round_ = snd_nxt;
    if (multiplier_ < 255) ++multiplier_;
    persist_ = kPersist;
  } else if (left_recovery) {
    if (persist_ > 0) --persist_;
    if (persist_ == 0) multiplier_ = 1;
  }
}

Duration Rack::reordering_window(const RttEstimator& rtt, std::uint64_t sacked_segments,
                                 bool in_recovery) const noexcept {
  if (!reordering_seen_ && (in_recovery || sacked_segments >= Scoreboard::kDupThresh)) {
    return Duration::zero();
  }
  return std::min(rtt.min_rtt() * multiplier_ / 4, rtt.srtt());
}

Rack::Found Rack::detect(Scoreboard& board, const RttEstimator& rtt, std::uint32_t mss,
                         bool in_recovery, Instant now) noexcept {
  Found found;
  if (!valid_) return found;
  const Duration wait =
      rtt_ + reordering_window(rtt, board.sacked() / std::max<std::uint32_t>(mss, 1), in_recovery);
  Instant last = Instant::from_nanos(std::numeric_limits<std::int64_t>::min());
  const Seq in_order_from = board.in_order_from();
  const bool waiting = any_below_ && passed(first_below_);
  const bool below =
      looked_at_ != board.changes_below() || (waiting && first_below_.sent_at + wait <= now);
  if (below) {
    looked_at_ = board.changes_below();
    any_below_ = false;
  } else if (waiting) {
    last = first_below_.sent_at + wait;
  }
  found.lost = board.judge(below ? board.una() : in_order_from, [&](const Run& run) {
    const bool in_order = run.start.at_or_after(in_order_from);
    const bool candidate = passed(run);
    const Instant due = run.sent_at + wait;
    if (candidate && due <= now) return Scoreboard::Fate::lost;
    if (candidate) last = later(last, due);
    // Original transmissions lie in the order they were sent.
    if (in_order) return candidate ? Scoreboard::Fate::keep : Scoreboard::Fate::stop;
    if (!any_below_ ||
        run.sent_before(first_below_.sent_at, first_below_.order, first_below_.end)) {
      first_below_ = run;
      any_below_ = true;
    }
    return Scoreboard::Fate::keep;
  });
  if (last > now) found.look_again = last;
  return found;
}

std::uint64_t Rack::mark_after_timeout(Scoreboard& board, const RttEstimator& rtt,
                                       Instant now) const noexcept {
  const Duration window = reordering_window(rtt, 0, true);
  const Duration old = (valid_ ? rtt_ : rtt.srtt()) + window;
  return board.mark_head_lost_again() +
         board.mark_lost_if([&](const Run& run) { return run.sent_at + old <= now; });
}

}  // namespace tidewire::tcp
