// Several stacks with one address on the queues of one link of this host.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "apps/link_station.hpp"
#include "device/backends/loopback.hpp"
#include "runtime/shards.hpp"
#include "runtime/watchdog.hpp"

namespace tidewire::apps {

class ShardedLink {
 public:
  /// options.shards of them. Throws Failure with `status`.
  ShardedLink(const StationOptions& options, int status);
  ShardedLink(const ShardedLink&) = delete;
  ShardedLink& operator=(const ShardedLink&) = delete;
  ~ShardedLink();

  /// Calls work(station, shard's number) in a thread for each shard. A shard's loop turns until all
  /// are through: what others receive may come through its queue.
  void run(const std::function<void(Station&, std::size_t)>& work);
  void stop() noexcept { shards_->stop(); }
  /// The loop whose thread is the caller's.
  runtime::Driver& driver() noexcept { return (*shards_)[0].driver(); }
  std::size_t size() const noexcept { return shards_->size(); }
  /// When run() has returned.
  runtime::SteeringCounters counters(std::size_t shard) const {
    return (*shards_)[shard].counters();
  }

 private:
  class OneStation;

  std::unique_ptr<runtime::Shards> shards_;
  std::vector<std::unique_ptr<OneStation>> stations_;
  std::unique_ptr<LinkNews> news_;
};

}  // namespace tidewire::apps
