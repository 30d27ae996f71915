// A program under interception, in the driver's loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "front/gateway/publish.hpp"
#include "front/posix/interceptor.hpp"
#include "front/posix/signal_relay.hpp"
#include "front/posix/stack_backend.hpp"
#include "runtime/driver.hpp"

namespace tidewire::apps {

class VirtualNetwork;

struct ProgramConfig {
  std::vector<std::string> argv;
  std::string without;  ///< kernel features not to use, comma separated
  bool allow_io_uring = false;
  posix::NetdHooks hooks;
};

/// Starts the program and drives it until it has ended.
class Program final : public runtime::Task, public runtime::IoHandler {
 public:
  /// Throws Failure if the program cannot be started.
  Program(runtime::Driver& driver, posix::Backend& backend, ProgramConfig config);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// The exit status of the whole command.
  int run();
  /// After run(): bytes that programs wrote before they ended still wait for room in the stack.
  bool delivering() const { return interceptor_.delivering(); }
  std::optional<posix::SocketUse> use_of(posix::SocketRef ref) { return interceptor_.use_of(ref); }
  /// After run(): a signal asked to stop.
  bool interrupted() const noexcept { return interrupted_; }

  Instant next_deadline() override;
  void run(Instant now) override { interceptor_.process(now); }
  void before_transmit(Instant now) override { interceptor_.process(now); }
  void on_io(int fd, std::uint32_t ready, Instant now) override;

 private:
  runtime::Driver& driver_;
  std::string name_;
  posix::Interceptor interceptor_;
  std::unique_ptr<posix::SignalRelay> signals_;
  runtime::WatchId watch_;
  runtime::WatchId signal_watch_;
  bool interrupted_ = false;
};

/// The sockets of the virtual host for intercepted programs.
std::unique_ptr<posix::StackBackend> make_backend(VirtualNetwork& network);

/// Names the programs of flows, and says how to reach listeners that are not published.
posix::NetdHooks make_hooks(VirtualNetwork& network, posix::StackBackend& backend,
                            std::vector<gateway::PublishSpec> published, bool quiet);

}  // namespace tidewire::apps
