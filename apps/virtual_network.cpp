#include "apps/virtual_network.hpp"

#include <fmt/core.h>

#include "apps/failure.hpp"
#include "apps/link_station.hpp"
#include "apps/packet_tap.hpp"
#include "apps/version.hpp"
#include "device/wrap/capture.hpp"
#include "front/gateway/address_map.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

StackConfig stack_config(const NetworkOptions& options) {
  StackConfig config;
  config.timer_accuracy = Duration::micros(250);
  config.tcp.congestion_control = options.congestion_control;
  config.tcp.ecn = options.ecn_use();
  config.tcp.fast_open = options.fast_open;
  if (options.time_wait_length) config.tcp.msl = *options.time_wait_length / 2;
  return config;
}

StackConfig host_config(const NetworkOptions& options) {
  StackConfig config = stack_config(options);
  if (options.ephemeral_range) {
    config.ports.ephemeral_first = options.ephemeral_range->first;
    config.ports.ephemeral_last = options.ephemeral_range->second;
  }
  return config;
}

/// Nothing here is a secret from a stranger: both ends and the link are ours, so one seed decides
/// everything and a run can be repeated.
RandomSeed seed_for(const NetworkOptions& options, std::uint64_t purpose) {
  return derive(RandomSeed{*options.seed, 0}, purpose);
}

void must(bool done, const char* what) {
  if (!done) throw Failure(std::string("cannot set up the virtual network: ") + what, kOwnFailure);
}

}  // namespace

class VirtualNetwork::Schedule final : public runtime::Task {
 public:
  Schedule(VirtualNetwork& network, std::vector<device::NetEvent> events, Instant start)
      : network_(network), player_({{}, std::move(events)}, start) {}
  Instant next_deadline() override { return player_.next(); }
  void run(Instant now) override {
    const device::NetEvent* event = player_.due(now);
    if (event == nullptr) return;
    if (event->spec != network_.net()) network_.set_net(event->spec);
    if (event->up != network_.link_up()) network_.set_link_up(event->up);
  }

 private:
  VirtualNetwork& network_;
  device::ScenarioPlayer player_;
};

VirtualNetwork::VirtualNetwork(const NetworkOptions& options, int status)
    : origin_(runtime::Clock::now()),
      options_(options),
      host_pool_(options.memory),
      gateway_pool_(options.memory),
      budget_(options.memory),
      host_memory_(host_pool_, budget_),
      gateway_memory_(gateway_pool_, budget_),
      host_(host_config(options_), host_memory_, seed_for(options, 1), origin_),
      gateway_stack_(stack_config(options_), gateway_memory_, seed_for(options, 2), origin_),
      observer_(origin_) {
  if (!options.pcap.empty()) {
    pcap_file_ = std::make_unique<FileSink>(options.pcap, status);
    pcap_ = std::make_unique<device::PcapngWriter>(
        *pcap_file_, Duration::nanos(runtime::Clock::wall_nanos(Instant{})));
  }
  driver_.add_stack(host_, nullptr);
  driver_.add_stack(gateway_stack_, nullptr);
  make_link(options);
  if (!options.kernel_host) configure_host();
  configure_gateway(options, status);
  if (records()) {
    if (!options.kernel_host) recorder_.observe(report::Side::host, host_);
    recorder_.observe(report::Side::gateway, gateway_stack_, options.kernel_host);
    driver_.add_task(recorder_);
  }
  if (!options_.events.empty()) {
    schedule_ = std::make_unique<Schedule>(*this, options_.events, origin_);
    driver_.add_task(*schedule_);
  }
  if (options.print) {
    printer_ = std::make_unique<report::LinePrinter>(
        recorder_, origin_, [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
    driver_.add_task(*printer_);
    observer_.set_printer(printer_.get());
  }
  watchdog_ = std::make_unique<runtime::Watchdog>(
      driver_, runtime::WatchdogOptions{},
      [](const std::string& line) { fmt::print(stderr, "tidewire: {}\n", line); });
  if (!options.kernel_host) watchdog_->watch(host_, "host");
  watchdog_->watch(gateway_stack_, "gateway");
}

VirtualNetwork::~VirtualNetwork() = default;

void VirtualNetwork::make_link(const NetworkOptions& options) {
  // Without Ethernet: a description is about a path, and nobody means ARP by "loss".
  link_ = device::SimLink::make({.name = "link",
                                 .medium = Medium::ip,
                                 .spec = options.spec,
                                 .mac_a = {},
                                 .mac_b = {},
                                 .seed = seed_for(options, 3),
                                 .origin = origin_,
                                 .offload = !options.print && options.pcap.empty(),
                                 .lend = true},
                                &observer_);
  host_device_ = open_end(device::SimLink::End::a, options);
  gateway_device_ = open_end(device::SimLink::End::b, options);
}

std::unique_ptr<device::Device> VirtualNetwork::open_end(device::SimLink::End end,
                                                         const NetworkOptions& options) {
  const bool is_host = end == device::SimLink::End::a;
  const report::Side side = is_host ? report::Side::host : report::Side::gateway;
  std::unique_ptr<device::Device> device = link_->open(end);
  const Medium medium = device->capabilities().medium;
  if (pcap_ && is_host) {
    auto capture = std::make_unique<device::Capture>(std::move(device), *pcap_);
    observer_.set_next(device::Direction::up, capture.get());
    device = std::move(capture);
  }
  if (!records()) return device;
  PacketTap::PacketHook packets;
  if (options.print) {
    packets = [this, side, medium](Bytes packet, Instant now) {
      printer_->on_packet(side, medium, packet, now);
    };
  }
  const auto frames = [this, side](const TxFrame& frame, Instant now) {
    recorder_.on_packet(side, frame.headers.subspan(frame.network_offset), frame.segs, now);
  };
  return std::make_unique<PacketTap>(std::move(device), frames, std::move(packets));
}

void VirtualNetwork::configure_host() {
  const auto loopback = host_.add_interface({.name = "lo",
                                             .medium = Medium::ip,
                                             .mac = {},
                                             .mtu = 65'535,
                                             .loopback = true,
                                             .trusted = true},
                                            origin_);
  must(loopback.has_value(), "loopback");
  host_loopback_ = *loopback;
  driver_.attach(host_, host_loopback_, loopback_);
  const device::Capabilities link = host_device_->capabilities();
  const auto interface = host_.add_interface({.name = "eth0",
                                              .medium = link.medium,
                                              .mac = link.mac,
                                              .mtu = link.mtu,
                                              .trusted = link.rx_trusted},
                                             origin_);
  must(interface.has_value(), "host interface");
  host_interface_ = *interface;
  must(host_.add_address(host_interface_, {kHostAddress, kPrefixLength}, origin_).has_value(),
       "host address");
  must(
      host_.add_route({.destination = {}, .gateway = kGatewayAddress, .interface = host_interface_})
          .has_value(),
      "default route");
  driver_.attach(host_, host_interface_, *host_device_);
}

void VirtualNetwork::configure_gateway(const NetworkOptions& options, int status) {
  const device::Capabilities link = gateway_device_->capabilities();
  const auto interface = gateway_stack_.add_interface({.name = "link0",
                                                       .medium = link.medium,
                                                       .mac = link.mac,
                                                       .mtu = link.mtu,
                                                       .trusted = link.rx_trusted},
                                                      origin_);
  must(interface.has_value(), "gateway interface");
  gateway_interface_ = *interface;
  for (const IpAddress& address : {kGatewayAddress, kResolverAddress}) {
    must(gateway_stack_.add_address(*interface, {address, kPrefixLength}, origin_).has_value(),
         "gateway address");
  }
  driver_.attach(gateway_stack_, *interface, *gateway_device_);
  gateway::GatewayConfig config;
  config.address = kGatewayAddress;
  config.network = {kGatewayAddress, kPrefixLength};
  config.resolver = kResolverAddress;
  config.default_target = kHostAddress;
  config.host_resolver = gateway::host_resolver();
  config.allow_host = !options.no_host;
  config.host_addresses = gateway::host_addresses();
  gateway_ = std::make_unique<gateway::Gateway>(driver_, gateway_stack_, config);
  gateway_->serve(*interface);
  for (const gateway::PublishSpec& spec : options.published) {
    if (auto opened = gateway_->publish(spec); !opened) throw Failure(opened.error(), status);
  }
}

void VirtualNetwork::attach_kernel(std::unique_ptr<device::Device> device) {
  kernel_device_ = std::move(device);
  joint_ = std::make_unique<runtime::Joint>(driver_, *kernel_device_, *host_device_, kHostMac);
}

void VirtualNetwork::set_net(const device::NetSpec& spec) {
  const auto tell = [this](Stack& stack, InterfaceId interface, std::uint32_t before,
                           std::uint32_t mtu) {
    if (mtu == before) return;
    const LinkState state = link_->up() ? LinkState::up : LinkState::down;
    if (interface != kNoInterface) stack.on_link(interface, state, mtu, runtime::Clock::now());
  };
  const std::uint32_t up_mtu = mtu();
  const std::uint32_t down_mtu = gateway_device_->capabilities().mtu;
  link_->set_spec(spec);
  // The MTU is the only thing that the stacks know of a link.
  tell(host_, host_interface_, up_mtu, mtu());
  tell(gateway_stack_, gateway_interface_, down_mtu, gateway_device_->capabilities().mtu);
  note_change();
}

void VirtualNetwork::set_link_up(bool up) {
  link_->set_up(up);
  note_change();
}

void VirtualNetwork::note_change() {
  constexpr std::size_t kKept = 1000;
  if (net_changes_.size() < kKept) {
    net_changes_.push_back(
        {runtime::Clock::now() - origin_, device::to_string(link_->spec()), link_->up()});
  }
  if (told_) told_();
}

bool VirtualNetwork::busy() {
  // A relay that owes nothing may be there for ever: the reset of its peer can get lost.
  return !link_->empty() || has_unfinished_connections(host_) || gateway_->tcp_relays_owing() != 0;
}

void VirtualNetwork::drain(Duration patience, const std::function<Wish()>& owners) {
  const auto wish = [&] { return owners ? owners() : Wish::done; };
  const auto over = [&] {
    const Wish now = wish();
    return now == Wish::stop || (now == Wish::done && !busy());
  };
  std::uint64_t seen = 0;
  Instant since = runtime::Clock::now();
  for (;;) {
    const Instant now = runtime::Clock::now();
    const std::uint64_t progress = host_.counters().bytes_in + gateway_stack_.counters().bytes_in +
                                   gateway_->counters().bytes_to_host;
    if (progress != seen) {
      seen = progress;
      since = now;
    }
    if (now - since > patience) return;
    if (driver_.run_until(over, now + Duration::millis(100))) return;
  }
}

report::RunReport VirtualNetwork::report() const {
  report::RunReport report;
  report.version = kVersion;
  report.net = options_.net;
  report.net_changes = net_changes_;
  report.seed = *options_.seed;
  report.congestion_control = options_.congestion_control;
  report.started = origin_;
  report.started_wall_nanos = runtime::Clock::wall_nanos(origin_);
  report.duration = runtime::Clock::now() - origin_;
  report.flows = recorder_.flows();
  report.flows_not_recorded = recorder_.flows_not_recorded();
  report.up = observer_.report(device::Direction::up, link_->counters(device::Direction::up));
  report.down = observer_.report(device::Direction::down, link_->counters(device::Direction::down));
  report.host = host_.counters();
  report.gateway = gateway_stack_.counters();
  return report;
}

std::optional<std::string> VirtualNetwork::capture_problem() const {
  if (!pcap_file_ || pcap_file_->good()) return std::nullopt;
  return options_.pcap + " is incomplete: it could not be written";
}

}  // namespace tidewire::apps
