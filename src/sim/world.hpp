// The virtual-time world: hosts, links and switches that run as fast as the machine can.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/backends/sim_link.hpp"
#include "device/scenario.hpp"
#include "sim/host.hpp"
#include "sim/switch.hpp"

namespace tidewire::sim {

struct LinkOptions {
  device::NetSpec net;  ///< `up` is from the first end to the second
  Medium medium = Medium::ethernet;
  std::uint32_t mtu = 1500;
  bool offload = false;  ///< super-segments go whole where the spec impairs nothing
};

/// Why a run ended.
enum class Outcome : std::uint8_t {
  done,            ///< the condition holds
  idle,            ///< nothing will ever happen again
  time_up,         ///< the virtual time limit
  too_many_steps,  ///< the step limit, or turn after turn at the same instant
};
std::string_view to_string(Outcome outcome) noexcept;

/// Everything in it follows from the seed. Simultaneous events run in the order (time, host,
/// interface, sequence); switches come after hosts.
class World {
 public:
  explicit World(const RandomSeed& seed, const AdversaryOptions& adversary = {});

  Instant now() const noexcept { return now_; }

  Host& add_host(std::string name, const HostOptions& options = {});
  Switch& add_switch();
  /// A loopback interface for a host.
  InterfaceId add_loopback(Host& host);

  struct Attached {
    std::shared_ptr<device::SimLink> link;
    InterfaceId a = kNoInterface;
    InterfaceId b = kNoInterface;  ///< of the second host, if there is one
  };
  Attached connect(Host& a, const IpCidr& address_a, Host& b, const IpCidr& address_b,
                   const LinkOptions& options = {});
  Attached connect(Host& host, const IpCidr& address, Switch& to, const LinkOptions& options = {});

  /// Calls `action` when the clock reaches `at`.
  void at(Instant at, std::function<void()> action);
  void after(Duration delay, std::function<void()> action) { at(now_ + delay, std::move(action)); }

  /// Makes `link` what the scenario says at its start and, counted from now, at its events.
  void play(const std::shared_ptr<device::SimLink>& link, const device::Scenario& scenario);

  /// Runs until `finished` answers true (asked after every turn), nothing is left to happen, or
  /// `limit` has passed. The clock jumps from deadline to deadline.
  Outcome run_until(const std::function<bool()>& finished, Instant limit);
  /// Runs for a stretch of virtual time.
  Outcome run_for(Duration stretch);
  Outcome run_until_idle(Instant limit);
  /// Greatest number of turns a run may take.
  void set_step_limit(std::uint64_t steps) noexcept { step_limit_ = steps; }
  std::uint64_t steps() const noexcept { return steps_; }

  /// What is not at rest, for the message of a failed test.
  std::string explain() const;

 private:
  struct Action {
    Instant at;
    std::uint64_t sequence = 0;
    std::function<void()> run;
  };

  Instant next_deadline();
  void turn();
  std::shared_ptr<device::SimLink> make_link(const LinkOptions& options);
  MacAddress next_mac() noexcept;

  RandomSeed seed_;
  AdversaryOptions adversary_;
  Instant now_ = Instant::from_nanos(0) + Duration::seconds(1);
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Switch>> switches_;
  std::vector<std::shared_ptr<device::SimLink>> links_;
  std::vector<Action> actions_;  ///< a heap, the earliest first
  std::uint64_t sequence_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t step_limit_ = 200'000'000;
  std::uint16_t macs_ = 0;
};

/// Two hosts, 10.0.0.1/24 and 10.0.0.2/24, joined by one link. The capture, if any, is of host a.
struct TwoHosts {
  TwoHosts(const device::NetSpec& net, const RandomSeed& seed, const LinkOptions& options = {},
           const AdversaryOptions& adversary = {}, const HostOptions& host_a = {},
           const HostOptions& host_b = {});

  World world;
  Host& a;
  Host& b;
  World::Attached attached;
  static constexpr IpAddress kAddressA = IpAddress::v4(10, 0, 0, 1);
  static constexpr IpAddress kAddressB = IpAddress::v4(10, 0, 0, 2);
};

}  // namespace tidewire::sim
