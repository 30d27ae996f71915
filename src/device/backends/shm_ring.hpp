// Frames between two processes through memory that both have mapped.
//
// Layout of the memory, a memfd sealed against shrinking and growing (F_SEAL_SHRINK, F_SEAL_GROW):
//
//     0              control page of lane 0, which the side that listens writes
//     4096           control page of lane 1, which the side that connects writes
//     8192           `capacity` bytes of lane 0
//     8192+capacity  `capacity` bytes of lane 1
//
// A lane has one writer and one reader. Its positions count bytes and never go back; both start at
// 0 and are multiples of 64. From `tail` (the reader's) to `head` (the writer's) stand records, one
// after the other, each padded to 64 bytes: 16 bytes (ShmRecord) and the frame. Every process maps
// the lane twice in a row, so that a record that wraps around is contiguous all the same. Numbers
// are in the machine's byte order.
//
// The other process may lie. What it writes is loaded once and checked; headers are copied out
// before anyone looks at them, so that they cannot change under a parser. A lane whose positions or
// lengths are impossible is broken for good.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {

/// In front of every frame.
struct ShmRecord {
  std::uint32_t length = 0;  ///< bytes of the frame
  VnetHeader vnet;           ///< segment size, state of the checksum, where the headers are
  std::uint16_t unused = 0;
};
static_assert(sizeof(ShmRecord) == 16);

/// The control page of a lane; each word has a cache line pair of its own.
struct ShmControl {
  alignas(128) std::atomic<std::uint64_t> head;
  alignas(128) std::atomic<std::uint64_t> tail;
  alignas(128) std::atomic<std::uint32_t> reader_sleeps;  ///< wake it when there is a record
  alignas(128) std::atomic<std::uint32_t> writer_waits;   ///< wake it when there is room
  alignas(128) std::atomic<std::uint32_t> writer_place;   ///< its processor and 1: a hint
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

struct ShmLane {
  ShmControl* control = nullptr;
  std::byte* data = nullptr;  ///< mapped twice: 2 × capacity bytes
  std::size_t capacity = 0;
};

/// Both lanes, mapped into this process.
class ShmMemory {
 public:
  static constexpr std::size_t kLeast = std::size_t{256} << 10;
  static constexpr std::size_t kMost = std::size_t{64} << 20;

  /// `capacity` bytes each way: a power of two from kLeast to kMost. The error is one line.
  static Result<ShmMemory, std::string> create(std::size_t capacity);
  /// Maps what another process made; refuses what is not sealed or has another size.
  static Result<ShmMemory, std::string> open(OwnedFd fd, std::size_t capacity);
  ShmMemory(ShmMemory&& other) noexcept;
  ShmMemory& operator=(ShmMemory&& other) noexcept;
  ~ShmMemory();

  const ShmLane& lane(std::size_t i) const noexcept { return lanes_[i]; }
  int fd() const noexcept { return fd_.get(); }

 private:
  explicit ShmMemory(OwnedFd fd) : fd_(std::move(fd)) {}
  static Result<ShmMemory, std::string> map(OwnedFd fd, std::size_t capacity);

  OwnedFd fd_;
  void* base_ = nullptr;  ///< the control pages and both lanes twice
  std::size_t mapped_ = 0;
  std::array<ShmLane, 2> lanes_;
};

/// Bytes of a lane that a frame of `length` bytes takes.
constexpr std::size_t shm_record_size(std::size_t length) noexcept {
  return (sizeof(ShmRecord) + length + 63) / 64 * 64;
}
/// The longest frame: what an IP packet can be, and an Ethernet header.
inline constexpr std::size_t kShmGreatest = 65535 + 14;

/// The writing end of a lane.
class ShmWriter {
 public:
  explicit ShmWriter(const ShmLane& lane) noexcept : lane_(lane) {}

  /// Copies the frame into the lane; the reader sees it after publish(). Full: nothing was taken.
  /// A frame that no lane takes is dropped and counted.
  PushResult push(const TxFrame& frame) noexcept;
  /// Shows what was pushed. True if the reader sleeps and must be woken.
  bool publish() noexcept;
  std::size_t unpublished() const noexcept { return static_cast<std::size_t>(head_ - shown_); }
  /// True if any frame fits.
  bool has_room() noexcept;
  /// Asks to be woken when there is room; true if there is some by now.
  bool wait_for_room() noexcept;
  bool broken() const noexcept { return broken_; }
  std::uint64_t too_long() const noexcept { return too_long_; }
  /// Tells the reader which processor we run on.
  void tell_place(std::uint32_t place) noexcept {
    if (place == place_) return;
    place_ = place;
    lane_.control->writer_place.store(place, std::memory_order_relaxed);
  }

 private:
  std::size_t room() noexcept;

  ShmLane lane_;
  std::uint64_t head_ = 0;   ///< next record
  std::uint64_t shown_ = 0;  ///< what the reader was told
  std::uint64_t tail_ = 0;   ///< last seen
  std::uint64_t too_long_ = 0;
  std::uint32_t place_ = 0;
  bool broken_ = false;
};

/// The reading end of a lane.
class ShmReader {
 public:
  ShmReader(const ShmLane& lane, Medium medium);

  /// At most `limit` frames, and about a quarter of the lane. They are valid until release().
  std::span<const RxFrame> read(Instant now, std::size_t limit) noexcept;
  /// Gives the room of all that was read back. True if the writer waits and must be woken.
  bool release() noexcept;
  bool has_unreleased() const noexcept { return next_ != released_; }
  /// Asks to be woken by the next record; true if there is one by now.
  bool sleep() noexcept;
  void stay_awake() noexcept;
  bool broken() const noexcept { return broken_; }
  std::uint64_t bad_metadata() const noexcept { return bad_metadata_; }
  std::uint32_t writer_place() const noexcept {
    return lane_.control->writer_place.load(std::memory_order_relaxed);
  }

 private:
  bool see_head() noexcept;
  bool take(Instant now) noexcept;

  ShmLane lane_;
  Medium medium_;
  std::uint64_t next_ = 0;      ///< next record to read
  std::uint64_t released_ = 0;  ///< what the writer was told
  std::uint64_t head_ = 0;      ///< last seen
  std::uint64_t bad_metadata_ = 0;
  std::vector<std::byte> arena_;  ///< headers, and all of what is not TCP
  std::size_t used_ = 0;
  std::vector<RxFrame> frames_;
  bool broken_ = false;
};

}  // namespace tidewire::device
