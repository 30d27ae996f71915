// One flow between two processes: two tidewire stacks joined by shared memory, and the kernel's
// loopback. Each process has a core of its own. `plain`: no super-segments, every checksum computed
// and verified. `round_trips`: a byte there and back.
// Usage: shm_bench [--list | CASE [SECONDS]]; without arguments every case once.
// Prints `CASE VALUE UNIT`.
#include <array>
#include <optional>
#include <string_view>

#include "arguments.hpp"
#include "cases.hpp"
#include "core/stack.hpp"
#include "device/backends/shm.hpp"
#include "device/wrap/offload_emulator.hpp"
#include "kernel_side.hpp"
#include "runtime/clock.hpp"
#include "runtime/driver.hpp"
#include "runtime/pool_memory.hpp"

namespace tidewire::bench {
namespace {

struct Case {
  const char* name;
  Service service;
  bool kernel = false;
  device::ShmOptions options;
};

const Case kCases[] = {
    {"shm", kSink, false, {}},
    {"shm_plain", kSink, false, {.path = {}, .offloads = false}},
    {"shm_round_trips", kEcho, false, {}},
    {"shm_kernel", kSink, true, {}},
    {"shm_kernel_round_trips", kEcho, true, {}},
};

const IpAddress kServer = IpAddress::v4(10, 77, 0, 1);
const IpAddress kClient = IpAddress::v4(10, 77, 0, 2);

/// A stack at one end of the link, with the loop that drives it.
class End : public runtime::StackOwner {
 public:
  End(const device::ShmOptions& options, Service service, const IpAddress& address)
      : service_(service),
        link_(open(options)),
        stack_(config(), memory_, {address.v4_value(), 7}, now()) {
    const device::Capabilities can = link_->capabilities();
    const auto added = stack_.add_interface({.name = "shm",
                                             .medium = can.medium,
                                             .mac = can.mac,
                                             .mtu = can.mtu,
                                             .trusted = can.rx_trusted},
                                            now());
    if (!added || !stack_.add_address(*added, {address, 24}, now())) give_up("the interface");
    driver_.add_stack(stack_, this);
    driver_.attach(stack_, *added, *link_);
    const auto socket = stack_.open(SocketKind::tcp, Family::v4);
    if (!socket) give_up("open");
    socket_ = *socket;
  }

 protected:
  ~End() = default;
  /// A byte there, or back.
  bool take_byte(SocketId flow, Instant at) {
    return stack_.receive(flow, byte_, {}, at).value_or(0) == 1;
  }
  void give_byte(SocketId flow, Instant at) {
    if (!stack_.send(flow, byte_, {}, at)) give_up("send");
  }
  static Instant now() { return runtime::Clock::now(); }
  static std::unique_ptr<device::Device> open(const device::ShmOptions& options) {
    auto opened = device::open_shm(options);
    if (opened) return device::with_offloads(std::move(*opened));
    std::fprintf(stderr, "bench: %s\n", opened.error().c_str());
    std::exit(1);
  }
  static StackConfig config() {
    StackConfig config;
    config.timer_accuracy = Duration::micros(250);
    return config;
  }

  Service service_;
  std::array<std::byte, 1> byte_{};
  std::unique_ptr<device::Device> link_;
  runtime::PoolMemory memory_{std::size_t{1} << 30};
  Stack stack_;
  runtime::Driver driver_{{.spin = {}, .budget = {.frames = 64}}};
  SocketId socket_;
};

/// Takes what comes in place, and measures.
class Receiver final : public End {
 public:
  Receiver(const device::ShmOptions& options, Service service, double seconds)
      : End(options, service, kServer), seconds_(seconds) {
    if (!stack_.bind(socket_, Endpoint{kServer, service}, now()) ||
        !stack_.listen(socket_, 4, now())) {
      give_up("listen");
    }
  }
  double run() {
    driver_.run_until([&] { return meter_ && !meter_->running(); });
    return meter_->rate(service_);
  }
  void on_event(const Event& event, Instant at) override {
    if (event.kind != Event::Kind::socket) return;
    if (event.socket == socket_ && !meter_) {
      const auto accepted = stack_.accept(socket_, at);
      if (!accepted) return;
      flow_ = *accepted;
      meter_.emplace(seconds_);
    }
    while (service_ == kEcho && meter_) {
      if (!take_byte(flow_, at)) return;
      give_byte(flow_, at);
      meter_->add(1);
    }
    while (meter_) {
      const std::size_t done = stack_.received(flow_).size();
      if (done == 0 || !stack_.consumed(flow_, done, at)) return;
      meter_->add(done);
    }
  }

 private:
  double seconds_;
  SocketId flow_;
  std::optional<Meter> meter_;
};

/// Fills the stack's own memory, as an application that produces its bytes there.
class Sender final : public End {
 public:
  Sender(const device::ShmOptions& options, Service service) : End(options, service, kClient) {
    (void)stack_.set_option(socket_, SocketOption::no_delay, 1, now());
    const auto started = stack_.connect(socket_, Endpoint{kServer, service}, now());
    if (!started && started.error() != SocketError::in_progress) give_up("connect");
  }
  void run() { driver_.run(); }
  void on_event(const Event& event, Instant at) override {
    if (event.kind != Event::Kind::socket || event.socket != socket_) return;
    if ((event.bits & kError) != 0) std::exit(1);
    if (service_ == kEcho) {
      if ((event.bits & kConnected) != 0 && !began_) give_byte(socket_, at);
      began_ = began_ || (event.bits & kConnected) != 0;
      while (take_byte(socket_, at)) give_byte(socket_, at);
      return;
    }
    for (;;) {
      const std::size_t done = stack_.send_space(socket_, kBlock).size();
      if (done == 0 || !stack_.sent(socket_, done, {}, at)) return;
    }
  }

 private:
  bool began_ = false;
};

double run_tidewire(const Case& what, double seconds) {
  char directory[] = "/tmp/tidewire-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) give_up("a directory");
  device::ShmOptions options = what.options;
  options.path = std::string(directory) + "/link";
  double rate = 0;
  {
    pin(0);
    Receiver receiver(options, what.service, seconds);
    const Child other([&] {
      pin(1);
      Sender(options, what.service).run();
    });
    rate = receiver.run();
  }
  rmdir(directory);
  return rate;
}

double run_kernel(Service service, double seconds) {
  pin(0);
  const Child server([&] { serve(service); });
  pin(1);
  return kernel_client("127.0.0.1", service, seconds);
}

int run(const Case& what, double seconds) {
  const double value =
      what.kernel ? run_kernel(what.service, seconds) : run_tidewire(what, seconds);
  std::printf("%s %.3f %s\n", what.name, value, what.service == kSink ? "Gbit/s" : "round trips/s");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  return run_cases(argc, argv, names_of(kCases), "shm_bench [--list | CASE [SECONDS]]",
                   [&](std::size_t i) { return run(kCases[i], seconds); });
}
