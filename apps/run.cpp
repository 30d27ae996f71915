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
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "front/control/claim.hpp"
#include "front/control/server.hpp"
#include "front/posix/kernel_backend.hpp"
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
    "125 failures of tidewire itself.\n"
    "Examples:\n"
    "  tidewire run --net 'delay=20ms loss=1% rate=50mbit' --seed 7 -- curl -O "
    "http://localhost:8080/f\n"
    "  tidewire run --publish 8080:8000 -- python3 -m http.server 8000\n"
    "  tidewire run --net 'down.rate=1mbit up.rate=256kbit delay=150ms' --print -- wget "
    "example.org\n"
    "  tidewire run -- sh -c 'redis-server --save \"\" & sleep 1; redis-benchmark -q -n 10000'";

struct RunOptions {
  NetworkOptions network;
  std::vector<std::string> argv;
  std::string json;
  std::string backend = "stack";
  std::string without;
  std::string host;
  bool quiet = false;
  bool io_uring = false;
};

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
  if (!options.network.ephemeral.empty()) command += " --ephemeral " + options.network.ephemeral;
  if (!options.network.time_wait.empty()) command += " --time-wait " + options.network.time_wait;
  if (options.network.memory != NetworkOptions::kMemory) {
    command += " --memory " + std::to_string(options.network.memory);
  }
  if (options.network.congestion_control != "cubic") {
    command += " --cc " + shell_word(options.network.congestion_control);
  }
  if (options.network.ecn != "accept") command += " --ecn=" + options.network.ecn;
  command += " --";
  for (const std::string& word : options.argv) command += " " + shell_word(word);
  return command;
}

int run_on_kernel(const RunOptions& options) {
  if (!options.network.net.empty() || !options.network.publish.empty() || !options.json.empty() ||
      !options.network.pcap.empty() || options.network.print) {
    throw Failure(
        "--backend kernel uses this host's own sockets: --net, --publish, --json, --pcap "
        "and --print need the stack",
        kOwnFailure);
  }
  runtime::Driver driver;
  posix::KernelBackend backend;
  Program program(driver, backend,
                  {.argv = options.argv,
                   .without = options.without,
                   .allow_io_uring = options.io_uring,
                   .hooks = {}});
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
  if (control::is_run_name(name)) {
    throw Failure("--host " + name + ": such names are those of runs without a name", kOwnFailure);
  }
}

/// The name that others find this host under. A run without one works without it, too.
std::optional<control::Claim> claim_name(const RunOptions& options) {
  const bool named = !options.host.empty();
  if (named) check_name(options.host);
  const auto place = control::open_place(control::PlaceOptions::of_this_process());
  if (!place) {
    if (named) throw Failure(place.error(), kOwnFailure);
    return std::nullopt;
  }
  auto claim = control::Claim::take(*place, named ? options.host : control::name_of_run(getpid()));
  if (!claim) {
    if (named) throw Failure(claim.error(), kOwnFailure);
    return std::nullopt;
  }
  if (!*claim && named) {
    throw Failure("a host " + options.host + " is running already", kOwnFailure);
  }
  return std::move(*claim);
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
         .hooks = make_hooks(network, *backend, options.network.published, options.quiet)});
    HostControl control(network, *backend, program,
                        {.name = claim ? claim->name() : "",
                         .program = options.argv.front(),
                         .quiet = options.quiet});
    std::optional<control::Server> server;
    if (claim) server.emplace(network.driver(), claim->listener(), control);
    status = program.run();
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

int run_on_stack(RunOptions& options) {
  options.network.check(kOwnFailure);
  if (!options.json.empty()) {
    std::ofstream probe(options.json, std::ios::app);
    if (!probe) {
      throw Failure("cannot write " + options.json + ": " + std::strerror(errno), kOwnFailure);
    }
  }
  const std::optional<control::Claim> claim = claim_name(options);
  VirtualNetwork network(options.network, kOwnFailure);
  const int status = run_program(options, network, claim);

  report::RunReport report = network.report();
  report.command = options.argv;
  report.backend = "stack";
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
                   "Name of the virtual host, for `tidewire ss` and `tidewire net` (run-PID)")
      ->type_name("NAME");
  command->add_flag("-q,--quiet", options->quiet, "Print no summary and no hints")->group("Output");
  command
      ->add_option("--backend", options->backend,
                   "stack; or kernel: this host's sockets, to tell faults apart")
      ->check(CLI::IsMember({"stack", "kernel"}))
      ->capture_default_str();
  command->add_flag("--io-uring", options->io_uring,
                    "Let the program use io_uring (its sockets then are this host's)");
  command
      ->add_option("--without", options->without,
                   "Behave as on a kernel without these features (comma separated)")
      ->type_name("FEATURES")
      ->group("");
  command->positionals_at_end();
  command->callback([options, &status] {
    status = options->backend == "kernel" ? run_on_kernel(*options) : run_on_stack(*options);
  });
}

}  // namespace tidewire::apps
