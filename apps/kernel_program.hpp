// A program on the kernel's TCP, with a network namespace on the described network.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/network_options.hpp"
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "front/posix/launcher.hpp"
#include "front/posix/signal_relay.hpp"

namespace tidewire::apps {

/// Starts the program and drives it until it has ended. Nothing of it is intercepted: the kernel
/// of its namespace takes the place of the virtual host.
class KernelProgram final : public runtime::Task, public runtime::IoHandler {
 public:
  /// `network` was made for this (NetworkOptions::kernel_host) and outlives the program. Throws
  /// Failure if the kernel refuses what it takes.
  KernelProgram(VirtualNetwork& network, const NetworkOptions& options,
                std::vector<std::string> argv, WaitFor wait);
  ~KernelProgram();
  KernelProgram(const KernelProgram&) = delete;
  KernelProgram& operator=(const KernelProgram&) = delete;

  /// Until the program has ended, as of Program.
  int run();
  bool interrupted() const noexcept { return interrupted_; }
  void show_mtu(std::uint32_t mtu);

  Instant next_deadline() override { return Instant::never(); }
  void run(Instant) override {}
  void after_turn(Instant now) override;
  void on_io(int fd, std::uint32_t ready, Instant now) override;

 private:
  void attach(VirtualNetwork& network);
  void end_orphans();

  runtime::Driver& driver_;
  std::string name_;
  WaitFor wait_;
  posix::Launcher launcher_;
  std::unique_ptr<posix::SignalRelay> signals_;
  runtime::WatchId watch_;
  runtime::WatchId signal_watch_;
  bool interrupted_ = false;
};

}  // namespace tidewire::apps
