// What TAP and packet sockets share: frames behind virtio-net headers on a file descriptor.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "device/backends/batch_guess.hpp"
#include "device/backends/owned.hpp"
#include "device/device.hpp"

namespace tidewire::device {

/// The legacy virtio-net header in the machine's byte order, as the kernel reads and writes it
/// (Virtual I/O Device 1.2, §5.1.6, without num_buffers).
struct VnetHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;
  static constexpr std::uint8_t kDataValid = 2;
  static constexpr std::uint8_t kGsoNone = 0;
  static constexpr std::uint8_t kGsoTcp4 = 1;
  static constexpr std::uint8_t kGsoTcp6 = 4;
  static constexpr std::uint8_t kGsoUdp = 5;
  static constexpr std::uint8_t kGsoEcn = 0x80;

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kGsoNone;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

/// The header for a frame to transmit.
VnetHeader vnet_header(const TxFrame& frame) noexcept;

/// Fills in seg_size, segs and checksum of a received frame from its header. False if the header
/// contradicts the frame; then what could be recomputed was, and the rest is as if unknown.
bool apply_vnet_header(const VnetHeader& header, Medium medium, RxFrame& frame) noexcept;

struct VnetCounters {
  std::uint64_t frames_in = 0, frames_out = 0;
  std::uint64_t bad_metadata = 0;  ///< received headers that contradict their frame
  std::uint64_t truncated = 0;     ///< received frames longer than any buffer
  std::uint64_t errors_out = 0;    ///< frames the kernel refused for good; they are lost
  std::uint64_t full = 0;          ///< pushes that found no room
};

class WriteBatch;

/// Reads into one arena, a batch at a time, and writes gathered: nothing is copied here. Each push
/// writes, or, after write_in_batches(), the flush does. What it counts shares no cache line with
/// another queue, which another thread may drive.
class alignas(64) VnetDevice : public Device {
 public:
  ~VnetDevice() override;

  std::string_view name() const noexcept final { return name_; }
  Capabilities capabilities() const noexcept final { return capabilities_; }
  void advance(Instant now) noexcept final;
  PushResult push(const TxFrame& frame) noexcept final;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept final;
  bool frames_stay() const noexcept final { return true; }
  bool receive_again() const noexcept final { return again_; }
  void flush() noexcept final;
  bool writable() noexcept final;
  Instant next_deadline() noexcept final;
  int descriptor() const noexcept final { return fd_.get(); }
  bool link_up() const noexcept final { return up_; }
  const VnetCounters& counters() const noexcept { return counters_; }

 protected:
  VnetDevice(OwnedFd fd, std::string name, const Capabilities& capabilities);
  /// The interface is in the network namespace that the socket `control` was made in.
  VnetDevice(OwnedFd fd, OwnedFd control, std::string name, const Capabilities& capabilities);

  /// From now on frames are collected and written with one system call (io_uring). The descriptor
  /// is non-blocking. The error is one line that says why not and what to do.
  Result<void, std::string> write_in_batches();
  /// Reads one frame behind its header into `out`; bytes read, 0: nothing there, -1: skip it.
  virtual std::ptrdiff_t read_frame(MutBytes out) noexcept = 0;
  int fd() const noexcept { return fd_.get(); }
  VnetCounters& count() noexcept { return counters_; }

 private:
  void look_at_link() noexcept;
  PushResult write_now(const TxFrame& frame) noexcept;

  OwnedFd fd_;
  OwnedFd control_;  ///< for questions about the interface
  std::string name_;
  Capabilities capabilities_;
  VnetCounters counters_;
  std::vector<std::byte> arena_;
  std::vector<RxFrame> frames_;
  std::vector<std::byte> scratch_;  ///< for frames in too many pieces
  std::unique_ptr<WriteBatch> batch_;
  Instant now_;
  Instant next_look_;
  BatchGuess guess_;
  std::size_t sent_ = 0;  ///< frames since the last receive
  bool up_ = true;
  bool again_ = false;
};

/// Writes the gathered pieces as one frame. 0, or an errno value.
int write_frame(int fd, std::span<const iovec> pieces) noexcept;
/// MTU of a network interface, nothing if there is none of that name.
std::uint32_t interface_mtu(const std::string& name) noexcept;
/// Its MAC address; zero if it has none.
MacAddress interface_mac(const std::string& name) noexcept;
/// False if it is down or gone.
bool interface_is_up(const std::string& name) noexcept;
/// True if the kernel takes what it refused with this errno value later.
bool is_room_error(int error) noexcept;
/// "Operation not permitted (EPERM)" and so on.
std::string error_text(int error);

}  // namespace tidewire::device
