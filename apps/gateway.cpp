// tidewire gateway: user-mode NAT for whatever is behind a link.
#include <fmt/core.h>

#include <csignal>
#include <memory>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/link_station.hpp"
#include "apps/signals.hpp"
#include "front/gateway/address_map.hpp"
#include "front/gateway/gateway.hpp"
#include "report/units.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "Hosts on the link use the gateway's address as their router; all of them share this host's\n"
    "address towards the outside. The gateway's own address stands for this host's 127.0.0.1\n"
    "(forbidden by --no-host), the next one (A+1) answers DNS queries with this host's resolver.\n"
    "Runs until SIGINT.\n"
    "Examples:\n"
    "  tidewire gateway --tap tap0                        hosts: 10.0.2.0/24, router 10.0.2.2\n"
    "  tidewire gateway --device shm:/run/user/1000/net   for a tidewire in another process\n"
    "  tidewire gateway --veth v0 --addr 192.0.2.1/24 --publish 8080:192.0.2.7:80";

struct Options {
  StationOptions link;
  bool verbose = false;
};

int serve(Options& options) {
  std::vector<std::string> publish;
  publish.swap(options.link.network.publish);
  if (options.link.addr.empty()) options.link.addr = "10.0.2.2/24";
  if (!options.link.on_link())
    throw Failure("gateway needs --device KIND:NAME, --tap NAME or --veth NAME", 2);
  options.link.check(2);

  const Instant origin = runtime::Clock::now();
  runtime::PoolMemory memory(std::size_t{1} << 30);
  StackConfig stack_config;
  stack_config.timer_accuracy = Duration::micros(250);
  stack_config.tcp.congestion_control = options.link.network.congestion_control;
  Stack stack(stack_config, memory, {draw_seed() << 32 ^ draw_seed(), draw_seed()}, origin);
  LinkDevice device(options.link, origin, 1);
  runtime::Driver driver;
  driver.add_stack(stack, nullptr);

  const IpCidr& own = options.link.address;
  gateway::GatewayConfig config;
  config.address = own.address;
  config.network = own;
  config.resolver = IpAddress::v4(own.address.v4_value() + 1);
  config.host_resolver = gateway::host_resolver();
  config.allow_host = !options.link.network.no_host;
  config.host_addresses = gateway::host_addresses();
  const InterfaceId interface =
      attach_link(driver, stack, *device, "link0", own, options.link.gateway, origin, 1);
  if (!stack.add_address(interface, {config.resolver, own.prefix_len}, origin)) {
    throw Failure("the stack does not take the address " + to_string(config.resolver), 1);
  }
  gateway::Gateway nat(driver, stack, config);
  nat.serve(interface);
  for (const std::string& text : publish) {
    const auto spec = gateway::parse_publish(text);
    if (!spec) throw Failure(spec.error(), 2);
    if (spec->target.address.is_unspecified()) {
      throw Failure("--publish " + text +
                        ": which host on the link? Here the form is [ADDR:]HOSTPORT:TARGET:PORT, "
                        "for example 8080:" +
                        to_string(IpAddress::v4(own.network().v4_value() + 15)) + ":80",
                    2);
    }
    const auto opened = nat.publish(*spec);
    if (!opened) throw Failure(opened.error(), 1);
  }
  const LinkNews news(driver, *device);
  runtime::Watchdog watchdog(
      driver, {}, [](const std::string& line) { fmt::print(stderr, "tidewire: {}\n", line); });
  watchdog.watch(stack, "gateway");
  Signals signals(driver, {SIGINT, SIGTERM}, [&](int) { driver.stop(); });
  fmt::print(stderr, "tidewire gateway: {} on {}; stop with Ctrl-C\n", to_string(own),
             device->name());
  driver.run();

  const gateway::GatewayCounters& c = nat.counters();
  fmt::print(
      stderr,
      "tidewire gateway: {} TCP connections ({} refused), {} UDP flows, {} published; {} out, "
      "{} in\n",
      c.tcp_opened, c.tcp_refused + c.forbidden, c.udp_opened, c.published_opened,
      report::format_bytes(c.bytes_to_host), report::format_bytes(c.bytes_from_host));
  return 0;
}

}  // namespace

void add_gateway(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "gateway", "Carry the flows of hosts on a link through this host's sockets");
  command->footer(kFooter);
  options->link.add_to(*command);
  command->callback([options, &status] { status = serve(*options); });
}

}  // namespace tidewire::apps
