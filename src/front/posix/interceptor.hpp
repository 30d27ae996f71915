// `tidewire run`: an unmodified program on sockets of a backend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "front/posix/backend.hpp"
#include "front/posix/features.hpp"
#include "front/posix/launcher.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {

struct InterceptorConfig {
  std::vector<std::string> argv;  ///< the program, found through PATH, and its arguments
  Features features;              ///< from probe_features(), some switched off perhaps
  bool allow_io_uring = false;
  /// Not empty: the library in the program's LD_PRELOAD with which it accepts connections unseen.
  std::string preload;
  NetdHooks hooks;
  std::optional<OwnNetworkConfig> network;  ///< see LaunchConfig
  bool network_needed = false;              ///< likewise
};

/// Runs one program (and what it starts) with its Internet sockets on `backend`. Any loop can drive
/// it: poll both descriptors for readability until next_deadline(), then call process(), and
/// look_after_program() if that one's descriptor was readable.
class Interceptor {
 public:
  explicit Interceptor(Backend& backend) : backend_(backend) {}
  ~Interceptor();
  Interceptor(const Interceptor&) = delete;
  Interceptor& operator=(const Interceptor&) = delete;

  /// Starts the program. On failure: one line for the user, nothing is left behind. Start before
  /// other threads exist: the guard is forked from this process.
  Result<void, std::string> start(InterceptorConfig config);

  /// Readable when process() has something to do (an epoll descriptor).
  int sockets_descriptor() const noexcept { return netd_->descriptor(); }
  /// Readable when look_after_program() has something to do. end_all() closes it.
  int program_descriptor() const noexcept { return launcher_.descriptor(); }
  void process(Instant now, bool readable = true) { netd_->process(now, readable); }
  /// See Netd.
  void frames_moved(Instant now) { netd_->frames_moved(now); }
  void look_after_program() { launcher_.process(); }
  /// See Netd.
  void receive_calls(int listener, bool readable) { netd_->receive_calls(listener, readable); }
  void share_calls(bool shared) { netd_->share_calls(shared); }
  Instant next_deadline();

  /// The program itself has ended (what it left running may live on).
  bool program_ended() const noexcept { return launcher_.program_ended(); }
  /// No process of the run is left.
  bool all_ended() const noexcept { return launcher_.all_ended(); }
  const Ending& ending() const noexcept { return launcher_.ending(); }

  /// Serves the sockets of a program that another process has started, too; see Netd.
  void take_in(Fd listener, pid_t guard) { netd_->take_in(std::move(listener), guard); }
  void let_go(pid_t guard) { netd_->let_go(guard); }

  /// Bytes of programs that have closed their sockets are not yet the backend's.
  bool delivering() const { return netd_->delivering(); }
  /// See Netd.
  std::optional<SocketUse> use_of(SocketRef ref) { return netd_->use_of(ref); }

  /// See Launcher.
  OwnNetwork* network() noexcept { return launcher_.network(); }
  const std::string& network_refused() const noexcept { return launcher_.network_refused(); }

  void forward_signal(int number) { launcher_.forward_signal(number); }
  /// Kills what is left of the run.
  void end_all() { launcher_.end_all(); }

 private:
  Backend& backend_;
  Launcher launcher_;
  std::unique_ptr<Netd> netd_;
};

}  // namespace tidewire::posix
