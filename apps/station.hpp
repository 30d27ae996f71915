// Where nc and ping stand: the virtual host of a described network, or an address on a real link.
#pragma once

#include <memory>
#include <string>

#include "apps/network_options.hpp"
#include "core/stack.hpp"
#include "runtime/driver.hpp"

namespace tidewire::apps {

/// The options that choose between the two.
struct StationOptions {
  NetworkOptions network;
  std::string device, tap, veth;
  std::string addr, gw;
  bool no_offload = false;
  std::uint32_t shards = 1;  ///< stacks, each with a queue of the device and a thread
  bool io_uring = false;

  void add_to(CLI::App& command);
  /// --shards, for commands that can have several stacks.
  void add_shards_to(CLI::App& command);
  void check(int status);
  bool on_link() const noexcept { return !device.empty() || !tap.empty() || !veth.empty(); }
  /// What open_device() takes; --tap and --veth are short forms of it.
  std::string device_description() const;

  // Filled in by check().
  IpCidr address;
  std::optional<IpAddress> gateway;
};

/// A stack with a loop that drives it.
class Station {
 public:
  /// Throws Failure with `status`. Publishes `publish` (nothing on a link) besides what the options
  /// say.
  static std::unique_ptr<Station> make(const StationOptions& options,
                                       const std::optional<gateway::PublishSpec>& publish,
                                       int status);
  Station() = default;
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;
  virtual ~Station() = default;

  virtual runtime::Driver& driver() noexcept = 0;
  virtual Stack& stack() noexcept = 0;
  /// The address a name given on the command line stands for here. Throws Failure.
  IpAddress resolve(const std::string& name, int status);
  /// After the last close: keeps the loop running until everything was delivered.
  virtual void drain(Duration patience) = 0;
  /// Where something on `port` of this station can be reached from outside, for people.
  virtual std::string reachable_at(std::uint16_t port, bool udp) const = 0;

 protected:
  /// The address under which the stack reaches the host's own services; none on a link.
  virtual std::optional<IpAddress> host_alias() const = 0;
};

}  // namespace tidewire::apps
