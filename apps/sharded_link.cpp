#include "apps/sharded_link.hpp"

#include <fmt/core.h>

#include <atomic>
#include <exception>

#include "apps/failure.hpp"
#include "device/factory.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

/// One shard, with a loopback of its own.
class ShardedLink::OneStation final : public Station {
 public:
  OneStation(runtime::Shard& shard, const StationOptions& options, Instant now, int status)
      : shard_(shard), address_(options.address.address) {
    attach_loopback(driver(), stack(), loopback_, now);
    (void)attach_link(driver(), stack(), shard.device(), "link0", options.address, options.gateway,
                      now, status);
    watchdog_ = std::make_unique<runtime::Watchdog>(
        driver(), runtime::WatchdogOptions{},
        [](const std::string& line) { fmt::print(stderr, "tidewire: {}\n", line); });
    watchdog_->watch(stack(), fmt::format("shard {}", shard.index()));
  }

  runtime::Driver& driver() noexcept override { return shard_.driver(); }
  Stack& stack() noexcept override { return shard_.stack(); }
  void drain(Duration patience) override {
    const Instant until = runtime::Clock::now() + patience;
    (void)driver().run_until([this] { return !has_unfinished_connections(stack()); }, until);
  }
  std::string reachable_at(std::uint16_t port, bool) const override {
    return to_string(Endpoint{address_, port, 0}) + " on the link";
  }

 private:
  std::optional<IpAddress> host_alias() const override { return std::nullopt; }

  runtime::Shard& shard_;
  IpAddress address_;
  device::Loopback loopback_;
  std::unique_ptr<runtime::Watchdog> watchdog_;
};

ShardedLink::ShardedLink(const StationOptions& options, int status) {
  const Instant now = runtime::Clock::now();
  auto queues = device::open_queues(
      options.device_description(), options.shards,
      {.offloads = !options.no_offload, .mac = {}, .io_uring = options.io_uring});
  if (!queues) throw Failure(queues.error(), status);
  runtime::ShardsOptions shards;
  shards.config = link_stack_config(options.network);
  shards.seed = secret_seed();
  try {
    shards_ = std::make_unique<runtime::Shards>(shards, std::move(*queues), now);
  } catch (const std::exception& error) {  // descriptors, address space
    throw Failure(fmt::format("cannot make {} shards: {}", options.shards, error.what()), status);
  }
  for (std::size_t i = 0; i < shards_->size(); ++i) {
    stations_.push_back(std::make_unique<OneStation>((*shards_)[i], options, now, status));
  }
  news_ = std::make_unique<LinkNews>(driver(), (*shards_)[0].device());
}

ShardedLink::~ShardedLink() = default;

void ShardedLink::run(const std::function<void(Station&, std::size_t)>& work) {
  std::atomic<std::size_t> through = 0;
  struct Through {
    std::atomic<std::size_t>& count;
    ~Through() { ++count; }
  };
  shards_->run([&](runtime::Shard& shard) {
    {
      const Through counted{through};
      work(*stations_[shard.index()], shard.index());
    }
    while (through != size()) {
      (void)shard.driver().run_until([&] { return through == size(); },
                                     runtime::Clock::now() + Duration::millis(20));
    }
  });
}

}  // namespace tidewire::apps
