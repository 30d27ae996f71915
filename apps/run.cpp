// tidewire run: an unmodified program over a described network.
#include <fmt/core.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <optional>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/host_control.hpp"
#include "apps/join.hpp"
#include "apps/kernel_program.hpp"
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "front/control/claim.hpp"
#include "front/control/client.hpp"
#include "front/control/server.hpp"
#include "front/posix/kernel_backend.hpp"
#include "report/units.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "The program is found through PATH and gets its internet sockets from a virtual host: "
    "10.0.2.15,\n"
    "gateway 10.0.2.2 (host.tidewire). Its connections to localhost reach programs of the same "
    "run,\n"
    "or else cross the network to this host's localhost.\n"
    "Exit status: the program's; 128+n if signal n ended it; 127 not found, 126 not executable,\n"
    "125 failures of tidewire itself, and the end of the host under a program that has joined.\n"
    "Examples:\n"
    "  tidewire run --net 'delay=20ms loss=1% rate=50mbit' --seed 7 -- curl -O "
    "http://localhost:8080/f\n"
    "  tidewire run --publish 8080:8000 -- python3 -m http.server 8000\n"
    "  tidewire run --net 'down.rate=1mbit up.rate=256kbit delay=150ms' --print -- wget "
    "example.org\n"
    "  tidewire run --host h1 -- nginx -g 'daemon off;'     and elsewhere:\n"
    "  tidewire run --host h1 -- curl http://localhost/\n"
    "  tidewire run -- sh -c 'redis-server --save \"\" & sleep 1; redis-benchmark -q -n 10000'";

struct RunOptions {
  NetworkOptions network;
  std::vector<std::string> argv;
  std::string json;
  std::string backend = "stack";
  std::string tcp = "stack";
  std::string without;
  std::string host;
  std::string wait = "joined";
  bool quiet = false;
  bool io_uring = false;
  bool preload = false;
  bool no_netns = false;

  WaitFor wait_for() const {
    if (wait == "all") return WaitFor::all;
    return wait == "main" ? WaitFor::main : WaitFor::joined;
  }
};

/// How long to wait for a name whose host is starting or ending.
constexpr Duration kPatienceForName = Duration::seconds(30);

/// Quoted for a shell where needed.
std::string shell_word(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string repeat_command(const RunOptions& options) {
  std::string command = "tidewire run";
  if (!options.network.net.empty()) command += " --net " + shell_word(options.network.net);
  command += " --seed " + std::to_string(*options.network.seed);
  for (const std::string& spec : options.network.publish)
    command += " --publish " + shell_word(spec);
  if (options.network.no_host) command += " --no-host";
  if (options.no_netns) command += " --no-netns";
  if (options.preload) command += " --preload";
  if (!options.network.ephemeral.empty()) command += " --ephemeral " + options.network.ephemeral;
  if (!options.network.time_wait.empty()) command += " --time-wait " + options.network.time_wait;
  if (options.network.memory != NetworkOptions::kMemory) {
    command += " --memory " + std::to_string(options.network.memory);
  }
  if (options.network.congestion_control != "cubic") {
    command += " --cc " + shell_word(options.network.congestion_control);
  }
  if (options.network.ecn != "accept") command += " --ecn=" + options.network.ecn;
  if (options.tcp != "stack") command += " --tcp " + options.tcp;
  command += " --";
  for (const std::string& word : options.argv) command += " " + shell_word(word);
  return command;
}

int run_on_kernel(const RunOptions& options) {
  if (!options.network.net.empty() || !options.network.publish.empty() || !options.json.empty() ||
      !options.network.pcap.empty() || options.network.print || !options.host.empty() ||
      options.network.no_host) {
    throw Failure(
        "--backend kernel uses this host's own sockets: --net, --publish, --json, --pcap, "
        "--print, --host and --no-host need the stack",
        kOwnFailure);
  }
  runtime::Driver driver;
  posix::KernelBackend backend;
  Program program(driver, backend,
                  {.argv = options.argv,
                   .without = options.without,
                   .allow_io_uring = options.io_uring,
                   .preload = options.preload,
                   .network = {},
                   .network_needed = false,
                   .quiet = options.quiet,
                   .hooks = {},
                   .wait = options.wait_for()});
  return program.run();
}

void write_json(const std::string& path, const report::RunReport& report) {
  std::ofstream file(path, std::ios::trunc);
  file << report::to_json(report);
  file.close();
  if (!file)
    fmt::print(stderr, "tidewire: {} could not be written: {}\n", path, std::strerror(errno));
}

void check_name(const std::string& name) {
  if (!control::is_host_name(name)) {
    throw Failure("--host " + name +
                      " is no name: letters, digits, '.', '_' and '-', at most 64, the first a "
                      "letter or a digit",
                  kOwnFailure);
  }
}

/// The name that others find this host under. A run without one works without it, too.
std::optional<control::Claim> claim_name(const std::string& name, bool needed) {
  auto place = control::open_place(control::PlaceOptions::of_this_process());
  if (!place) {
    if (needed) throw Failure(place.error(), kOwnFailure);
    return std::nullopt;
  }
  auto claim = control::Claim::take(*place, name);
  if (!claim) {
    if (needed) throw Failure(claim.error(), kOwnFailure);
    return std::nullopt;
  }
  return std::move(*claim);
}

void check_joining(const RunOptions& options) {
  const NetworkOptions& network = options.network;
  const char* option = !options.json.empty()   ? "--json"
                       : !network.pcap.empty() ? "--pcap"
                       : network.print         ? "--print"
                       : network.kernel_host   ? "--tcp kernel"
                                               : nullptr;
  if (option == nullptr) return;
  throw Failure("host " + options.host + " is running already, and " + option +
                    " belongs to the command that started it",
                kOwnFailure);
}

std::optional<int> join(const RunOptions& options, control::Client host) {
  check_joining(options);
  return run_joined(std::move(host), options.network,
                    {.argv = options.argv,
                     .without = options.without,
                     .allow_io_uring = options.io_uring,
                     .preload = options.preload,
                     .own_network = !options.no_netns,
                     .quiet = options.quiet,
                     .wait = options.wait_for()});
}

/// The host's name, or the exit status after running on the host that has it.
struct Standing {
  std::optional<control::Claim> claim;
  std::optional<int> status;
};

Standing stand(const RunOptions& options) {
  if (options.host.empty()) return {claim_name(control::name_of_run(getpid()), false), {}};
  check_name(options.host);
  const auto place = control::open_place(control::PlaceOptions::of_this_process());
  if (!place) throw Failure(place.error(), kOwnFailure);
  const Instant until = runtime::Clock::now() + kPatienceForName;
  while (runtime::Clock::now() < until) {
    // Names of runs are not for others to start, only to join.
    if (!control::is_run_name(options.host)) {
      if (auto claim = claim_name(options.host, true)) return {std::move(claim), {}};
    }
    auto host = control::Client::connect(*place, options.host);
    if (!host) throw Failure(host.error(), kOwnFailure);
    if (*host) {
      if (const auto status = join(options, std::move(**host))) return {{}, status};
    } else if (control::is_run_name(options.host)) {
      throw Failure("no host " + options.host +
                        " is running, and such names are those of runs without a name",
                    kOwnFailure);
    }
    // It is starting, or ending.
    usleep(50'000);
  }
  throw Failure("host " + options.host + " is ending and does not come to its end; try again",
                kOwnFailure);
}

/// Until the programs of others that have joined have ended as well.
void wait_for_joined(const RunOptions& options, Program& program, HostControl& control,
                     std::optional<control::Server>& server) {
  Joining& joining = control.joining();
  const bool waits = options.wait_for() != WaitFor::main && joining.joined() != 0;
  if (waits) {
    if (!options.quiet) {
      fmt::print(stderr, "tidewire: {} has ended; host {} goes on for {}\n", options.argv.front(),
                 control.name(),
                 report::plural(joining.joined(), "joined program", "joined programs"));
    }
    program.wait_until([&] { return joining.joined() == 0; });
  }
  joining.close();
  if (joining.joined() == 0) return;
  control::Record end("end");
  end.add("text", waits ? "it was interrupted" : "its first program has, --wait=main");
  // Who comes from now on is told that the host is ending.
  for (const control::ConnectionId id : joining.connections()) server->end(id, end);
}

template <typename AnyProgram>
HostControl::Facts facts_of(const RunOptions& options, const std::optional<control::Claim>& claim,
                            AnyProgram& program) {
  return {.name = claim ? claim->name() : "",
          .program = options.argv.front(),
          .quiet = options.quiet,
          .show_mtu = [&program](std::uint32_t mtu) { program.show_mtu(mtu); }};
}

int run_program(const RunOptions& options, VirtualNetwork& network,
                const std::optional<control::Claim>& claim) {
  const std::unique_ptr<posix::StackBackend> backend = make_backend(network);
  int status = kOwnFailure;
  {
    Program program(
        network.driver(), *backend,
        {.argv = options.argv,
         .without = options.without,
         .allow_io_uring = options.io_uring,
         .preload = options.preload,
         .network = options.no_netns ? std::nullopt : std::optional(network_to_show(network.mtu())),
         .network_needed = options.network.no_host && options.io_uring,
         .quiet = options.quiet,
         .hooks = make_hooks(network, *backend, options.network.published, options.quiet),
         .wait = options.wait_for()});
    HostControl control(network, backend.get(), &program, options.network,
                        facts_of(options, claim, program));
    std::optional<control::Server> server;
    if (claim) server.emplace(network.driver(), claim->listener(), control);
    status = program.run();
    wait_for_joined(options, program, control, server);
    // What the programs left in their sockets is still delivered, as a kernel would.
    network.drain(Duration::seconds(20), [&] {
      using enum VirtualNetwork::Wish;
      if (program.interrupted()) return stop;
      return program.delivering() ? wait : done;
    });
  }
  network.driver().set_owner(network.host(), nullptr);
  return status;
}

/// What makes no sense where the program's calls and its TCP are the kernel's.
void check_kernel_tcp(const RunOptions& options) {
  const auto refuse = [](const char* option, const char* why) {
    throw Failure(std::string("--tcp kernel and ") + option + ": " + why, kOwnFailure);
  };
  if (options.no_netns) refuse("--no-netns", "the kernel's TCP takes a network namespace");
  if (options.io_uring) refuse("--io-uring", "nothing is intercepted, so io_uring always works");
  if (options.preload) refuse("--preload", "nothing is intercepted");
  if (!options.without.empty()) refuse("--without", "nothing is intercepted");
  if (options.backend != "stack") {
    refuse("--backend kernel", "that takes this host's sockets, and no described network");
  }
  if (!options.network.time_wait.empty()) {
    refuse("--time-wait", "the kernel's TIME-WAIT lasts 60 s, always");
  }
}

int run_kernel_program(const RunOptions& options, VirtualNetwork& network,
                       const std::optional<control::Claim>& claim) {
  KernelProgram program(network, options.network, options.argv, options.wait_for());
  HostControl control(network, nullptr, nullptr, options.network,
                      facts_of(options, claim, program));
  std::optional<control::Server> server;
  if (claim) server.emplace(network.driver(), claim->listener(), control);
  const int status = program.run();
  // The namespace lives on here: its kernel still delivers what the programs left in their sockets.
  network.drain(Duration::seconds(20), [&] {
    using enum VirtualNetwork::Wish;
    return program.interrupted() ? stop : done;
  });
  return status;
}

int run_on_stack(RunOptions& options) {
  options.network.kernel_host = options.tcp == "kernel";
  if (options.network.kernel_host) check_kernel_tcp(options);
  options.network.check(kOwnFailure);
  options.network.report = !options.quiet || !options.json.empty();
  if (options.network.no_host && options.io_uring && options.no_netns) {
    throw Failure(
        "--no-host with --io-uring needs a network namespace for the program: leave --no-netns "
        "away, or --io-uring",
        kOwnFailure);
  }
  if (!options.json.empty()) {
    std::ofstream probe(options.json, std::ios::app);
    if (!probe) {
      throw Failure("cannot write " + options.json + ": " + std::strerror(errno), kOwnFailure);
    }
  }
  const Standing standing = stand(options);
  if (standing.status) return *standing.status;
  VirtualNetwork network(options.network, kOwnFailure);
  const bool kernel = options.network.kernel_host;
  const int status = kernel ? run_kernel_program(options, network, standing.claim)
                            : run_program(options, network, standing.claim);

  report::RunReport report = network.report();
  report.command = options.argv;
  report.backend = kernel ? "kernel tcp" : "stack";
  report.exit_status = status;
  if (!options.json.empty()) write_json(options.json, report);
  if (const auto problem = network.capture_problem())
    fmt::print(stderr, "tidewire: {}\n", *problem);
  if (!options.quiet) {
    fmt::print(stderr, "{}", report::summary(report));
    if (options.network.seed_drawn) {
      fmt::print(stderr, "  repeat with: {}\n", repeat_command(options));
    }
  }
  return status;
}

}  // namespace

void add_run(CLI::App& app, int& status) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Run a program over the network you describe");
  command->footer(kFooter);
  command->add_option("program", options->argv, "The program and its arguments (after --)")
      ->required()
      ->type_name("");
  options->network.add_to(*command);
  command->add_option("--json", options->json, "Write the summary as JSON to FILE")
      ->type_name("FILE")
      ->group("Output");
  command
      ->add_option("--host", options->host,
                   "Name of the virtual host: starts one, or joins the one that runs; also for "
                   "`tidewire ss` and `tidewire net` (run-PID)")
      ->type_name("NAME");
  command
      ->add_option("--wait", options->wait,
                   "When the host ends: main, with its first program; joined, when those that "
                   "joined have ended too; all, when also nothing is left of what they started")
      ->check(CLI::IsMember({"main", "joined", "all"}).description(""))
      ->type_name("WHAT")
      ->capture_default_str();
  command
      ->add_option("--tcp", options->tcp,
                   "Whose TCP the program has: stack, this one; or kernel, the kernel's in a "
                   "network namespace on the same described network")
      ->check(CLI::IsMember({"stack", "kernel"}).description(""))
      ->type_name("WHOSE")
      ->capture_default_str();
  command->add_flag("-q,--quiet", options->quiet, "Print no summary and no hints")->group("Output");
  command
      ->add_option("--backend", options->backend,
                   "stack; or kernel: this host's sockets, to tell faults apart")
      ->check(CLI::IsMember({"stack", "kernel"}))
      ->capture_default_str();
  command->add_flag("--io-uring", options->io_uring,
                    "Let the program use io_uring (sockets that it makes that way lead nowhere)");
  command->add_flag("--preload", options->preload,
                    "Accept connections without a stop, by a library in the programs' LD_PRELOAD: "
                    "for servers with many short connections");
  command->add_flag("--no-netns", options->no_netns,
                    "Leave the program in this host's network namespace: what is not intercepted "
                    "is this host's");
  command
      ->add_option("--without", options->without,
                   "Behave as on a kernel without these features (comma separated)")
      ->type_name("FEATURES")
      ->group("");
  command->positionals_at_end();
  command->callback([options, command, &status] {
    options->network.note_given(*command);
    status = options->backend == "kernel" && options->tcp == "stack" ? run_on_kernel(*options)
                                                                     : run_on_stack(*options);
  });
}

}  // namespace tidewire::apps
