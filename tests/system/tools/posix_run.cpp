// Runs a program on the interception, with kernel sockets or a small virtual network behind it.
// For tests: `tidewire run` without its reports.
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "device/backends/loopback.hpp"
#include "device/backends/sim_link.hpp"
#include "front/gateway/gateway.hpp"
#include "front/posix/driver_binding.hpp"
#include "front/posix/interceptor.hpp"
#include "front/posix/kernel_backend.hpp"
#include "front/posix/signal_relay.hpp"
#include "runtime/clock.hpp"
#include "runtime/pool_memory.hpp"

namespace {

using namespace tidewire;

struct Arguments {
  posix::InterceptorConfig config;
  bool kernel = false;
  device::NetSpec net;
  std::vector<gateway::PublishSpec> publish;
  std::string error;
};

bool take_option(Arguments& a, const std::string& word) {
  const auto value = [&](std::string_view name) {
    return word.starts_with(name) ? std::optional(word.substr(name.size())) : std::nullopt;
  };
  if (const auto list = value("--without=")) {
    a.error = posix::switch_off(a.config.features, *list);
    return a.error.empty();
  }
  if (const auto backend = value("--backend=")) {
    a.kernel = *backend == "kernel";
    return true;
  }
  if (const auto text = value("--net=")) {
    auto spec = device::parse_net_spec(*text);
    if (!spec) a.error = spec.error();
    if (spec) a.net = *spec;
    return a.error.empty();
  }
  if (const auto text = value("--publish=")) {
    auto spec = gateway::parse_publish(*text);
    if (!spec) a.error = spec.error();
    if (spec) a.publish.push_back(*spec);
    return a.error.empty();
  }
  a.error = "unknown option " + word;
  return false;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  a.config.features = posix::probe_features();
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      ++i;
      break;
    }
    if (!take_option(a, word)) return a;
  }
  for (; i < argc; ++i) a.config.argv.emplace_back(argv[i]);
  if (a.config.argv.empty()) a.error = "no program";
  return a;
}

int wait_millis(Instant deadline) {
  if (deadline.is_never()) return 1000;
  const Duration left = deadline - runtime::Clock::now();
  if (left <= Duration::zero()) return 0;
  return static_cast<int>(std::min<std::int64_t>(1000, left.count_millis() + 1));
}

int finish(const posix::Interceptor& interceptor) {
  if (interceptor.ending().exec_errno != 0) {
    std::fprintf(stderr, "posix_run: cannot execute: %s\n",
                 std::strerror(interceptor.ending().exec_errno));
  }
  return interceptor.ending().status;
}

int run_on_kernel(Arguments& a) {
  posix::KernelBackend backend;
  posix::Interceptor interceptor(backend);
  if (auto started = interceptor.start(std::move(a.config)); !started) {
    std::fprintf(stderr, "posix_run: %s\n", started.error().c_str());
    return 125;
  }
  posix::SignalRelay signals;
  while (!interceptor.program_ended()) {
    pollfd watched[2] = {{interceptor.descriptor(), POLLIN, 0}, {signals.descriptor(), POLLIN, 0}};
    ::poll(watched, 2, wait_millis(interceptor.next_deadline()));
    while (const auto number = signals.next()) interceptor.forward_signal(*number);
    interceptor.process(runtime::Clock::now());
  }
  return finish(interceptor);
}

/// A virtual host and the gateway, joined by a described link.
class World {
 public:
  explicit World(const device::NetSpec& net)
      : memory_(std::size_t{256} << 20),
        host(StackConfig{}, memory_, RandomSeed{1, 2}, runtime::Clock::now()),
        router(StackConfig{}, memory_, RandomSeed{3, 4}, runtime::Clock::now()) {
    const Instant now = runtime::Clock::now();
    device::SimLink::Options options;
    options.spec = net;
    options.mac_a = {{2, 0, 0, 0, 0, 15}};
    options.mac_b = {{2, 0, 0, 0, 0, 2}};
    options.origin = now;
    options.offload = !net.impairs();
    link_ = device::SimLink::make(options);
    end_a_ = link_->open(device::SimLink::End::a);
    end_b_ = link_->open(device::SimLink::End::b);
    lo = *host.add_interface({.name = "lo",
                              .medium = loopback_.capabilities().medium,
                              .mac = {},
                              .mtu = loopback_.capabilities().mtu,
                              .loopback = true,
                              .trusted = true},
                             now);
    eth = *host.add_interface(interface(*end_a_), now);
    up = *router.add_interface(interface(*end_b_), now);
    (void)host.add_address(eth, {IpAddress::v4(10, 0, 2, 15), 24}, now);
    (void)host.add_route({{IpAddress{}, 0}, IpAddress::v4(10, 0, 2, 2), eth, 0});
    (void)router.add_address(up, {IpAddress::v4(10, 0, 2, 2), 24}, now);
    (void)router.add_address(up, {IpAddress::v4(10, 0, 2, 3), 24}, now);
  }

  void attach(runtime::Driver& driver) {
    driver.attach(host, lo, loopback_);
    driver.attach(host, eth, *end_a_);
    driver.attach(router, up, *end_b_);
  }

  posix::StackBackendConfig backend_config() const {
    posix::StackBackendConfig config;
    config.host_gateway = IpAddress::v4(10, 0, 2, 2);
    config.interfaces.push_back({lo, {"lo", 1, {IpAddress::v4(127, 0, 0, 1), 8}, {}, 65535, true}});
    config.interfaces.push_back(
        {eth, {"eth0", 2, {IpAddress::v4(10, 0, 2, 15), 24}, {{2, 0, 0, 0, 0, 15}}, 1500, false}});
    return config;
  }

 private:
  static InterfaceConfig interface(const device::Device& device) {
    const device::Capabilities c = device.capabilities();
    return {
        .name = "eth0", .medium = c.medium, .mac = c.mac, .mtu = c.mtu, .trusted = c.rx_trusted};
  }
  runtime::PoolMemory memory_;
  std::shared_ptr<device::SimLink> link_;
  std::unique_ptr<device::Device> end_a_, end_b_;
  device::Loopback loopback_;

 public:
  Stack host, router;
  InterfaceId lo = kNoInterface, eth = kNoInterface, up = kNoInterface;
};

int run_on_stack(Arguments& a) {
  World world(a.net);
  posix::StackBackend backend(world.host, world.backend_config());
  posix::Interceptor interceptor(backend);
  if (auto started = interceptor.start(std::move(a.config)); !started) {
    std::fprintf(stderr, "posix_run: %s\n", started.error().c_str());
    return 125;
  }
  runtime::Driver driver;
  driver.add_stack(world.host, &backend);
  driver.add_stack(world.router, nullptr);
  world.attach(driver);
  gateway::GatewayConfig config;
  gateway::Gateway gate(driver, world.router, config);
  driver.set_owner(world.router, &gate);
  gate.serve(world.up);
  for (const auto& spec : a.publish) {
    if (auto opened = gate.publish(spec); !opened) {
      std::fprintf(stderr, "posix_run: %s\n", opened.error().c_str());
      return 125;
    }
  }
  posix::DriverBinding binding(driver, interceptor, backend);
  (void)driver.run_until([&] { return interceptor.program_ended(); });
  return finish(interceptor);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a = parse(argc, argv);
  if (!a.error.empty()) {
    std::fprintf(stderr,
                 "posix_run: %s\nusage: posix_run [--backend=kernel|stack] [--net=SPEC] "
                 "[--publish=SPEC] [--without=FEATURE,...] -- PROGRAM [ARGUMENT...]\n",
                 a.error.c_str());
    return 125;
  }
  return a.kernel ? run_on_kernel(a) : run_on_stack(a);
}
