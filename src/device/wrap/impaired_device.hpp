// A real device behind a described network: everything it sends and receives is impaired.
#pragma once

#include <memory>
#include <vector>

#include "device/wrap/impaired_line.hpp"
#include "device/wrap/rx_split.hpp"
#include "device/wrap/wrapper.hpp"

namespace tidewire::device {

/// Wraps a device; `up` of the spec is what is sent through it. It advertises no offloads, and cuts
/// what the device behind received coalesced, so that ordinals count wire packets.
class ImpairedDevice final : public Wrapper {
 public:
  struct Options {
    NetSpec spec;
    RandomSeed seed;
    Instant origin;
  };

  /// `observer` may be null, else it outlives the device.
  ImpairedDevice(std::unique_ptr<Device> inner, const Options& options,
                 ImpactObserver* observer = nullptr);

  Capabilities capabilities() const noexcept override;
  void advance(Instant now) noexcept override;
  PushResult push(const TxFrame& frame) noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  bool writable() noexcept override { return up_.writable(); }
  Instant next_deadline() noexcept override;
  const LinkCounters& counters(Direction direction) const noexcept {
    return direction == Direction::up ? up_.counters() : down_.counters();
  }

 private:
  void send_due() noexcept;

  Options options_;
  FramePool pool_;
  FlowTable flows_;
  ImpairedLine up_;
  ImpairedLine down_;
  RxSplitter splitter_;
  std::span<const RxFrame> due_;  ///< left the line, not yet taken by the device behind
};

}  // namespace tidewire::device
