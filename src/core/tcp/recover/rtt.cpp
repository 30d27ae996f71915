#include "core/tcp/recover/rtt.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {
Duration magnitude(Duration d) noexcept { return d < Duration::zero() ? Duration::zero() - d : d; }
}  // namespace

void RttEstimator::on_sample(Duration rtt, Instant now, std::uint32_t samples_per_rtt) noexcept {
  rtt = std::max(rtt, Duration::nanos(1));
  latest_ = rtt;
  if (!has_sample_ || rtt <= min_rtt_ || now.since(min_at_) > kMinWindow) {
    min_rtt_ = rtt;
    min_at_ = now;
  }
  backoff_ = 0;  // RFC 6298 §5: a new measurement ends the back-off
  if (!has_sample_) {
    //= RFC 6298 §2.2
    srtt_ = rtt;
    rttvar_ = rtt / 2;
    has_sample_ = true;
    return;
  }
  //= RFC 6298 §2.3
  if (samples_per_rtt <= 1) [[likely]] {  // without a division
    rttvar_ += (magnitude(srtt_ - rtt) - rttvar_) / 4;
    srtt_ += (rtt - srtt_) / 8;
    return;
  }
  const std::int64_t n = samples_per_rtt;
  rttvar_ += (magnitude(srtt_ - rtt) - rttvar_) / (4 * n);
  srtt_ += (rtt - srtt_) / (8 * n);
}

std::optional<RttEstimator::Packed> RttEstimator::pack() const noexcept {
  constexpr Duration kMost = Duration::nanos(0xffff'ffff);
  if (std::max({srtt_, rttvar_, latest_, min_rtt_}) > kMost) return std::nullopt;
  const auto nanos = [](Duration d) { return static_cast<std::uint32_t>(d.count_nanos()); };
  return Packed{nanos(srtt_), nanos(rttvar_), nanos(latest_), nanos(min_rtt_),
                min_at_,      backoff_,       has_sample_,    after_syn_timeout_};
}

RttEstimator RttEstimator::unpack(const Packed& packed) noexcept {
  RttEstimator rtt;
  rtt.srtt_ = Duration::nanos(packed.srtt);
  rtt.rttvar_ = Duration::nanos(packed.rttvar);
  rtt.latest_ = Duration::nanos(packed.latest);
  rtt.min_rtt_ = Duration::nanos(packed.min_rtt);
  rtt.min_at_ = packed.min_at;
  rtt.backoff_ = packed.backoff;
  rtt.has_sample_ = packed.has_sample;
  rtt.after_syn_timeout_ = packed.after_syn_timeout;
  return rtt;
}

}  // namespace tidewire::tcp
