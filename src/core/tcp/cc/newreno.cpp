#include "core/tcp/cc/newreno.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

NewReno::NewReno(const ControllerConfig& config) noexcept
    : cwnd_(config.start()),
      ssthresh_(config.initial_ssthresh),
      initial_window_(config.window()),
      srtt_(config.srtt),
      mss_(std::max<std::uint32_t>(config.mss, 1)) {}

void NewReno::on_ack(const AckSample& sample) noexcept {
  on_quiet_ack(sample.now, sample.srtt);
  // A window that is not used says nothing about the path (RFC 7661), and recovery is PRR's.
  if (sample.in_recovery || !sample.cwnd_limited) return;
  std::uint64_t acked = sample.credit;
  if (cwnd_ < ssthresh_) {
    //= RFC 5681 §3.1 with RFC 3465: by what was acknowledged
    const std::uint64_t step = std::min(acked, ssthresh_ - cwnd_);
    cwnd_ += step;
    acked -= step;
  }
  if (cwnd_ < ssthresh_) return;
  //= RFC 5681 §3.1: one segment for each window acknowledged
  acked_in_avoidance_ += acked;
  while (acked_in_avoidance_ >= cwnd_) {
    acked_in_avoidance_ -= cwnd_;
    cwnd_ += mss_;
  }
}

void NewReno::reduce(std::uint64_t in_flight) noexcept {
  saved_ = {cwnd_, ssthresh_};
  ssthresh_ = std::max(in_flight / 2, std::uint64_t{2} * mss_);
  acked_in_avoidance_ = 0;
}

void NewReno::on_recovery(const RecoverySample& sample) noexcept {
  if (sample.edge == RecoveryEdge::enter) reduce(sample.in_flight);
  cwnd_ = ssthresh_;
}

//= RFC 5681 §3.1
void NewReno::on_rto(const RtoSample& sample) noexcept {
  if (sample.first) reduce(sample.in_flight);
  acked_in_avoidance_ = 0;
  cwnd_ = mss_;
}

void NewReno::on_ecn(const EcnSample& sample) noexcept {
  reduce(sample.in_flight);
  cwnd_ = ssthresh_;
}

void NewReno::on_spurious(Instant) noexcept {
  if (saved_.cwnd == 0) return;
  cwnd_ = std::max(cwnd_, saved_.cwnd);
  ssthresh_ = std::max(ssthresh_, saved_.ssthresh);
  saved_ = {};
}

//= RFC 5681 §4.1
void NewReno::on_idle_restart(const IdleSample&) noexcept {
  cwnd_ = std::min(cwnd_, initial_window_);
}

void NewReno::on_mss(std::uint32_t mss) noexcept {
  mss_ = std::max<std::uint32_t>(mss, 1);
  cwnd_ = std::max(cwnd_, std::uint64_t{mss_});
  initial_window_ = std::max(initial_window_, std::uint64_t{mss_});  // a restart sends a segment
}

std::uint64_t NewReno::pacing_rate() const noexcept {
  if (srtt_ <= Duration::zero()) return kNoLimit;
  // As Linux: twice the window per round trip while it doubles, 1.2 times afterwards.
  const Ratio gain = cwnd_ < ssthresh_ / 2 ? Ratio::of(2, 1) : Ratio::of(6, 5);
  return gain(mul_div(cwnd_, 1'000'000'000, static_cast<std::uint64_t>(srtt_.count_nanos())));
}

ControllerStats NewReno::stats() const noexcept {
  return {cwnd_, ssthresh_, pacing_rate(), cwnd_ < ssthresh_ ? "slow start" : "avoidance"};
}

}  // namespace tidewire::tcp
