// A stack with an address on a link of this host: TAP, veth, shared memory.
#pragma once

#include "apps/file_sink.hpp"
#include "apps/station.hpp"
#include "device/backends/loopback.hpp"
#include "runtime/pool_memory.hpp"
#include "runtime/watchdog.hpp"

namespace tidewire::apps {

/// Opens the device that `options` name, behind the impairments of --net if there are any and with
/// a capture if one was asked for. Throws Failure with `status`.
class LinkDevice {
 public:
  LinkDevice(const StationOptions& options, Instant origin, int status);
  device::Device& operator*() noexcept { return *device_; }
  device::Device* operator->() noexcept { return device_.get(); }

 private:
  std::unique_ptr<FileSink> pcap_file_;
  std::unique_ptr<device::PcapngWriter> pcap_;
  std::unique_ptr<device::Device> device_;
};

/// Says on standard error when the link goes down and comes up.
class LinkNews final : public runtime::Task {
 public:
  /// Both outlive this.
  LinkNews(runtime::Driver& driver, const device::Device& device);
  LinkNews(const LinkNews&) = delete;
  LinkNews& operator=(const LinkNews&) = delete;
  ~LinkNews();

  Instant next_deadline() override { return Instant::never(); }
  void run(Instant) override {}
  void after_turn(Instant now) override;

 private:
  runtime::Driver& driver_;
  const device::Device& device_;
  bool up_ = true;
};

class LinkStation final : public Station {
 public:
  /// Throws Failure with `status`.
  LinkStation(const StationOptions& options, int status);

  runtime::Driver& driver() noexcept override { return driver_; }
  Stack& stack() noexcept override { return stack_; }
  void drain(Duration patience) override;
  std::string reachable_at(std::uint16_t port, bool udp) const override;

 private:
  std::optional<IpAddress> host_alias() const override { return std::nullopt; }

  Instant origin_;
  StationOptions options_;
  runtime::PoolMemory memory_;
  Stack stack_;
  LinkDevice device_;
  device::Loopback loopback_;
  runtime::Driver driver_;
  std::unique_ptr<LinkNews> news_;
  std::unique_ptr<runtime::Watchdog> watchdog_;
};

/// Adds an Ethernet (or IP) interface for `device` to a stack and attaches it.
InterfaceId attach_link(runtime::Driver& driver, Stack& stack, device::Device& device,
                        const char* name, const IpCidr& address,
                        const std::optional<IpAddress>& gateway, Instant now, int status);

/// Adds a loopback interface.
void attach_loopback(runtime::Driver& driver, Stack& stack, device::Device& device, Instant now);

/// What --cc, --ecn and a real clock make of a stack.
StackConfig link_stack_config(const NetworkOptions& options);

/// On a real link strangers look on: a stack's secrets come from the operating system.
RandomSeed secret_seed();

/// True while connections of the stack still have something to deliver.
bool has_unfinished_connections(const Stack& stack);

}  // namespace tidewire::apps
