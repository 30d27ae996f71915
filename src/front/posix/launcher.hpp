// Starts a program under the filter, with a guard that outlives a killed run.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "front/posix/fd.hpp"
#include "front/posix/features.hpp"
#include "front/posix/filter.hpp"
#include "front/posix/own_network.hpp"

namespace tidewire::posix {

struct GuardMessage;

struct LaunchConfig {
  std::vector<std::string> argv;
  FilterOptions filter;
  Features features;
  std::string preload;    ///< not empty: a library for LD_PRELOAD of the program
  bool intercept = true;  ///< false: the program's calls are the kernel's business
  /// A network namespace for the program.
  std::optional<OwnNetworkConfig> network;
  bool network_needed = false;  ///< false: where the kernel refuses it the program runs without
};

/// How the program ended, in the convention of shells: its status, 128+n for signal n, 127 and 126
/// if it could not be executed, 125 for a failure of ours.
struct Ending {
  int status = 125;
  int exec_errno = 0;  ///< not 0: the program was never executed
};

/// The guard is the program's parent and the reaper of its orphans. It ends everything below it
/// when this process is gone, however that happened.
class Launcher {
 public:
  Launcher() = default;
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Forks guard and program. On success take_listener() has the notification descriptor; the
  /// program executes at once. On failure: one line for the user.
  Result<void, std::string> start(const LaunchConfig& config);
  Fd take_listener() { return std::move(listener_); }
  /// The program's network namespace; null if it has none of its own. `other_end` stays with the
  /// guard.
  OwnNetwork* network() noexcept { return network_ ? &*network_ : nullptr; }
  /// Why it has none, although it was asked for: one line.
  const std::string& network_refused() const noexcept { return network_refused_; }

  /// Readable when process() has something to do.
  int descriptor() const noexcept { return control_.get(); }
  void process();
  bool program_ended() const noexcept { return ended_; }
  /// True once no process of the run is left.
  bool all_ended() const noexcept { return all_ended_; }
  const Ending& ending() const noexcept { return ending_; }

  pid_t guard() const noexcept { return guard_; }

  void forward_signal(int number);
  /// Kills what is left of the run and waits for it (at most two seconds).
  void end_all();

 private:
  Result<GuardMessage, std::string> fork_guard(const LaunchConfig& config);
  void reap_guard();

  Fd control_;
  Fd listener_;
  std::optional<OwnNetwork> network_;
  std::string network_refused_;
  pid_t guard_ = -1;
  bool ended_ = false;
  bool all_ended_ = false;
  bool guard_gone_ = false;
  Ending ending_;
};

}  // namespace tidewire::posix
