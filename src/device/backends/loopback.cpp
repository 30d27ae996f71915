#include "device/backends/loopback.hpp"

#include "device/wrap/materialise.hpp"

namespace tidewire::device {

Loopback::~Loopback() {
  for (const FrameBuffer& buffer : lent_) pool_.give(buffer);
  for (; !queue_.empty(); queue_.pop_front()) pool_.give(queue_.front().buffer);
}

Capabilities Loopback::capabilities() const noexcept {
  Capabilities can;
  can.medium = Medium::ip;
  can.mtu = 65535;
  can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = true;
  can.rx_trusted = true;
  return can;
}

PushResult Loopback::push(const TxFrame& frame) noexcept {
  if (!writable()) return PushResult::full;
  const FrameBuffer buffer = pool_.take(frame.size());
  if (!buffer) return PushResult::full;
  gather(frame, buffer.space());
  queue_.push_back({buffer, static_cast<std::uint16_t>(frame.seg_size), frame.segs,
                    frame.checksum_pending, now_});
  return PushResult::taken;
}

std::span<const RxFrame> Loopback::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  for (const FrameBuffer& buffer : lent_) pool_.give(buffer);
  lent_.clear();
  frames_.clear();
  for (; frames_.size() < limit && !queue_.empty(); queue_.pop_front()) {
    const Entry& entry = queue_.front();
    RxFrame frame;
    frame.head = entry.buffer.bytes();
    frame.seg_size = entry.seg_size;
    frame.segs = entry.segs;
    frame.checksum = entry.partial ? ChecksumState::partial : ChecksumState::unknown;
    frame.ingress = entry.sent;
    frames_.push_back(frame);
    lent_.push_back(entry.buffer);
  }
  return frames_;
}

}  // namespace tidewire::device
