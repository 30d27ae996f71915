// One CUBIC flow of tidewire beside one of the kernel, in real time: both to a kernel behind a TAP
// device and through the same queue. Needs root: everything is in namespaces of its own.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "device/wrap/offload_emulator.hpp"
#include "real_time_flow.hpp"
#include "shared_link.hpp"
#include "tap_stack.hpp"

namespace tidewire::bench {
namespace {

constexpr std::uint64_t kRateMbit = 40;
constexpr int kRttMillis = 40;
constexpr std::uint64_t kBdp = kRateMbit * 1'000'000 / 8 * kRttMillis / 1000;  // bytes
constexpr std::uint16_t kKernelSink = 5005;
constexpr std::size_t kRuns = 5;
constexpr const char* kOtherAddress = "10.77.0.3";

/// bit/s of each.
struct Shares {
  double tidewire = 0, kernel = 0;
  double percent() const { return 100 * tidewire / (tidewire + kernel); }
};

Shares run(std::uint64_t bdps, double seconds, std::uint64_t seed) {
  const Flow ours{.buffer = static_cast<std::uint32_t>(4 * (bdps + 1) * kBdp),
                  .warm_up = seconds / 3,
                  .seconds = seconds * 2 / 3};
  Flow theirs = ours;
  theirs.sink = kKernelSink;
  const auto net = device::parse_net_spec(
      "delay=" + std::to_string(kRttMillis / 2) + "ms up.rate=" + std::to_string(kRateMbit) +
      "mbit up.queue=" + std::to_string(bdps * kBdp / 1024) + "KB");
  if (!net) give_up(net.error());

  enter_namespace();
  auto impaired = open_impaired_tap("tw0", *net, seed);
  set_up_kernel("tw0", kKernelAddress, ours.buffer);
  const Pipe of_ours, of_theirs, sent;
  const Child receiver([&] { kernel_receives(ours, of_ours); });
  const Child other_receiver([&] { kernel_receives(theirs, of_theirs); });
  enter_namespace();
  const std::unique_ptr<device::Device> plain = open_tap("tw1");
  set_up_kernel("tw1", kOtherAddress, ours.buffer);
  const Child other(
      [&] { kernel_sends(theirs, kernel_connect(kKernelAddress, kKernelSink), sent); });

  const std::unique_ptr<device::Device> link =
      device::with_offloads(std::make_unique<SharedLink>(std::move(impaired), *plain));
  StackConfig config;
  config.tcp.congestion_control = "cubic";
  config.tcp.send_buffer_max = config.tcp.receive_buffer_max = ours.buffer;
  TapStack end(*link, config, {seed, 7});
  Client client(end.stack, ours);
  runtime::Driver driver;
  driver.add_stack(end.stack, &client);
  driver.attach(end.stack, end.interface, *link);
  const News first(driver, of_ours), second(driver, of_theirs);
  client.start(runtime::Clock::now());
  const Instant limit =
      runtime::Clock::now() + Duration::millis(static_cast<std::int64_t>(seconds * 1000) + 30'000);
  if (!driver.run_until([&] { return first.here() && second.here(); }, limit)) {
    give_up("nothing comes through");
  }
  const auto rate = [](const Received& r) { return static_cast<double>(r.bytes) * 8 / r.seconds; };
  return {rate(of_ours.take<Received>()), rate(of_theirs.take<Received>())};
}

void median_of_runs(std::uint64_t bdps, double seconds) {
  std::array<double, kRuns> percent{};
  for (std::size_t i = 0; i < kRuns; ++i) {
    const Pipe out;
    const Child one([&] { out.put(run(bdps, seconds, i + 1)); });
    const auto shares = out.take<Shares>();
    percent[i] = shares.percent();
    std::printf("%6llu BDP  tidewire %6.2f  kernel %6.2f Mbit/s  %5.1f%%\n",
                static_cast<unsigned long long>(bdps), shares.tidewire / 1e6, shares.kernel / 1e6,
                percent[i]);
    std::fflush(stdout);
  }
  std::ranges::sort(percent);
  std::printf("%6llu BDP  median %.1f%%, from %.1f%% to %.1f%%\n",
              static_cast<unsigned long long>(bdps), percent[kRuns / 2], percent.front(),
              percent.back());
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 60;
  if (seconds < 3) {
    std::fprintf(stderr,
                 "Usage: fairness_kernel_bench [SECONDS]  (of each flow, 3 at least; 60)\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  std::printf(
      "CUBIC of tidewire beside CUBIC of the kernel: %llu Mbit/s, %d ms, the last two thirds of "
      "%.0f s\n",
      static_cast<unsigned long long>(tidewire::bench::kRateMbit), tidewire::bench::kRttMillis,
      seconds);
  for (const std::uint64_t bdps : {1, 4}) tidewire::bench::median_of_runs(bdps, seconds);
}
