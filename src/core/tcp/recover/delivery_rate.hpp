// How fast the network delivers, sampled per ACK.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace tidewire::tcp {

/// What is remembered with each transmission to make a rate sample of its ACK.
struct RateSnapshot {
  std::uint64_t delivered = 0;     ///< bytes delivered when it was sent
  Instant delivered_at{};          ///< when that was so
  Instant first_sent_at{};         ///< when the flight of that time began to be sent
  std::uint32_t tx_in_flight = 0;  ///< bytes out with it, itself included; saturates
  std::uint32_t lost : 31 = 0;     ///< bytes deemed lost by then; wraps
  std::uint32_t app_limited : 1 = 0;
};

/// One measurement. `interval` zero: no valid sample.
struct RateSample {
  std::uint64_t delivered = 0;        ///< bytes delivered over `interval`
  std::uint64_t prior_delivered = 0;  ///< total delivered when the newest acked data was sent
  Duration interval{};
  Duration rtt{};                  ///< of the newest acked data; zero if it was retransmitted
  std::uint64_t tx_in_flight = 0;  ///< bytes out when the newest acked data was sent
  std::uint64_t lost = 0;          ///< bytes deemed lost since then
  bool app_limited = false;

  constexpr bool valid() const noexcept { return interval > Duration::zero(); }
  /// Bytes per second; 0 if not valid.
  std::uint64_t bytes_per_second() const noexcept;
};

/// Delivery-rate estimation (draft-cheng-iccrg-delivery-rate-estimation): the slower of send rate
/// and ACK rate over the flight that an ACK confirms.
class DeliveryRate {
 public:
  explicit DeliveryRate(Instant now = {}) noexcept : delivered_at_(now), first_sent_at_(now) {}

  /// For `bytes` of data about to be sent while `in_flight` bytes are out.
  RateSnapshot on_send(Instant now, std::uint64_t in_flight, std::uint64_t bytes = 0) noexcept;
  /// The sender ran out of data while the window had room.
  void mark_app_limited(std::uint64_t in_flight) noexcept {
    app_limited_until_ = delivered_ + in_flight + (delivered_ + in_flight == 0 ? 1 : 0);
  }
  /// mark_app_limited() would change nothing.
  bool is_app_limited_by(std::uint64_t in_flight) const noexcept {
    return app_limited_until_ != 0 && app_limited_until_ == delivered_ + in_flight;
  }
  /// So many bytes more were deemed lost.
  void on_lost(std::uint64_t bytes) noexcept { lost_ += static_cast<std::uint32_t>(bytes); }
  /// Bytes deemed lost since `then`; counts up to 2 GiB.
  std::uint64_t lost_since(const RateSnapshot& then) const noexcept {
    return (lost_ - then.lost) & kLostMask;
  }

  /// `newly_delivered` bytes were acked or SACKed; `newest` was sent last of them, at `sent_at`.
  /// `min_rtt` guards against ACK bursts; zero if not known.
  RateSample on_delivered(std::uint64_t newly_delivered, const RateSnapshot& newest,
                          Instant sent_at, bool retransmitted, Duration min_rtt,
                          Instant now) noexcept;

  std::uint64_t delivered() const noexcept { return delivered_; }
  bool app_limited() const noexcept { return app_limited_until_ != 0; }

 private:
  static constexpr std::uint32_t kLostMask = 0x7fffffffU;  // as wide as RateSnapshot::lost

  std::uint64_t delivered_ = 0;
  Instant delivered_at_{};
  Instant first_sent_at_{};
  std::uint64_t app_limited_until_ = 0;  // value of delivered_; 0: not limited
  std::uint32_t lost_ = 0;               // wraps
};

inline RateSnapshot DeliveryRate::on_send(Instant now, std::uint64_t in_flight,
                                          std::uint64_t bytes) noexcept {
  if (in_flight == 0) {
    first_sent_at_ = now;
    delivered_at_ = now;
  }
  return {.delivered = delivered_,
          .delivered_at = delivered_at_,
          .first_sent_at = first_sent_at_,
          .tx_in_flight =
              static_cast<std::uint32_t>(std::min<std::uint64_t>(in_flight + bytes, 0xffffffffU)),
          .lost = lost_ & kLostMask,
          .app_limited = app_limited() ? 1U : 0U};
}

inline RateSample DeliveryRate::on_delivered(std::uint64_t newly_delivered,
                                             const RateSnapshot& newest, Instant sent_at,
                                             bool retransmitted, Duration min_rtt,
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
  if (!retransmitted) sample.rtt = now.since(sent_at);
  const Duration send_elapsed = sent_at.since(newest.first_sent_at);
  const Duration ack_elapsed = now.since(newest.delivered_at);
  // ACKs that come bunched would show a rate the path does not have: the longer time counts, and
  // nothing is delivered in less than the least round trip.
  const Duration interval = std::max(send_elapsed, ack_elapsed);
  if (interval >= min_rtt) sample.interval = interval;
  return sample;
}

}  // namespace tidewire::tcp
