#include "core/tcp/recover/delivery_rate.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

std::uint64_t RateSample::bytes_per_second() const noexcept {
  if (!valid()) return 0;
  return mul_div(delivered, 1'000'000'000, static_cast<std::uint64_t>(interval.count_nanos()));
}

RateSnapshot DeliveryRate::on_send(Instant now, std::uint64_t in_flight,
                                   std::uint64_t bytes) noexcept {
  if (in_flight == 0) {
    first_sent_at_ = now;
    delivered_at_ = now;
  }
  RateSnapshot out;
  out.delivered = delivered_;
  out.delivered_at = delivered_at_;
  out.first_sent_at = first_sent_at_;
  out.tx_in_flight =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(in_flight + bytes, 0xffffffffU));
  out.lost = lost_ & kLostMask;
  out.app_limited = app_limited() ? 1U : 0U;
  return out;
}

RateSample DeliveryRate::on_delivered(std::uint64_t newly_delivered, const RateSnapshot& newest,
                                      Instant sent_at, bool retransmitted, Duration min_rtt,
                                      Instant now) noexcept {
  delivered_ += newly_delivered;
  delivered_at_ = now;
  if (app_limited() && delivered_ > app_limited_until_) app_limited_until_ = 0;
  first_sent_at_ = sent_at;
  RateSample sample;
  sample.prior_delivered = newest.delivered;
  sample.delivered = delivered_ - newest.delivered;
  sample.tx_in_flight = newest.tx_in_flight;
  sample.lost = lost_since(newest);
  sample.app_limited = newest.app_limited != 0;
  if (!retransmitted) sample.rtt = now - sent_at;
  const Duration send_elapsed = sent_at - newest.first_sent_at;
  const Duration ack_elapsed = now - newest.delivered_at;
  // ACKs that come bunched would show a rate the path does not have: the longer time counts, and
  // nothing is delivered in less than the least round trip.
  const Duration interval = std::max(send_elapsed, ack_elapsed);
  if (interval >= min_rtt) sample.interval = interval;
  return sample;
}

}  // namespace tidewire::tcp
