// Flows that share one bottleneck.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "sim/bulk.hpp"
#include "sim/world.hpp"

namespace tidewire::sim {

/// One bulk flow, from a host of its own.
struct FlowPlan {
  std::string_view congestion_control = "cubic";  ///< one the stack knows
  Duration start;                                 ///< after the world's beginning
  Duration delay;                                 ///< one way, of its own link
  Duration jitter;                                ///< what it sends is up to this much later
};

struct DumbbellOptions {
  device::LinkSpec bottleneck;  ///< delay, rate and queue that all flows share
  std::vector<FlowPlan> flows;
  EcnUse ecn = EcnUse::never;
  std::uint32_t buffer_max = 32U << 20;  ///< of each socket, bytes
  RandomSeed seed{1, 2};
};

/// Sending hosts, a switch, and one receiver behind the bottleneck. ACKs come back unhindered.
class Dumbbell {
 public:
  explicit Dumbbell(const DumbbellOptions& options);

  void run_for(Duration time) { (void)world_.run_for(time); }
  std::size_t flows() const noexcept { return sources_.size(); }
  std::uint64_t received(std::size_t flow) const { return sinks_.at(flow)->bytes_received(); }
  /// Empty before the flow has started.
  std::optional<SocketInfo> info(std::size_t flow) const;
  /// How long a packet that arrives now waits at the bottleneck.
  Duration queue_delay() const { return link_->queue_delay(device::Direction::down, world_.now()); }
  const device::LinkCounters& bottleneck() const {
    return link_->counters(device::Direction::down);
  }
  World& world() noexcept { return world_; }
  device::SimLink& link() noexcept { return *link_; }

 private:
  World world_;
  std::vector<Host*> senders_;
  std::vector<BulkSource*> sources_;
  std::vector<BulkSink*> sinks_;
  std::shared_ptr<device::SimLink> link_;
};

/// Jain's fairness index, (Σx)² / (n·Σx²), in thousandths: 1000 means equal shares.
std::uint32_t jain_index(const std::vector<std::uint64_t>& shares);

}  // namespace tidewire::sim
