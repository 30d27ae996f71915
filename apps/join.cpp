#include "apps/join.hpp"

#include <fmt/core.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "apps/failure.hpp"
#include "apps/joining.hpp"
#include "apps/program.hpp"
#include "apps/version.hpp"
#include "front/posix/features.hpp"
#include "front/posix/launcher.hpp"
#include "front/posix/signal_relay.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

/// What programs have to end by themselves after the host.
constexpr Duration kGraceWithoutHost = Duration::seconds(1);

/// A word that the host finds in our memory, if it can look into it.
std::uint64_t cell;

control::Record request_for(const NetworkOptions& network) {
  if (getrandom(&cell, sizeof cell, 0) != sizeof cell) cell = 0x7469646577697265;
  control::Record request("join");
  request.add("version", kVersion).add("cell", reinterpret_cast<std::uintptr_t>(&cell));
  request.add("word", cell).add("pid", static_cast<std::uint64_t>(getpid()));
  for (const std::string& option : network.given) {
    if (!option.starts_with("--net=") && !option.starts_with("--seed=") &&
        !option.starts_with("--publish=")) {
      request.add("option", option);
    }
  }
  if (network.is_given("--net")) request.add("net", network.net);
  if (network.is_given("--seed")) request.add("seed", *network.seed);
  for (const std::string& spec : network.publish) request.add("publish", spec);
  return request;
}

/// The program, its guard, its signals and the connection to the host.
class Joined {
 public:
  Joined(control::Client host, JoinOptions options)
      : host_(std::move(host)), options_(std::move(options)) {}

  /// False: the host is ending.
  bool start(const NetworkOptions& network);
  int run();

 private:
  bool over() const {
    return options_.wait == WaitFor::all ? launcher_.all_ended() || interrupted_
                                         : launcher_.program_ended();
  }
  void turn(Instant until);
  void look_at_host();
  template <typename Finished>
  void run_until(Finished finished, Instant until = Instant::never()) {
    while (!finished() && runtime::Clock::now() < until) turn(until);
  }

  control::Client host_;
  JoinOptions options_;
  std::string host_process_;
  std::string reason_;  ///< the host's own, why it ends
  bool lost_ = false;   ///< the host is gone
  bool interrupted_ = false;
  posix::Launcher launcher_;
  std::unique_ptr<posix::SignalRelay> signals_;
};

bool Joined::start(const NetworkOptions& network) {
  auto welcome = host_.ask(request_for(network));
  if (!welcome && (host_.ended() || welcome.error().ends_with(kHostIsEnding))) return false;
  if (!welcome) throw Failure(welcome.error(), kOwnFailure);
  posix::LaunchConfig launch;
  launch.argv = options_.argv;
  launch.features = posix::probe_features();
  std::uint32_t mtu = 1500;
  bool no_host = false;
  bool host_preloads = false;
  for (const control::Record& record : *welcome) {
    if (record.kind() == "host") host_process_ = record.get("pid");
    if (record.kind() == "joined") {
      // Who answers the calls decides how they wait.
      launch.features.wait_killable = record.get("wait_killable") == "1";
      no_host = record.get("no_host") == "1";
      host_preloads = record.get("preload") == "1";
      mtu = static_cast<std::uint32_t>(record.number("mtu").value_or(mtu));
    }
  }
  if (const std::string unknown = switch_off(launch.features, options_.without); !unknown.empty()) {
    throw Failure("--without: there is no feature called " + unknown, kOwnFailure);
  }
  launch.filter.allow_io_uring = options_.allow_io_uring;
  if (options_.preload && !host_preloads) {
    throw Failure("host " + host_.name() + " was started without --preload", kOwnFailure);
  }
  if (options_.preload) launch.preload = preload_library(launch.features);
  launch.filter.native_accept = options_.preload;
  if (options_.own_network) launch.network = network_to_show(mtu);
  launch.network_needed = no_host && options_.allow_io_uring;
  if (launch.network_needed && !launch.network) {
    throw Failure("host " + host_.name() +
                      " runs with --no-host: with --io-uring --no-netns its programs could reach "
                      "this host all the same",
                  kOwnFailure);
  }
  if (auto started = launcher_.start(launch); !started) {
    throw Failure(started.error(), kOwnFailure);
  }
  if (!options_.quiet) report_no_network(launcher_.network_refused());
  // Until the host has it the program's first call waits. Our own copy goes: with the host's end
  // the calls fail instead of waiting for ever.
  const posix::Fd listener = launcher_.take_listener();
  control::Record program("program");
  program.add("guard", static_cast<std::uint64_t>(launcher_.guard()));
  if (auto taken = host_.ask(program, listener.get()); !taken) {
    throw Failure(taken.error(), kOwnFailure);
  }
  signals_ = std::make_unique<posix::SignalRelay>();
  return true;
}

void Joined::look_at_host() {
  while (const auto record = host_.poll()) {
    if (record->kind() == "end") reason_ = record->get("text");
  }
  lost_ = host_.ended();
}

void Joined::turn(Instant until) {
  pollfd watched[3] = {{launcher_.descriptor(), POLLIN, 0},
                       {signals_->descriptor(), POLLIN, 0},
                       {lost_ ? -1 : host_.descriptor(), POLLIN, 0}};
  int timeout = -1;
  if (!until.is_never()) {
    const auto left = (until - runtime::Clock::now()).count_millis() + 1;
    timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }
  (void)::poll(watched, 3, timeout);
  launcher_.process();
  while (const auto signal = signals_->next()) {
    if (launcher_.program_ended()) {
      interrupted_ = interrupted_ || asks_to_stop(signal->number);
    } else if (!signal->from_terminal) {
      launcher_.forward_signal(signal->number);
    }
  }
  if (!lost_) look_at_host();
}

int Joined::run() {
  run_until([this] { return over() || lost_; });
  if (lost_ && !over()) {
    const std::string why = reason_.empty() ? "process " + host_process_ + " was killed" : reason_;
    fmt::print(stderr, "tidewire: host {} has ended under {} ({})\n", host_.name(),
               options_.argv.front(), why);
    run_until([this] { return launcher_.all_ended(); }, runtime::Clock::now() + kGraceWithoutHost);
    launcher_.end_all();
    return kOwnFailure;
  }
  report_failed_start(options_.argv.front(), launcher_.ending());
  run_until([this] { return launcher_.all_ended(); }, runtime::Clock::now() + kGraceForOrphans);
  launcher_.end_all();
  return launcher_.ending().status;
}

}  // namespace

std::optional<int> run_joined(control::Client host, const NetworkOptions& network,
                              JoinOptions options) {
  Joined joined(std::move(host), std::move(options));
  if (!joined.start(network)) return std::nullopt;
  return joined.run();
}

}  // namespace tidewire::apps
