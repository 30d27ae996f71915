// Cuts super-segments and completes checksums in front of a device that can do neither.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/wrap/wrapper.hpp"

namespace tidewire::device {

/// Takes any frame whatever the device behind can do. If that one is full in the middle of a
/// super-segment, the rest waits here and later frames are refused until it has left.
class OffloadEmulator final : public Wrapper {
 public:
  explicit OffloadEmulator(std::unique_ptr<Device> inner);

  Capabilities capabilities() const noexcept override;
  PushResult push(const TxFrame& frame) noexcept override;
  bool writable() noexcept override;
  void advance(Instant now) noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  Instant next_deadline() noexcept override;

 private:
  bool send_rest() noexcept;
  bool push_packet(Bytes packet, const TxFrame& frame) noexcept;
  bool inner_can(const TxFrame& frame) const noexcept;

  Capabilities behind_;
  std::vector<std::byte> scratch_;
  std::vector<std::byte> rest_;  ///< packets that wait, one after the other
  std::vector<std::uint32_t> sizes_;
  std::size_t next_ = 0;         ///< in sizes_
  std::size_t next_offset_ = 0;  ///< in rest_
  Instant now_;
  TxFrame waiting_;  ///< offsets of what waits
};

/// `device` itself if it takes super-segments and pending checksums, else wrapped.
std::unique_ptr<Device> with_offloads(std::unique_ptr<Device> device);

}  // namespace tidewire::device
