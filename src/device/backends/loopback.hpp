// The loopback device: every frame comes back when the driver looks again, in the same turn or the
// next.
#pragma once

#include <cstdint>
#include <vector>

#include "device/device.hpp"
#include "device/wrap/frame_store.hpp"

namespace tidewire::device {

/// Holds at most `limit` frames; then push() says full until some were received. Super-segments and
/// pending checksums go through as they are (the receiver is the sender).
class Loopback final : public Device {
 public:
  explicit Loopback(std::size_t limit = 256) : limit_(limit) {}
  ~Loopback() override;

  Capabilities capabilities() const noexcept override;
  void advance(Instant now) noexcept override { now_ = later(now_, now); }
  std::string_view name() const noexcept override { return "lo"; }
  PushResult push(const TxFrame& frame) noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  bool writable() noexcept override { return queue_.size() < limit_; }
  Instant next_deadline() noexcept override { return queue_.empty() ? Instant::never() : now_; }

 private:
  struct Entry {
    FrameBuffer buffer;
    std::uint16_t seg_size = 0;
    std::uint16_t segs = 1;
    bool partial = false;
    Instant sent;
  };

  std::size_t limit_;
  FramePool pool_;
  RingQueue<Entry> queue_;
  std::vector<FrameBuffer> lent_;
  std::vector<RxFrame> frames_;
  Instant now_;
};

}  // namespace tidewire::device
