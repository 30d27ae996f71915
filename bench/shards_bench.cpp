// Stacks on several cores, in memory: a server's shard and a client a core, one flow between them,
// MTU 1500, every packet written out and with its checksums, bytes copied in. The shards are those
// of runtime/shards: with two of them each frame that a server gets is steered.
// Usage: shards_bench [shards_1|shards_2 SECONDS]: one line, the goodput of all together.
#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "device/wrap/materialise.hpp"
#include "report.hpp"
#include "runtime/clock.hpp"
#include "runtime/shards.hpp"

namespace tidewire::bench {
namespace {

using runtime::Clock;

/// One end of a link within a thread: the packets that the other end pushed. As much memory as a
/// core's own cache has room for beside the buffers of both stacks.
class End final : public device::Device {
 public:
  void join(End& peer) noexcept { peer_ = &peer; }

  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = Medium::ip;
    can.tx_checksum = can.tx_segmentation = true;
    return can;
  }
  std::string_view name() const noexcept override { return "memory"; }
  PushResult push(const TxFrame& frame) noexcept override {
    const device::Cutter cutter{frame};
    if (peer_->used_ + cutter.packets() > kSlots) return PushResult::full;
    for (std::uint32_t i = 0; i < cutter.packets(); ++i) {
      Slot& slot = (*peer_->slots_)[(peer_->first_ + peer_->used_++) % kSlots];
      slot.size = cutter.write(i, slot.bytes);
    }
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    release();
    given_ = std::min({limit, used_, kBatch});
    for (std::size_t i = 0; i < given_; ++i) {
      const Slot& slot = (*slots_)[(first_ + i) % kSlots];
      frames_[i].head = Bytes{slot.bytes}.first(slot.size);
      frames_[i].ingress = now;
    }
    return std::span(frames_).first(given_);
  }
  bool writable() noexcept override { return peer_->used_ - peer_->given_ <= kSlots / 2; }
  Instant next_deadline() noexcept override {
    return used_ > given_ ? Instant::from_nanos(0) : Instant::never();
  }

 private:
  static constexpr std::size_t kSlots = 128, kBatch = 64;
  struct Slot {
    std::array<std::byte, 1536> bytes;
    std::size_t size = 0;
  };

  /// What the last receive() gave is over.
  void release() noexcept {
    first_ = (first_ + given_) % kSlots;
    used_ -= given_;
    given_ = 0;
  }

  End* peer_ = nullptr;
  std::unique_ptr<std::array<Slot, kSlots>> slots_ = std::make_unique<std::array<Slot, kSlots>>();
  std::array<RxFrame, kBatch> frames_;
  std::size_t first_ = 0, used_ = 0, given_ = 0;
};

const IpAddress kClient = IpAddress::v4(10, 0, 0, 1), kServer = IpAddress::v4(10, 0, 0, 2);
constexpr std::uint16_t kPort = 80;

StackConfig config() {
  StackConfig config;
  config.timer_accuracy = Duration::micros(250);
  config.tcp.send_buffer = config.tcp.send_buffer_max = 131'072;
  config.tcp.receive_buffer = config.tcp.receive_buffer_max = 131'072;
  return config;
}

void stand_on(runtime::Driver& driver, Stack& stack, const IpAddress& address,
              device::Device& device, Instant now) {
  const auto interface =
      stack.add_interface({.name = "mem0", .medium = Medium::ip, .mac = {}, .mtu = 1500}, now);
  must(interface && stack.add_address(*interface, {address, 24}, now), "add_address");
  driver.attach(stack, *interface, device);
}

/// A client and a flow to the server of its shard, which is as long as it is asked to run.
class Flow final : public runtime::Task {
 public:
  Flow(runtime::Shard& shard, End& link)
      : server_(shard.stack()),
        driver_(shard.driver()),
        memory_(std::size_t{64} << 20),
        now_(Clock::now()),
        client_(config(), memory_, {shard.index(), 7}, now_),
        link_(link),
        data_(65'536) {
    stand_on(driver_, server_, kServer, shard.device(), now_);
    driver_.add_stack(client_, nullptr);
    stand_on(driver_, client_, kClient, link_, now_);
    driver_.add_task(*this);
    connect(shard.index());
  }
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;
  ~Flow() { driver_.remove_task(*this); }

  std::uint64_t received() const noexcept { return received_; }
  runtime::Driver& driver() noexcept { return driver_; }

  Instant next_deadline() override { return Instant::never(); }
  void run(Instant) override {}
  void before_transmit(Instant now) override {
    now_ = now;
    while (client_.poll_event()) {
    }
    while (server_.poll_event()) {
    }
    while (client_.send(out_, data_, {}, now)) {
    }
    while (const std::size_t ready = server_.received(in_).size()) {
      must(static_cast<bool>(server_.consumed(in_, ready, now)), "consumed");
      received_ += ready;
    }
  }

 private:
  /// A flow that is this shard's, as a kernel's or a card's queues would bring it here.
  std::uint16_t port_of(std::uint32_t shard) const {
    const wire::ShardMap& map = server_.config().shard.map;
    std::uint16_t port = 20'000;
    while (map.owner(static_cast<std::uint8_t>(Protocol::tcp), {kServer, kPort, 0},
                     {kClient, port, 0}) != shard)
      ++port;
    return port;
  }
  void connect(std::uint32_t shard) {
    const auto listener = server_.open(SocketKind::tcp, Family::v4);
    must(listener && server_.bind(*listener, {kServer, kPort, 0}, now_), "bind");
    must(static_cast<bool>(server_.listen(*listener, 16, now_)), "listen");
    const auto socket = client_.open(SocketKind::tcp, Family::v4);
    must(socket && client_.bind(*socket, {kClient, port_of(shard), 0}, now_), "bind");
    out_ = *socket;
    (void)client_.connect(out_, Endpoint{kServer, kPort, 0}, now_);
    const auto accepted = [&] {
      const auto flow = server_.accept(*listener, now_);
      if (flow) in_ = *flow;
      return static_cast<bool>(flow);
    };
    must(driver_.run_until(accepted, now_ + Duration::seconds(5)), "accept");
  }

  Stack& server_;
  runtime::Driver& driver_;
  runtime::PoolMemory memory_;
  Instant now_;
  Stack client_;
  End& link_;
  std::vector<std::byte> data_;
  SocketId out_, in_;
  std::uint64_t received_ = 0;
};

/// Gbit/s of all shards together, each measured while all of them run.
double goodput(std::size_t count, double seconds) {
  std::vector<std::unique_ptr<End>> links;
  std::vector<std::unique_ptr<device::Device>> queues;
  for (std::size_t i = 0; i < count; ++i) {
    auto queue = std::make_unique<End>();
    links.push_back(std::make_unique<End>());
    links.back()->join(*queue);
    queue->join(*links.back());
    queues.push_back(std::move(queue));
  }
  runtime::ShardsOptions options;
  options.config = config();
  options.seed = {5, 6};
  options.memory_bytes = std::size_t{64} << 20;
  runtime::Shards shards(options, std::move(queues), Clock::now());
  std::barrier start(static_cast<std::ptrdiff_t>(count));
  std::atomic<std::size_t> measured = 0;
  std::vector<double> rates(count);
  shards.run([&](runtime::Shard& shard) {
    Flow flow(shard, *links[shard.index()]);
    flow.driver().run(Clock::now() + Duration::millis(100));
    start.arrive_and_wait();
    const std::uint64_t before = flow.received();
    const double took = seconds_of([&] {
      flow.driver().run(Clock::now() + Duration::nanos(static_cast<std::int64_t>(seconds * 1e9)));
    });
    rates[shard.index()] = static_cast<double>(flow.received() - before) * 8e-9 / took;
    ++measured;  // and goes on until nobody measures any more
    (void)flow.driver().run_until([&] { return measured == count; });
  });
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

int run_case(std::string_view name, double seconds) {
  if (name != "shards_1" && name != "shards_2") {
    std::fputs("usage: shards_bench [shards_1|shards_2 SECONDS]\n", stderr);
    return 2;
  }
  print_row(name.data(), goodput(name == "shards_1" ? 1 : 2, seconds), "Gbit/s");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  if (argc > 1) return bench::run_case(argv[1], bench::seconds_argument(argc, argv));
  bench::report("one shard, MTU 1500, checksums", "Gbit/s", [] { return bench::goodput(1, 1); });
  bench::report("two shards", "Gbit/s", [] { return bench::goodput(2, 1); });
}
