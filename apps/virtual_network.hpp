// A virtual host, a described link and a gateway to the real host, in one process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/file_sink.hpp"
#include "apps/link_observer.hpp"
#include "apps/network_options.hpp"
#include "device/backends/loopback.hpp"
#include "device/backends/sim_link.hpp"
#include "device/scenario.hpp"
#include "front/gateway/gateway.hpp"
#include "report/recorder.hpp"
#include "report/run_report.hpp"
#include "runtime/driver.hpp"
#include "runtime/joint.hpp"
#include "runtime/pool_memory.hpp"
#include "runtime/watchdog.hpp"

namespace tidewire::apps {

inline constexpr IpAddress kHostAddress = IpAddress::v4(10, 0, 2, 15);
inline constexpr std::uint8_t kPrefixLength = 24;
inline constexpr MacAddress kHostMac{{0x02, 0x00, 0x0a, 0x00, 0x02, 0x0f}};
inline constexpr IpAddress kGatewayAddress = IpAddress::v4(10, 0, 2, 2);
inline constexpr IpAddress kResolverAddress = IpAddress::v4(10, 0, 2, 3);

/// Everything is driven by driver().run() in the caller's thread.
class VirtualNetwork {
 public:
  /// `options` were checked. Opens the published ports. Throws Failure with `status`.
  VirtualNetwork(const NetworkOptions& options, int status);
  ~VirtualNetwork();
  VirtualNetwork(const VirtualNetwork&) = delete;
  VirtualNetwork& operator=(const VirtualNetwork&) = delete;

  runtime::Driver& driver() noexcept { return driver_; }
  /// A stack: 10.0.2.15, with 127.0.0.1 and ::1 of its own; the default route leads over the link.
  Stack& host() noexcept { return host_; }
  InterfaceId host_interface() const noexcept { return host_interface_; }
  InterfaceId host_loopback() const noexcept { return host_loopback_; }
  /// Of the link, in bytes of an IP packet.
  std::uint32_t mtu() const noexcept { return host_device_->capabilities().mtu; }
  std::uint64_t seed() const noexcept { return *options_.seed; }
  /// What the link is now.
  const device::NetSpec& net() const noexcept { return link_->spec(); }
  bool link_up() const noexcept { return link_->up(); }
  /// Called after each change of the link, whoever asked for it; empty: nobody wants to know.
  void on_change(std::function<void()> told) { told_ = std::move(told); }
  /// Another description from now on. The report tells of it.
  void set_net(const device::NetSpec& spec);
  /// Takes the cable out, or puts it back.
  void set_link_up(bool up);
  const device::LinkCounters& link_counters(device::Direction direction) const noexcept {
    return link_->counters(direction);
  }
  /// With NetworkOptions::kernel_host, once: its packets are those of the host from now on.
  void attach_kernel(std::unique_ptr<device::Device> device);
  gateway::Gateway& gateway() noexcept { return *gateway_; }
  report::Recorder& recorder() noexcept { return recorder_; }
  /// Following each connection and packet costs a few per cent: only where it is told.
  bool records() const noexcept { return options_.report || options_.print; }

  /// Pumps until nothing is on its way any more: the sockets of the host have delivered what their
  /// owners left, the relays have passed it on. Ends earlier without progress for `patience`.
  /// `owners` tells of those who still want to hand over bytes, or that nobody wants to wait.
  enum class Wish : std::uint8_t { done, wait, stop };
  void drain(Duration patience, const std::function<Wish()>& owners = {});
  /// Everything but the command and its status.
  report::RunReport report() const;
  /// One line if a capture could not be written completely.
  std::optional<std::string> capture_problem() const;

 private:
  /// Changes the network when a scenario says so.
  class Schedule;

  void make_link(const NetworkOptions& options);
  std::unique_ptr<device::Device> open_end(device::SimLink::End end, const NetworkOptions& options);
  void note_change();
  void configure_host();
  void configure_gateway(const NetworkOptions& options, int status);
  bool busy();

  Instant origin_;
  NetworkOptions options_;
  runtime::PoolMemory host_pool_;
  runtime::PoolMemory gateway_pool_;
  MemoryBudget budget_;  // of both
  BudgetedMemory host_memory_;
  BudgetedMemory gateway_memory_;
  Stack host_;
  Stack gateway_stack_;
  LinkObserver observer_;
  std::unique_ptr<FileSink> pcap_file_;
  std::unique_ptr<device::PcapngWriter> pcap_;
  std::shared_ptr<device::SimLink> link_;
  device::Loopback loopback_;
  std::unique_ptr<device::Device> host_device_;
  std::unique_ptr<device::Device> gateway_device_;
  runtime::Driver driver_;
  report::Recorder recorder_;
  std::unique_ptr<device::Device> kernel_device_;
  std::unique_ptr<runtime::Joint> joint_;
  std::unique_ptr<report::LinePrinter> printer_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<runtime::Watchdog> watchdog_;
  std::unique_ptr<Schedule> schedule_;
  std::function<void()> told_;
  std::vector<report::NetChange> net_changes_;
  InterfaceId host_interface_ = kNoInterface;
  InterfaceId host_loopback_ = kNoInterface;
  InterfaceId gateway_interface_ = kNoInterface;
};

}  // namespace tidewire::apps
