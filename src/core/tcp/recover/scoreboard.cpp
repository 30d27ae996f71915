#include "core/tcp/recover/scoreboard.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <type_traits>

namespace tidewire::tcp {

static_assert(std::is_trivially_copyable_v<Run>);
static_assert(sizeof(Run) <= 64);

void Scoreboard::free_runs() noexcept {
  if (!has_few()) memory_->deallocate(runs_, capacity_ * sizeof(Run), alignof(Run));
}

void Scoreboard::reset(Seq snd_nxt) noexcept {
  head_ = tail_ = 0;
  una_ = high_data_ = high_sacked_ = lost_up_to_ = again_end_ = resend_from_ = snd_nxt;
  outstanding_ = sacked_ = lost_ = again_ = 0;
}

// Room for `n` more runs at the end, by moving down what was acknowledged or by growing.
bool Scoreboard::make_room(std::size_t n) noexcept {
  if (tail_ + n <= capacity_) return true;
  const std::size_t used = tail_ - head_;
  if (head_ >= n && head_ >= capacity_ / 2) {
    std::copy(runs_ + head_, runs_ + tail_, runs_);
  } else {
    const std::size_t capacity = std::max<std::size_t>(16, capacity_ * 2);
    auto* fresh = static_cast<Run*>(memory_->allocate(capacity * sizeof(Run), alignof(Run)));
    if (fresh == nullptr) {
      if (head_ < n) return false;
      std::copy(runs_ + head_, runs_ + tail_, runs_);
    } else {
      std::uninitialized_copy(runs_ + head_, runs_ + tail_, fresh);
      free_runs();
      runs_ = fresh;
      capacity_ = capacity;
    }
  }
  head_ = 0;
  tail_ = used;
  return true;
}

std::size_t Scoreboard::find(Seq s) const noexcept {
  const std::uint32_t at = Seq::span(una_, s);
  const Run* found = std::partition_point(
      runs_ + head_, runs_ + tail_, [&](const Run& run) { return Seq::span(una_, run.end) <= at; });
  return static_cast<std::size_t>(found - runs_);
}

// Cuts run `i` at `at`, inside it. Returns the index of the second half, `i` + 1 or (where the
// array had to be moved) another; the first half is just before it. tail_: no memory.
std::size_t Scoreboard::split(std::size_t i, Seq at) noexcept {
  const std::size_t from_head = i - head_;
  if (head_ > 0 && from_head < tail_ - i) {
    // The shorter side moves: SACKed data is few runs near the head of a large flight.
    std::copy(runs_ + head_, runs_ + i + 1, runs_ + head_ - 1);
    --head_;
    runs_[i - 1].end = at;
    runs_[i].start = at;
    return i;
  }
  if (!make_room(1)) return tail_;
  i = head_ + from_head;
  std::copy_backward(runs_ + i, runs_ + tail_, runs_ + tail_ + 1);
  ++tail_;
  runs_[i].end = at;
  runs_[i + 1].start = at;
  return i + 1;
}

void Scoreboard::erase(std::size_t first, std::size_t last) noexcept {
  if (first - head_ < tail_ - last) {
    std::copy_backward(runs_ + head_, runs_ + first, runs_ + last);
    head_ += last - first;
    return;
  }
  std::copy(runs_ + last, runs_ + tail_, runs_ + first);
  tail_ -= last - first;
}

void Scoreboard::on_sent(const Emission& emission) noexcept {
  SeqRange range = emission.range;
  if (range.empty()) return;
  if (range.start.before(high_data_)) {
    const SeqRange again{later(range.start, una_), earlier(range.end, high_data_)};
    if (again.start.before(again.end)) resend(emission, again);
    if (!range.end.after(high_data_)) return;
    range.start = high_data_;
  }
  if (!make_room(1)) return;
  Emission fresh = emission;
  fresh.range = range;
  on_sent_new(fresh);
}

void Scoreboard::resend(const Emission& emission, SeqRange range) noexcept {
  ++emissions_;
  ++changes_below_;
  again_end_ = later(again_end_, range.end);
  std::size_t i = find(range.start);
  if (runs_[i].start != range.start) {
    i = split(i, range.start);
    if (i == tail_) return;
  }
  while (i < tail_ && runs_[i].start.before(range.end)) {
    if (runs_[i].end.after(range.end)) {
      i = split(i, range.end);
      if (i == tail_) return;
      --i;
    }
    Run& run = runs_[i++];
    if (!run.in_flight_again && !run.sacked) again_ += run.size();
    run.in_flight_again = !run.sacked;
    run.seg_size = std::max<std::uint32_t>(emission.seg_size, 1);
    if (run.transmissions < std::numeric_limits<std::uint16_t>::max()) ++run.transmissions;
    run.is_probe = emission.is_probe;
    run.sent_at = emission.now;
    run.rate = emission.rate;
    run.order = emissions_;
  }
}

// Data of `run` is newly known to have arrived.
void Scoreboard::settle(const Run& run, const Before& before, Delivered& out) noexcept {
  out.delivered += run.size();
  if (run.lost) {
    lost_ -= run.size();
    out.delivered_lost += run.size();
  }
  if (run.in_flight_again) again_ -= run.size();
  const bool newer = run.sent_at > out.newest.sent_at ||
                     (run.sent_at == out.newest.sent_at && run.end.after(out.newest.end));
  if (!out.any || newer) {
    out.newest = {run.sent_at, run.end, run.retransmitted(), run.rate};
    out.any = true;
  }
  const bool original = !run.retransmitted() || before.clock.answers_original(run.sent_at);
  if (original && run.start.before(before.high_sacked)) {
    out.reordered = true;
    out.overtaken = std::max(out.overtaken, Seq::span(run.start, before.high_sacked));
  }
  if (run.retransmitted() && original) {
    out.original_answered = true;
  } else {
    if (!out.rack || run.end.after(out.rack_rtt_end)) {
      out.rack_rtt_from = run.sent_at;
      out.rack_rtt_end = run.end;
    }
    if (!out.rack || !run.sent_before(out.rack_sent_at, out.rack_order, out.rack_end)) {
      out.rack = true;
      out.rack_sent_at = run.sent_at;
      out.rack_order = run.order;
      out.rack_end = run.end;
    }
  }
  if (run.retransmitted()) {
    out.with_retransmitted = true;
    return;
  }
  out.oldest_sent_at = earlier(out.oldest_sent_at, run.sent_at);
  if (out.newest_clean_sent_at.is_never() || run.sent_at > out.newest_clean_sent_at) {
    out.newest_clean_sent_at = run.sent_at;
  }
}

void Scoreboard::ack_through(Seq ack, const Before& before, Delivered& out) noexcept {
  while (head_ < tail_ && runs_[head_].start.before(ack)) {
    Run& run = runs_[head_];
    Run done = run;
    done.end = earlier(run.end, ack);
    if (run.sacked) {
      sacked_ -= done.size();
    } else {
      settle(done, before, out);
    }
    if (done.end == run.end) {
      ++head_;
      continue;
    }
    // An ACK inside a segment: its rest stands alone, so that the boundaries behind it stay right.
    const std::uint32_t inside = done.size() % run.seg_size;
    run.start = ack;
    if (inside != 0 && run.size() > run.seg_size - inside) {
      (void)split(head_, ack + (run.seg_size - inside));
    }
    break;
  }
  if (head_ == tail_) head_ = tail_ = 0;
  out.acked = Seq::span(una_, ack);
  outstanding_ -= out.acked;
  una_ = ack;
  high_sacked_ = later(high_sacked_, ack);
  lost_up_to_ = later(lost_up_to_, ack);
  again_end_ = later(again_end_, ack);
  resend_from_ = later(resend_from_, ack);
}

//= RFC 6675 §3; RFC 2018 §5
void Scoreboard::apply_block(SeqRange block, const Before& before, Delivered& out) noexcept {
  block.start = later(block.start, una_);
  if (!block.start.before(block.end) || block.end.after(high_data_)) return;
  std::size_t i = find(block.start);
  const std::size_t from_head = i - head_;
  std::size_t touched = 0;  // runs newly SACKed
  while (i < tail_ && runs_[i].start.before(block.end)) {
    const Run& run = runs_[i];
    if (run.sacked) {
      ++i;
      continue;
    }
    // Only whole segments count, so the number of runs never exceeds the number of segments.
    const std::uint32_t seg = run.seg_size;
    Seq start = run.start;
    Seq end = run.end;
    if (block.start.after(start)) {
      const std::uint64_t cut =
          (std::uint64_t{Seq::span(start, block.start)} + seg - 1) / seg * seg;
      start = cut >= run.size() ? run.end : run.start + static_cast<std::uint32_t>(cut);
    }
    if (block.end.before(end)) end = run.start + Seq::span(run.start, block.end) / seg * seg;
    if (!start.before(end)) {
      ++i;
      continue;
    }
    if (start != run.start && (i = split(i, start)) == tail_) return;
    if (end != runs_[i].end) {
      const std::size_t second = split(i, end);
      if (second == tail_) return;
      i = second - 1;
    }
    Run& sacked = runs_[i];
    settle(sacked, before, out);
    sacked.sacked = true;
    sacked.lost = sacked.in_flight_again = false;
    sacked_ += sacked.size();
    out.sacked += sacked.size();
    high_sacked_ = later(high_sacked_, sacked.end);
    ++touched;
    ++i;
  }
  if (touched == 0) return;
  out.new_sack_info = true;
  merge_sacked(head_ + from_head, i);
}

// Neighbours that are SACKed become one run; its boundaries do not matter any more.
void Scoreboard::merge_sacked(std::size_t first, std::size_t last) noexcept {
  if (first > head_) --first;
  last = std::min(last + 1, tail_);
  std::size_t to = first;
  for (std::size_t i = first + 1; i < last; ++i) {
    if (runs_[to].sacked && runs_[i].sacked) {
      runs_[to].end = runs_[i].end;
      runs_[to].transmissions = std::max(runs_[to].transmissions, runs_[i].transmissions);
    } else if (++to != i) {
      runs_[to] = runs_[i];
    }
  }
  if (to + 1 < last) erase(to + 1, last);
}

Delivered Scoreboard::on_ack(Seq seg_ack, std::span<const SeqRange> sack_blocks,
                             const AckClock& clock) noexcept {
  Delivered out;
  const Before before{high_sacked_, clock};
  if (seg_ack.after(una_) && seg_ack.at_or_before(high_data_)) {
    ack_through(seg_ack, before, out);
  }
  const Instant acked_sent_at = out.rack_rtt_from;
  const bool acked = out.rack;
  //= RFC 2883 §4, §5
  if (!sack_blocks.empty()) {
    const SeqRange first = sack_blocks[0];
    const bool below = first.start.before(seg_ack) && first.end.at_or_before(seg_ack);
    const bool inside = sack_blocks.size() > 1 && first.start.at_or_after(sack_blocks[1].start) &&
                        first.end.at_or_before(sack_blocks[1].end);
    if (first.start.before(first.end) && (below || inside)) {
      out.dsack = first;
      sack_blocks = sack_blocks.subspan(1);
    }
  }
  for (const SeqRange block : sack_blocks) apply_block(block, before, out);
  if (acked) out.rack_rtt_from = acked_sent_at;
  // An ACK from below knows nothing of the left edge.
  out.reneged = head_ < tail_ && runs_[head_].sacked && !seg_ack.before(una_);
  return out;
}

void Scoreboard::lose(Run& run) noexcept {
  run.lost = true;
  lost_ += run.size();
  resend_from_ = earlier(resend_from_, run.start);
}

std::uint64_t Scoreboard::lose_again(Run& run) noexcept {
  if (run.in_flight_again) {
    run.in_flight_again = false;
    again_ -= run.size();
  } else if (run.lost) {
    return 0;
  }
  if (!run.lost) {
    lose(run);
  } else {
    resend_from_ = earlier(resend_from_, run.start);
  }
  return run.size();
}

std::uint64_t Scoreboard::mark_lost_by_sack(std::uint32_t mss) noexcept {
  if (!high_sacked_.after(lost_up_to_)) return 0;
  // From the highest SACKed data down, until enough lies above.
  std::uint64_t bytes = 0;
  std::uint32_t islands = 0;
  std::size_t i = std::min(find(high_sacked_ - 1) + 1, tail_);
  bool above_sacked = false;
  for (; i > head_ && runs_[i - 1].end.after(lost_up_to_); --i) {
    const Run& run = runs_[i - 1];
    if (run.sacked) {
      bytes += run.size();
      islands += above_sacked ? 0 : 1;
    } else if (islands >= kDupThresh || bytes > std::uint64_t{kDupThresh - 1} * mss) {
      break;
    }
    above_sacked = run.sacked;
  }
  if (i == head_ || !runs_[i - 1].end.after(lost_up_to_)) return 0;
  const Seq decided = runs_[i - 1].end;
  std::uint64_t marked = 0;
  for (; i > head_ && runs_[i - 1].end.after(lost_up_to_); --i) {
    Run& run = runs_[i - 1];
    if (run.sacked || run.lost) continue;
    lose(run);
    marked += run.size();
  }
  lost_up_to_ = decided;
  return marked;
}

// The first unSACKed segment as a run of its own; tail_ if there is none.
std::size_t Scoreboard::head_segment() noexcept {
  std::size_t i = head_;
  while (i < tail_ && runs_[i].sacked) ++i;
  if (i == tail_ || runs_[i].size() <= runs_[i].seg_size) return i;
  const std::size_t second = split(i, runs_[i].start + runs_[i].seg_size);
  return second == tail_ ? i : second - 1;
}

std::uint64_t Scoreboard::mark_head_lost() noexcept {
  std::size_t i = head_;
  while (i < tail_ && runs_[i].sacked) ++i;
  if (i == tail_ || runs_[i].lost) return 0;
  i = head_segment();
  lose(runs_[i]);
  return runs_[i].size();
}

std::uint64_t Scoreboard::mark_head_lost_again() noexcept {
  const std::size_t i = head_segment();
  return i == tail_ ? 0 : lose_again(runs_[i]);
}

std::uint64_t Scoreboard::mark_all_lost(bool forget_sacks) noexcept {
  if (forget_sacks) this->forget_sacks();
  std::uint64_t marked = 0;
  for (std::size_t i = head_; i < tail_; ++i) {
    if (!runs_[i].sacked) marked += lose_again(runs_[i]);
  }
  return marked;
}

void Scoreboard::forget_sacks() noexcept {
  ++changes_below_;
  for (std::size_t i = head_; i < tail_; ++i) runs_[i].sacked = false;
  sacked_ = 0;
  high_sacked_ = lost_up_to_ = una_;
}

void Scoreboard::undo_lost() noexcept {
  ++changes_below_;
  for (std::size_t i = head_; i < tail_; ++i) {
    if (!runs_[i].lost) continue;
    runs_[i].lost = false;
    lost_ -= runs_[i].size();
  }
  lost_up_to_ = high_sacked_;
}

std::optional<SeqRange> Scoreboard::next_lost() const noexcept {
  if (lost_ == 0) return std::nullopt;
  for (std::size_t i = find(resend_from_); i < tail_; ++i) {
    const Run& run = runs_[i];
    resend_from_ = run.start;
    if (run.lost && !run.in_flight_again) return SeqRange{run.start, run.end};
  }
  resend_from_ = high_data_;
  return std::nullopt;
}

std::optional<SeqRange> Scoreboard::next_hole(Seq from) const noexcept {
  for (std::size_t i = find(later(from, una_)); i < tail_; ++i) {
    const Run& run = runs_[i];
    if (!run.start.before(high_sacked_)) break;
    if (!run.sacked && !run.lost && !run.in_flight_again) return SeqRange{run.start, run.end};
  }
  return std::nullopt;
}

std::optional<SeqRange> Scoreboard::last_segment() const noexcept {
  for (std::size_t i = tail_; i > head_; --i) {
    const Run& run = runs_[i - 1];
    if (run.sacked) continue;
    return SeqRange{run.start + (run.size() - 1) / run.seg_size * run.seg_size, run.end};
  }
  return std::nullopt;
}

std::optional<SeqRange> Scoreboard::first_segment() const noexcept {
  if (empty()) return std::nullopt;
  const Run& run = runs_[head_];
  return SeqRange{run.start, run.start + std::min(run.size(), run.seg_size)};
}

}  // namespace tidewire::tcp
