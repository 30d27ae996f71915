// Slow start and congestion avoidance as in RFC 5681.
#pragma once

#include <cstdint>

#include "core/tcp/cc/controller.hpp"

namespace tidewire::tcp {

/// RFC 5681 with byte counting (RFC 3465, L = 2 segments). Recovery is paced out by PRR.
class NewReno {
 public:
  explicit NewReno(const ControllerConfig& config) noexcept;

  void on_sent(const SentSample&) noexcept {}
  void on_ack(const AckSample& sample) noexcept;
  void on_quiet_ack(Instant, Duration srtt) noexcept { srtt_ = srtt; }
  void on_loss(const LossSample&) noexcept {}
  void on_rto(const RtoSample& sample) noexcept;
  void on_ecn(const EcnSample& sample) noexcept;
  void on_recovery(const RecoverySample& sample) noexcept;
  void on_spurious(Instant now) noexcept;
  void on_idle_restart(const IdleSample& sample) noexcept;
  void on_mss(std::uint32_t mss) noexcept;

  std::uint64_t window() const noexcept { return cwnd_; }
  std::uint64_t ssthresh() const noexcept { return ssthresh_; }
  std::uint64_t pacing_rate() const noexcept;
  ControllerStats stats() const noexcept;
  bool uses_prr() const noexcept { return true; }
  bool paces() const noexcept { return false; }  // as Linux, without a qdisc that does

 private:
  struct Saved {
    std::uint64_t cwnd = 0;
    std::uint64_t ssthresh = 0;
  };
  void reduce(std::uint64_t in_flight) noexcept;

  std::uint64_t cwnd_;
  std::uint64_t ssthresh_;
  std::uint64_t initial_window_;
  std::uint64_t acked_in_avoidance_ = 0;  // bytes since cwnd last grew
  Duration srtt_;
  Saved saved_;
  std::uint32_t mss_;
};
static_assert(QuietController<NewReno>);

}  // namespace tidewire::tcp
