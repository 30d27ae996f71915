// One stack and one driver a core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/stack.hpp"
#include "device/device.hpp"
#include "runtime/driver.hpp"
#include "runtime/pool_memory.hpp"
#include "runtime/steered_device.hpp"

namespace tidewire::runtime {

struct ShardsOptions {
  StackConfig config;  ///< of every stack; which shard it is is filled in
  RandomSeed seed;     ///< from which each stack gets its own, and all of them the map's key
  std::size_t memory_bytes = std::size_t{1} << 30;  ///< the most of each stack
  std::size_t ring_bytes = std::size_t{512} << 10;  ///< of each ring from a shard to another
  DriverOptions driver;
  bool pin = true;  ///< each thread stays on a processor of its own, as far as there are any
};

/// A stack, its memory and its loop. All of it is used by one thread at a time: during
/// Shards::run() by the shard's own, otherwise by whoever owns the shards.
class alignas(kCacheLine) Shard {
 public:
  Shard(const ShardsOptions& options, ShardExchange& exchange, std::uint32_t index,
        std::unique_ptr<device::Device> queue, Instant now);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  std::uint32_t index() const noexcept { return index_; }
  Stack& stack() noexcept { return stack_; }
  Driver& driver() noexcept { return driver_; }
  /// The queue; its interface is for the owner to add and attach (Driver::attach).
  device::Device& device() noexcept { return device_; }
  SteeringCounters counters() const noexcept { return device_.counters(); }

 private:
  /// The loop only has to turn: the device looks into its rings.
  struct Ring final : IoHandler {
    explicit Ring(Wakeup& w) : wakeup(w) {}
    void on_io(int, std::uint32_t, Instant) override { wakeup.clear(); }
    Wakeup& wakeup;
  };

  std::uint32_t index_;
  PoolMemory memory_;
  Stack stack_;
  SteeredDevice device_;
  Driver driver_;
  Ring bell_;
  WatchId watch_;
};

/// As many shards as a device has queues. Every flow belongs to one of them (wire::ShardMap); a
/// frame that another one received is handed over. A listener, and a datagram socket with a chosen
/// port, stands in every shard; a connection from an ephemeral port gets one whose answers come to
/// its shard; other connects are refused where they do not belong (address_not_available).
class Shards {
 public:
  /// One queue for each shard, kShardsMax at most. Throws std::system_error when the kernel gives
  /// no descriptors or no memory.
  Shards(const ShardsOptions& options, std::vector<std::unique_ptr<device::Device>> queues,
         Instant now);
  ~Shards();
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  std::size_t size() const noexcept { return shards_.size(); }
  Shard& operator[](std::size_t index) noexcept { return *shards_[index]; }
  const Shard& operator[](std::size_t index) const noexcept { return *shards_[index]; }

  /// Calls work(shard) for all shards at once, each in a thread of its own (the first one's is the
  /// caller's), and returns when all have returned. If one throws, the loops of the others are
  /// stopped, and the exception comes out here.
  void run(const std::function<void(Shard&)>& work);
  /// Ends the loops of all shards after the turn under way. From any thread or signal handler.
  void stop() noexcept;

 private:
  ShardExchange exchange_;
  bool pin_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

/// Keeps the calling thread on the `index`-th processor that it may use, counted round.
void pin_to_processor(std::size_t index) noexcept;

}  // namespace tidewire::runtime
