#include "apps/kernel_program.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "apps/failure.hpp"
#include "device/factory.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

/// As /proc/sys/net/ipv4/tcp_ecn has them.
const char* ecn_setting(const NetworkOptions& options) {
  switch (options.ecn_use()) {
    case EcnUse::never:
      return "0";
    case EcnUse::accept:
      return "2";
    case EcnUse::request:
      return "1";
    case EcnUse::accurate:
      return "3";
  }
  return "2";
}

std::vector<posix::NetworkSetting> settings(const NetworkOptions& options) {
  const std::string group = std::to_string(getegid());
  std::vector<posix::NetworkSetting> all{
      {"ipv4/ping_group_range", group + " " + group},
      {"ipv4/ip_unprivileged_port_start", "0"},
      {"ipv4/tcp_ecn", ecn_setting(options)},
      {"ipv4/tcp_fastopen", std::to_string(options.fast_open)},
  };
  if (options.is_given("--cc")) {
    all.push_back({"ipv4/tcp_congestion_control", options.congestion_control});
  }
  if (const auto& range = options.ephemeral_range) {
    all.push_back({"ipv4/ip_local_port_range",
                   std::to_string(range->first) + " " + std::to_string(range->second)});
  }
  return all;
}

}  // namespace

KernelProgram::KernelProgram(VirtualNetwork& network, const NetworkOptions& options,
                             std::vector<std::string> argv, WaitFor wait)
    : driver_(network.driver()), name_(argv.front()), wait_(wait) {
  posix::LaunchConfig launch;
  launch.argv = std::move(argv);
  launch.intercept = false;
  launch.network = network_to_show(network.mtu());
  launch.network->carrier = true;
  launch.network->resolver = kResolverAddress;
  launch.network->settings = settings(options);
  launch.network_needed = true;
  if (auto started = launcher_.start(launch); !started) {
    throw Failure("--tcp kernel is not possible here: " + started.error(), kOwnFailure);
  }
  attach(network);
  signals_ = std::make_unique<posix::SignalRelay>();
  auto& poller = driver_.poller();
  if (auto watch = poller.add(launcher_.descriptor(), runtime::kIoRead, *this)) watch_ = *watch;
  if (auto watch = poller.add(signals_->descriptor(), runtime::kIoRead, *this)) {
    signal_watch_ = *watch;
  }
  driver_.add_task(*this);
}

KernelProgram::~KernelProgram() {
  driver_.remove_task(*this);
  driver_.poller().remove(watch_);
  driver_.poller().remove(signal_watch_);
}

void KernelProgram::attach(VirtualNetwork& network) {
  posix::OwnNetwork& own = *launcher_.network();
  const int control = fcntl(own.control.get(), F_DUPFD_CLOEXEC, 3);
  auto device = device::adopt_device({.tun = own.tun,
                                      .fd = own.carrier.release(),
                                      .control = own.tun ? control : -1,
                                      .index = own.index,
                                      .name = "eth0",
                                      .mac = posix::other_end_mac,
                                      .mtu = network.mtu()});
  if (!own.tun && control >= 0) close(control);
  if (!device) {
    throw Failure("--tcp kernel is not possible here: " + device.error(), kOwnFailure);
  }
  network.attach_kernel(std::move(*device));
}

void KernelProgram::show_mtu(std::uint32_t mtu) {
  posix::set_interface_mtu(launcher_.network()->control.get(), mtu);
}

int KernelProgram::run() {
  (void)driver_.run_until([this] { return launcher_.program_ended(); });
  report_failed_start(name_, launcher_.ending());
  if (wait_ == WaitFor::all) {
    (void)driver_.run_until([this] { return launcher_.all_ended() || interrupted_; });
  }
  end_orphans();
  return launcher_.ending().status;
}

void KernelProgram::end_orphans() {
  if (launcher_.all_ended()) return;
  const Instant until = runtime::Clock::now() + kGraceForOrphans;
  (void)driver_.run_until([this] { return launcher_.all_ended(); }, until);
  launcher_.end_all();
}

void KernelProgram::after_turn(Instant) { launcher_.process(); }

void KernelProgram::on_io(int fd, std::uint32_t, Instant) {
  if (fd != signals_->descriptor()) return;
  while (const auto signal = signals_->next()) {
    if (launcher_.program_ended()) {
      interrupted_ = interrupted_ || asks_to_stop(signal->number);
    } else if (!signal->from_terminal) {
      launcher_.forward_signal(signal->number);
    }
  }
}

}  // namespace tidewire::apps
