#include "apps/packet_tap.hpp"

#include "device/wrap/materialise.hpp"

namespace tidewire::apps {

PacketTap::PacketTap(std::unique_ptr<device::Device> inner, FrameHook frames, PacketHook packets)
    : Wrapper(std::move(inner)),
      frames_(std::move(frames)),
      packets_(std::move(packets)),
      scratch_(65'536 + 512) {}

void PacketTap::advance(Instant now) noexcept {
  now_ = later(now_, now);
  Wrapper::advance(now);
}

PushResult PacketTap::push(const TxFrame& frame) noexcept {
  if (!inner().writable()) return PushResult::full;
  // Shown before it is pushed: the link tells what it does to a packet during the push.
  if (frames_) frames_(frame, now_);
  if (packets_) {
    const std::uint32_t count = device::wire_packets(frame);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::size_t size = device::materialise(frame, i, scratch_);
      if (size != 0) packets_(Bytes(scratch_).first(size), now_);
    }
  }
  return inner().push(frame);
}

}  // namespace tidewire::apps
