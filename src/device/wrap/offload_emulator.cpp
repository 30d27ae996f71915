#include "device/wrap/offload_emulator.hpp"

#include <algorithm>

#include "device/wrap/materialise.hpp"

namespace tidewire::device {
namespace {

constexpr std::size_t kUdpChecksum = 6;
constexpr std::size_t kGreatestPacket = 65536 + 512;
constexpr Duration kRetry = Duration::millis(1);  // of a rest, whether or not anyone asks for room

}  // namespace

OffloadEmulator::OffloadEmulator(std::unique_ptr<Device> inner)
    : Wrapper(std::move(inner)),
      behind_(Wrapper::capabilities()),
      scratch_(kGreatestPacket),
      rest_(2 * kGreatestPacket) {
  sizes_.reserve(2048);
}

Capabilities OffloadEmulator::capabilities() const noexcept {
  Capabilities all = behind_;
  all.tx_checksum = all.tx_segmentation = all.tx_udp_segmentation = true;
  return all;
}

bool OffloadEmulator::inner_can(const TxFrame& frame) const noexcept {
  if (frame.checksum_pending && !behind_.tx_checksum) return false;
  if (frame.seg_size == 0) return true;
  return frame.checksum_offset == kUdpChecksum ? behind_.tx_udp_segmentation
                                               : behind_.tx_segmentation;
}

bool OffloadEmulator::push_packet(Bytes packet, const TxFrame& frame) noexcept {
  TxFrame one;
  one.interface = frame.interface;
  one.headers = packet;
  one.network_offset = frame.network_offset;
  one.transport_offset = frame.transport_offset;
  one.checksum_offset = frame.checksum_offset;
  return inner().push(one) == PushResult::taken;
}

PushResult OffloadEmulator::push(const TxFrame& frame) noexcept {
  if (!send_rest()) return PushResult::full;
  if (inner_can(frame)) return inner().push(frame);
  const Cutter cutter{frame};
  for (std::uint32_t i = 0; i < cutter.packets(); ++i) {
    const std::size_t size = cutter.write(i, scratch_);
    const bool waits = !sizes_.empty();
    if (!waits && push_packet(Bytes{scratch_}.first(size), frame)) continue;
    if (i == 0) return PushResult::full;
    if (next_offset_ + size > rest_.size()) rest_.resize(2 * (next_offset_ + size));
    std::copy_n(scratch_.begin(), size, rest_.begin() + static_cast<std::ptrdiff_t>(next_offset_));
    next_offset_ += size;
    sizes_.push_back(static_cast<std::uint32_t>(size));
  }
  waiting_ = frame;
  next_offset_ = 0;
  return PushResult::taken;
}

bool OffloadEmulator::send_rest() noexcept {
  while (next_ < sizes_.size()) {
    if (!push_packet(Bytes{rest_}.subspan(next_offset_, sizes_[next_]), waiting_)) return false;
    next_offset_ += sizes_[next_++];
  }
  sizes_.clear();
  next_ = next_offset_ = 0;
  return true;
}

bool OffloadEmulator::writable() noexcept { return send_rest() && inner().writable(); }

void OffloadEmulator::advance(Instant now) noexcept {
  now_ = later(now_, now);
  Wrapper::advance(now);
  send_rest();
}

std::span<const RxFrame> OffloadEmulator::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  return Wrapper::receive(now, limit);
}

Instant OffloadEmulator::next_deadline() noexcept {
  const Instant next = Wrapper::next_deadline();
  return sizes_.empty() ? next : earlier(next, now_ + kRetry);
}

std::unique_ptr<Device> with_offloads(std::unique_ptr<Device> device) {
  const Capabilities can = device->capabilities();
  if (can.tx_checksum && can.tx_segmentation && can.tx_udp_segmentation) return device;
  return std::make_unique<OffloadEmulator>(std::move(device));
}

}  // namespace tidewire::device
