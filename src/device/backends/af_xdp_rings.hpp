// The memory that an AF_XDP socket shares with the kernel: frames, and four rings of their numbers.
#pragma once

#include <linux/if_xdp.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {

/// One ring. Producer calls on those that we fill (fill, transmit), consumer calls on those that
/// the kernel fills (completion, receive). Entry is a frame's address or an xdp_desc.
template <typename Entry>
class XdpRing {
 public:
  XdpRing() = default;
  XdpRing(std::byte* base, const xdp_ring_offset& at, std::uint32_t size) noexcept
      : producer_(reinterpret_cast<std::uint32_t*>(base + at.producer)),
        consumer_(reinterpret_cast<std::uint32_t*>(base + at.consumer)),
        flags_(reinterpret_cast<std::uint32_t*>(base + at.flags)),
        entries_(reinterpret_cast<Entry*>(base + at.desc)),
        size_(size) {}

  // --- producer ---
  std::uint32_t room() noexcept {
    if (size_ - (next_ - seen_) == 0) seen_ = load(consumer_);
    return size_ - (next_ - seen_);
  }
  void put(const Entry& entry) noexcept { entries_[next_++ & (size_ - 1)] = entry; }
  void publish() noexcept { store(producer_, next_); }
  /// What the kernel has not taken yet.
  std::uint32_t outstanding() noexcept { return next_ - load(consumer_); }
  bool needs_wakeup() const noexcept {
    return (std::atomic_ref<std::uint32_t>(*flags_).load(std::memory_order_relaxed) &
            XDP_RING_NEED_WAKEUP) != 0;
  }

  // --- consumer ---
  std::uint32_t available() noexcept {
    if (seen_ == next_) seen_ = load(producer_);
    return seen_ - next_;
  }
  Entry take() noexcept { return entries_[next_++ & (size_ - 1)]; }
  void release() noexcept { store(consumer_, next_); }

 private:
  static std::uint32_t load(std::uint32_t* at) noexcept {
    return std::atomic_ref<std::uint32_t>(*at).load(std::memory_order_acquire);
  }
  static void store(std::uint32_t* at, std::uint32_t value) noexcept {
    std::atomic_ref<std::uint32_t>(*at).store(value, std::memory_order_release);
  }

  std::uint32_t* producer_ = nullptr;
  std::uint32_t* consumer_ = nullptr;
  std::uint32_t* flags_ = nullptr;
  Entry* entries_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t next_ = 0;  ///< our own position
  std::uint32_t seen_ = 0;  ///< the kernel's, when we last looked
};

/// A socket with its frames and rings, not bound yet.
struct XdpRings {
  static constexpr std::uint32_t kFrames = 2048;  ///< each way

  OwnedFd socket;
  Mapping memory;  ///< 2 × kFrames frames: the first half is for receiving
  std::uint32_t frame_size = 0;
  std::vector<Mapping> mappings;
  XdpRing<std::uint64_t> fill, completion;
  XdpRing<xdp_desc> receive, transmit;

  /// `frame_size` 2048 or 4096. The error is the name of the step; errno tells why.
  static Result<XdpRings, const char*> create(std::uint32_t frame_size);
  /// Errno, 0: done.
  int bind(unsigned interface, unsigned queue, bool zero_copy) noexcept;
  /// Sends what was published on `transmit`; false if something is left.
  bool kick() noexcept;
  /// Tells a driver that there are frames on `fill`.
  void wake_receiver() noexcept;
  MutBytes frame(std::uint64_t address) const noexcept {
    return {memory.data() + address, frame_size};
  }
};

}  // namespace tidewire::device
