// Records every frame of a device, as it is on the wire, to a capture file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/pcapng.hpp"
#include "device/wrap/impairment.hpp"
#include "device/wrap/rx_split.hpp"
#include "device/wrap/wrapper.hpp"

namespace tidewire::device {

/// Stands between the stack (or the offload emulator) and a device. Super-segments are recorded as
/// the wire packets they stand for, checksums complete. If it is told of a simulated link's impacts
/// (as its observer), packets that it sends carry them as comments.
class Capture final : public Wrapper, public ImpactObserver {
 public:
  /// `writer` outlives the capture; several captures may share one.
  Capture(std::unique_ptr<Device> inner, PcapngWriter& writer);

  void advance(Instant now) noexcept override;
  PushResult push(const TxFrame& frame) noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  void on_impact(const ImpactRecord& record) noexcept override;

 private:
  struct Seen {
    std::uint64_t frame_hash = 0;
    std::string text;
  };

  void record_received(const RxFrame& frame);
  std::string comment_for(Bytes packet);

  PcapngWriter& writer_;
  Medium medium_;
  std::uint32_t interface_;
  Instant now_;
  bool pushing_ = false;
  std::vector<Seen> seen_;  ///< impacts of the push under way
  std::vector<std::byte> scratch_;
  RxSplitter splitter_;
};

}  // namespace tidewire::device
