#include "device/wrap/impaired_device.hpp"

#include <algorithm>
#include <utility>

namespace tidewire::device {
namespace {

constexpr std::size_t kBatch = 64;

ImpairedLine::Options line(const ImpairedDevice::Options& options, Medium medium,
                           Direction direction) {
  ImpairedLine::Options line;
  line.medium = medium;
  line.spec = direction == Direction::up ? options.spec.up : options.spec.down;
  line.direction = direction;
  line.seed = options.seed;
  line.origin = options.origin;
  return line;
}

}  // namespace

ImpairedDevice::ImpairedDevice(std::unique_ptr<Device> inner, const Options& options,
                               ImpactObserver* observer)
    : Wrapper(std::move(inner)),
      options_(options),
      up_(line(options, Wrapper::capabilities().medium, Direction::up), pool_, flows_, observer),
      down_(line(options, Wrapper::capabilities().medium, Direction::down), pool_, flows_,
            observer) {}

Capabilities ImpairedDevice::capabilities() const noexcept {
  Capabilities can = Wrapper::capabilities();
  can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = false;
  if (options_.spec.up.mtu != 0) can.mtu = std::min(can.mtu, options_.spec.up.mtu);
  return can;
}

void ImpairedDevice::advance(Instant now) noexcept {
  inner().advance(now);
  up_.advance(now);
  down_.advance(now);
  send_due();
}

PushResult ImpairedDevice::push(const TxFrame& frame) noexcept {
  const PushResult result = up_.push(frame);
  send_due();
  return result;
}

void ImpairedDevice::send_due() noexcept {
  while (true) {
    if (due_.empty()) due_ = up_.receive(kBatch);
    if (due_.empty()) return;
    TxFrame frame;
    frame.headers = due_.front().head;
    if (inner().push(frame) == PushResult::full) return;
    due_ = due_.subspan(1);
  }
}

std::span<const RxFrame> ImpairedDevice::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  for (const RxFrame& frame : inner().receive(now, limit)) {
    const TxFrame* super = nullptr;
    if (!RxSplitter::is_plain(frame)) super = splitter_.convert(frame, down_.medium());
    if (super != nullptr) {
      down_.push(*super);
    } else {
      down_.push(frame);
    }
  }
  return down_.receive(limit);
}

Instant ImpairedDevice::next_deadline() noexcept {
  Instant next = earlier(inner().next_deadline(), earlier(down_.next_arrival(), up_.next_room()));
  // Frames that the device behind refuses wait for it, not for a time.
  if (due_.empty() || inner().writable()) next = earlier(next, up_.next_arrival());
  return next;
}

}  // namespace tidewire::device
