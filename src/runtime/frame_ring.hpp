// Frames from one thread to another.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/time.hpp"
#include "wire/frame.hpp"

namespace tidewire::runtime {

/// What two threads write stands so far apart that no processor takes it from the other.
inline constexpr std::size_t kCacheLine = 64;

/// A bounded queue of copied frames; a frame is contiguous in it. One thread puts in, one takes
/// out, neither waits for the other.
class FrameRing {
 public:
  /// `bytes` is rounded up to a power of two, 256 KiB at least: a few of the greatest frames.
  explicit FrameRing(std::size_t bytes);
  FrameRing(const FrameRing&) = delete;
  FrameRing& operator=(const FrameRing&) = delete;

  /// The producer's. `note` is told to who takes the frame. False: there is no room, nothing was
  /// copied.
  bool push(const RxFrame& frame, std::uint8_t note) noexcept;

  // --- the consumer's ---
  struct Taken {
    RxFrame frame;  ///< in `head`; valid until release()
    std::uint8_t note = 0;
  };
  std::optional<Taken> take() noexcept;
  /// Gives the room of all frames that were taken back.
  void release() noexcept;
  bool empty() noexcept;

 private:
  struct Record;

  std::byte* at(std::uint64_t position) const noexcept;
  std::uint64_t room_before_end(std::uint64_t position) const noexcept;

  std::size_t size_;
  std::unique_ptr<std::byte[]> memory_;

  alignas(kCacheLine) std::atomic<std::uint64_t> tail_ = 0;  ///< the producer's; grows for ever
  std::uint64_t head_seen_ = 0;                              ///< the producer's last look at head_
  alignas(kCacheLine) std::atomic<std::uint64_t> head_ = 0;  ///< the consumer's
  std::uint64_t read_ = 0;                                   ///< taken, not released yet
  std::uint64_t tail_seen_ = 0;                              ///< the consumer's last look at tail_
};

}  // namespace tidewire::runtime
