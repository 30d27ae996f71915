// Hands frames to the shard that owns their flow.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "device/wrap/wrapper.hpp"
#include "runtime/fragment_owners.hpp"
#include "runtime/frame_ring.hpp"
#include "runtime/wakeup.hpp"
#include "wire/steering.hpp"

namespace tidewire::runtime {

/// What the shards of one interface have in common: a ring from each to each, and a bell for each.
class ShardExchange {
 public:
  /// Throws std::system_error when the kernel gives no descriptors.
  ShardExchange(const wire::ShardMap& map, std::size_t ring_bytes);

  const wire::ShardMap& map() const noexcept { return map_; }
  std::uint32_t count() const noexcept { return map_.count; }
  FrameRing& ring(std::uint32_t from, std::uint32_t to) noexcept {
    return *rings_[from * count() + to];
  }

  /// The shard's thread: it will sleep if its rings are empty now. Whoever puts something in from
  /// here on wakes it.
  void about_to_sleep(std::uint32_t shard) noexcept;
  /// Any thread that has put frames into a ring of `shard`.
  void wake(std::uint32_t shard) noexcept;
  Wakeup& wakeup(std::uint32_t shard) noexcept { return bells_[shard]->wakeup; }

 private:
  struct alignas(kCacheLine) Bell {
    std::atomic<bool> asleep = false;
    Wakeup wakeup;
  };
  wire::ShardMap map_;
  std::vector<std::unique_ptr<FrameRing>> rings_;  ///< none from a shard to itself
  std::vector<std::unique_ptr<Bell>> bells_;
};

/// Counts of frames; those of one shard.
struct SteeringCounters {
  std::uint64_t own = 0;          ///< arrived where they belong
  std::uint64_t handed_over = 0;  ///< put into another shard's ring
  std::uint64_t taken_over = 0;   ///< came from another shard
  std::uint64_t ring_full = 0;    ///< lost: the other shard's ring had no room
  std::uint64_t fragments = 0;    ///< of packets whose owner this shard finds out
  std::uint64_t fragments_lost = 0;
};

/// A queue of a multi-queue device, in front of a shard's stack. What it receives for others goes
/// to them, what they received for this shard comes out of it. Frames are sent as they are.
class alignas(kCacheLine) SteeredDevice final : public device::Wrapper {
 public:
  /// `exchange` outlives it. The thread that drives it is woken through exchange.wakeup(index).
  SteeredDevice(std::unique_ptr<device::Device> queue, ShardExchange& exchange,
                std::uint32_t index);

  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  Instant next_deadline() noexcept override;
  /// In the driving thread, or when it has ended.
  SteeringCounters counters() const noexcept;

 private:
  void take_from_others(Instant now, std::size_t limit) noexcept;
  std::span<const RxFrame> sort(std::span<const RxFrame> arrived, Instant now) noexcept;
  bool is_own(const wire::Steering& steering) const noexcept;
  void place(const RxFrame& frame, Instant now) noexcept;
  void share(const RxFrame& frame, bool arp_request) noexcept;
  void collect(const RxFrame& frame, const wire::Steering& steering, Instant now) noexcept;
  void give(std::uint32_t owner, const RxFrame& frame) noexcept;
  void hand_over(std::uint32_t to, const RxFrame& frame, std::uint8_t note) noexcept;
  bool others_wait() noexcept;

  ShardExchange& exchange_;
  std::uint32_t index_;
  wire::Steerer steer_;
  FragmentOwners fragments_;
  SteeringCounters counters_;
  std::vector<RxFrame> out_;
  std::vector<FragmentOwners::Held> out_held_;  ///< the memory of frames in out_
  std::uint64_t to_wake_ = 0;                   ///< a bit for each shard
  std::uint32_t next_from_ = 0;                 ///< whose ring comes first: all get their turn
};

/// The most shards of a host.
inline constexpr std::uint32_t kShardsMax = 64;

}  // namespace tidewire::runtime
