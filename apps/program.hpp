// A program under interception, in the driver's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "front/gateway/publish.hpp"
#include "front/posix/interceptor.hpp"
#include "front/posix/signal_relay.hpp"
#include "front/posix/stack_backend.hpp"
#include "runtime/driver.hpp"

namespace tidewire::apps {

class VirtualNetwork;

/// What the end of a run waits for, apart from the program itself.
enum class WaitFor : std::uint8_t {
  main,    ///< nothing
  joined,  ///< programs of other commands that have joined
  all,     ///< those, and everything that the program has left running
};

struct ProgramConfig {
  std::vector<std::string> argv;
  std::string without;  ///< kernel features not to use, comma separated
  bool allow_io_uring = false;
  bool preload = false;  ///< see preload_library()
  std::optional<posix::OwnNetworkConfig> network;
  bool network_needed = false;  ///< else it runs without where the kernel gives none
  bool quiet = false;           ///< do not tell what is not covered
  posix::NetdHooks hooks;
  WaitFor wait = WaitFor::joined;
};

/// What programs that were left running have to end by themselves, after the one that was started.
inline constexpr Duration kGraceForOrphans = Duration::millis(200);

/// True for signals that ask a command to end.
bool asks_to_stop(int signal);
/// The library with which programs accept connections unseen: its path for LD_PRELOAD. Throws
/// Failure if it cannot be had, or the kernel gives no copies of descriptors.
std::string preload_library(const posix::Features& features);
/// The virtual host as a network namespace shows it.
posix::OwnNetworkConfig network_to_show(std::uint32_t mtu);
/// Says on standard error why a program has no network namespace, if `why` is not empty.
void report_no_network(const std::string& why);
/// Says on standard error why a program was not executed, if that is how it ended.
void report_failed_start(const std::string& name, const posix::Ending& ending);

/// Starts the program and drives it until it has ended.
class Program final : public runtime::Task, public runtime::IoHandler {
 public:
  /// Throws Failure if the program cannot be started.
  Program(runtime::Driver& driver, posix::Backend& backend, ProgramConfig config);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Until the program has ended (with WaitFor::all: and what it has left running). Returns the
  /// exit status of the whole command.
  int run();
  /// After run(): goes on until `done` answers true or a signal asks to stop.
  void wait_until(const std::function<bool()>& done) {
    (void)driver_.run_until([&] { return done() || interrupted_; });
  }
  /// See Interceptor.
  void take_in(posix::Fd listener, pid_t guard) {
    interceptor_.take_in(std::move(listener), guard);
  }
  void let_go(pid_t guard) { interceptor_.let_go(guard); }
  const posix::Features& features() const noexcept { return features_; }
  bool preloads() const noexcept { return preloads_; }
  /// After run(): bytes that programs wrote before they ended still wait for room in the stack.
  bool delivering() const { return interceptor_.delivering(); }
  std::optional<posix::SocketUse> use_of(posix::SocketRef ref) { return interceptor_.use_of(ref); }
  /// The interface of the program's network namespace, if it has one, has this MTU from now on.
  void show_mtu(std::uint32_t mtu);
  /// The program has ended, and a signal asked to stop since then.
  bool interrupted() const noexcept { return interrupted_; }

  Instant next_deadline() override;
  void run(Instant) override {}  // see before_transmit
  void before_transmit(Instant now) override {
    interceptor_.process(now, std::exchange(sockets_ready_, false));
  }
  void after_turn(Instant began) override;
  void on_io(int fd, std::uint32_t ready, Instant now) override;

 private:
  void end_orphans();
  bool watch_calls(int listener, bool watched);

  runtime::Driver& driver_;
  posix::Backend& backend_;
  std::string name_;
  WaitFor wait_;
  posix::Features features_;
  bool preloads_ = false;
  posix::Interceptor interceptor_;
  std::unique_ptr<posix::SignalRelay> signals_;
  runtime::WatchId sockets_watch_;
  runtime::WatchId program_watch_;
  runtime::WatchId signal_watch_;
  std::map<int, runtime::WatchId> call_watches_;  // by notification descriptor
  bool sockets_ready_ = true;                     // the loop's last look found something
  int short_turns_ = 0;                           // in a row
  bool interrupted_ = false;
};

/// The sockets of the virtual host for intercepted programs.
std::unique_ptr<posix::StackBackend> make_backend(VirtualNetwork& network);

/// Names the programs of flows, and says how to reach listeners that are not published.
posix::NetdHooks make_hooks(VirtualNetwork& network, posix::StackBackend& backend,
                            std::vector<gateway::PublishSpec> published, bool quiet);

}  // namespace tidewire::apps
