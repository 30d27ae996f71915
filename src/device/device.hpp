// The one interface every way of carrying frames implements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/time.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

struct Capabilities {
  Medium medium = Medium::ethernet;
  std::uint32_t mtu = 1500;      ///< bytes of an IP packet on the wire
  MacAddress mac;                ///< the address this end of the link uses (ethernet)
  bool tx_checksum = false;      ///< takes frames with checksum_pending
  bool tx_segmentation = false;  ///< takes TCP super-segments (seg_size not 0)
  bool tx_udp_segmentation = false;
  bool rx_trusted = false;  ///< may deliver ChecksumState::verified or partial
};

/// A device carries frames of one interface. One thread drives it.
///
/// push() copies or sends the frame before it returns; `full` means nothing was taken, and the
/// device reports `writable()` once it has room again. A device may hold frames back, to send
/// several in one go, until flush() at the latest: as copies, but for payload that stays. Who calls
/// Stack::poll_transmit calls flush() before anything else of the stack that made the frames.
class Device : public TxSink {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual Capabilities capabilities() const noexcept = 0;
  /// Tells the time before frames are pushed: simulated links and captures need it. receive() does
  /// the same. It never runs backwards.
  virtual void advance(Instant now) noexcept { (void)now; }
  virtual std::string_view name() const noexcept = 0;
  /// The frames that have arrived by `now`, at most `limit`. They stay valid until the next call of
  /// receive() on this device (but see lent()). An empty span means: nothing (more) now.
  virtual std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept = 0;
  /// True: received frames stay even when frames are pushed, the device is flushed and the stack
  /// does its work; then the stack need not copy what is read before the next receive(). Of those
  /// that are lent it holds until the flush of the other end.
  virtual bool frames_stay() const noexcept { return false; }
  /// Bytes that receive() would give now which lie with their sender: the frames are valid only
  /// until the flush() of the other end, which copies what was not received by then.
  virtual std::size_t lent() const noexcept { return 0; }
  /// True: the last receive() ended below its limit because its memory was full; more may be there.
  virtual bool receive_again() const noexcept { return false; }
  /// The last push() of a turn, or of a round within it, has been.
  virtual void flush() noexcept {}
  /// False after push() said full, until there is room again.
  virtual bool writable() noexcept { return true; }
  /// When receive() will have something although no descriptor becomes readable (delay lines,
  /// queues that drain at a rate). never() for devices that are driven by their descriptor alone.
  virtual Instant next_deadline() noexcept { return Instant::never(); }
  /// A descriptor to poll for readability (and, after `full`, for writability); -1 if there is
  /// none.
  virtual int descriptor() const noexcept { return -1; }
  /// False when the other side is gone.
  virtual bool link_up() const noexcept { return true; }
};

}  // namespace tidewire::device
