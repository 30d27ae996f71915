#include "core/tcp/recover/spurious.hpp"

namespace tidewire::tcp {

void SpuriousDetector::on_retransmit(SeqRange range, bool at_una, Instant now) noexcept {
  if (!active_) return;
  if (at_una && !ever_) {
    first_at_ = now;
    ever_ = true;
  }
  if (count_ == kMost) {
    too_many_ = true;
  } else {
    unreported_[count_++] = range;
  }
}

bool SpuriousDetector::on_dsack(SeqRange range) noexcept {
  if (!active_ || too_many_) return false;
  for (std::size_t i = 0; i < count_; ++i) {
    SeqRange& again = unreported_[i];
    // A burst is reported a segment at a time, from its start.
    if (again.start != range.start || range.end.after(again.end)) continue;
    again.start = range.end;
    if (!again.empty()) return false;
    again = unreported_[--count_];
    return count_ == 0;
  }
  return false;
}

bool SpuriousDetector::on_progress(std::optional<Duration> echoed_rtt, Instant now) noexcept {
  if (!active_ || !ever_ || judged_) return false;
  judged_ = true;
  return echoed_rtt && now - *echoed_rtt + Duration::millis(2) <= first_at_;
}

}  // namespace tidewire::tcp
