// One flow over one bad path in real time, between tidewire and the kernel over TAP, or between the
// kernels of two namespaces with tidewire's link in between. tools/grid_kernel.py runs the grid.
// Prints one line of JSON. Needs root: everything is in namespaces of its own.
#include <poll.h>
#include <sys/resource.h>

#include <memory>
#include <optional>
#include <string_view>

#include "device/wrap/offload_emulator.hpp"
#include "real_time_flow.hpp"
#include "tap_stack.hpp"

namespace tidewire::bench {
namespace {

constexpr const char* kUsage =
    "Usage: grid_kernel_bench KIND NET SEED BUFFER WARM_UP SECONDS\n"
    "  KIND     tidewire-kernel, kernel-tidewire or kernel-kernel: who sends, who receives\n"
    "  NET      words of a network, for both directions\n"
    "  BUFFER   most bytes of each stream buffer, and of the window that is announced\n"
    "  WARM_UP  seconds that do not count, from when the connection is there\n"
    "  SECONDS  seconds that do\n";

constexpr const char* kFarAddress = "10.77.0.2";

struct Options {
  std::string_view kind;
  device::NetSpec net;
  std::uint64_t seed = 1;
  Flow flow;
};

void report(const Received& received, const Sent& sent) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  std::printf(
      "{\"goodput\": %.0f, \"seconds\": %.3f, \"cpu_seconds\": %.2f, \"retransmits\": %u, "
      "\"srtt_us\": %u, \"cwnd\": %u, \"reordering\": %u, \"recoveries\": %u, \"timeouts\": %u, "
      "\"undone\": %u}\n",
      static_cast<double>(received.bytes) * 8 / received.seconds, received.seconds,
      seconds(used.ru_utime) + seconds(used.ru_stime), sent.retransmits, sent.srtt_micros,
      sent.cwnd_segments, sent.reordering, sent.recoveries, sent.timeouts, sent.undone);
}

void run_tidewire(const Options& options) {
  const Flow& flow = options.flow;
  enter_namespace();
  const std::unique_ptr<device::Device> link =
      device::with_offloads(open_impaired_tap("tw0", options.net, options.seed));
  set_up_kernel("tw0", kKernelAddress, flow.buffer);
  const Pipe news;
  const Child kernel([&] {
    flow.tidewire_sends ? kernel_receives(flow, news) : kernel_accepts_and_sends(flow, news);
  });

  StackConfig config;
  config.tcp.congestion_control = "cubic";
  config.tcp.send_buffer_max = config.tcp.receive_buffer_max = flow.buffer;
  TapStack end(*link, config, {options.seed, 7});
  Client client(end.stack, flow);
  runtime::Driver driver;
  driver.add_stack(end.stack, &client);
  driver.attach(end.stack, end.interface, *link);
  const News word(driver, news);
  client.start(runtime::Clock::now());
  // A sender's word may come before the receiver's time is over: the two began at their own times.
  driver.run_until([&] { return flow.tidewire_sends ? word.here() : client.over(); });
  if (flow.tidewire_sends) return report(news.take<Received>(), client.sent());
  // The sender stops at the same time as the receiver; its word comes after.
  while (!word.here()) driver.run(runtime::Clock::now() + Duration::millis(20));
  report(client.received(), news.take<Sent>());
}

// --- the kernel with itself ---

/// Carries frames between a TAP device and an impaired one, in this thread.
class Bridge {
 public:
  Bridge(device::Device& plain, device::Device& impaired) : plain_(plain), impaired_(impaired) {
    for (device::Device* d : {&plain_, &impaired_}) {
      if (!poller_.add(d->descriptor(), runtime::kIoRead, silent_)) give_up("epoll");
    }
  }
  void turn() {
    const Instant now = runtime::Clock::now();
    impaired_.advance(now);
    const bool more = carry(plain_, impaired_, now) | carry(impaired_, plain_, now);
    poller_.wait(more ? now : impaired_.next_deadline());
  }

 private:
  struct Silent final : runtime::IoHandler {
    void on_io(int, std::uint32_t, Instant) override {}
  };

  /// True if there may be more.
  static bool carry(device::Device& from, device::Device& to, Instant now) {
    constexpr std::size_t kBatch = 64;
    const std::span<const RxFrame> frames = from.receive(now, kBatch);
    for (const RxFrame& frame : frames) forward(frame, to);
    return frames.size() == kBatch;
  }

  device::Device& plain_;
  device::Device& impaired_;
  runtime::Poller poller_;
  Silent silent_;
};

/// The sender is in the first namespace and what it sends passes the impaired device upwards, as
/// with tidewire as sender.
void run_kernel(const Options& options) {
  enter_namespace();
  const std::unique_ptr<device::Device> plain = open_tap("tw0");
  set_up_kernel("tw0", kKernelAddress, options.flow.buffer);
  const Pipe sent;
  const Child sender([&] { kernel_sends(options.flow, kernel_connect(kFarAddress, kSink), sent); });
  enter_namespace();
  const std::unique_ptr<device::Device> far = open_impaired_tap("tw1", options.net, options.seed);
  set_up_kernel("tw1", kFarAddress, options.flow.buffer);
  const Pipe received;
  const Child receiver([&] { kernel_receives(options.flow, received); });

  Bridge bridge(*plain, *far);
  bool done = false;
  const double limit = seconds_now() + options.flow.warm_up + options.flow.seconds + 30;
  while (!done) {
    bridge.turn();
    pollfd ready[2] = {{sent.descriptor(), POLLIN, 0}, {received.descriptor(), POLLIN, 0}};
    done = poll(ready, 2, 0) == 2;
    if (seconds_now() > limit) give_up("nothing comes through");
  }
  report(received.take<Received>(), sent.take<Sent>());
}

std::optional<Options> parse(int argc, char** argv) {
  if (argc != 7) return std::nullopt;
  Options options;
  options.kind = argv[1];
  options.flow.tidewire_sends = options.kind == "tidewire-kernel";
  if (options.kind != "tidewire-kernel" && options.kind != "kernel-tidewire" &&
      options.kind != "kernel-kernel") {
    return std::nullopt;
  }
  const auto net = device::parse_net_spec(argv[2]);
  if (!net) {
    std::fprintf(stderr, "bench: %s\n", net.error().c_str());
    std::exit(2);
  }
  options.net = *net;
  options.seed = std::strtoull(argv[3], nullptr, 10);
  options.flow.buffer = static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10));
  options.flow.warm_up = std::atof(argv[5]);
  options.flow.seconds = std::atof(argv[6]);
  if (options.flow.buffer == 0 || options.flow.seconds <= 0) return std::nullopt;
  return options;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const auto options = parse(argc, argv);
  if (!options) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  options->kind == "kernel-kernel" ? run_kernel(*options) : run_tidewire(*options);
  return 0;
}
