#include "core/tcp/recover/spurious.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {

constexpr std::int64_t kTick = 1'000'000;  // ns of the timestamps' clock

}  // namespace

void SpuriousDetector::start() noexcept {
  ++episode_;
  active_ = true;
  ever_ = judged_ = false;
  pending_ = spilled_ = 0;
}

void SpuriousDetector::spill(const Again& oldest) noexcept {
  if (oldest.unreported == 0 || oldest.episode != episode_) return;
  spilled_range_ = spilled_ == 0 ? oldest.range
                                 : SeqRange{earlier(spilled_range_.start, oldest.range.start),
                                            later(spilled_range_.end, oldest.range.end)};
  spilled_ += oldest.unreported;
}

void SpuriousDetector::on_retransmit(SeqRange range, bool head, Instant stamp) noexcept {
  if (active_) {
    if (!ever_) {
      first_tick_ = stamp.nanos() / kTick;
      judged_ = !head;  // an ACK that advances snd.una says nothing of data further up
    }
    ever_ = true;
    pending_ += range.size();
  }
  Again& last = again_[(next_ + kMost - 1) % kMost];
  if (last.unreported > 0 && last.episode == episode_ && last.range.end == range.start) {
    last.range.end = range.end;
    last.unreported += range.size();
    return;
  }
  Again& slot = again_[next_];
  spill(slot);
  slot = {range, range.size(), episode_};
  next_ = (next_ + 1) % kMost;
}

SpuriousDetector::Report SpuriousDetector::on_dsack(SeqRange range) noexcept {
  Report report;
  const std::uint32_t size = range.size();
  bool counts = false;
  for (Again& again : again_) {
    // A burst is reported a segment at a time.
    if (again.unreported < size || range.start.before(again.range.start) ||
        range.end.after(again.range.end)) {
      continue;
    }
    again.unreported -= size;
    report.ours = true;
    counts = again.episode == episode_;
    break;
  }
  if (!report.ours && spilled_ >= size && range.start.at_or_after(spilled_range_.start) &&
      range.end.at_or_before(spilled_range_.end)) {
    spilled_ -= size;
    report.ours = counts = true;
  }
  if (!counts || !active_) return report;
  pending_ -= std::min<std::uint64_t>(size, pending_);
  report.all = ever_ && pending_ == 0;
  return report;
}

bool SpuriousDetector::on_progress(std::optional<Duration> echoed_rtt, Instant now) noexcept {
  if (!active_ || !ever_ || judged_) return false;
  judged_ = true;
  if (!echoed_rtt) return false;
  return now.nanos() / kTick - echoed_rtt->count_nanos() / kTick < first_tick_;
}

}  // namespace tidewire::tcp
