// A simulated link: two devices joined by two impaired directions.
#pragma once

#include <memory>
#include <string>

#include "device/device.hpp"
#include "device/net_spec.hpp"
#include "device/wrap/impaired_line.hpp"

namespace tidewire::device {

/// Both ends are driven by one thread, in virtual or in real time: time passes on the link as it is
/// told to either end. What end A sends goes up, what end B sends comes down.
class SimLink : public std::enable_shared_from_this<SimLink> {
 public:
  enum class End : std::uint8_t { a, b };

  struct Options {
    std::string name = "sim";
    Medium medium = Medium::ethernet;
    NetSpec spec;
    std::uint32_t mtu = 1500;  ///< where the spec names none
    MacAddress mac_a, mac_b;
    RandomSeed seed;
    Instant origin;
    /// Carry super-segments and pending checksums whole where the spec impairs nothing. Such a link
    /// is trusted by its ends.
    bool offload = false;
    /// Refer to payload that stays until flush() (see Device::lent()). For who calls it each turn.
    bool lend = false;
  };

  static std::shared_ptr<SimLink> make(const Options& options, ImpactObserver* observer = nullptr);

  /// A device for one end; it keeps the link alive. One for each end.
  std::unique_ptr<Device> open(End end);
  /// Takes the cable out (or puts it back): frames that are pushed are lost, those under way
  /// arrive.
  void set_up(bool up) noexcept { up_ = up; }
  /// Another description of both directions from now on; see Impairment::set_spec. The ends keep
  /// what they were told of offloads; who drives them tells the stacks of another MTU.
  void set_spec(const NetSpec& spec);
  const NetSpec& spec() const noexcept { return options_.spec; }
  bool up() const noexcept { return up_; }
  /// Another delay and rate (bits per second) for one direction from now on, as when a route or a
  /// radio changes. A direction with a rate keeps one, a direction without keeps none.
  void set_path(Direction direction, Duration delay, std::uint64_t rate_bps) noexcept {
    (direction == Direction::up ? up_line_ : down_line_).set_path(delay, rate_bps);
  }
  /// How long a packet that is sent `now` waits for the rate.
  Duration queue_delay(Direction direction, Instant now) const noexcept {
    return (direction == Direction::up ? up_line_ : down_line_).queue_delay(now);
  }
  /// Is told of every impact from now on; outlives the link or is replaced by nullptr.
  void set_observer(ImpactObserver* observer) noexcept {
    up_line_.set_observer(observer);
    down_line_.set_observer(observer);
  }
  const LinkCounters& counters(Direction direction) const noexcept;
  /// True if no frame is under way.
  bool empty() const noexcept { return up_line_.empty() && down_line_.empty(); }

 private:
  class EndDevice;
  SimLink(const Options& options, ImpactObserver* observer);

  Options options_;
  FramePool pool_;
  FlowTable flows_;
  ImpairedLine up_line_;
  ImpairedLine down_line_;
  bool up_whole_;    ///< end A was told that it may send super-segments
  bool down_whole_;  ///< end B was
  bool up_ = true;
};

}  // namespace tidewire::device
