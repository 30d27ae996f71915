#include "runtime/shards.hpp"

#include <sched.h>

#include <exception>
#include <latch>
#include <mutex>
#include <thread>
#include <utility>

namespace tidewire::runtime {

namespace {

enum Purpose : std::uint64_t { kMapKey = 0x5a00, kStack };  // kStack and the shard's index

wire::ShardMap map_of(const ShardsOptions& options, std::size_t count) noexcept {
  wire::ShardMap map;
  map.count = static_cast<std::uint32_t>(count);
  map.key = derive(options.seed, kMapKey);
  map.ephemeral_first = options.config.ports.ephemeral_first;
  map.ephemeral_last = options.config.ports.ephemeral_last;
  return map;
}

StackConfig config_of(const ShardsOptions& options, const wire::ShardMap& map,
                      std::uint32_t index) noexcept {
  StackConfig config = options.config;
  config.shard = {index, map};
  return config;
}

/// The caller's thread gets back what Shards::run() took from it.
class Affinity {
 public:
  Affinity() noexcept : known_(sched_getaffinity(0, sizeof before_, &before_) == 0) {}
  Affinity(const Affinity&) = delete;
  Affinity& operator=(const Affinity&) = delete;
  ~Affinity() {
    if (known_) (void)sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  cpu_set_t before_;
  bool known_;
};

}  // namespace

Shard::Shard(const ShardsOptions& options, ShardExchange& exchange, std::uint32_t index,
             std::unique_ptr<device::Device> queue, Instant now)
    : index_(index),
      memory_(options.memory_bytes),
      stack_(config_of(options, exchange.map(), index), memory_,
             derive(options.seed, kStack + index), now),
      device_(std::move(queue), exchange, index),
      driver_(options.driver),
      bell_(exchange.wakeup(index)) {
  driver_.add_stack(stack_, nullptr);
  if (auto watch = driver_.poller().add(bell_.wakeup.descriptor(), kIoRead, bell_)) {
    watch_ = *watch;
  }
}

Shard::~Shard() { driver_.poller().remove(watch_); }

Shards::Shards(const ShardsOptions& options, std::vector<std::unique_ptr<device::Device>> queues,
               Instant now)
    : exchange_(map_of(options, queues.size()), options.ring_bytes), pin_(options.pin) {
  for (std::uint32_t i = 0; i < queues.size(); ++i) {
    shards_.push_back(std::make_unique<Shard>(options, exchange_, i, std::move(queues[i]), now));
  }
}

Shards::~Shards() = default;

void Shards::run(const std::function<void(Shard&)>& work) {
  const Affinity restored;
  std::mutex mutex;
  std::exception_ptr failure;
  std::latch all_there(1);
  bool abandoned = false;  // before the latch opens
  const auto guarded = [&](Shard& shard) {
    all_there.wait();
    if (abandoned) return;
    try {
      if (pin_ && shards_.size() > 1) pin_to_processor(shard.index());
      work(shard);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (std::size_t i = 1; i < shards_.size(); ++i) {
        threads.emplace_back([&guarded, this, i] { guarded(*shards_[i]); });
      }
    } catch (...) {
      // They wait for each other, so none may begin where one cannot.
      abandoned = true;
      all_there.count_down();
      throw;
    }
    all_there.count_down();
    if (!shards_.empty()) guarded(*shards_[0]);
  }
  if (failure) std::rethrow_exception(failure);
}

void Shards::stop() noexcept {
  for (const auto& shard : shards_) shard->driver().stop();
}

void pin_to_processor(std::size_t index) noexcept {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  const auto count = static_cast<std::size_t>(CPU_COUNT(&allowed));
  if (count == 0) return;
  std::size_t left = index % count;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

}  // namespace tidewire::runtime
