// One flow between a tidewire stack and the kernel over TAP, and the kernel with itself over veth.
// Usage: link_bench [--list | CASE [SECONDS [CORES]]]; without arguments every case once. CORES: 1
// for all processes, 2 for one each, 0 for no pinning.
// Prints `CASE VALUE UNIT`. Needs root: each run makes its own network namespace.
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "arguments.hpp"
#include "cases.hpp"
#include "core/stack.hpp"
#include "device/backends/tap.hpp"
#include "device/wrap/offload_emulator.hpp"
#include "kernel_side.hpp"
#include "many_clients.hpp"
#include "runtime/clock.hpp"
#include "runtime/driver.hpp"
#include "tap_stack.hpp"

namespace tidewire::bench {
namespace {

struct Case {
  const char* name;
  Service service;
  bool offload = true;
  bool copy = false;    ///< bytes come from, and go to, a buffer of the application
  bool kernel = false;  ///< the kernel with itself
  int in_flight = 1;    ///< connections at a time
  bool uring = false;   ///< frames are written in batches
};

constexpr Case kCases[] = {
    {"tap_out", kSink},
    {"tap_out_copy", kSink, true, true},
    {"tap_in", kSource},
    {"tap_in_copy", kSource, true, true},
    {"tap_plain_out", kSink, false},
    {"tap_plain_in", kSource, false},
    {"tap_round_trips", kEcho},
    {"tap_connections", kOneByte},
    {"tap_connections_32", kOneByte, true, false, false, 32},
    {"tap_out_uring", kSink, true, false, false, 1, true},
    {"tap_out_copy_uring", kSink, true, true, false, 1, true},
    {"tap_in_uring", kSource, true, false, false, 1, true},
    {"tap_in_copy_uring", kSource, true, true, false, 1, true},
    {"tap_plain_out_uring", kSink, false, false, false, 1, true},
    {"tap_plain_in_uring", kSource, false, false, false, 1, true},
    {"tap_round_trips_uring", kEcho, true, false, false, 1, true},
    {"tap_connections_uring", kOneByte, true, false, false, 1, true},
    {"tap_connections_32_uring", kOneByte, true, false, false, 32, true},
    {"veth_out", kSink, true, true, true},
    {"veth_in", kSource, true, true, true},
    {"veth_plain_out", kSink, false, true, true},
    {"veth_plain_in", kSource, false, true, true},
    {"veth_round_trips", kEcho, true, true, true},
    {"veth_connections", kOneByte, true, true, true},
    {"veth_connections_32", kOneByte, true, true, true, 32},
};

const char* unit(Service service) {
  switch (service) {
    case kSink:
    case kSource:
      return "Gbit/s";
    case kEcho:
      return "round trips/s";
    case kOneByte:
      return "connections/s";
  }
  return "";
}

/// The client application on a tidewire stack.
class Client final : public runtime::StackOwner {
 public:
  Client(Stack& stack, const Case& what, Meter& meter)
      : stack_(stack), case_(what), meter_(meter), block_(kBlock) {}

  void start(Instant now) {
    const auto socket = stack_.open(SocketKind::tcp, Family::v4);
    if (!socket) give_up("open");
    socket_ = *socket;
    (void)stack_.set_option(socket_, SocketOption::no_delay, 1, now);
    const auto started = stack_.connect(socket_, Endpoint{peer(), case_.service}, now);
    if (!started && started.error() != SocketError::in_progress) give_up("connect");
  }

  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket || event.socket != socket_) return;
    if ((event.bits & kError) != 0) {
      std::fprintf(stderr, "bench: %s\n", to_string(stack_.take_error(socket_)).data());
      std::exit(1);
    }
    if (is_bulk(case_.service)) {
      case_.service == kSink ? send_bulk(now) : receive_bulk(now);
      return;
    }
    if ((event.bits & kConnected) != 0 && !asked_) ask(now);
    if ((event.bits & kReadable) != 0) answer(now);
  }

  static IpAddress peer() { return IpAddress::v4(10, 77, 0, 1); }

 private:
  void send_bulk(Instant now) {
    for (;;) {
      std::size_t done = 0;
      if (case_.copy) {
        done = stack_.send(socket_, block_, {}, now).value_or(0);
      } else {
        done = stack_.send_space(socket_, kBlock).size();
        if (done != 0 && !stack_.sent(socket_, done, {}, now)) done = 0;
      }
      if (done == 0) return;
      meter_.add(done);
    }
  }
  void receive_bulk(Instant now) {
    for (;;) {
      std::size_t done = 0;
      if (case_.copy) {
        done = stack_.receive(socket_, block_, {}, now).value_or(0);
      } else {
        done = stack_.received(socket_).size();
        if (done != 0) (void)stack_.consumed(socket_, done, now);
      }
      if (done == 0) return;
      meter_.add(done);
    }
  }
  void ask(Instant now) {
    asked_ = true;
    if (!stack_.send(socket_, Bytes(block_).first(1), {}, now)) give_up("send");
  }
  void answer(Instant now) {
    if (stack_.receive(socket_, MutBytes(block_).first(1), {}, now).value_or(0) != 1) return;
    meter_.add(1);
    asked_ = false;
    if (case_.service == kEcho) {
      ask(now);
      return;
    }
    stack_.close(socket_, now);
    start(now);
  }

  Stack& stack_;
  const Case& case_;
  Meter& meter_;
  SocketId socket_;
  bool asked_ = false;
  std::vector<std::byte> block_;
};

/// One core for all, or one for each side; 0 leaves it to the scheduler.
void pin_server(int cores) {
  if (cores != 0) pin(0);
}
void pin_client(int cores) {
  if (cores != 0) pin(cores == 1 ? 0 : 1);
}

void serve_case(const Case& what) {
  if (what.in_flight > 1) return serve_many();
  serve(what.service);
}

double run_tidewire(const Case& what, double seconds, int cores) {
  enter_namespace();
  auto opened = device::open_tap(
      {.name = "tw0", .tun = false, .offloads = what.offload, .mac = {}, .io_uring = what.uring});
  if (!opened) {
    std::fprintf(stderr, "bench: %s\n", opened.error().c_str());
    std::exit(1);
  }
  const std::unique_ptr<device::Device> tap = device::with_offloads(std::move(*opened));
  shell("ip addr add 10.77.0.1/24 dev tw0 && ip link set tw0 up txqueuelen 10000");
  pin_server(cores);
  const Child server([&] { serve_case(what); });
  pin_client(cores);

  TapStack end(*tap, StackConfig{}, {1, 2});
  Meter meter(seconds);
  Client client(end.stack, what, meter);
  ManyClients clients(end.stack, {Client::peer(), what.service}, meter);
  runtime::Driver driver(
      {.spin = cores == 1 ? Duration::zero() : Duration::micros(50), .budget = {.frames = 64}});
  if (what.in_flight > 1) {
    driver.add_stack(end.stack, &clients);
  } else {
    driver.add_stack(end.stack, &client);
  }
  driver.attach(end.stack, end.interface, *tap);
  usleep(100'000);  // the server listens
  if (what.in_flight > 1) {
    clients.start(what.in_flight, runtime::Clock::now());
  } else {
    client.start(runtime::Clock::now());
  }
  // Asked before and after each turn: the kernel's client looks at the clock once a round trip too.
  driver.run_until([&, look = false]() mutable {
    look = !look;
    return look && !meter.running();
  });
  return meter.rate(what.service);
}

double run_kernel(const Case& what, double seconds, int cores) {
  enter_namespace();
  int ready[2];
  if (pipe(ready) != 0) give_up("pipe");
  pin_server(cores);
  const Child server([&] {
    if (unshare(CLONE_NEWNET) != 0) give_up("unshare");
    char go = 'r';
    if (write(ready[1], &go, 1) != 1) give_up("pipe");
    for (int i = 0; i < 500 && std::system("ip addr show tw1 2>/dev/null | grep -q inet") != 0;
         ++i) {
      std::system("ip addr add 10.77.0.1/24 dev tw1 2>/dev/null && ip link set tw1 up");
      usleep(10'000);
    }
    serve_case(what);
  });
  char go = 0;
  if (read(ready[0], &go, 1) != 1) give_up("pipe");
  const std::string pid = std::to_string(server.pid());
  if (!what.offload) {
    // Before the move, while both ends are here.
    shell(
        "ip link add tw0 type veth peer name tw1 && ethtool -K tw0 tso off gso off gro off tx off"
        " >/dev/null && ethtool -K tw1 tso off gso off gro off tx off >/dev/null");
  } else {
    shell("ip link add tw0 type veth peer name tw1");
  }
  shell("ip link set tw1 netns " + pid +
        " && ip addr add 10.77.0.2/24 dev tw0 && ip link set tw0 up");
  pin_client(cores);
  if (what.in_flight > 1) return kernel_client_many("10.77.0.1", what.in_flight, seconds);
  return kernel_client("10.77.0.1", what.service, seconds);
}

int run(const Case& what, double seconds, int cores) {
  const double value =
      what.kernel ? run_kernel(what, seconds, cores) : run_tidewire(what, seconds, cores);
  std::printf("%s %.3f %s\n", what.name, value, unit(what.service));
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  const int cores = cores_argument(argc, argv, 1);
  return run_cases(argc, argv, names_of(kCases), "link_bench [--list | CASE [SECONDS [CORES]]]",
                   [&](std::size_t i) { return run(kCases[i], seconds, cores); });
}
