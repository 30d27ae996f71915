#include "apps/program.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "apps/failure.hpp"
#include "apps/virtual_network.hpp"
#include "front/posix/call_limit.hpp"
#include "front/posix/features.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

bool asks_to_stop(int signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

namespace {

constexpr Duration kLongTurn = Duration::micros(100);
constexpr int kShortTurns = 256;  // after which the next one will be short

void report_uncovered(posix::Uncovered what, const std::string& program, bool own_network) {
  const auto tell = [&](const char* text) {
    fmt::print(stderr, "tidewire: {} {}\n", program, text);
  };
  switch (what) {
    case posix::Uncovered::io_uring:
      tell(own_network ? "uses io_uring: sockets that it makes or connects through it lead nowhere"
                       : "uses io_uring: sockets that it makes through it are this host's");
      break;
    case posix::Uncovered::other_listener:
      tell("asks for a seccomp listener of its own: the kernel refuses it one (EBUSY)");
      break;
    case posix::Uncovered::lost_privileges:
      tell("is setuid, setgid or has capabilities: it runs without them here");
      break;
  }
}

}  // namespace

Program::Program(runtime::Driver& driver, posix::Backend& backend, ProgramConfig config)
    : driver_(driver),
      backend_(backend),
      name_(config.argv.front()),
      wait_(config.wait),
      interceptor_(backend) {
  posix::InterceptorConfig start;
  start.argv = std::move(config.argv);
  start.features = posix::probe_features();
  if (const std::string unknown = switch_off(start.features, config.without); !unknown.empty()) {
    throw Failure("--without: there is no feature called " + unknown, kOwnFailure);
  }
  features_ = start.features;
  start.allow_io_uring = config.allow_io_uring;
  preloads_ = config.preload;
  if (config.preload) start.preload = preload_library(start.features);
  start.hooks = std::move(config.hooks);
  if (!config.quiet) {
    start.hooks.on_uncovered = [this](posix::Uncovered what, const std::string& program) {
      report_uncovered(what, program, interceptor_.network() != nullptr);
    };
  }
  start.network = std::move(config.network);
  start.network_needed = config.network_needed;
  start.hooks.watch_calls = [this](int listener, bool watched) {
    return watch_calls(listener, watched);
  };
  if (auto started = interceptor_.start(std::move(start)); !started) {
    throw Failure(started.error(), kOwnFailure);
  }
  if (!config.quiet) report_no_network(interceptor_.network_refused());
  signals_ = std::make_unique<posix::SignalRelay>();
  auto& poller = driver_.poller();
  if (auto watch = poller.add(interceptor_.sockets_descriptor(), runtime::kIoRead, *this)) {
    sockets_watch_ = *watch;
  }
  if (auto watch = poller.add(interceptor_.program_descriptor(), runtime::kIoRead, *this)) {
    program_watch_ = *watch;
  }
  if (auto watch = poller.add(signals_->descriptor(), runtime::kIoRead, *this)) {
    signal_watch_ = *watch;
  }
  driver_.add_task(*this);
  backend_.set_late([this](Instant now) { interceptor_.frames_moved(now); });
}

Program::~Program() {
  backend_.set_late({});
  driver_.remove_task(*this);
  auto& poller = driver_.poller();
  for (const auto& [listener, watch] : call_watches_) poller.remove(watch);
  poller.remove(sockets_watch_);
  poller.remove(program_watch_);
  poller.remove(signal_watch_);
}

// A call wakes the loop when that sleeps, and otherwise the thread if it shares the work.
bool Program::watch_calls(int listener, bool watched) {
  auto& poller = driver_.poller();
  if (!watched) {
    const auto found = call_watches_.find(listener);
    if (found == call_watches_.end()) return false;
    poller.remove(found->second);
    call_watches_.erase(found);
    return true;
  }
  auto watch = poller.add(listener, runtime::kIoRead | runtime::kIoAlone, *this);
  if (watch) call_watches_[listener] = *watch;
  return watch.has_value();
}

std::string preload_library(const posix::Features& features) {
  if (!features.pidfd_getfd) {
    throw Failure("--preload needs pidfd_getfd, which this kernel or a container denies",
                  kOwnFailure);
  }
  if (!posix::CallLimit().usable()) {
    throw Failure("--preload needs a timer, and the kernel gives none (ulimit -i)", kOwnFailure);
  }
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  constexpr const char* name = "tidewire-run-preload.so";
  const auto beside = folder / name;
  const auto installed = folder / TIDEWIRE_PRELOAD_FOLDER / name;
  for (const auto& path : {beside, installed}) {
    if (::access(path.c_str(), R_OK) != 0) continue;
    const std::string found = path.lexically_normal().string();
    // The loader has no way to say these.
    if (found.find_first_of(": ") == std::string::npos) return found;
    throw Failure("--preload: " + found + ": LD_PRELOAD takes no path with a blank or a colon",
                  kOwnFailure);
  }
  throw Failure("--preload: there is neither " + beside.string() + " nor " +
                    installed.lexically_normal().string(),
                kOwnFailure);
}

posix::OwnNetworkConfig network_to_show(std::uint32_t mtu) {
  posix::OwnNetworkConfig config;
  config.address = {kHostAddress, kPrefixLength};
  config.gateway = kGatewayAddress;
  config.mac = kHostMac;
  config.mtu = mtu;
  return config;
}

void report_no_network(const std::string& why) {
  if (why.empty()) return;
  fmt::print(stderr,
             "tidewire: {}: sockets that are not intercepted are this host's (--no-netns: so be "
             "it)\n",
             why);
}

void Program::show_mtu(std::uint32_t mtu) {
  const posix::OwnNetwork* network = interceptor_.network();
  if (network != nullptr && network->interface) {
    posix::set_interface_mtu(network->control.get(), mtu);
  }
}

void report_failed_start(const std::string& name, const posix::Ending& ending) {
  if (ending.exec_errno == 0) return;
  const char* hint = ending.exec_errno == ENOENT ? "; it is looked for in PATH" : "";
  fmt::print(stderr, "tidewire: cannot execute {}: {}{}\n", name, std::strerror(ending.exec_errno),
             hint);
}

int Program::run() {
  (void)driver_.run_until([this] { return interceptor_.program_ended(); });
  const posix::Ending& ending = interceptor_.ending();
  report_failed_start(name_, ending);
  if (wait_ == WaitFor::all) {
    (void)driver_.run_until([this] { return interceptor_.all_ended() || interrupted_; });
  }
  end_orphans();
  interceptor_.process(runtime::Clock::now());
  return ending.status;
}

void Program::end_orphans() {
  if (!interceptor_.all_ended()) {
    // Give what the program left behind the chance to end by itself, then end it.
    const Instant until = runtime::Clock::now() + kGraceForOrphans;
    (void)driver_.run_until([this] { return interceptor_.all_ended(); }, until);
    driver_.poller().remove(std::exchange(program_watch_, {}));
    interceptor_.end_all();
  }
}

Instant Program::next_deadline() { return interceptor_.next_deadline(); }

// A signal can interrupt a call that waits through a turn: long ones need the thread, which costs
// two more changes of process a call.
void Program::after_turn(Instant began) {
  if (runtime::Clock::now() - began >= kLongTurn) {
    short_turns_ = 0;
    interceptor_.share_calls(true);
  } else if (short_turns_ < kShortTurns && ++short_turns_ == kShortTurns) {
    interceptor_.share_calls(false);
  }
}

void Program::on_io(int fd, std::uint32_t ready, Instant) {
  if (fd == interceptor_.sockets_descriptor()) sockets_ready_ = true;
  if (fd == interceptor_.program_descriptor()) return interceptor_.look_after_program();
  if (call_watches_.contains(fd)) {
    return interceptor_.receive_calls(fd, (ready & runtime::kIoRead) != 0);
  }
  if (fd != signals_->descriptor()) return;
  while (const auto signal = signals_->next()) {
    if (interceptor_.program_ended()) {
      interrupted_ = interrupted_ || asks_to_stop(signal->number);
    } else if (!signal->from_terminal) {
      interceptor_.forward_signal(signal->number);
    }
  }
}

std::unique_ptr<posix::StackBackend> make_backend(VirtualNetwork& network) {
  posix::StackBackendConfig config;
  config.host_gateway = kGatewayAddress;
  config.interfaces = {
      {network.host_loopback(),
       {.name = "lo",
        .index = 1,
        .address = {IpAddress::loopback(Family::v4), 8},
        .mac = {},
        .mtu = 65'536,
        .loopback = true,
        .gateway = {}}},
      {network.host_interface(),
       {.name = "eth0",
        .index = 2,
        .address = {kHostAddress, kPrefixLength},
        .mac = kHostMac,
        .mtu = network.mtu(),
        .loopback = false,
        .gateway = kGatewayAddress}},
  };
  auto backend = std::make_unique<posix::StackBackend>(network.host(), std::move(config));
  network.driver().set_owner(network.host(), backend.get());
  return backend;
}

posix::NetdHooks make_hooks(VirtualNetwork& network, posix::StackBackend& backend,
                            std::vector<gateway::PublishSpec> published, bool quiet) {
  posix::NetdHooks hooks;
  if (network.records()) {
    hooks.on_open = [&network, &backend](posix::SocketRef ref, const std::string& program) {
      if (const auto id = backend.socket_id(ref)) network.recorder().set_program(*id, program);
    };
  }
  auto told = std::make_shared<std::set<std::pair<bool, std::uint16_t>>>();
  hooks.on_listen = [told, quiet, published = std::move(published)](posix::Transport transport,
                                                                    const Endpoint& at,
                                                                    const std::string& program) {
    const bool udp = transport == posix::Transport::udp;
    // An ephemeral UDP port belongs to a client.
    if (quiet || at.port == 0 || (udp && at.port >= 32'768)) return;
    const bool known = std::ranges::any_of(published, [&](const gateway::PublishSpec& spec) {
      return spec.target.port == at.port && (spec.protocol == Protocol::udp) == udp;
    });
    if (known || !told->emplace(udp, at.port).second) return;
    if (at.address.unmapped().is_loopback()) {
      fmt::print(stderr, "tidewire: {} listens on {}: only programs of this run reach it\n",
                 program, to_string(at));
      return;
    }
    const int host_port = at.port < 1024 ? at.port + 8000 : at.port;
    fmt::print(
        stderr,
        "tidewire: {} listens on port {}{}; to reach it from this host add --publish {}:{}{}\n",
        program, at.port, udp ? "/udp" : "", host_port, at.port, udp ? "/udp" : "");
  };
  return hooks;
}

}  // namespace tidewire::apps
