#include "apps/link_station.hpp"

#include <fmt/core.h>

#include "apps/failure.hpp"
#include "apps/packet_tap.hpp"
#include "device/factory.hpp"
#include "device/wrap/capture.hpp"
#include "device/wrap/impaired_device.hpp"
#include "runtime/clock.hpp"
#include "wire/pretty.hpp"

namespace tidewire::apps {

namespace {

constexpr std::size_t kStackMemory = std::size_t{1} << 30;

}  // namespace

StackConfig link_stack_config(const NetworkOptions& options) {
  StackConfig config;
  config.timer_accuracy = Duration::micros(250);
  config.tcp.congestion_control = options.congestion_control;
  config.tcp.ecn = options.ecn_use();
  return config;
}

RandomSeed secret_seed() {
  return {draw_seed() << 32 ^ draw_seed(), draw_seed() << 32 ^ draw_seed()};
}

LinkDevice::LinkDevice(const StationOptions& options, Instant origin, int status) {
  const NetworkOptions& network = options.network;
  const bool impaired = network.spec.impairs();
  auto opened = device::open_device(
      options.device_description(),
      {.offloads = !impaired && !options.no_offload, .mac = {}, .io_uring = options.io_uring});
  if (!opened) throw Failure(opened.error(), status);
  device_ = std::move(*opened);
  if (impaired) {
    device_ = std::make_unique<device::ImpairedDevice>(
        std::move(device_),
        device::ImpairedDevice::Options{
            .spec = network.spec, .seed = {*network.seed, 0}, .origin = origin});
  }
  if (!network.pcap.empty()) {
    pcap_file_ = std::make_unique<FileSink>(network.pcap, status);
    pcap_ = std::make_unique<device::PcapngWriter>(
        *pcap_file_, Duration::nanos(runtime::Clock::wall_nanos(Instant{})));
    device_ = std::make_unique<device::Capture>(std::move(device_), *pcap_);
  }
  if (network.print) {
    const Medium medium = device_->capabilities().medium;
    device_ = std::make_unique<PacketTap>(
        std::move(device_), PacketTap::FrameHook{}, [medium, origin](Bytes packet, Instant now) {
          fmt::print(stderr, "{:.6f} > {}\n",
                     static_cast<double>((now - origin).count_micros()) / 1e6,
                     wire::pretty(medium, packet));
        });
  }
}

InterfaceId attach_link(runtime::Driver& driver, Stack& stack, device::Device& device,
                        const char* name, const IpCidr& address,
                        const std::optional<IpAddress>& gateway, Instant now, int status) {
  const device::Capabilities link = device.capabilities();
  const auto interface = stack.add_interface({.name = name,
                                              .medium = link.medium,
                                              .mac = link.mac,
                                              .mtu = link.mtu,
                                              .trusted = link.rx_trusted},
                                             now);
  if (!interface) throw Failure("cannot add the interface to the stack", status);
  if (!stack.add_address(*interface, address, now)) {
    throw Failure("the stack does not take the address " + to_string(address), status);
  }
  if (gateway &&
      !stack.add_route({.destination = {}, .gateway = *gateway, .interface = *interface})) {
    throw Failure("the router " + to_string(*gateway) + " is not on the link " + to_string(address),
                  status);
  }
  driver.attach(stack, *interface, device);
  return *interface;
}

void attach_loopback(runtime::Driver& driver, Stack& stack, device::Device& device, Instant now) {
  const auto loopback = stack.add_interface({.name = "lo",
                                             .medium = Medium::ip,
                                             .mac = {},
                                             .mtu = 65'535,
                                             .loopback = true,
                                             .trusted = true},
                                            now);
  if (loopback) driver.attach(stack, *loopback, device);
}

LinkNews::LinkNews(runtime::Driver& driver, const device::Device& device)
    : driver_(driver), device_(device) {
  driver_.add_task(*this);
}

LinkNews::~LinkNews() { driver_.remove_task(*this); }

void LinkNews::after_turn(Instant) {
  const bool up = device_.link_up();
  if (up == up_) return;
  up_ = up;
  fmt::print(stderr, "tidewire: {} is {}\n", device_.name(),
             up ? "up" : "down: there is nobody at the other end");
}

LinkStation::LinkStation(const StationOptions& options, int status)
    : origin_(runtime::Clock::now()),
      options_(options),
      memory_(kStackMemory),
      stack_(link_stack_config(options_.network), memory_, secret_seed(), origin_),
      device_(options_, origin_, status) {
  driver_.add_stack(stack_, nullptr);
  attach_loopback(driver_, stack_, loopback_, origin_);
  (void)attach_link(driver_, stack_, *device_, "link0", options_.address, options_.gateway, origin_,
                    status);
  news_ = std::make_unique<LinkNews>(driver_, *device_);
  watchdog_ = std::make_unique<runtime::Watchdog>(
      driver_, runtime::WatchdogOptions{},
      [](const std::string& line) { fmt::print(stderr, "tidewire: {}\n", line); });
  watchdog_->watch(stack_, "stack");
}

bool has_unfinished_connections(const Stack& stack) {
  SocketId after;
  while (const auto info = stack.next_socket(after)) {
    after = info->id;
    if (info->protocol != Protocol::tcp) continue;
    if (info->state != TcpState::closed && info->state != TcpState::listen &&
        info->state != TcpState::time_wait) {
      return true;
    }
  }
  return false;
}

void LinkStation::drain(Duration patience) {
  const Instant until = runtime::Clock::now() + patience;
  (void)driver_.run_until([this] { return !has_unfinished_connections(stack_); }, until);
}

std::string LinkStation::reachable_at(std::uint16_t port, bool) const {
  return to_string(Endpoint{options_.address.address, port, 0}) + " on the link";
}

}  // namespace tidewire::apps
