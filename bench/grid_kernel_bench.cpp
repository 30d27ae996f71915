// One flow over one bad path in real time, between tidewire and the kernel over TAP, or between the
// kernels of two namespaces with tidewire's link in between. tools/grid_kernel.py runs the grid.
// Prints one line of JSON. Needs root: everything is in namespaces of its own.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <memory>
#include <optional>
#include <string_view>

#include "core/stack.hpp"
#include "device/backends/tap.hpp"
#include "device/wrap/impaired_device.hpp"
#include "device/wrap/offload_emulator.hpp"
#include "kernel_side.hpp"
#include "runtime/clock.hpp"
#include "runtime/driver.hpp"
#include "runtime/pool_memory.hpp"

namespace tidewire::bench {
namespace {

constexpr const char* kUsage =
    "Usage: grid_kernel_bench KIND NET SEED BUFFER WARM_UP SECONDS\n"
    "  KIND     tidewire-kernel, kernel-tidewire or kernel-kernel: who sends, who receives\n"
    "  NET      words of a network, for both directions\n"
    "  BUFFER   most bytes of each stream buffer, and of the window that is announced\n"
    "  WARM_UP  seconds that do not count, from when the connection is there\n"
    "  SECONDS  seconds that do\n";

constexpr const char* kAddressA = "10.77.0.1";
constexpr const char* kAddressB = "10.77.0.2";

struct Options {
  bool tidewire_sends = false, tidewire_receives = false;
  device::NetSpec net;
  std::uint64_t seed = 1;
  std::uint32_t buffer = 0;
  double warm_up = 0, seconds = 0;
};

/// What the receiver saw, and what the sender knows. Goes through pipes as it is.
struct Received {
  double seconds = 0;
  std::uint64_t bytes = 0;
};
struct Sent {
  std::uint32_t retransmits = 0, srtt_micros = 0, cwnd_segments = 0, reordering = 0;
  std::uint32_t recoveries = 0, timeouts = 0, undone = 0;  // of tidewire only
};

/// Counts between the end of the warm-up and the end of the time.
class Span {
 public:
  explicit Span(const Options& options)
      : from_(seconds_now() + options.warm_up), until_(from_ + options.seconds) {}
  /// `total` bytes arrived until now. True once the time is over.
  bool note(std::uint64_t total) {
    const double now = seconds_now();
    if (now >= from_ && !began_) {
      began_ = now;
      before_ = total;
    }
    if (now < until_ || !began_) return false;
    received_ = {now - *began_, total - before_};
    return true;
  }
  const Received& received() const { return received_; }

 private:
  double from_, until_;
  std::optional<double> began_;
  std::uint64_t before_ = 0;
  Received received_;
};

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) give_up("pipe");
  }
  template <typename T>
  void put(const T& value) const {
    if (write(ends_[1], &value, sizeof value) != sizeof value) give_up("a pipe");
  }
  template <typename T>
  T take() const {
    T value;
    if (read(ends_[0], &value, sizeof value) != sizeof value) give_up("a pipe");
    return value;
  }
  int descriptor() const { return ends_[0]; }

 private:
  int ends_[2] = {-1, -1};
};

// --- the kernel's ends ---

/// Buffers as large as tidewire's; the kernel counts its overhead into them, so that the receive
/// buffer needs twice as much for the same window, which is then held down (kernel_window()).
void set_up_kernel(const char* interface, const char* address, std::uint32_t buffer) {
  const std::string most_sent = std::to_string(buffer + buffer / 4);
  const std::string most_received = std::to_string(2 * std::uint64_t{buffer});
  const std::string name = interface;
  shell(
      "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
      " net.ipv4.tcp_no_metrics_save=1 net.ipv4.tcp_wmem='4096 87040 " +
      most_sent + "' net.ipv4.tcp_rmem='4096 131072 " + most_received + "'");
  shell("ip addr add " + std::string(address) + "/24 dev " + name + " && ip link set " + name +
        " up txqueuelen 10000");
}

void kernel_window(int fd, std::uint32_t buffer) {
  const int most = static_cast<int>(buffer);
  if (setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &most, sizeof most) != 0) give_up("clamp");
}

void kernel_receives(const Options& options, const Pipe& out) {
  const int listener = kernel_listen(kSink);
  kernel_window(listener, options.buffer);
  const int fd = accept(listener, nullptr, nullptr);
  if (fd < 0) give_up("accept");
  const timeval patience{0, 10'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  Span span(options);
  std::vector<char> block(kBlock);
  for (std::uint64_t total = 0; !span.note(total);) {
    const ssize_t n = read(fd, block.data(), block.size());
    if (n == 0 || (n < 0 && errno != EAGAIN)) give_up("the kernel's receiver");
    if (n > 0) total += static_cast<std::uint64_t>(n);
  }
  out.put(span.received());
  pause();
}

void kernel_sends(const Options& options, int fd, const Pipe& out) {
  const double until = seconds_now() + options.warm_up + options.seconds;
  const timeval patience{0, 10'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const std::vector<char> block(kBlock, 'x');
  while (seconds_now() < until) {
    if (write(fd, block.data(), block.size()) < 0 && errno != EAGAIN)
      give_up("the kernel's sender");
  }
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) give_up("TCP_INFO");
  out.put(Sent{.retransmits = info.tcpi_total_retrans,
               .srtt_micros = info.tcpi_rtt,
               .cwnd_segments = info.tcpi_snd_cwnd,
               .reordering = info.tcpi_reordering});
  pause();
}

void kernel_accepts_and_sends(const Options& options, const Pipe& out) {
  const int listener = kernel_listen(kSource);
  const int fd = accept(listener, nullptr, nullptr);
  if (fd < 0) give_up("accept");
  kernel_sends(options, fd, out);
}

// --- tidewire's end ---

class Client final : public runtime::StackOwner {
 public:
  Client(Stack& stack, const Options& options) : stack_(stack), options_(options) {}

  void start(Instant now) {
    const auto socket = stack_.open(SocketKind::tcp, Family::v4);
    if (!socket) give_up("open");
    socket_ = *socket;
    const std::uint16_t port = options_.tidewire_sends ? kSink : kSource;
    const Endpoint to{IpAddress::v4(10, 77, 0, 1), port};
    const auto started = stack_.connect(socket_, to, now);
    if (!started && started.error() != SocketError::in_progress) give_up("connect");
  }
  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket || event.socket != socket_) return;
    if ((event.bits & kError) != 0) return fail(now);
    if ((event.bits & kConnected) != 0 && !span_) span_.emplace(options_);
    if (options_.tidewire_sends) send(now);
    while (options_.tidewire_receives) {
      const std::size_t n = stack_.received(socket_).size();
      if (n == 0 || !stack_.consumed(socket_, n, now)) return;
      total_ += n;
    }
  }
  /// True once the time is over, for a receiver.
  bool over() { return options_.tidewire_receives && span_ && span_->note(total_); }
  const Received& received() const { return span_->received(); }
  Sent sent() const {
    const auto info = stack_.info(socket_);
    if (!info) give_up("the socket");
    return {.retransmits = info->retransmits,
            .srtt_micros = static_cast<std::uint32_t>(info->srtt.count_micros()),
            .cwnd_segments = info->cwnd / std::max(info->mss, 1U),
            .reordering = info->reordering,
            .recoveries = info->fast_retransmits,
            .timeouts = info->timeouts,
            .undone = info->spurious};
  }

 private:
  /// The kernel may not be there yet.
  void fail(Instant now) {
    const SocketError error = stack_.take_error(socket_);
    if (error != SocketError::connection_refused || ++tries_ == 200) {
      std::fprintf(stderr, "bench: %s\n", to_string(error).data());
      std::exit(1);
    }
    stack_.close(socket_, now);
    usleep(10'000);
    start(runtime::Clock::now());
  }
  void send(Instant now) {
    while (const std::size_t n = stack_.send_space(socket_, kBlock).size()) {
      if (!stack_.sent(socket_, n, {}, now)) return;
    }
  }

  Stack& stack_;
  const Options& options_;
  SocketId socket_;
  std::optional<Span> span_;
  std::uint64_t total_ = 0;
  int tries_ = 0;
};

std::unique_ptr<device::Device> open_tap(const char* name) {
  auto opened = device::open_tap({.name = name, .tun = false, .offloads = false, .mac = {}});
  if (opened) return std::move(*opened);
  std::fprintf(stderr, "bench: %s\n", opened.error().c_str());
  std::exit(1);
}

std::unique_ptr<device::Device> impaired(const char* name, const Options& options) {
  return std::make_unique<device::ImpairedDevice>(
      open_tap(name),
      device::ImpairedDevice::Options{
          .spec = options.net, .seed = {options.seed, 2026}, .origin = runtime::Clock::now()});
}

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
  enter_namespace();
  const std::unique_ptr<device::Device> link = device::with_offloads(impaired("tw0", options));
  set_up_kernel("tw0", kAddressA, options.buffer);
  const Pipe news;
  const Child kernel([&] {
    options.tidewire_sends ? kernel_receives(options, news)
                           : kernel_accepts_and_sends(options, news);
  });

  runtime::PoolMemory memory(std::size_t{1} << 30);
  const Instant now = runtime::Clock::now();
  StackConfig config;
  config.timer_accuracy = Duration::micros(250);
  config.tcp.congestion_control = "cubic";
  config.tcp.send_buffer_max = config.tcp.receive_buffer_max = options.buffer;
  Stack stack(config, memory, {options.seed, 7}, now);
  const device::Capabilities can = link->capabilities();
  const auto interface = stack.add_interface({.name = "tap",
                                              .medium = can.medium,
                                              .mac = can.mac,
                                              .mtu = can.mtu,
                                              .trusted = can.rx_trusted},
                                             now);
  if (!interface) give_up("add_interface");
  (void)stack.add_address(*interface, {IpAddress::v4(10, 77, 0, 2), 24}, now);
  Client client(stack, options);
  runtime::Driver driver;
  driver.add_stack(stack, &client);
  driver.attach(stack, *interface, *link);

  /// The kernel's end has spoken.
  struct News final : runtime::IoHandler {
    void on_io(int, std::uint32_t, Instant) override { here = true; }
    bool here = false;
  } listener;
  const auto watch = driver.poller().add(news.descriptor(), runtime::kIoRead, listener);
  if (!watch) give_up("epoll");
  client.start(runtime::Clock::now());
  driver.run_until([&] { return listener.here || client.over(); });
  if (options.tidewire_sends) return report(news.take<Received>(), client.sent());
  // The sender stops at the same time as the receiver; its word comes after.
  while (!listener.here) driver.run(runtime::Clock::now() + Duration::millis(20));
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
    for (const RxFrame& received : frames) {
      TxFrame frame;
      frame.headers = received.head;
      frame.payload = received.more;
      while (to.push(frame) == PushResult::full) usleep(20);
    }
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
  set_up_kernel("tw0", kAddressA, options.buffer);
  const Pipe sent;
  const Child sender([&] { kernel_sends(options, kernel_connect(kAddressB, kSink), sent); });
  enter_namespace();
  const std::unique_ptr<device::Device> far = impaired("tw1", options);
  set_up_kernel("tw1", kAddressB, options.buffer);
  const Pipe received;
  const Child receiver([&] { kernel_receives(options, received); });

  Bridge bridge(*plain, *far);
  bool done = false;
  const double limit = seconds_now() + options.warm_up + options.seconds + 30;
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
  const std::string_view kind = argv[1];
  options.tidewire_sends = kind == "tidewire-kernel";
  options.tidewire_receives = kind == "kernel-tidewire";
  if (!options.tidewire_sends && !options.tidewire_receives && kind != "kernel-kernel") {
    return std::nullopt;
  }
  const auto net = device::parse_net_spec(argv[2]);
  if (!net) {
    std::fprintf(stderr, "bench: %s\n", net.error().c_str());
    std::exit(2);
  }
  options.net = *net;
  options.seed = std::strtoull(argv[3], nullptr, 10);
  options.buffer = static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10));
  options.warm_up = std::atof(argv[5]);
  options.seconds = std::atof(argv[6]);
  if (options.buffer == 0 || options.seconds <= 0) return std::nullopt;
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
  options->tidewire_sends || options->tidewire_receives ? run_tidewire(*options)
                                                        : run_kernel(*options);
  return 0;
}
