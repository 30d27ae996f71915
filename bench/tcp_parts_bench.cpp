// The containers and TCP parts on their hot paths.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <vector>

#include "base/chunk_pool.hpp"
#include "base/flat_map.hpp"
#include "base/slab.hpp"
#include "base/timer_wheel.hpp"
#include "core/tcp/buffer/recv_ring.hpp"
#include "core/tcp/buffer/send_ring.hpp"
#include "core/tcp/cc/registry.hpp"
#include "core/tcp/recover/loss_recovery.hpp"

namespace tidewire {
namespace {

using namespace tidewire::tcp;  // NOLINT: a benchmark

constexpr std::uint32_t kMss = 1448;

void slab_acquire_release(benchmark::State& state) {
  HeapMemory memory(1 << 20);
  Slab<std::array<std::byte, 200>> slab(memory);
  for (auto _ : state) {
    auto* object = slab.acquire();
    benchmark::DoNotOptimize(object);
    slab.release(*object);
  }
}
BENCHMARK(slab_acquire_release);

struct Tuple {
  std::uint64_t a, b;
  friend bool operator==(const Tuple&, const Tuple&) = default;
};
struct TupleHash {
  std::uint64_t operator()(const RandomSeed& seed, const Tuple& t) const noexcept {
    return siphash13(seed, t.a, t.b);
  }
};

void flat_map_find(benchmark::State& state) {
  HeapMemory memory(1U << 30);
  FlatMap<Tuple, std::uint32_t, TupleHash> map(memory, RandomSeed{1, 2});
  const auto size = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t i = 0; i < size; ++i) (void)map.insert({i, ~i}, 1);
  Rng rng(RandomSeed{3, 4});
  std::vector<std::uint64_t> keys(1024);
  for (auto& k : keys) k = rng.below(size);
  std::size_t i = 0;
  for (auto _ : state) {
    const std::uint64_t k = keys[i++ % keys.size()];
    benchmark::DoNotOptimize(map.find({k, ~k}));
  }
}
BENCHMARK(flat_map_find)->Arg(100)->Arg(100'000);

void flat_map_insert_erase(benchmark::State& state) {
  HeapMemory memory(1U << 30);
  FlatMap<Tuple, std::uint32_t, TupleHash> map(memory, RandomSeed{1, 2});
  for (std::uint64_t i = 0; i < 10'000; ++i) (void)map.insert({i, 0}, 1);
  std::uint64_t next = 10'000;
  for (auto _ : state) {
    (void)map.insert({next, 0}, 1);
    map.erase({next - 10'000, 0});
    ++next;
  }
}
BENCHMARK(flat_map_insert_erase);

// Each of many connections moves its RTO with every ACK; none ever fires.
void wheel_rearm(benchmark::State& state) {
  std::vector<std::unique_ptr<TimerEntry>> entries;
  Instant now;
  TimerWheel wheel(TimerWheel::kCoarse, now);
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    entries.push_back(std::make_unique<TimerEntry>());
  }
  std::size_t i = 0;
  std::uint32_t budget = 0;
  for (auto _ : state) {
    now += Duration::micros(10);
    wheel.schedule(*entries[i++ % entries.size()], now + Duration::millis(240));
    benchmark::DoNotOptimize(wheel.next_deadline());
    budget = 100;
    while (wheel.pop_expired(now, budget) != nullptr) {
    }
  }
}
BENCHMARK(wheel_rearm)->Arg(1)->Arg(1000);

void wheel_fire(benchmark::State& state) {
  std::vector<std::unique_ptr<TimerEntry>> entries;
  Instant now;
  TimerWheel wheel(TimerWheel::kFine, now);
  for (int i = 0; i < 1000; ++i) {
    entries.push_back(std::make_unique<TimerEntry>());
    wheel.schedule(*entries.back(), now + Duration::micros(i));
  }
  for (auto _ : state) {
    now = wheel.next_deadline();
    wheel.expire(now, 1000,
                 [&](TimerEntry& e) { wheel.schedule(e, now + Duration::micros(1000)); });
  }
}
BENCHMARK(wheel_fire);

void send_ring_stream(benchmark::State& state) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  SendRing ring(pool, 4 << 20);
  const std::vector<std::byte> data(static_cast<std::size_t>(state.range(0)));
  std::array<Bytes, 16> regions;
  (void)ring.write(std::vector<std::byte>(1 << 20));
  for (auto _ : state) {
    (void)ring.write(data);
    benchmark::DoNotOptimize(ring.gather(ring.size() - data.size(), data.size(), regions));
    ring.release(data.size());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(send_ring_stream)->Arg(1)->Arg(1448)->Arg(64'000);

void recv_ring_in_order(benchmark::State& state) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  RecvRing ring(pool, Seq{0}, 4 << 20);
  const std::vector<std::byte> data(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(ring.write(ring.rcv_nxt(), data));
    if (ring.size() > 200'000) ring.consume(ring.size());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(recv_ring_in_order)->Arg(1)->Arg(1448)->Arg(64'000);

// Every other segment first, then the gaps: the worst that reordering does.
void recv_ring_out_of_order(benchmark::State& state) {
  HeapMemory memory(64 << 20);
  ChunkPool pool(memory);
  RecvRing ring(pool, Seq{0}, 4 << 20);
  const std::vector<std::byte> data(kMss);
  const auto segments = static_cast<std::uint32_t>(state.range(0));
  for (auto _ : state) {
    const Seq start = ring.rcv_nxt();
    for (std::uint32_t i = 1; i < segments; i += 2) (void)ring.write(start + i * kMss, data);
    for (std::uint32_t i = 0; i < segments; i += 2) (void)ring.write(start + i * kMss, data);
    ring.consume(ring.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(recv_ring_out_of_order)->Arg(100)->Arg(1000);

// A window of segments in bursts of `range(0)`, an ACK for every second one.
void recovery_clean(benchmark::State& state) {
  HeapMemory memory(64 << 20);
  RttEstimator rtt;
  LossRecovery recovery(memory, {.sack = true, .mss = kMss, .rtt = {}}, Seq{0}, {});
  auto cc = *ControllerRegistry().make("cubic", {.mss = kMss, .now = {}});
  const auto burst = static_cast<std::uint32_t>(state.range(0));
  Seq nxt{0};
  Seq una{0};
  Instant now;
  for (auto _ : state) {
    while (Seq::span(una, nxt) < 1000 * kMss) {
      (void)recovery.reserve();
      recovery.on_sent({nxt, nxt + burst * kMss}, kMss, now);
      nxt += burst * kMss;
    }
    now += Duration::micros(20);
    una += 2 * kMss;
    const AckOutcome o = recovery.on_ack({.seg_ack = una, .sack_blocks = {}, .now = now}, rtt);
    cc.on_ack({.now = now,
               .acked = o.acked,
               .delivered = o.delivered,
               .credit = o.credit,
               .rtt = *o.rtt,
               .srtt = rtt.srtt(),
               .min_rtt = rtt.min_rtt(),
               .cwnd_limited = true});
    benchmark::DoNotOptimize(recovery.timer(rtt, {}));
    benchmark::DoNotOptimize(recovery.allowance(cc.window(), true));
  }
}
BENCHMARK(recovery_clean)->Arg(2)->Arg(44);

// A window of 4000 segments, every `range(0)`th lost: SACKs come one segment at a time.
void recovery_lossy(benchmark::State& state) {
  HeapMemory memory(64 << 20);
  const auto every = static_cast<std::uint32_t>(state.range(0));
  constexpr std::uint32_t kSegments = 4000;
  for (auto _ : state) {
    RttEstimator rtt;
    LossRecovery recovery(memory, {.sack = true, .mss = kMss, .rtt = {}}, Seq{0}, {});
    Instant now;
    for (std::uint32_t i = 0; i < kSegments; i += 40) {
      (void)recovery.reserve();
      recovery.on_sent({Seq{i * kMss}, Seq{(i + 40) * kMss}}, kMss, now);
      now += Duration::micros(10);
    }
    now += Duration::millis(20);
    std::array<SeqRange, 3> blocks{};
    for (std::uint32_t i = 1; i < kSegments; ++i) {
      if (i % every == 0) {
        blocks[2] = blocks[1];
        blocks[1] = blocks[0];
        continue;
      }
      if (i % every == 1) blocks[0].start = Seq{i * kMss};
      blocks[0].end = Seq{(i + 1) * kMss};
      const std::size_t count = i < every ? 1U : i < 2 * every ? 2U : 3U;
      now += Duration::micros(1);
      const AckOutcome o = recovery.on_ack(
          {.seg_ack = Seq{0}, .sack_blocks = std::span(blocks).first(count), .now = now}, rtt);
      if (o.entered_recovery) recovery.start_reduction(2000 * kMss);
      if (recovery.allowance(1U << 30, true) < kMss) continue;
      if (const auto again = recovery.next_retransmit(false)) {
        (void)recovery.reserve();
        recovery.on_sent({again->range.start, again->range.start + kMss}, kMss, now);
      }
    }
  }
  state.SetItemsProcessed(state.iterations() * kSegments);
}
BENCHMARK(recovery_lossy)->Arg(100)->Arg(10)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tidewire
