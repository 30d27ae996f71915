// Shows every frame that is put on a link to somebody.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/wrap/wrapper.hpp"

namespace tidewire::apps {

/// Stands in front of one end of a link.
class PacketTap final : public device::Wrapper {
 public:
  /// The frame as the stack gave it, perhaps a super-segment.
  using FrameHook = std::function<void(const TxFrame&, Instant now)>;
  /// Each wire packet it stands for, link header included.
  using PacketHook = std::function<void(Bytes packet, Instant now)>;

  PacketTap(std::unique_ptr<device::Device> inner, FrameHook frames, PacketHook packets);

  void advance(Instant now) noexcept override;
  PushResult push(const TxFrame& frame) noexcept override;
  bool frames_stay() const noexcept override { return inner().frames_stay(); }
  std::size_t lent() const noexcept override { return inner().lent(); }

 private:
  FrameHook frames_;
  PacketHook packets_;
  Instant now_;
  std::vector<std::byte> scratch_;
};

}  // namespace tidewire::apps
