// Frames that are written to a descriptor together.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "device/backends/io_ring.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {

/// Collects frames behind virtio-net headers until write(), which hands them to the kernel with one
/// system call: on one core a receiver that each write wakes then runs once a batch. Headers and
/// small payloads are copied, payload that stays is referred to. Frames leave in their order, but
/// one for which the kernel has no room goes after those of its batch for which it had.
class WriteBatch {
 public:
  static constexpr std::uint32_t kFrames = 32;  ///< in a batch; more are written at once
  static constexpr std::size_t kCopied = 2048;  ///< bytes of a frame, with its header
  static constexpr std::size_t kPieces = 48;    ///< of a frame, that which is copied included

  /// Batches for `fd`, which is non-blocking and knows RWF_NOWAIT; it and `counters` outlive the
  /// batch. The error is one line that says why and what to do.
  static Result<std::unique_ptr<WriteBatch>, std::string> open(int fd, VnetCounters& counters);

  /// False: the frame is too large, or in too many pieces, to wait here.
  static bool takes(const TxFrame& frame) noexcept;
  /// Adds a frame that takes() is true of. `full`: earlier frames still wait for room.
  PushResult add(const TxFrame& frame) noexcept;
  /// Writes everything. False if the kernel had no room for some frames: they are kept, as copies,
  /// and nothing else is taken before they have left.
  bool write() noexcept;
  /// True if such frames are kept.
  bool holds() const noexcept { return !held_sizes_.empty(); }

 private:
  struct Slot {
    std::uint32_t pieces_used = 0;
    std::array<iovec, kPieces> pieces;
    std::array<std::byte, kCopied> copied;
    /// Bytes, or minus an errno value.
    std::int32_t result = 0;
  };

  WriteBatch(int fd, IoRing ring, VnetCounters& counters);
  void write_slots() noexcept;
  void settle(const Slot& slot) noexcept;
  void hold(const Slot& slot) noexcept;
  bool write_held() noexcept;

  int fd_;
  IoRing ring_;
  VnetCounters& counters_;
  std::vector<Slot> slots_;
  std::uint32_t used_ = 0;
  std::vector<std::byte> held_;
  std::vector<std::size_t> held_sizes_;
  std::size_t next_held_ = 0, next_offset_ = 0;
};

}  // namespace tidewire::device
