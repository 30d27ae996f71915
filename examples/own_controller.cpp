// A congestion control of one's own: TCP Vegas in thirty lines, beside CUBIC over the same link.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "core/tcp/cc/controller.hpp"
#include "sim/bulk.hpp"
#include "sim/world.hpp"

using namespace tidewire;
namespace {

/// Grows while fewer than 2 segments of its own wait in the network, shrinks beyond 4. Copied as
/// bytes, so it owns nothing; see Controller for what each event means.
class Vegas {
 public:
  explicit Vegas(const tcp::ControllerConfig& config) noexcept
      : cwnd_(config.start()), ssthresh_(config.initial_ssthresh), mss_(config.mss) {}

  void on_ack(const tcp::AckSample& s) noexcept {
    if (s.in_recovery || !s.cwnd_limited || s.srtt <= Duration::zero()) return;
    const auto whole = static_cast<std::uint64_t>(s.srtt.count_micros());
    const auto least = static_cast<std::uint64_t>(s.min_rtt.count_micros());
    const std::uint64_t queued = whole > least ? cwnd_ * (whole - least) / whole : 0;
    if (cwnd_ < ssthresh_ && queued > 2 * mss_) ssthresh_ = cwnd_;  // slow start is over
    if (cwnd_ < ssthresh_) {
      cwnd_ += s.credit;
    } else if (queued < 2 * mss_) {
      cwnd_ += s.credit * mss_ / cwnd_;  // a segment each round trip
    } else if (queued > 4 * mss_ && cwnd_ > 2 * mss_) {
      cwnd_ -= s.credit * mss_ / cwnd_;
    }
  }
  void on_recovery(const tcp::RecoverySample& s) noexcept {
    if (s.edge == tcp::RecoveryEdge::enter) ssthresh_ = std::max(s.in_flight / 2, 2 * mss_);
    cwnd_ = ssthresh_;
  }
  void on_rto(const tcp::RtoSample& s) noexcept {
    if (s.first) on_recovery({.in_flight = s.in_flight});
    cwnd_ = mss_;
  }
  void on_ecn(const tcp::EcnSample& s) noexcept { on_recovery({.in_flight = s.in_flight}); }
  void on_mss(std::uint32_t mss) noexcept { mss_ = mss; }
  void on_sent(const tcp::SentSample&) noexcept {}
  void on_loss(const tcp::LossSample&) noexcept {}
  void on_spurious(Instant) noexcept {}
  void on_idle_restart(const tcp::IdleSample&) noexcept {}

  std::uint64_t window() const noexcept { return cwnd_; }
  std::uint64_t ssthresh() const noexcept { return ssthresh_; }
  std::uint64_t pacing_rate() const noexcept { return tcp::kNoLimit; }
  tcp::ControllerStats stats() const noexcept { return {cwnd_, ssthresh_, tcp::kNoLimit, "vegas"}; }
  bool uses_prr() const noexcept { return true; }
  bool paces() const noexcept { return false; }

 private:
  std::uint64_t cwnd_, ssthresh_, mss_;
};

/// Prints the rate and the round trip of a flow after ten seconds of virtual time.
Duration run(std::string_view name) {
  sim::HostOptions host;
  host.stack.tcp.congestion_control = name;
  const auto net = device::parse_net_spec("delay=10ms rate=20mbit queue=500packets");
  sim::TwoHosts two(*net, {1, 2}, {}, {}, host);
  (void)two.a.stack().add_congestion_control("vegas", [](const tcp::ControllerConfig& c) noexcept {
    return tcp::AnyController(Vegas(c));
  });
  auto& sink = two.b.add<sim::BulkSink>(std::uint16_t{80});
  auto& source = two.a.add<sim::BulkSource>();
  source.connect({sim::TwoHosts::kAddressB, 80});
  (void)two.world.run_for(Duration::seconds(10));
  const SocketInfo info = *two.a.stack().info(source.socket());
  std::printf("%s: %.1f Mbit/s, round trip %.1f ms\n", std::string(info.congestion_control).c_str(),
              static_cast<double>(sink.bytes_received()) * 8 / 10e6,
              static_cast<double>(info.srtt.count_micros()) / 1000);
  return info.srtt;
}

}  // namespace

int main() { return run("vegas") < run("cubic") ? 0 : 1; }
